"""Commands on their way to one station: one at a time, in order, each with exactly one recorded end."""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any, Final

import msgspec
import orjson
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from libs.events.commands import DispatchCommand
from libs.events.ids import derive_id
from libs.events.ocpp_log import CallError, CallOutcome, DispatchRefused, OcppCallSent, RefusalReason
from libs.events.topics import OCPP_COMMANDS
from libs.ocpp import schemas
from libs.ocpp.errors import UNUSABLE_ANSWER
from libs.ocpp.frames import MAX_MESSAGE_ID, ErrorReceived, Refused, ResultReceived
from libs.ocpp.inbound import check_result
from libs.ocpp.routing import ROUTES
from libs.ocpp.rpc import RpcMachine
from libs.ocpp.secrets import with_secrets_changed, without_secrets
from libs.ocpp.versions import Version
from libs.runtime.clock import SECOND, now_us
from libs.runtime.logging import get_logger
from libs.security.sealing import is_sealed
from services.edge import metrics
from services.edge.context import Context
from services.edge.domain.acceptance import AskedFor, asks_for, why_not_send
from services.edge.domain.location import Holding
from services.edge.socket import StationSocket

log = get_logger(__name__)

_QUEUE: Final = 32

Answer = ResultReceived | ErrorReceived | Refused
"""How a station answers a CALL: a result, an error, or something unreadable."""


class _End(msgspec.Struct, frozen=True):
    """`reply`: a frame by which the station is told that its answer was no use."""

    outcome: CallOutcome
    result: str | None = None
    error: CallError | None = None
    reply: str | None = None


_TIMEOUT: Final = _End(CallOutcome.TIMEOUT)
_LOST: Final = _End(CallOutcome.CONNECTION_LOST)


