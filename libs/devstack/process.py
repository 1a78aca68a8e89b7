"""One server of the stack as a child process: start, stop, kill, restart, readiness, log."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from libs.devstack import launch
from libs.devstack.endpoints import HOST
from libs.devstack.errors import StackError

POLL_S: Final = 0.05
LOG_TAIL_LINES: Final = 15


Reporter = Callable[[str], None]
"""Takes one line of progress, for people."""


class Server(Protocol):
    """One server of a stack, whatever runs it. Ports and data stay the same over `stop`, `kill`, `start`."""

    name: str

    @property
    def pid(self) -> int:
        """Process id; raises StackError when it does not run."""

    def is_ready(self) -> bool:
        """Say whether the server answers its clients' protocol now; never raises."""

    def is_running(self) -> bool:
        """Say whether its process lives, ready or not."""

    def check_alive(self) -> None:
        """Raise StackError if the server has ended."""

    def log_tail(self) -> str:
        """Return its last log lines."""

    def start(self, deadline_s: float = 60.0) -> None:
        """Start it and wait until it is ready; raises StackError."""

    def stop(self, grace_s: float = 10.0) -> None:
        """End it with SIGTERM, after `grace_s` with SIGKILL."""

    def kill(self) -> None:
        """End it with SIGKILL (kill -9) and wait until it is gone."""

    def restart(self, deadline_s: float = 60.0) -> None:
        """Stop it if it runs, then start it; returns when ready."""


