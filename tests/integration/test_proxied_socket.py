"""The header of the PROXY protocol on real sockets, under both event loops, with and without TLS behind it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import uvloop
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from services.edge.proxied import ProxiedSocket
from tests.integration.certificates import Authority, client_context
from tests.patience import WAIT_S

ADDRESS = "203.0.113.9"
V1 = f"PROXY TCP4 {ADDRESS} 127.0.0.1 4369 9080\r\n".encode()
LOOPS: dict[str, Callable[..., Any]] = {"asyncio": asyncio.run, "uvloop": uvloop.run}
PIECES = {
    "at once": [V1],
    "in pieces": [V1[:3], V1[3:20], V1[20:]],
    "from who is no proxy": [],
}


@pytest.mark.parametrize("run", LOOPS.values(), ids=LOOPS)
@pytest.mark.parametrize("pieces", PIECES.values(), ids=PIECES)
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "TLS"])
def test_a_socket_knows_whom_a_proxy_hands_on(
    tmp_path: Path, run: Callable[..., Any], pieces: list[bytes], encrypted: bool
) -> None:
    authority = Authority(tmp_path)
    issued = authority.issue("127.0.0.1", server=True)
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_tls.load_cert_chain(issued.certificate, issued.key)
    options: dict[str, Any] = {}
    if encrypted:
        options = {"ssl": client_context(authority.ca), "server_hostname": "127.0.0.1"}

    class Socket(ProxiedSocket):
        proxies = (ip_network("127.0.0.0/8" if pieces else "192.0.2.0/24"),)
        tls = server_tls if encrypted else None

    async def echo(served: ServerConnection) -> None:
        assert isinstance(served, Socket)
        seen = served.transport.get_extra_info("ssl_object") is not None

        def answer(message: bytes) -> bool:
            return served.try_answer(f"{served.peer} {seen} {message.decode()}")

        served.on_message = answer
        while (kept := served.next_message()) is not None:
            answer(kept)
        await served.wait_closed()

    async def play() -> None:
        server = await serve(echo, "127.0.0.1", 0, create_connection=Socket, compression=None)
        port = next(iter(server.sockets)).getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece in pieces:
                raw.sendall(piece)
                await asyncio.sleep(0.01)
            raw.setblocking(False)
            scheme = "wss" if encrypted else "ws"
            async with connect(f"{scheme}://127.0.0.1/x", sock=raw, proxy=None, **options) as client:
                for number in range(3):
                    await client.send(str(number))
                    told = await client.recv()
                    assert told == f"{ADDRESS if pieces else '127.0.0.1'} {encrypted} {number}"
        server.close()
        await server.wait_closed()

    run(play())


@pytest.mark.parametrize("run", LOOPS.values(), ids=LOOPS)
def test_tls_in_the_same_segment_as_the_header_is_understood(tmp_path: Path, run: Callable[..., Any]) -> None:
    authority = Authority(tmp_path)
    issued = authority.issue("127.0.0.1", server=True)
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_tls.load_cert_chain(issued.certificate, issued.key)

    class Socket(ProxiedSocket):
        proxies = (ip_network("127.0.0.0/8"),)
        tls = server_tls

    async def play() -> None:
        server = await serve(lambda served: served.wait_closed(), "127.0.0.1", 0, create_connection=Socket)
        port = next(iter(server.sockets)).getsockname()[1]
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_context(authority.ca).wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(V1 + outgoing.read())
        async with asyncio.timeout(WAIT_S):
            while True:
                incoming.write(await reader.read(1 << 16))
                try:
                    client.do_handshake()
                except ssl.SSLWantReadError:
                    continue
                break
            # The request comes together with the end of the handshake.
            client.write(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
            writer.write(outgoing.read())
            answer = b""
            while b"HTTP/1.1 426" not in answer:
                incoming.write(await reader.read(1 << 16))
                try:
                    answer += client.read()
                except ssl.SSLWantReadError:
                    continue
        writer.close()
        server.close()
        await server.wait_closed()

    run(play())


@pytest.mark.parametrize("run", LOOPS.values(), ids=LOOPS)
@pytest.mark.parametrize("sent", [b"GET /x HTTP/1.1\r\n\r\n", b"PROXY ", V1[:12], b""], ids=repr)
def test_without_a_header_a_proxy_is_cut_in_time(run: Callable[..., Any], sent: bytes) -> None:
    class Socket(ProxiedSocket):
        proxies = (ip_network("127.0.0.0/8"),)
        deadline_s = 0.2

    async def play() -> None:
        server = await serve(lambda served: served.wait_closed(), "127.0.0.1", 0, create_connection=Socket)
        port = next(iter(server.sockets)).getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        async with asyncio.timeout(WAIT_S):
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
        writer.close()
        server.close()
        await server.wait_closed()

    run(play())
