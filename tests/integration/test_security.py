"""Security profiles 0 to 3 on real sockets, and what a change of registry or files does to open ones."""

from __future__ import annotations

import asyncio
import ssl
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from socket import create_connection
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from libs.bus.admin import apply_contract
from libs.bus.settings import BusSettings
from libs.events.ids import new_id
from libs.events.ocpp_log import ConnectionOpened, ConnectionRefused
from libs.events.registry import CredentialsRegistered, PasswordDigest, StationRegistered
from libs.ocpp.passwords import password_digest
from libs.runtime.clock import now_us
from libs.testing.localstack import Endpoints
from libs.testing.localstack.endpoints import free_ports
from tests.integration.certificates import OPERATOR, Authority, Issued, client_context
from tests.integration.edge_process import Charger, EdgeProcess, Log, bus_settings, edge, open_log, until

TEXT = b"correct horse battery"
BINARY = bytes(range(236, 256))
FAST_S = 1.0
"""How soon a socket is closed that has lost its right to be open."""


@pytest.fixture(scope="module")
def bus(stack: Endpoints) -> BusSettings:
    settings = bus_settings(stack, f"edge{new_id()[:6]}")
    asyncio.run(apply_contract(settings))
    return settings


@pytest.fixture
async def log(bus: BusSettings) -> AsyncIterator[Log]:
    async with open_log(bus) as log:
        yield log


def fields() -> dict[str, Any]:
    now = now_us()
    return {"event_id": new_id(), "occurred_at": now, "recorded_at": now, "cause_id": "test"}


async def register(log: Log, name: str, **changes: Any) -> None:
    record = StationRegistered(**fields(), station_id=name, **changes)
    await log.publish("registry.stations", name, record)


def kept(password: bytes) -> PasswordDigest:
    salt = password[:16].hex()
    return PasswordDigest(salt=salt, digest=password_digest(salt, password))


async def set_passwords(log: Log, name: str, *passwords: bytes) -> None:
    record = CredentialsRegistered(**fields(), station_id=name, passwords=tuple(map(kept, passwords)))
    await log.publish("registry.credentials", name, record)


def basic(user: str, password: bytes) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(user.encode() + b":" + password).decode()}


class Guarded:
    """An edge with a plain and a TLS port, and the authority of its stations."""

    def __init__(self, process: EdgeProcess, tls_port: int, authority: Authority, server: Issued) -> None:
        self.process = process
        self.tls_port = tls_port
        self.authority = authority
        self.server = server

    @asynccontextmanager
    async def plain(self, station: str, password: bytes | None = None) -> AsyncIterator[Charger]:
        headers = None if password is None else basic(station, password)
        async with self._connect(f"ws://127.0.0.1:{self.process.port}", station, headers) as charger:
            yield charger

    @asynccontextmanager
    async def tls(
        self, station: str, password: bytes | None = None, certificate: Issued | None = None
    ) -> AsyncIterator[Charger]:
        headers = None if password is None else basic(station, password)
        context = client_context(self.authority.ca, certificate)
        url = f"wss://127.0.0.1:{self.tls_port}"
        async with self._connect(url, station, headers, ssl=context) as charger:
            yield charger

    @asynccontextmanager
    async def _connect(
        self, url: str, station: str, headers: dict[str, str] | None, **options: Any
    ) -> AsyncIterator[Charger]:
        async with connect(
            f"{url}/ocpp/{station}",
            subprotocols=[Subprotocol("ocpp1.6")],
            additional_headers=headers,
            ping_interval=None,
            close_timeout=1,
            proxy=None,
            **options,
        ) as socket:
            yield Charger(socket)


@asynccontextmanager
async def guarded(bus: BusSettings, folder: Path, **settings: object) -> AsyncIterator[Guarded]:
    authority = Authority(folder)
    server = authority.issue("127.0.0.1", server=True)
    (port,) = free_ports(1)
    files: dict[str, Any] = {
        "edge_tls_port": port,
        "tls_certificate": server.certificate,
        "tls_key": server.key,
        "tls_client_ca": authority.ca,
        "tls_crl": authority.crl,
        "tls_operator": OPERATOR,
        "unknown_stations": "reject",
    }
    async with edge(bus, **(files | settings)) as process:
        yield Guarded(process, port, authority, server)