class ServerProcess(ABC):
    """A server as a child process of this one, with one data folder and one log file.

    Ports and data stay the same over `stop`, `kill` and `start`. The child dies with this process.
    Every method blocks and may be called from any thread, one at a time for each part; from async
    code use `asyncio.to_thread`.
    """

    def __init__(self, name: str, log_path: Path) -> None:
        self.name = name
        self.log_path = log_path
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """Return the arguments of the launcher: its mode, the program and the program's arguments."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Say whether the server answers its clients' protocol now; never raises, returns within 2 s."""

    def environment(self) -> Mapping[str, str]:
        """Return the child's whole environment."""
        return {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR") if key in os.environ}

    def prepare(self) -> None:  # noqa: B027 - most parts have nothing to prepare
        """Make the data folder usable; called before each start."""

    @property
    def pid(self) -> int:
        """Process id of the running server; raises StackError when it does not run."""
        if self._process is None or self._process.poll() is not None:
            raise StackError(f"{self.name} does not run")
        return self._process.pid

    def is_running(self) -> bool:
        """Say whether the process lives, ready or not."""
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        """Start the process without waiting for readiness. Does nothing if it runs."""
        if self.is_running():
            return
        self.prepare()
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._process = _spawn(self.command(), self.environment(), self.log_path.parent, log.fileno())

    def start(self, deadline_s: float = 60.0) -> None:
        """Start the process and wait until it is ready; raises StackError with its last log lines."""
        self.launch()
        wait_ready([self], deadline_s)

    def stop(self, grace_s: float = 10.0) -> None:
        """End the process with SIGTERM, after `grace_s` with SIGKILL. Does nothing if it has ended."""
        self.terminate()
        self.wait_ended(grace_s)

    def terminate(self) -> None:
        """Send SIGTERM without waiting."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def wait_ended(self, grace_s: float) -> None:
        """Wait for the end of the process, which gets SIGKILL after `grace_s`."""
        if self._process is None:
            return
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def kill(self) -> None:
        """End the process with SIGKILL (kill -9) and wait until it is gone."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def restart(self, deadline_s: float = 60.0) -> None:
        """Stop the process if it runs, then start it on the same ports and data; returns when ready."""
        self.stop()
        self.start(deadline_s)

    def check_alive(self) -> None:
        """Raise StackError with the last log lines if the process has ended."""
        if self._process is None:
            raise StackError(f"{self.name} was not started")
        code = self._process.poll()
        if code is not None:
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"
            raise StackError(f"{self.name} ended with {how}; {self.log_tail()}")

    def log_tail(self) -> str:
        """Return where the log is and its last lines."""
        try:
            lines = self.log_path.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        except OSError:
            lines = []
        return "\n    ".join([f"last lines of {self.log_path}:", *(lines or ["(empty)"])])


def wait_ready(
    parts: Iterable[Server],
    deadline_s: float,
    report: Reporter = lambda line: None,
) -> None:
    """Poll the parts until all are ready, reporting each as it becomes so.

    Raises StackError as soon as one ends, or with the names of those still missing at the deadline.
    """
    started = time.monotonic()
    missing = list(parts)
    while missing:
        for part in list(missing):
            part.check_alive()
            if part.is_ready():
                missing.remove(part)
                report(f"{part.name} ready after {time.monotonic() - started:.1f} s")
        if missing and time.monotonic() - started > deadline_s:
            details = "\n".join(part.log_tail() for part in missing)
            raise StackError(
                f"not ready after {deadline_s:.0f} s: {', '.join(part.name for part in missing)}\n{details}"
            )
        time.sleep(POLL_S)


def answers_ok(url: str) -> bool:
    """Say whether a GET of this `http` URL is answered with 200. Connecting and each read may take a second."""
    # The standard library's client, because polling with one that prepares TLS each time costs half a core.
    address = urlsplit(url)
    connection = HTTPConnection(address.hostname or HOST, address.port, timeout=1)
    try:
        connection.request("GET", address.path)
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


PARENT_DEATH_SIGNAL = sys.platform == "linux"
"""Whether the system kills the servers when this process ends; otherwise each has a watchdog (`launch`)."""

_SpawnRequest = tuple[Future[subprocess.Popen[bytes]], list[str], dict[str, str], Path, int]


class _Spawner:
    """Starts every child from one thread that lives as long as this process.

    Linux sends a child its parent-death signal when the *thread* that forked it ends (prctl(2)); a
    server restarted from a pool's thread would otherwise die with that pool.
    """

    def __init__(self) -> None:
        self._requests: queue.SimpleQueue[_SpawnRequest] = queue.SimpleQueue()
        # Nothing is ever written: the watchdogs see its end when this process has gone.
        self._life, self._held = os.pipe()
        threading.Thread(target=self._run, name="devstack-spawner", daemon=True).start()

    def spawn(
        self, command: list[str], environment: Mapping[str, str], folder: Path, log: int
    ) -> subprocess.Popen[bytes]:
        done: Future[subprocess.Popen[bytes]] = Future()
        self._requests.put((done, command, dict(environment), folder, log))
        return done.result()

    def _run(self) -> None:
        while True:
            done, command, environment, folder, log = self._requests.get()
            bond, inherited = (
                (f"signal:{os.getpid()}", ())
                if PARENT_DEATH_SIGNAL
                else (f"pipe:{self._life}", (self._life,))
            )
            try:
                done.set_result(
                    subprocess.Popen(  # noqa: S603 - a server of ours, by absolute path
                        [sys.executable, "-I", launch.__file__, bond, *command],
                        # Crash dumps go beside the logs.
                        cwd=folder,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        env=environment,
                        pass_fds=inherited,
                        # Ctrl-C in a terminal reaches only this process, which then stops its parts in order.
                        start_new_session=True,
                    )
                )
            except OSError as error:
                done.set_exception(error)


_spawner: _Spawner | None = None
_spawner_lock = threading.Lock()


def _spawn(
    command: list[str], environment: Mapping[str, str], folder: Path, log: int
) -> subprocess.Popen[bytes]:
    global _spawner  # noqa: PLW0603 - one per process, made on first use
    with _spawner_lock:
        if _spawner is None:
            _spawner = _Spawner()
    return _spawner.spawn(command, environment, folder, log)
