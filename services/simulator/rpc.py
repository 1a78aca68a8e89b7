"""One connection of one charger: the client side of the `ocpp` package's ChargePoint, fit for many at once.

The package supplies the routing of commands to `@on` handlers, their conversion to and from snake_case, the lock
that keeps one call outstanding, and the message classes. What differs here: a lost connection fails the waiting
call at once, payloads are sent verbatim (a retry must not differ in a byte, and odd makes send what no dataclass
allows), commands are checked with jsonschema-rs, and unknown actions are told apart as the specification asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar, cast

import orjson
from ocpp.exceptions import (
    FormationViolationError,
    FormatViolationError,
    NotImplementedError,
    NotSupportedError,
    OCPPError,
)
from ocpp.messages import Call, CallError, CallResult
from ocpp.routing import on
from ocpp.v16 import ChargePoint as ChargePoint16
from ocpp.v201 import ChargePoint as ChargePoint201
from websockets.exceptions import ConnectionClosed

from services.simulator.schemas import call_error, validator

Payload = dict[str, Any]
Handler = TypeVar("Handler", bound=Callable[..., Any])


class ConnectionLost(Exception):
    """The connection ended, or the answer did not come in time: whether the call was processed is unknown."""


class CallRefused(Exception):
    """The central system answered with a CALLERROR."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(f"{code}: {description}")
        self.code = code


def handles(action: str) -> Callable[[Handler], Handler]:
    """Mark a method as the handler of a command; the payload was checked before it is called."""
    return cast("Callable[[Handler], Handler]", on(action, skip_schema_validation=True))


class RpcMixin:
    """Adds to a ChargePoint of either version what the module's docstring lists.

    `after` holds what handlers want done once their answer is sent: a handler that made a call itself would
    wait for an answer that the same reader must read.
    """

    id: str
    _connection: Any
    _ocpp_version: str
    _call_lock: asyncio.Lock
    _response_queue: asyncio.Queue[Any]
    _response_timeout: float
    route_map: dict[str, Any]

    def __init__(self, station_id: str, connection: Any, response_timeout: float) -> None:
        super().__init__(station_id, connection, response_timeout)  # type: ignore[call-arg]
        self.after: list[Callable[[], object]] = []
        self._lost = False

    async def request(self, action: str, payload: Payload, message_id: str) -> Payload:
        """Send one call and return the payload of its answer; calls queue for the one outstanding slot.

        Raises ConnectionLost and CallRefused.
        """
        async with self._call_lock:
            if self._lost:
                raise ConnectionLost("not connected")
            try:
                await self._connection.send(orjson.dumps([2, message_id, action, payload]).decode())
                async with asyncio.timeout(self._response_timeout):
                    answer = await self._answer_to(message_id)
            except (ConnectionClosed, TimeoutError) as error:
                self.lose()
                raise ConnectionLost(f"no answer to {action}") from error
        if isinstance(answer, CallError):
            raise CallRefused(answer.error_code, answer.error_description)
        return cast("Payload", answer.payload)

    def lose(self) -> None:
        """Fail the outstanding and every later call with ConnectionLost, and drop the socket without a farewell."""
        if not self._lost:
            self._lost = True
            self._response_queue.put_nowait(None)
            self._connection.transport.abort()

    async def hang_up(self) -> None:
        """Close the connection as the websocket protocol asks."""
        await self._connection.close()

    async def serve(self) -> None:
        """Read and route until the connection ends."""
        try:
            while True:
                await self.route_message(await self._connection.recv())
        except ConnectionClosed:
            self.lose()

    async def route_message(self, raw_msg: str | bytes) -> None:
        """Route one frame; what is no OCPP message is ignored, as nothing can be answered."""
        try:
            frame = orjson.loads(raw_msg)
            kind, *rest = frame
            message = {2: Call, 3: CallResult, 4: CallError}[kind](*rest)
        except (orjson.JSONDecodeError, TypeError, ValueError, KeyError):
            return
        if not isinstance(message, Call):
            self._response_queue.put_nowait(message)
            return
        try:
            self._check(message)
            await self._handle_call(message)  # type: ignore[attr-defined]
        except OCPPError as error:
            await self._connection.send(message.create_call_error(error).to_json())
        finally:
            deferred, self.after = self.after, []
        for act in deferred:
            act()

    async def _answer_to(self, message_id: str) -> CallResult | CallError:
        while True:
            answer = await self._response_queue.get()
            if answer is None:
                raise ConnectionLost("the connection ended")
            if answer.unique_id == message_id:
                return answer

    def _check(self, message: Call) -> None:
        """Raise the OCPPError to answer with when a command is unknown, unsupported or malformed.

        OCPP-J 1.6 section 4.2.3: NotImplemented is for an action that the receiver does not know, NotSupported
        for one that it knows and does not support.
        """
        if message.action not in self.route_map:
            known = validator(self._ocpp_version, f"{message.action}Response") is not None
            raise (NotSupportedError if known else NotImplementedError)(details={})
        if (cause := call_error(self._ocpp_version, message.action, message.payload)) is not None:
            malformed = FormationViolationError if self._ocpp_version == "1.6" else FormatViolationError
            raise malformed(description=cause[:255], details={})


class Rpc16(RpcMixin, ChargePoint16):  # type: ignore[misc]
    """An OCPP 1.6 charger's end of a connection."""


class Rpc201(RpcMixin, ChargePoint201):  # type: ignore[misc]
    """An OCPP 2.0.1 charger's end of a connection."""
