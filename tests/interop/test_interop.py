"""A whole session and remote control with chargers on client libraries that we did not write.

The edge, the ledger, the sessions processor, the sink and the API are the real ones, on real Kafka and ClickHouse;
commands go in at the API and sessions are read from it. See docs/interoperability.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from libs.devstack.endpoints import free_ports
from libs.events.ocpp_log import ConnectionOpened, FrameRejected
from libs.events.registry import CredentialsRegistered, PasswordDigest, StationRegistered
from libs.ocpp.passwords import password_digest
from libs.runtime.service import Health
from services.commands.app import run as run_ledger
from services.commands.settings import CommandsSettings
from services.sessions.app import run as run_sessions
from services.sessions.settings import SessionsSettings
from tests.integration.api_platform import Json, Platform, api, ok, stamp
from tests.integration.certificates import Authority
from tests.integration.edge_process import EdgeProcess, Log, calls, edge, open_log
from tests.interop.programs import ForeignCharger, running, skip_unless_possible
from tests.patience import until

__all__ = ["api"]

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.interop]

CLIENTS = [
    ("python", "ocpp1.6"),
    ("python", "ocpp2.0.1"),
    ("python", "ocpp2.1"),
    ("node", "ocpp1.6"),
    ("node", "ocpp2.0.1"),
    ("node", "ocpp2.1"),
    ("go", "ocpp1.6"),
    ("go", "ocpp2.0.1"),
    ("java", "ocpp1.6"),
]
SECURE_CLIENTS = [("python", "ocpp2.1"), ("node", "ocpp2.0.1"), ("go", "ocpp2.0.1"), ("java", "ocpp1.6")]
MOST_S = 60
"""The longest that the API waits for the fate of a command."""
PASSWORD = "correct horse battery"


class Central(NamedTuple):
    """The central system under test, and the authority that its stations' certificates come from."""

    api: Platform
    edge: EdgeProcess
    tls_port: int
    authority: Authority
    log: Log

    @property
    def endpoint(self) -> str:
        return f"ws://127.0.0.1:{self.edge.port}/ocpp"

    @property
    def tls_endpoint(self) -> str:
        return f"wss://127.0.0.1:{self.tls_port}/ocpp"

    async def command(self, station_id: str, **wish: Any) -> Json:
        """Send a command through the API; returns it with its outcome."""
        response = await self.api.http.post(
            f"/stations/{station_id}/commands", json=wish | {"wait_s": MOST_S}
        )
        found: Json = await ok(response)
        return found

    async def session(self, station_id: str, transaction: str) -> Json:
        """The ended session of a transaction, as the API tells it."""

        async def ended() -> Json | None:
            answer = await ok(
                await self.api.http.get("/sessions", params={"station_id": station_id, "status": "ended"})
            )
            found = [each for each in answer["items"] if each["transaction_id"] == transaction]
            return found[0] if found else None

        found: Json = await until(ended)
        return found


@asynccontextmanager
async def processor(run: Callable[..., Coroutine[Any, Any, None]], settings: Any) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(run(settings, Health(), stop))
    try:
        yield
    finally:
        stop.set()
        await task


async def register(api: Platform, station_id: str, profile: int) -> None:
    salt = PASSWORD[:16].encode().hex()
    digest = PasswordDigest(salt=salt, digest=password_digest(salt, PASSWORD.encode()))
    credentials = CredentialsRegistered(**stamp(), station_id=station_id, passwords=(digest,))
    await api.emit("registry.credentials", station_id, credentials)
    station = StationRegistered(**stamp(), station_id=station_id, security_profile=profile)
    await api.emit("registry.stations", station_id, station)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def central(api: Platform, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Central]:
    where = api.settings.model_dump()
    authority = Authority(tmp_path_factory.mktemp("authority"))
    server = authority.issue("127.0.0.1", server=True)
    (tls_port,) = free_ports(1)
    files: dict[str, Any] = {
        "edge_tls_port": tls_port,
        "tls_certificate": server.certificate,
        "tls_key": server.key,
        "tls_client_ca": authority.ca,
    }
    # The edge opens its ports when it has read the registry.
    for language, _ in SECURE_CLIENTS:
        for profile in (1, 2, 3):
            await register(api, f"secure-{language}-{profile}", profile)
    async with (
        processor(run_ledger, CommandsSettings.model_validate(where)),
        processor(run_sessions, SessionsSettings.model_validate(where)),
        edge(api.settings, **files) as process,
        open_log(api.settings) as log,
    ):
        yield Central(api, process, tls_port, authority, log)


def every(clients: list[tuple[str, str]]) -> pytest.MarkDecorator:
    cases = [pytest.param(*client, marks=skip_unless_possible(client[0])) for client in clients]
    return pytest.mark.parametrize(("language", "version"), cases)


