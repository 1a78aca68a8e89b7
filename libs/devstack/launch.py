"""Run as a script: bind this process's life to its parent's, then become the server.

    python launch.py BOND exec PROGRAM [ARGUMENT...]
    python launch.py BOND chdb PORT INNER_PORT MODULE FOLDER USER DIGEST QUERY

BOND says how this process learns that its parent has ended: `signal:PID` for Linux, which sends a signal at the end of
that parent; `pipe:DESCRIPTOR` for every other system, the reading end of a pipe whose writing end only the parent has.

The embedded ClickHouse, unlike the stand-alone server, ends the whole process for an error on a connection outside
of a query: one that is reset, a garbled greeting, an unknown database or user. Therefore clients talk to a forwarder
at PORT that answers such greetings itself, and the library, listening at INNER_PORT, sees only connections that
begin and end in good order, however the client died. USER is who may connect, DIGEST the SHA-256 of the password.

The library lets its own user in without a password. Where USER has one, INNER_PORT is therefore the forwarder's alone:
a filter on its socket (socket(7), SO_ATTACH_FILTER) drops the first packet of every other connection. It is there some
milliseconds after the port; who was faster is cut off. Only Linux has such filters; elsewhere INNER_PORT stays open to
every process of the machine.

It imports nothing of the project, so that it starts in some 20 ms.
"""

import ctypes
import os
import select
import signal
import socket
import stat
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from hmac import compare_digest
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from threading import Lock, Thread

HOST = "127.0.0.1"
CHUNK = 1 << 18
MAX_GREETING = 4096
PR_SET_PDEATHSIG = 1
SO_ATTACH_FILTER = 26
TCP_INFO_UNACKED = 24
CONNECT_S = 5.0
ACCEPT_S = 0.01
NO_PASSWORD = sha256(b"").hexdigest()


def die_with_parent(bond: str) -> None:
    """Have this process, and what it becomes by exec, killed when its parent ends; `bond` as described above."""
    kind, _, number = bond.partition(":")
    if kind == "signal":
        _ask_for_signal(int(number))
    else:
        _leave_watchdog(int(number))


def _ask_for_signal(parent_pid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:
        sys.exit("the parent ended before the server started")


def _leave_watchdog(parent: int) -> None:
    """Fork a process that kills this one when the pipe `parent` ends, and that ends with this one."""
    server = os.getpid()
    server_lives, held = os.pipe()
    # The system closes it when the server ends, in whatever way.
    os.set_inheritable(held, True)
    if os.fork() != 0:
        os.close(server_lives)
        os.close(parent)
        return
    os.close(held)
    select.select([parent, server_lives], [], [])
    # Of a server that has ended this is no longer the child, and its number may be another's.
    if os.getppid() == server:
        os.kill(server, signal.SIGKILL)
    os._exit(0)


def run_chdb(module: str, folder: str, query: str) -> None:
    """Run a query in ClickHouse inside this process, on the data and with the configuration in `folder`."""
    loader = ExtensionFileLoader("_chdb", module)
    spec = spec_from_loader("_chdb", loader)
    assert spec is not None
    chdb = module_from_spec(spec)
    loader.exec_module(chdb)
    os.chdir(folder)
    chdb.query(query, path=folder)


class InnerPort:
    """The library's port. Its methods may be called from any thread."""

    def __init__(self, port: int, guarded: bool) -> None:
        self._port = port
        self._guarded = guarded and sys.platform == "linux"
        self._listener: socket.socket | None = None
        self._lock = Lock()
        if self._guarded:
            Thread(target=self._guard, daemon=True).start()

    def _guard(self) -> None:
        """Wait until the library listens; then let in nobody but `connect`, and cut off who came before."""
        while not (found := [each for each in _sockets_at(self._port) if _listens(each)]):
            time.sleep(0.001)
        _let_in(found[0], None)
        # Those that the library has not accepted yet are no sockets of this process: they become some when it does.
        while _waiting(found[0]):
            time.sleep(0.001)
        time.sleep(ACCEPT_S)
        for each in _sockets_at(self._port):
            with suppress(OSError):
                if not _listens(each):
                    each.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._listener = found[0]

    def connect(self) -> socket.socket:
        """Return a connection to the library. Raises OSError, also if it takes longer than `CONNECT_S`."""
        client = socket.socket()
        client.settimeout(CONNECT_S)
        try:
            if not self._guarded:
                client.connect((HOST, self._port))
                client.settimeout(None)
                return client
            # Nobody else can have this address and port while the socket holds them.
            client.bind((HOST, 0))
            with self._lock:
                if self._listener is None:
                    raise ConnectionRefusedError("the library does not listen yet")
                _let_in(self._listener, client.getsockname()[1])
                try:
                    client.connect((HOST, self._port))
                finally:
                    _let_in(self._listener, None)
            client.settimeout(None)
        except BaseException:
            client.close()
            raise
        return client


def _sockets_at(port: int) -> Iterator[socket.socket]:
    """This process's sockets, whoever made them, at a loopback port; closing one leaves the original open."""
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if not stat.S_ISSOCK(os.stat(int(name)).st_mode):
                continue
            found = socket.socket(fileno=os.dup(int(name)))
            if found.family == socket.AF_INET and found.getsockname() == (HOST, port):
                yield found


def _listens(one: socket.socket) -> bool:
    return bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _waiting(listener: socket.socket) -> int:
    """How many connections wait to be accepted (tcp(7), TCP_INFO of a socket that listens)."""
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_UNACKED + 4)
    return int.from_bytes(info[TCP_INFO_UNACKED:], sys.byteorder)


