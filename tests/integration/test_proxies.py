"""Behind proxies: whom a connection comes from, what it proves, and what strangers behind the same proxy can do."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake
from websockets.typing import Subprotocol

from libs.bus.settings import BusSettings
from libs.events.ocpp_log import ConnectionOpened, StationLocated
from tests.integration.attack_rig import status_of
from tests.integration.certificates import Issued, client_context
from tests.integration.edge_process import Charger, Log
from tests.integration.security_rig import BINARY, TEXT, Guarded, basic, guarded, register, set_passwords
from tests.patience import WAIT_S, until

LOCAL = "127.0.0.0/8"
ADDRESS = "203.0.113.9"
V1 = f"PROXY TCP4 {ADDRESS} 127.0.0.1 4369 9080\r\n".encode()
V2 = (
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"
    + socket.inet_aton(ADDRESS)
    + socket.inet_aton("127.0.0.1")
    + b"\x11\x11\x23\x78"
)


@asynccontextmanager
async def handed_on(
    edge: Guarded,
    station: str,
    header: bytes,
    password: bytes | None = None,
    *,
    tls: bool = False,
    certificate: Issued | None = None,
    headers: dict[str, str] | None = None,
) -> AsyncIterator[Charger]:
    """As a proxy does that passes bytes on: its own header first."""
    port = edge.tls_port if tls else edge.process.port
    with socket.create_connection(("127.0.0.1", port)) as raw:
        raw.sendall(header)
        raw.setblocking(False)
        options: dict[str, Any] = {}
        if tls:
            options = {"ssl": client_context(edge.authority.ca, certificate), "server_hostname": "127.0.0.1"}
        sent = headers or {}
        async with connect(
            f"{'wss' if tls else 'ws'}://127.0.0.1/ocpp/{station}",
            sock=raw,
            subprotocols=[Subprotocol("ocpp1.6")],
            additional_headers=sent | ({} if password is None else basic(station, password)),
            ping_interval=None,
            open_timeout=WAIT_S,
            close_timeout=1,
            proxy=None,
            **options,
        ) as opened:
            yield Charger(opened)


async def opened_by(log: Log, name: str, number: int = 1) -> tuple[str, int]:
    """Address and profile of the station's connection of that number, its last, in both topics that tell it."""

    def found() -> Any:
        opened = log.of("ocpp.lifecycle", ConnectionOpened, name)
        located = [record for record in log.of("edge.connections", StationLocated, name) if record.connected]
        return (opened[-1], located[-1]) if len(located) >= len(opened) >= number else None

    opened, located = await until(found, f"{name} connected")
    assert (located.remote_address, located.security_profile) == (
        opened.remote_address,
        opened.security_profile,
    )
    return opened.remote_address, opened.security_profile


@pytest.mark.parametrize("header", [V1, V2], ids=["version 1", "version 2"])
async def test_all_profiles_are_proved_behind_a_proxy_that_passes_tls_on(
    bus: BusSettings, log: Log, tmp_path: Path, header: bytes
) -> None:
    kind = "one" if header is V1 else "two"
    names = [f"{kind}-profile-{profile}" for profile in range(4)]
    for profile, name in enumerate(names):
        await register(log, name, security_profile=profile)
        await set_passwords(log, name, TEXT)
    async with guarded(bus, tmp_path, trusted_proxies=LOCAL, proxy_protocol=True) as edge:
        async with handed_on(edge, names[0], header):
            assert await opened_by(log, names[0]) == (ADDRESS, 0)
        async with handed_on(edge, names[1], header, TEXT):
            assert await opened_by(log, names[1]) == (ADDRESS, 1)
        async with handed_on(edge, names[2], header, TEXT, tls=True) as charger:
            assert "currentTime" in await charger.call("Heartbeat", {})
            assert await opened_by(log, names[2]) == (ADDRESS, 2)
        issued = edge.authority.issue(names[3])
        async with handed_on(edge, names[3], header, tls=True, certificate=issued) as charger:
            assert "currentTime" in await charger.call("Heartbeat", {})
            assert await opened_by(log, names[3]) == (ADDRESS, 3)
        # Without the header, or with half of one, there is no handshake.
        for half in (b"", header[:9]):
            reader, writer = await asyncio.open_connection("127.0.0.1", edge.process.port)
            writer.write(half + b"GET /ocpp/x HTTP/1.1\r\n\r\n" if not half else half + b"\xff\xff\xff")
            assert await reader.read() == b""
            writer.close()


