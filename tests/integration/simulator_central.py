"""A small central system for the simulator's tests: answers by hand, checks schemas, and can misbehave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from services.simulator.schemas import call_error, result_error
from tests.patience import WAIT_S

VERSIONS = {"ocpp1.6": "1.6", "ocpp2.0.1": "2.0.1"}


@dataclass(frozen=True)
class Call:
    """One call that arrived; `answered` says whether an answer was sent."""

    station_id: str
    message_id: str
    action: str
    payload: dict[str, Any]
    answered: bool


@dataclass
class Central:
    """Answers like an ordinary central system.

    `fate` decides per call: "answer", "drop" (lose the connection instead), "silence", or an error code.
    """

    fate: Callable[[str, str, dict[str, Any], int], str] = lambda *_: "answer"
    boot: Callable[[str, int], dict[str, Any]] | None = None
    refuse: Callable[[str], Response | None] = lambda _: None
    calls: list[Call] = field(default_factory=list)
    schema_errors: list[str] = field(default_factory=list)
    connections: dict[str, ServerConnection] = field(default_factory=dict)
    opened: int = 0
    # StartTransactions already seen, as a central system recognises a retransmission.
    transactions: dict[tuple[Any, ...], int] = field(default_factory=dict)
    _server: Server | None = None
    _pending: dict[str, asyncio.Future[Any]] = field(default_factory=dict)
    _commands: int = 0

    async def __aenter__(self) -> Central:
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            0,
            subprotocols=["ocpp1.6", "ocpp2.0.1"],  # type: ignore[list-item]
            process_request=self._admit,
            compression=None,
            close_timeout=0.2,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"ws://127.0.0.1:{next(iter(self._server.sockets)).getsockname()[1]}/ocpp"

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        return self.refuse(request.path.rsplit("/", 1)[-1])

    async def _serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        station_id = connection.request.path.rsplit("/", 1)[-1]
        version = VERSIONS[str(connection.subprotocol)]
        self.connections[station_id] = connection
        self.opened += 1
        try:
            async for frame in connection:
                kind, message_id, *rest = json.loads(frame)
                if kind == 2:
                    await self._take(connection, station_id, version, message_id, *rest)
                elif (waiting := self._pending.pop(message_id, None)) is not None:
                    waiting.set_result((kind, *rest))
        except ConnectionClosed:
            pass

    async def _take(
        self,
        connection: ServerConnection,
        station_id: str,
        version: str,
        message_id: str,
        action: str,
        payload: dict[str, Any],
    ) -> None:
        if (error := call_error(version, action, payload)) is not None:
            self.schema_errors.append(f"{station_id} {action} {error}")
        seen = sum(1 for call in self.calls if call.station_id == station_id and call.action == action)
        fate = self.fate(station_id, action, payload, seen)
        self.calls.append(Call(station_id, message_id, action, payload, fate == "answer"))
        if fate == "silence":
            return
        if fate == "drop":
            connection.transport.abort()
        elif fate == "answer":
            answer = self._answer(station_id, action, payload)
            assert (wrong := result_error(version, action, answer)) is None, wrong
            await connection.send(json.dumps([3, message_id, answer]))
        else:
            await connection.send(json.dumps([4, message_id, fate, "", {}]))

    def _answer(self, station_id: str, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat()
        if action == "BootNotification":
            if self.boot is not None:
                boots = sum(
                    1 for call in self.calls if call.station_id == station_id and call.action == action
                )
                return {"currentTime": now, **self.boot(station_id, boots)}
            return {"currentTime": now, "interval": 300, "status": "Accepted"}
        if action == "Heartbeat":
            return {"currentTime": now}
        if action == "Authorize":
            if "idTag" in payload:
                return {"idTagInfo": {"status": "Accepted"}}
            return {"idTokenInfo": {"status": "Accepted"}}
        if action == "StartTransaction":
            key = (
                station_id,
                payload["connectorId"],
                payload["idTag"],
                payload["timestamp"],
                payload["meterStart"],
            )
            number = self.transactions.setdefault(key, len(self.transactions) + 1)
            return {"transactionId": number, "idTagInfo": {"status": "Accepted"}}
        if action == "DataTransfer":
            return {"status": "Accepted"}
        return {}

    async def command(self, station_id: str, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Send a call to a charger; its answer's payload. A CALLERROR comes as {"error": code}."""
        self._commands += 1
        message_id = f"command-{self._commands}"
        self._pending[message_id] = waiting = asyncio.get_running_loop().create_future()
        connection = self.connections[station_id]
        await connection.send(json.dumps([2, message_id, action, payload]))
        kind, *rest = await asyncio.wait_for(waiting, WAIT_S)
        if kind == 4:
            return {"error": rest[0]}
        version = VERSIONS[str(connection.subprotocol)]
        assert (wrong := result_error(version, action, rest[0])) is None, wrong
        answer: dict[str, Any] = rest[0]
        return answer

    def of(self, station_id: str, *actions: str) -> list[Call]:
        """The calls of one station, of the given actions (all if none), in order of arrival."""
        return [
            call
            for call in self.calls
            if call.station_id == station_id and (not actions or call.action in actions)
        ]


def service_unavailable(retry_after: str) -> Response:
    """A refusal of the upgrade."""
    return Response(
        503, "Service Unavailable", Headers({"Retry-After": retry_after, "Content-Length": "0"}), b""
    )