@every(CLIENTS)
async def test_a_session_and_remote_control(central: Central, language: str, version: str) -> None:
    station_id = f"interop-{language}-{version}"
    async with running(language, central.endpoint, station_id, version) as charger:
        assert (await charger.told("connected"))["subprotocol"] == version
        assert (await charger.told("booted"))["status"] == "Accepted"
        assert (await charger.told("authorised"))["status"] == "Accepted"
        first = await charger.told("started")
        await charger.told("metered")

        await configuration_is_read(central, station_id, version)
        await session_is_stopped(central, charger, station_id, first)

        started = await central.command(
            station_id,
            command="RemoteStart",
            payload={"id_token": "APP", "evse_id": 1, "remote_start_id": 77},
        )
        assert started["status"] == "ACCEPTED", started
        second = await charger.told("started", 2)
        assert second["transaction"] != first["transaction"]
        await charger.told("metered", 2)
        await session_is_stopped(central, charger, station_id, second)

        await availability_is_changed(central, station_id, version)
        await a_message_is_triggered(central, charger, station_id)
        await the_charger_is_reset(central, charger, station_id)
    # All that the edge wrote of this charger was written in order, so this is all there is.
    assert not central.log.of("ocpp.rejected", FrameRejected, station_id)


@every(SECURE_CLIENTS)
async def test_a_client_proves_who_it_is(central: Central, language: str, version: str) -> None:
    ca = central.authority.ca
    for profile, endpoint in ((1, central.endpoint), (2, central.tls_endpoint), (3, central.tls_endpoint)):
        station_id = f"secure-{language}-{profile}"
        secrets: dict[str, object] = {"password": PASSWORD}
        if profile > 1:
            secrets["ca"] = ca
        if profile > 2:
            issued = central.authority.issue(station_id)
            secrets = {"ca": ca, "certificate": issued.certificate, "key": issued.key}
        async with running(language, endpoint, station_id, version, **secrets) as charger:
            assert (await charger.told("booted"))["status"] == "Accepted"
            await charger.told("metered")
        opened = await until(partial(central.log.of, "ocpp.lifecycle", ConnectionOpened, station_id))
        assert [connection.security_profile for connection in opened] == [profile]
        if profile < 3:
            async with running(
                language, endpoint, station_id, version, **(secrets | {"password": "guess" * 4})
            ) as impostor:
                await impostor.gave_up()


async def configuration_is_read(central: Central, station_id: str, version: str) -> None:
    if version == "ocpp1.6":
        read = await central.command(
            station_id, action="GetConfiguration", payload={"key": ["HeartbeatInterval", "Nonsense"]}
        )
        assert read["result"]["configurationKey"][0]["value"] == "300"
        assert read["result"]["unknownKey"] == ["Nonsense"]
        assert read["status"] == "ACCEPTED", read
    else:
        variables = [
            {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": name}}
            for name in ("HeartbeatInterval", "Nonsense")
        ]
        read = await central.command(
            station_id, action="GetVariables", payload={"getVariableData": variables}
        )
        known, unknown = read["result"]["getVariableResult"]
        assert (known["attributeStatus"], known["attributeValue"]) == ("Accepted", "300")
        assert unknown["attributeStatus"] == "UnknownVariable"
        # Of several items all must be accepted.
        assert read["status"] == "REJECTED", read


async def session_is_stopped(
    central: Central, charger: ForeignCharger, station_id: str, started: Json
) -> None:
    """By the central system; the energy of the session is what the charger's meter says."""
    stop = await central.command(
        station_id, command="RemoteStop", payload={"transaction_id": started["transaction"]}
    )
    assert stop["status"] == "ACCEPTED", stop
    stopped = await charger.told("stopped", len(charger.all("started")))
    assert stopped["transaction"] == started["transaction"]
    session = await central.session(station_id, started["transaction"])
    assert session["energy_wh"] == stopped["wh"] - started["wh"] == 2_000
    assert (session["meter_start_wh"], session["meter_stop_wh"]) == (started["wh"], stopped["wh"])
    assert (session["reason"], session["review"]) == ("Remote", [])


async def availability_is_changed(central: Central, station_id: str, version: str) -> None:
    for kind, status in (("Inoperative", "Unavailable"), ("Operative", "Available")):
        payload = (
            {"connectorId": 1, "type": kind}
            if version == "ocpp1.6"
            else {"operationalStatus": kind, "evse": {"id": 1}}
        )
        changed = await central.command(station_id, action="ChangeAvailability", payload=payload)
        assert changed["status"] == "ACCEPTED", changed

        async def said(status: str = status) -> bool:
            said = [
                call.payload for call in calls(central.log, station_id) if call.action == "StatusNotification"
            ]
            return bool(said) and f'"{status}"' in said[-1]

        await until(said)


async def a_message_is_triggered(central: Central, charger: ForeignCharger, station_id: str) -> None:
    for number, message in enumerate(("StatusNotification", "Heartbeat"), 1):
        payload = {"requestedMessage": message}
        triggered = await central.command(station_id, action="TriggerMessage", payload=payload)
        assert triggered["status"] == "ACCEPTED", triggered
        assert (await charger.told("triggered", number))["action"] == message


async def the_charger_is_reset(central: Central, charger: ForeignCharger, station_id: str) -> None:
    reset = await central.command(station_id, command="Reset", payload={"kind": "soft"})
    assert reset["status"] == "ACCEPTED", reset
    await charger.told("restarted")
    assert (await charger.told("booted", 2))["status"] == "Accepted"
    boots = [call for call in calls(central.log, station_id) if call.action == "BootNotification"]
    assert len(boots) <= 2

    async def both() -> bool:
        found = [call for call in calls(central.log, station_id) if call.action == "BootNotification"]
        return len(found) == 2

    await until(both)