async def refused(opening: Any) -> InvalidStatus:
    """The handshake is refused, the same way whatever the reason."""
    with pytest.raises(InvalidStatus) as error:
        async with opening:
            pass
    response = error.value.response
    assert response.status_code == 401
    assert response.body == b"Unauthorized\n"
    assert set(response.headers) == {
        "date", "connection", "content-length", "content-type", "www-authenticate",
    }  # fmt: skip
    return error.value


async def cut_at_once(charger: Charger) -> None:
    began = time.monotonic()
    assert await charger.closed() == 1008
    assert time.monotonic() - began < FAST_S


async def profile_of(log: Log, name: str, number: int) -> int:
    """The profile of the station's connection of that number, counted from 1."""

    def opened() -> list[ConnectionOpened]:
        found = log.of("ocpp.lifecycle", ConnectionOpened, name)
        return found if len(found) >= number else []

    found: list[ConnectionOpened] = await until(opened, what=f"{name} connected {number} times")
    return found[number - 1].security_profile


async def reasons(log: Log, name: str, *expected: str) -> None:
    def seen() -> bool:
        return set(expected) <= {r.reason for r in log.of("ocpp.rejected", ConnectionRefused, name)}

    await until(seen, what=f"{name} refused for {expected}")


async def test_a_connection_has_the_profile_that_it_proves(
    bus: BusSettings, log: Log, tmp_path: Path
) -> None:
    await register(log, "sp")
    await set_passwords(log, "sp", BINARY)
    async with guarded(bus, tmp_path) as edge:
        certificate = edge.authority.issue("SP")
        for number, (opening, profile) in enumerate(
            [
                (edge.plain("sp"), 0),
                (edge.plain("SP", BINARY), 1),
                (edge.plain("sp", BINARY.hex().encode()), 1),
                (edge.tls("sp"), 0),
                (edge.tls("sp", BINARY), 2),
                (edge.tls("sp", None, certificate), 3),
            ],
            1,
        ):
            async with opening as charger:
                assert "currentTime" in await charger.call("Heartbeat", {})
            assert await profile_of(log, "sp", number) == profile
        await refused(edge.plain("sp", TEXT))
        await reasons(log, "sp", "wrong_password")


async def test_less_than_the_stations_profile_is_refused_uniformly(
    bus: BusSettings, log: Log, tmp_path: Path
) -> None:
    for profile in (1, 2, 3):
        await register(log, f"needs-{profile}", security_profile=profile)
        await set_passwords(log, f"needs-{profile}", TEXT)
    async with guarded(bus, tmp_path) as edge:
        own = {profile: edge.authority.issue(f"needs-{profile}") for profile in (1, 2, 3)}
        for profile in (1, 2, 3):
            name = f"needs-{profile}"
            ways = [
                edge.plain(name),
                edge.plain(name, TEXT),
                edge.tls(name, TEXT),
                edge.tls(name, None, own[profile]),
            ]
            for proven, opening in enumerate(ways):
                if proven < profile:
                    await refused(opening)
                else:
                    async with opening as charger:
                        assert "currentTime" in await charger.call("Heartbeat", {})
        await refused(edge.tls("needs-3", None, edge.authority.issue("needs-3", "Somebody Else")))
        await refused(edge.tls("needs-3", TEXT, own[2]))
        await refused(edge.plain("nobody", TEXT))
        await reasons(log, "needs-3", "missing_password", "low_profile", "wrong_certificate")
        await reasons(log, "nobody", "unknown_station")