def _let_in(listener: socket.socket, port: int | None) -> None:
    """Let TCP connections begin from this loopback port, or from nowhere; those that exist go on.

    The program sees a segment from its TCP header on (RFC 9293, 3.1), the IP header at offset -0x100000.
    """
    halfword, word, byte, both, equal, end = 0x28, 0x20, 0x30, 0x54, 0x15, 0x06
    address = int.from_bytes(socket.inet_aton(HOST), "big")
    program = [
        (byte, 0, 0, 13),
        (both, 0, 0, 0x12),
        # Of SYN and ACK only the first segment has just SYN. Jumps: lines to skip if so, if not.
        (equal, 0, 4, 0x02),
        (halfword, 0, 0, 0),
        (equal, 0, 3, port or 0),
        (word, 0, 0, 0x1_0000_0000 - 0x100000 + 12),
        (equal, 0, 1, address),
        (end, 0, 0, 0xFFFFFFFF),
        (end, 0, 0, 0),
    ]
    lines = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    listener.setsockopt(
        socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(program), ctypes.addressof(lines))
    )


def forward(port: int, inner: InnerPort, metadata: Path, login: tuple[str, str]) -> None:
    """Carry every connection at `port` to `inner` from now on. Raises OSError if `port` is taken.

    `metadata`: the server's folder with a file for each database. `login`: user and digest of the password.
    """
    listener = socket.create_server((HOST, port), backlog=256)

    def accept() -> None:
        while True:
            client, _ = listener.accept()
            Thread(target=_carry, args=(client, inner, metadata, login), daemon=True).start()

    Thread(target=accept, daemon=True).start()


def _carry(client: socket.socket, inner: InnerPort, metadata: Path, login: tuple[str, str]) -> None:
    with client:
        try:
            greeting = _greeting(client)
            if refusal := _refusal(greeting, metadata, login):
                client.sendall(refusal)
                return
            server = inner.connect()
        except (OSError, ValueError):
            return
        with server:
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            requests = Thread(target=_requests, args=(client, server, greeting.packet), daemon=True)
            requests.start()
            _answers(server, client)
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            requests.join()


class _Greeting:
    """The Hello packet of ClickHouse's native protocol: number 0, name, three version numbers, three texts.

    Raises IndexError if bytes are missing, ValueError if this is something else.
    """

    def __init__(self, packet: bytes) -> None:
        self.packet = packet
        self._at = 0
        if self._number() != 0:
            raise ValueError("not a Hello")
        self._text()
        for _ in range(3):
            self._number()
        self.database, self.user, self.password = self._text(), self._text(), self._text()

    def _number(self) -> int:
        value = 0
        for shift in range(0, 63, 7):
            byte = self.packet[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ValueError("not a number")

    def _text(self) -> str:
        end = self._number() + self._at
        if end > MAX_GREETING:
            raise ValueError("too long")
        if end > len(self.packet):
            raise IndexError
        text, self._at = self.packet[self._at : end], end
        return text.decode()


def _greeting(client: socket.socket) -> _Greeting:
    packet = b""
    while chunk := client.recv(MAX_GREETING):
        packet += chunk
        with suppress(IndexError):
            return _Greeting(packet)
    raise ValueError("the client left")


def _refusal(greeting: _Greeting, metadata: Path, login: tuple[str, str]) -> bytes | None:
    """The Exception packet for a greeting that the library would die of."""
    user, digest = login
    shown = sha256(greeting.password.encode()).hexdigest()
    if greeting.user != user or not compare_digest(shown, digest):
        return _exception(516, f"{greeting.user}: Authentication failed: the user is {user}")
    if greeting.database in ("", "system", "INFORMATION_SCHEMA", "information_schema"):
        return None
    if (metadata / f"{greeting.database}.sql").exists() or greeting.database == "default":
        return None
    return _exception(81, f"Database {greeting.database} does not exist. (UNKNOWN_DATABASE)")


def _exception(code: int, message: str) -> bytes:
    texts = (b"DB::Exception", f"DB::Exception: {message}".encode()[:500], b"")
    sized = b"".join(_size(len(text)) + text for text in texts)
    return b"\x02" + code.to_bytes(4, "little") + sized + b"\x00"


def _size(number: int) -> bytes:
    return bytes([number]) if number < 0x80 else bytes([number & 0x7F | 0x80, number >> 7])


def _requests(client: socket.socket, server: socket.socket, greeting: bytes) -> None:
    with suppress(OSError):
        server.sendall(greeting)
        while chunk := client.recv(CHUNK):
            server.sendall(chunk)
    with suppress(OSError):
        server.shutdown(socket.SHUT_WR)


def _answers(server: socket.socket, client: socket.socket) -> None:
    gone = False
    with suppress(OSError):
        # Read to the end even if nobody wants it: closing with unread answers would break the connection off.
        while chunk := server.recv(CHUNK):
            if not gone:
                try:
                    client.sendall(chunk)
                except OSError:
                    gone = True


def main() -> None:
    """Follow the command line described above."""
    bond, mode, program, *arguments = sys.argv[1:]
    die_with_parent(bond)
    if mode == "exec":
        os.execv(program, [program, *arguments])  # noqa: S606 - a server of ours, by absolute path
    inner_port, module, folder, user, digest, query = arguments
    inner = InnerPort(int(inner_port), guarded=digest != NO_PASSWORD)
    forward(int(program), inner, Path(folder) / "metadata", (user, digest))
    run_chdb(module, folder, query)


if __name__ == "__main__":
    main()