class _Refusal(Exception):
    """The command is not sent: the expected way out of the checks."""

    def __init__(self, reason: RefusalReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def refuse(context: Context, dispatch: DispatchCommand, reason: RefusalReason, detail: str) -> None:
    """Record that a dispatched command is not sent from here."""
    now = now_us()
    metrics.DISPATCH_REFUSED.labels(reason).inc()
    context.publisher.post(
        OCPP_COMMANDS,
        dispatch.station_id,
        DispatchRefused(
            event_id=derive_id(dispatch.event_id, f"refused/{context.edge_id}"),
            occurred_at=now,
            recorded_at=now,
            cause_id=dispatch.event_id,
            station_id=dispatch.station_id,
            connection_epoch=dispatch.connection_epoch,
            edge_id=context.edge_id,
            command_id=dispatch.command_id,
            slot=context.slot,
            reason=reason,
            detail=detail,
        ),
    )


class CommandLane:
    """The commands of one connection.

    `timeouts` counts unanswered commands in a row. `asked_for`: what our commands make the station send.
    """

    def __init__(
        self, context: Context, socket: StationSocket, machine: RpcMachine, holding: Holding
    ) -> None:
        self._context = context
        self._socket = socket
        self._machine = machine
        self._holding = holding
        self._queue: deque[DispatchCommand] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._answer: asyncio.Future[_End] | None = None
        self._action = ""
        self._message_id = ""
        self.timeouts = 0
        self.asked_for = AskedFor()

    @property
    def busy(self) -> bool:
        """Whether a command is on its way or waits."""
        return self._worker is not None

    def offer(self, dispatch: DispatchCommand) -> None:
        """Take a command for this connection."""
        if len(self._queue) >= _QUEUE:
            refuse(self._context, dispatch, RefusalReason.TOO_LATE, "too many commands wait for this station")
            return
        self._queue.append(dispatch)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())

    def settle(self, answer: Answer) -> None:
        """Take the station's answer to the command that is under way; one to an earlier command changes nothing."""
        if self._answer is not None and not self._answer.done() and answer.message_id == self._message_id:
            complaint = self._complaint(answer)
            self._answer.set_result(complaint or _end(self._action, answer))

    def close(self) -> None:
        """The socket is gone: the command under way has an unknown fate, those behind it are refused."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(_LOST)

    async def finished(self) -> None:
        """Wait until the fate of every command taken is posted."""
        if self._worker is not None:
            await asyncio.shield(self._worker)

    async def _work(self) -> None:
        try:
            while self._queue:
                dispatch = self._queue.popleft()
                try:
                    await self._carry_out(dispatch)
                except Exception:
                    # The router's deadline gives this command its fate; the others must not wait for it.
                    log.exception("command_failed", command_id=dispatch.command_id)
                    metrics.INTERNAL_ERRORS.inc()
        finally:
            self._worker = None

    async def _carry_out(self, dispatch: DispatchCommand) -> None:
        try:
            payload = self._check(dispatch)
        except _Refusal as refusal:
            refuse(self._context, dispatch, refusal.reason, refusal.detail)
            return
        event_id = dispatch.event_id
        message_id = event_id if 0 < len(event_id) <= MAX_MESSAGE_ID else derive_id(event_id, "message")
        text = self._machine.call(dispatch.action, payload, message_id)
        if (wanted := asks_for(dispatch.action, payload)) is not None:
            self.asked_for.add(wanted, now_us())
        sent_at = now_us()
        self._action, self._message_id = dispatch.action, message_id
        end = await self._exchange(text, message_id, dispatch.call_timeout_ms / 1000)
        self.timeouts = self.timeouts + 1 if end is _TIMEOUT else 0
        self._record(dispatch, message_id, sent_at, end)
        if end.reply is not None:
            with suppress(ConnectionClosed):
                await self._socket.deliver(end.reply)

    def _check(self, dispatch: DispatchCommand) -> dict[str, Any]:
        """What goes over the wire for the command. Raises _Refusal if it must not be sent (any more)."""
        version = self._machine.version
        if self._socket.state is not State.OPEN:
            raise _Refusal(RefusalReason.NOT_HERE, "the socket is closed")
        if now_us() > dispatch.send_by:
            raise _Refusal(RefusalReason.TOO_LATE, "send_by has passed")
        route = ROUTES[version].get(dispatch.action)
        if route is None or not route.to_station or route.is_send:
            raise _Refusal(RefusalReason.INVALID, f"{version} has no command {dispatch.action}")
        try:
            payload = orjson.loads(dispatch.payload)
        except ValueError as error:
            raise _Refusal(RefusalReason.INVALID, f"the payload is not JSON: {error}") from error
        if not isinstance(payload, dict):
            raise _Refusal(RefusalReason.INVALID, "the payload is not an object")
        opened = self._opened(dispatch, payload)
        violation = schemas.validate(version, dispatch.action, "request", opened)
        if violation is not None:
            # What is wrong is told with the value that is wrong: not of what was sealed.
            why = violation.message if opened == payload else "breaks the schema"
            raise _Refusal(RefusalReason.INVALID, f"{violation.path or '/'}: {why}")
        standing = self._context.models.standing(self._holding.station_id)
        if standing is None:
            raise _Refusal(RefusalReason.NOT_HERE, "the station is not registered any more")
        if (why_not := why_not_send(dispatch.action, standing.boot_status)) is not None:
            raise _Refusal(RefusalReason.INVALID, why_not)
        return opened

    def _opened(self, dispatch: DispatchCommand, payload: dict[str, Any]) -> dict[str, Any]:
        """The payload with passwords as the station needs them. Raises _Refusal if one cannot be opened."""

        def opened(value: str) -> str:
            if not is_sealed(value):
                return value
            if self._context.sealer is None:
                raise _Refusal(
                    RefusalReason.INVALID, "a sealed value, and this edge has no VOLTBUS_SECRETS_KEY"
                )
            try:
                return self._context.sealer.open(value, dispatch.station_id)
            except ValueError as error:
                raise _Refusal(RefusalReason.INVALID, f"a value cannot be opened: {error}") from error

        return with_secrets_changed(dispatch.action, payload, opened)

    def _complaint(self, answer: Answer) -> _End | None:
        """What comes of a result that breaks the schema, where the version has a word for it: CALLRESULTERROR.

        Stations of the versions before are not told, and what they say is taken for what it is.
        """
        if self._machine.version is not Version.V21 or not isinstance(answer, ResultReceived):
            return None
        # What is wrong with a result is told with the value that is wrong.
        shown = without_secrets(self._action, answer.payload)
        checked = check_result(self._machine.version, self._action, shown)
        if not isinstance(checked, schemas.Violation):
            return None
        reason = f"the result is unusable: {checked.path or '/'}: {checked.message}"
        error = CallError(code=str(checked.code), description=reason, details=UNUSABLE_ANSWER)
        reply = self._machine.refuse_result(answer.message_id, checked.code, reason)
        return _End(CallOutcome.ERROR, error=error, reply=reply)

    async def _exchange(self, text: str, message_id: str, timeout_s: float) -> _End:
        answer: asyncio.Future[_End] = self._context.loop.create_future()
        self._answer = answer
        try:
            async with asyncio.timeout(timeout_s):
                await self._socket.send(text)
                return await answer
        except TimeoutError:
            self._machine.timeout(message_id)
            return _TIMEOUT
        except ConnectionClosed:
            # It may have been written: nobody knows whether the station has got it.
            return _LOST
        finally:
            self._answer = None

    def _record(self, dispatch: DispatchCommand, message_id: str, sent_at: int, end: _End) -> None:
        now = max(now_us(), sent_at)
        metrics.COMMANDS.labels(end.outcome).inc()
        metrics.COMMAND_SECONDS.observe((now - sent_at) / SECOND)
        self._context.publisher.post(
            OCPP_COMMANDS,
            dispatch.station_id,
            OcppCallSent(
                event_id=derive_id(dispatch.event_id, "sent"),
                occurred_at=now,
                recorded_at=now,
                cause_id=dispatch.event_id,
                station_id=dispatch.station_id,
                connection_epoch=self._holding.epoch,
                edge_id=self._context.edge_id,
                command_id=dispatch.command_id,
                version=self._machine.version.value,
                message_id=message_id,
                action=dispatch.action,
                payload=dispatch.payload,
                outcome=end.outcome,
                result=end.result,
                error=end.error,
                sent_at=sent_at,
                round_trip_us=now - sent_at,
            ),
        )


def _end(action: str, answer: Answer) -> _End:
    match answer:
        case ResultReceived():
            return _End(CallOutcome.RESULT, result=_dump(without_secrets(action, answer.payload)))
        case ErrorReceived():
            details = _dump(without_secrets(action, answer.details))
            error = CallError(code=answer.code, description=answer.description, details=details)
            return _End(CallOutcome.ERROR, error=error)
        case Refused():
            return _End(
                CallOutcome.ERROR,
                error=CallError(code=str(answer.code), description=answer.reason, details=UNUSABLE_ANSWER),
            )


def _dump(payload: dict[str, Any]) -> str:
    return orjson.dumps(payload).decode()
