"""An edge with passwords, TLS and client certificates, and stations that prove themselves to it."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from libs.bus.settings import BusSettings
from libs.devstack.endpoints import free_ports
from libs.events.ids import new_id
from libs.events.ocpp_log import ConnectionOpened, ConnectionRefused
from libs.events.registry import CredentialsRegistered, PasswordDigest, StationRegistered
from libs.ocpp.passwords import password_digest
from libs.runtime.clock import now_us
from tests.integration.certificates import OPERATOR, Authority, Issued, client_context
from tests.integration.edge_process import Charger, EdgeProcess, Log, edge
from tests.patience import WAIT_S, until

TEXT = b"correct horse battery"
BINARY = bytes(range(236, 256))
FAST_S = 20.0
"""How soon a socket is closed that has lost its right to be open: before it is pinged, or anything else is due."""


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
            open_timeout=WAIT_S,
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

    found: list[ConnectionOpened] = await until(opened, f"{name} connected {number} times")
    return found[number - 1].security_profile


async def reasons(log: Log, name: str, *expected: str) -> None:
    def seen() -> bool:
        return set(expected) <= {r.reason for r in log.of("ocpp.rejected", ConnectionRefused, name)}

    await until(seen, f"{name} refused for {expected}")