async def test_tls_that_comes_in_one_segment_with_the_header_is_understood(
    bus: BusSettings, log: Log, tmp_path: Path
) -> None:
    async with guarded(bus, tmp_path, trusted_proxies=LOCAL, proxy_protocol=True) as edge:
        context = client_context(edge.authority.ca)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.tls_port)
        writer.write(V2 + outgoing.read())
        async with asyncio.timeout(WAIT_S):
            while True:
                incoming.write(await reader.read(1 << 16))
                try:
                    client.do_handshake()
                except ssl.SSLWantReadError:
                    continue
                break
        client.write(b"GET /ocpp/nobody HTTP/1.1\r\nHost: x\r\n\r\n")
        writer.write(outgoing.read())
        async with asyncio.timeout(WAIT_S):
            answer = b""
            while b"HTTP/1.1 4" not in answer:
                incoming.write(await reader.read(1 << 16))
                try:
                    answer += client.read()
                except ssl.SSLWantReadError:
                    continue
        writer.close()


async def test_what_a_stranger_says_of_his_address_is_not_believed(
    bus: BusSettings, log: Log, tmp_path: Path
) -> None:
    await register(log, "said", security_profile=1)
    await set_passwords(log, "said", TEXT)
    elsewhere = {"trusted_proxies": "198.51.100.0/24"}
    async with guarded(bus, tmp_path, **elsewhere, proxy_protocol=True) as edge:
        with pytest.raises((InvalidHandshake, OSError)):
            async with handed_on(edge, "said", V1, TEXT):
                pass
        async with handed_on(edge, "said", b"", TEXT):
            assert await opened_by(log, "said") == ("127.0.0.1", 1)
    async with guarded(bus, tmp_path, **elsewhere, forwarded=True) as edge:
        forged = {"X-Forwarded-For": ADDRESS, "X-Forwarded-Proto": "https"}
        async with handed_on(edge, "said", b"", TEXT, headers=forged):
            assert await opened_by(log, "said", 2) == ("127.0.0.1", 1)


async def test_behind_a_proxy_that_ends_tls_its_headers_say_who_comes_and_how(
    bus: BusSettings, log: Log, tmp_path: Path
) -> None:
    await register(log, "forwarded", security_profile=2)
    await set_passwords(log, "forwarded", TEXT)
    async with guarded(
        bus, tmp_path, trusted_proxies=LOCAL, forwarded=True, unknown_stations="reject"
    ) as edge:
        said = {"X-Forwarded-For": f"1.2.3.4, {ADDRESS}, 127.0.0.1", "X-Forwarded-Proto": "https"}
        async with handed_on(edge, "forwarded", b"", TEXT, headers=said):
            assert await opened_by(log, "forwarded") == (ADDRESS, 2)
        said["X-Forwarded-Proto"] = "http"
        assert (await status_of(handed_on(edge, "forwarded", b"", TEXT, headers=said)))[0] == 401


async def test_guesses_behind_a_shared_address_keep_nobody_out(
    bus: BusSettings, log: Log, tmp_path: Path
) -> None:
    """All chargers have the address of a balancer: one wrong password after the other, and the right one is let in."""
    await register(log, "owned", security_profile=1)
    await set_passwords(log, "owned", TEXT)
    limits = {"auth_failures": 5, "auth_failures_per_address": 8, "auth_window_s": 36_000, "reconnects": 0}
    async with guarded(bus, tmp_path, **limits) as edge:
        for _ in range(16):
            assert (await status_of(edge.plain("owned", BINARY)))[0] in (401, 429)
            async with edge.plain("owned", TEXT) as owner:
                assert "currentTime" in await owner.call("Heartbeat", {})
        assert (await status_of(edge.plain("owned", BINARY)))[0] == 429
        # With their own addresses, strangers do not even make each other wait.
    async with guarded(bus, tmp_path, **limits, trusted_proxies=LOCAL, forwarded=True) as edge:
        for number in range(20):
            said = {"X-Forwarded-For": f"203.0.113.{number}"}
            assert (await status_of(handed_on(edge, "owned", b"", BINARY, headers=said)))[0] == 401