async def test_a_changed_registry_entry_closes_the_socket_at_once(
    bus: BusSettings, log: Log, tmp_path: Path
) -> None:
    async with guarded(bus, tmp_path) as edge:
        await register(log, "live", security_profile=1)
        await set_passwords(log, "live", TEXT)
        await register(log, "kept", security_profile=1)
        await set_passwords(log, "kept", TEXT)
        certificate = edge.authority.issue("live")

        async def admitted(opening: Any) -> None:
            """Until the edge has read what was registered."""

            async def try_once() -> bool:
                try:
                    async with opening():
                        return True
                except InvalidStatus:
                    return False

            for _ in range(100):
                if await try_once():
                    return
                await asyncio.sleep(0.02)
            raise AssertionError("never admitted")

        await admitted(lambda: edge.plain("live", TEXT))
        await admitted(lambda: edge.plain("kept", TEXT))
        async with edge.plain("kept", TEXT) as kept:
            async with edge.plain("live", TEXT) as charger:
                await charger.call("Heartbeat", {})
                await set_passwords(log, "live", TEXT, BINARY)
                await charger.call("Heartbeat", {})
                await set_passwords(log, "live", BINARY)
                await cut_at_once(charger)
            await refused(edge.plain("live", TEXT))
            async with edge.plain("live", BINARY) as charger:
                await charger.call("Heartbeat", {})
                await register(log, "live", security_profile=2)
                await cut_at_once(charger)
            async with edge.tls("live", None, certificate) as charger:
                await charger.call("Heartbeat", {})
                await register(log, "live", security_profile=2, certificate_name="another")
                await cut_at_once(charger)
            async with edge.tls("live", BINARY) as charger:
                await charger.call("Heartbeat", {})
                await log.publish("registry.credentials", "live", None)
                await cut_at_once(charger)
            assert "currentTime" in await kept.call("Heartbeat", {})


async def test_files_that_change_are_used_by_the_next_handshake_and_a_revoked_one_is_cut(
    bus: BusSettings, log: Log, tmp_path: Path
) -> None:
    await register(log, "rev", security_profile=3)
    await register(log, "stays", security_profile=3)
    async with guarded(bus, tmp_path, auth_failures=0) as edge:
        mine, other = edge.authority.issue("rev"), edge.authority.issue("stays")
        async with edge.tls("rev", None, mine) as charger, edge.tls("stays", None, other) as stays:
            await charger.call("Heartbeat", {})
            edge.authority.revoke(mine.serial)
            assert await charger.closed() == 1008
            assert "currentTime" in await stays.call("Heartbeat", {})
        await refused(edge.tls("rev", None, mine))
        await reasons(log, "rev", "revoked_certificate")

        # A new authority altogether; first with a certificate that its key does not fit, which changes nothing.
        folder = tmp_path / "new"
        folder.mkdir()
        fresh = Authority(folder, "Second")
        replacement = fresh.issue("127.0.0.1", server=True)
        edge.server.certificate.write_bytes(replacement.certificate.read_bytes())
        async with edge.tls("stays", None, other):
            pass
        edge.authority.ca.write_bytes(fresh.ca.read_bytes())
        edge.server.key.write_bytes(replacement.key.read_bytes())
        renewed = fresh.issue("stays")

        async def served_anew() -> bool:
            try:
                async with edge.tls("stays", None, renewed):
                    return True
            except (ssl.SSLError, OSError, InvalidHandshake, ConnectionClosed):
                return False

        for _ in range(100):
            if await served_anew():
                break
            await asyncio.sleep(0.1)
        else:
            raise AssertionError("the new files are not used")


async def test_only_modern_tls_is_spoken(bus: BusSettings, tmp_path: Path) -> None:
    async with guarded(bus, tmp_path) as edge:

        def suite(minimum: ssl.TLSVersion, maximum: ssl.TLSVersion, ciphers: str) -> str:
            context = client_context(edge.authority.ca)
            context.set_ciphers(ciphers)
            context.minimum_version, context.maximum_version = minimum, maximum
            with (
                create_connection(("127.0.0.1", edge.tls_port), 5) as plain,
                context.wrap_socket(plain, server_hostname="127.0.0.1") as encrypted,
            ):
                assert encrypted.compression() is None
                found = encrypted.cipher()
                assert found is not None
                return str(found[0])

        v12, v13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
        assert "GCM" in await asyncio.to_thread(suite, v12, v12, "DEFAULT")
        assert await asyncio.to_thread(suite, v12, v12, "ECDHE+AES128+AESGCM")
        assert "TLS_AES" in await asyncio.to_thread(suite, v13, v13, "DEFAULT")
        for minimum, maximum, ciphers in [
            (v12, v12, "AES128-GCM-SHA256:@SECLEVEL=0"),
            (v12, v12, "ECDHE+AES+SHA1:@SECLEVEL=0"),
            (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0"),
        ]:
            with pytest.raises((ssl.SSLError, OSError)):
                await asyncio.to_thread(suite, minimum, maximum, ciphers)
