"""The ends of the platform: a charger's socket, the operators' API, and the log between them."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from libs.events.ocpp_log import ConnectionOpened, OcppCallReceived
from libs.events.record import Record
from libs.events.sessions import CdrIssued, SessionEnded, SessionStarted, SessionUpdated
from libs.events.telemetry import MeasurementsTaken
from tests.integration.certificates import Authority, Issued, client_context
from tests.integration.edge_process import Charger, EdgeProcess, Log, calls
from tests.integration.test_ocsp import Responder
from tests.patience import WAIT_S, until
from tests.scenarios.charger import Json, Refusal, ScriptedCharger

SITE, TARIFF = "yard", "day"
MOST_S = 60
"""The longest that the API waits for the fate of a command."""
LONG_AGO = "2020-01-01T00:00:00Z"
TOKENS: dict[str, Json] = {
    "TAG-OK": {},
    "TAG-OTHER": {},
    "TAG-BLOCKED": {"status": "Blocked"},
    "TAG-INVALID": {"status": "Invalid"},
    "TAG-EXPIRED": {"valid_until": LONG_AGO},
    "TAG-FAMILY-1": {"group_id": "FAMILY"},
    "TAG-FAMILY-2": {"group_id": "FAMILY"},
    "TAG-MASTER": {"group_id": "MASTERPASS"},
    "DE-ABC-C0000001-1": {"type": "eMAID"},
    "DE-ABC-C0000002-2": {"type": "eMAID", "status": "Blocked"},
}
"""What operators have registered before any charger comes. Others are unknown, and unknown tokens are refused."""

R = TypeVar("R", bound=Record)


class Rig:
    """Drives the platform from its ends. Everything waits for facts, with a deadline.

    `authority` issues the certificates of TLS, `responder` answers for those of contracts.
    """

    def __init__(
        self,
        edge: EdgeProcess,
        tls_port: int,
        authority: Authority,
        responder: Responder,
        log: Log,
        http: httpx.AsyncClient,
    ) -> None:
        self.edge = edge
        self.tls_port = tls_port
        self.authority = authority
        self.responder = responder
        self.log = log
        self.http = http

    # --- the operator

    async def get(self, path: str, **query: Any) -> Json:
        return ok(await self.http.get(path, params=query))

    async def change(self, path: str, **fields: Any) -> Json:
        """Change fields of a registry entry."""
        return ok(await self.http.patch(path, json=fields))

    async def put(self, path: str, body: Json, status: int = 200) -> Json:
        """Write a whole registry entry; 201 if it is new."""
        return ok(await self.http.put(path, json=body), status)

    async def post(self, path: str, body: Json) -> Json:
        return ok(await self.http.post(path, json=body))

    async def command(
        self, cp: ScriptedCharger, action: str, payload: Json, answer: Json | Refusal, **wish: Any
    ) -> Json:
        """Ask for an action of the charger's version, let the charger answer, return what became of it.

        The charger must have been asked exactly `payload`.
        """
        wish = {"action": action, "payload": payload, **wish}
        command, asked = await asyncio.gather(self.order(cp, wish), cp.expect(action, answer))
        assert asked == payload
        assert command["attempts"] == 1
        return command

    async def agreed(self, cp: ScriptedCharger, action: str, payload: Json, answer: Json) -> Json:
        """`command`, to which the charger says yes: the operator is told so, and its whole answer."""
        return await self._told(cp, action, payload, answer, "ACCEPTED")

    async def denied(self, cp: ScriptedCharger, action: str, payload: Json, answer: Json) -> Json:
        """`command`, to which the charger says no: the operator is told so, and its whole answer."""
        return await self._told(cp, action, payload, answer, "REJECTED")

    async def _told(self, cp: ScriptedCharger, action: str, payload: Json, answer: Json, status: str) -> Json:
        done = await self.command(cp, action, payload, answer)
        assert (done["status"], done["result"], done["payload"]) == (status, answer, payload)
        return done

    async def free(
        self, cp: ScriptedCharger, command: str, payload: Json, action: str, answer: Json | Refusal
    ) -> tuple[Json, Json]:
        """Ask for a version-free command, which must become `action`: what became of it, what was asked."""
        wish = {"command": command, "payload": payload}
        done, asked = await asyncio.gather(self.order(cp, wish), cp.expect(action, answer))
        return done, asked

    async def order(self, cp: ScriptedCharger, wish: Json) -> Json:
        """Ask for a command; what became of it."""
        await self.online(cp.station_id)
        path = f"/stations/{cp.station_id}/commands"
        command = ok(await self.http.post(path, json={"wait_s": MOST_S, **wish}))
        assert command["status"] != "PENDING", command
        return command

    async def impossible(self, cp: ScriptedCharger, action: str, payload: Json) -> Json:
        """Ask for what the charger's version does not allow; the problem (422)."""
        await self.online(cp.station_id)
        path = f"/stations/{cp.station_id}/commands"
        response = await self.http.post(path, json={"action": action, "payload": payload})
        assert response.status_code == 422, response.text
        problem: Json = response.json()
        return problem

    # --- facts

    async def online(self, station_id: str) -> None:
        """Wait until the API knows that the station is connected."""
        await until(lambda: self._state_is(station_id, lambda state: bool(state["connected"])))

    async def status(
        self, station_id: str, evse_id: int, status: str, connector_id: int | None = None
    ) -> Json:
        """Wait until operators see the connector so; the connector."""
        place = (evse_id, evse_id if connector_id is None else connector_id)
        found: list[Json] = []

        def so(state: Json) -> bool:
            found[:] = [
                c
                for c in state["connectors"]
                if (c["evse_id"], c["connector_id"]) == place and c["status"] == status
            ]
            return bool(found)

        await until(lambda: self._state_is(station_id, so))
        return found[0]

    async def state(self, station_id: str, **fields: Any) -> Json:
        """Wait until the station's state has these fields; the state."""
        seen: Json = {}

        def so(state: Json) -> bool:
            seen.clear()
            seen.update(state)
            return fields.items() <= state.items()

        await until(lambda: self._state_is(station_id, so))
        return seen

    async def logged(self, cp: ScriptedCharger, action: str, count: int = 1) -> list[OcppCallReceived]:
        """Wait until the log holds that many CALLs of an action; all of them, in the order of their arrival."""

        def found() -> list[OcppCallReceived]:
            return [c for c in calls(self.log, cp.station_id) if c.action == action]

        await until(lambda: len(found()) >= count, f"{count} {action} of {cp.station_id}")
        return sorted(found(), key=lambda c: c.recorded_at)

    async def records(self, topic: str, kind: type[R], station_id: str, count: int = 1) -> list[R]:
        """Wait until a topic holds that many records of a station."""

        def found() -> list[R]:
            return self.log.of(topic, kind, station_id)

        await until(lambda: len(found()) >= count, f"{count} {kind.__name__} of {station_id}")
        return found()

    async def started(self, cp: ScriptedCharger, count: int = 1) -> SessionStarted:
        """Wait for the station's `count`-th session."""
        return (await self.records("sessions.events", SessionStarted, cp.station_id, count))[count - 1]

    async def ended(self, cp: ScriptedCharger, count: int = 1) -> SessionEnded:
        """Wait for the end of the station's `count`-th session."""
        return (await self.records("sessions.events", SessionEnded, cp.station_id, count))[count - 1]

    async def cdr(self, cp: ScriptedCharger) -> CdrIssued:
        """Wait for the station's first charge record."""
        return (await self.records("billing.cdrs", CdrIssued, cp.station_id))[0]

    async def charged(self, cp: ScriptedCharger, wh: int) -> None:
        """Wait for the news that a running session has had that much energy."""

        def told() -> bool:
            news = self.log.of("sessions.events", SessionUpdated, cp.station_id)
            return any(update.energy_wh == wh for update in news)

        await until(told, f"{wh} Wh at {cp.station_id}")

    async def measured(self, cp: ScriptedCharger, count: int = 1) -> list[MeasurementsTaken]:
        """Wait for that many measurements of the station."""
        return await self.records("telemetry.measurements", MeasurementsTaken, cp.station_id, count)

    async def bills(self, cp: ScriptedCharger, count: int) -> list[CdrIssued]:
        """Wait for that many charge records of the station, all versions counted."""
        return await self.records("billing.cdrs", CdrIssued, cp.station_id, count)

    async def _state_is(self, station_id: str, so: Callable[[Json], bool]) -> bool:
        response = await self.http.get(f"/stations/{station_id}/state")
        return response.status_code == 200 and so(response.json())

    # --- the charger

    def socket(
        self,
        station_id: str,
        subprotocols: Sequence[str],
        *,
        password: str | bytes | None = None,
        user: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> connect:
        """A bare websocket, over TLS with a context. `user`: that of the password, if not the station."""
        headers = None
        if password is not None:
            secret = password.encode() if isinstance(password, str) else password
            text = b64encode((user or station_id).encode() + b":" + secret).decode()
            headers = {"Authorization": f"Basic {text}"}
        root = f"ws://127.0.0.1:{self.edge.port}" if tls is None else f"wss://127.0.0.1:{self.tls_port}"
        return connect(
            f"{root}/ocpp/{station_id}",
            subprotocols=[Subprotocol(name) for name in subprotocols] or None,
            additional_headers=headers,
            ssl=tls,
            ping_interval=None,
            open_timeout=WAIT_S,
            close_timeout=1,
            proxy=None,
        )

    def tls(self, certificate: Issued | None = None) -> ssl.SSLContext:
        """What a charger needs to connect over TLS: it trusts our authority; with a certificate of its own, or not."""
        return client_context(self.authority.ca, certificate)

    @asynccontextmanager
    async def charger(
        self, station_id: str, version: str = "ocpp1.6", **how: Any
    ) -> AsyncIterator[ScriptedCharger]:
        """A station on a socket. In the end nothing must be left that it was asked and the script did not take."""
        async with self.socket(station_id, [version], **how) as socket:
            cp = ScriptedCharger(Charger(socket), station_id, version)
            yield cp
            assert cp.unexpected() == []

    async def refused(self, station_id: str, version: str = "ocpp1.6", **how: Any) -> int:
        """The HTTP status with which the handshake is refused."""
        with pytest.raises(InvalidStatus) as refusal:
            async with self.socket(station_id, [version], **how):
                pass
        return refusal.value.response.status_code

    async def proved(self, station_id: str, profile: int) -> None:
        """Wait until the station's newest connection is one with that security profile."""

        def so() -> bool:
            opened = self.log.of("ocpp.lifecycle", ConnectionOpened, station_id)
            newest = max(opened, key=lambda record: record.connection_epoch, default=None)
            return newest is not None and newest.security_profile == profile

        await until(so, f"{station_id} connected with profile {profile}")


def ok(response: httpx.Response, status: int = 200) -> Json:
    assert response.status_code == status, f"{response.request.url}: {response.text}"
    body: Json = response.json()
    return body
