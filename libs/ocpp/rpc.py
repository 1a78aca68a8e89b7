"""The OCPP-J RPC machine: frames in, decisions and frames out. No socket, no clock, one class for both sides.

A connection owns one machine. For every websocket message call :meth:`RpcMachine.receive` and act on what it
returns; its docstrings say what must be sent. ``receive`` never raises, whatever the peer sends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import cache
from typing import Any, Final

import orjson

from libs.ocpp import frames
from libs.ocpp.errors import ErrorCode, canonical, spell
from libs.ocpp.frames import (
    Call,
    CallReceived,
    ErrorReceived,
    Frame,
    Ignored,
    Payload,
    Received,
    Refused,
    Replay,
    ResultErrorReceived,
    ResultReceived,
    SendReceived,
)
from libs.ocpp.routing import ROUTES
from libs.ocpp.rpc_states import INCOMING, OUTGOING, Effect, Inbound, InboundEvent, Slot, SlotEvent
from libs.ocpp.versions import Version

_SHOWN: Final = 64
_ANSWERS: Final = (frames.CALLRESULT, frames.CALLERROR)


class Role(StrEnum):
    """Which side of the connection the machine plays."""

    CSMS = "csms"
    STATION = "station"


class RpcMisuse(ValueError):
    """The caller asked for a step that the protocol forbids; nothing changed."""


class CallOutstanding(RpcMisuse):
    """A CALL of ours is still unanswered (OCPP-J §4.1.1: one at a time per direction)."""


@cache
def _vocabulary(version: Version, role: Role, inbound: bool) -> tuple[frozenset[str], frozenset[str]]:
    """Return the actions that may be called, and those that may be sent, towards or from ``role``."""
    towards_csms = (role is Role.CSMS) is inbound
    routes = [r for r in ROUTES[version].values() if (r.to_csms if towards_csms else r.to_station)]
    return (
        frozenset(r.action for r in routes if not r.is_send),
        frozenset(r.action for r in routes if r.is_send),
    )


class RpcMachine:
    """RPC state of one connection.

    ``max_frame`` bounds a frame (characters of text, bytes of binary). The machine keeps the last
    ``KEPT_ANSWERS`` results to replay them to a peer that repeats a CALL, and as many timed-out CALLs to
    recognise late answers.
    """

    __slots__ = (
        "_answered",
        "_callable",
        "_calls_in",
        "_expired",
        "_known",
        "_max_frame",
        "_open",
        "_receivers",
        "_sendable",
        "_sends_in",
        "_waiting",
        "role",
        "version",
    )

    def __init__(self, version: Version, role: Role, *, max_frame: int = frames.MAX_FRAME) -> None:
        self.version = version
        self.role = role
        self._max_frame = max_frame
        self._calls_in, self._sends_in = _vocabulary(version, role, True)
        self._callable, self._sendable = _vocabulary(version, role, False)
        self._known = ROUTES[version]
        self._receivers = _RECEIVERS[version]
        self._waiting: Call | None = None
        self._expired: dict[str, Call] = {}
        self._open: dict[str, int] = {}
        self._answered: dict[str, tuple[int | None, str]] = {}

    @property
    def outstanding(self) -> Call | None:
        """The CALL of ours that awaits its answer."""
        return self._waiting

    @property
    def unanswered(self) -> tuple[str, ...]:
        """Message ids of the peer's CALLs that we still owe an answer."""
        return tuple(self._open)

    def call(self, action: str, payload: Payload, message_id: str) -> str:
        """Return the CALL frame to send and take the slot until its answer or :meth:`timeout`.

        Raises :class:`CallOutstanding` while another CALL waits, :class:`RpcMisuse` for an action that this
        side may not call in this version or a message id that is not 1 to 36 characters.
        """
        if action not in self._callable:
            raise RpcMisuse(f"{self.role} may not call {action} in {self.version}")
        _require_id(message_id)
        _, effect = OUTGOING[self._slot, SlotEvent.CALL]
        if effect is Effect.REFUSE:
            raise CallOutstanding("a CALL is outstanding")
        text = _dump([frames.CALL, message_id, action, payload])
        self._waiting = Call(message_id, action, payload)
        return text

    def send(self, action: str, payload: Payload, message_id: str) -> str:
        """Return the SEND frame (2.1) to send; no answer will come.

        Raises :class:`RpcMisuse` as :meth:`call` does.
        """
        if action not in self._sendable:
            raise RpcMisuse(f"{self.role} may not send {action} in {self.version}")
        _require_id(message_id)
        return _dump([frames.SEND, message_id, action, payload])

    def answer(self, message_id: str, payload: Payload, *, lasting: bool = True) -> str:
        """Return the CALLRESULT frame to send for the peer's CALL, and keep it for a retry.

        One that is not ``lasting`` is true at its moment only: a retry is a new CALL. Raises :class:`RpcMisuse` if
        that CALL is not open.
        """
        fingerprint = self._take(message_id, InboundEvent.ANSWER)
        text = _dump([frames.CALLRESULT, message_id, payload])
        answered = self._answered
        answered.pop(message_id, None)
        answered[message_id] = (fingerprint if lasting else None, text)
        if len(answered) > frames.KEPT_ANSWERS:
            del answered[next(iter(answered))]
        return text

    def fail(
        self, message_id: str, code: ErrorCode, description: str = "", details: Payload | None = None
    ) -> str:
        """Return the CALLERROR frame to send for the peer's CALL; a retry is then a new CALL.

        The code is spelt as the version spells it, the description cut to 255 characters. Raises
        :class:`RpcMisuse` if that CALL is not open.
        """
        self._take(message_id, InboundEvent.FAIL)
        return self._error_frame(frames.CALLERROR, message_id, code, description, details)

    def refuse_result(self, message_id: str, code: ErrorCode, description: str = "") -> str | None:
        """Return the CALLRESULTERROR frame that tells the peer its answer was unusable.

        ``None`` before 2.1, which has no such message.
        """
        if self.version is not Version.V21:
            return None
        return self._error_frame(frames.CALLRESULTERROR, message_id, code, description, None)

    def timeout(self, message_id: str) -> Call | None:
        """Free the slot if ``message_id`` still waits, and return its CALL; a late answer will be ignored."""
        call = self._waiting
        matches = call is not None and call.message_id == message_id
        _, effect = OUTGOING[self._slot if matches else Slot.FREE, SlotEvent.TIMEOUT]
        if call is None or effect is Effect.IGNORE:
            return None
        self._waiting = None
        self._expired[message_id] = call
        if len(self._expired) > frames.KEPT_ANSWERS:
            del self._expired[next(iter(self._expired))]
        return call

    def receive(self, frame: Frame) -> Received:
        """Judge one websocket message. Never raises; sends nothing itself."""
        if len(frame) > self._max_frame:
            return self._unreadable(frame, "frame is too large")
        try:
            parsed = orjson.loads(frame)
        except ValueError:
            return self._unreadable(frame, "frame is not valid JSON")
        if type(parsed) is not list or not parsed:
            return self._not_rpc("frame is not an RPC array")
        kind = parsed[0]
        receiver = self._receivers.get(kind) if type(kind) is int else None
        if receiver is None:
            return self._unknown_type(parsed)
        return receiver(self, parsed, frame)

    def _receive_call(self, parsed: list[Any], frame: Frame) -> Received:
        message_id = _read_id(parsed)
        if message_id is None:
            return self._not_rpc("message id is unreadable")
        fingerprint = hash(frame)
        if message_id in self._open or message_id in self._answered:
            repeated = self._receive_repeated(message_id, fingerprint)
            if repeated is not None:
                return repeated
        if len(parsed) != 4 or type(parsed[2]) is not str:
            reason = "a CALL has four elements, the third a string"
            return self._refuse(message_id, None, ErrorCode.FORMAT_VIOLATION, reason)
        action = parsed[2]
        if action not in self._calls_in:
            return self._refuse_action(message_id, action)
        # OCPP-J 1.6 §4.2.1: null and {} both stand for no payload.
        payload = {} if parsed[3] is None else parsed[3]
        problem = _payload_problem(payload, frame)
        if problem is not None:
            return self._refuse(message_id, action, ErrorCode.FORMAT_VIOLATION, problem)
        return self._open_call(CallReceived(message_id, action, payload, frame), fingerprint)

    def _open_call(self, received: CallReceived, fingerprint: int) -> Received:
        if len(self._open) >= frames.MAX_OPEN:
            reason = "too many unanswered CALLs"
            return self._refuse(received.message_id, received.action, ErrorCode.GENERIC_ERROR, reason)
        self._open[received.message_id] = fingerprint
        return received

    def _receive_repeated(self, message_id: str, fingerprint: int) -> Received | None:
        """Judge a CALL whose id we know; ``None`` if it is a new CALL all the same."""
        stored = ""
        known: int | None
        if message_id in self._open:
            state, known = Inbound.OPEN, self._open[message_id]
        else:
            state, (known, stored) = Inbound.ANSWERED, self._answered[message_id]
        event = InboundEvent.AGAIN if known == fingerprint else InboundEvent.REUSED
        _, effect = INCOMING[state, event]
        if effect is Effect.REPLAY:
            return Replay(message_id, stored)
        if effect is Effect.IGNORE:
            return Ignored("the same CALL is being answered", message_id)
        if effect is Effect.REFUSE:
            # No reply: the peer would take it for the answer to its first CALL.
            reason = "message id of an unanswered CALL reused"
            return Refused(None, ErrorCode.GENERIC_ERROR, reason, message_id)
        del self._answered[message_id]
        return None

    def _receive_send(self, parsed: list[Any], frame: Frame) -> Received:
        message_id = _read_id(parsed)
        action = parsed[2] if len(parsed) == 4 and type(parsed[2]) is str else None
        if message_id is None or action is None:
            return Refused(None, ErrorCode.RPC_FRAMEWORK_ERROR, "malformed SEND", message_id, action)
        if action not in self._sends_in:
            return Refused(None, ErrorCode.NOT_SUPPORTED, "not a SEND of this direction", message_id, action)
        payload = parsed[3]
        problem = _payload_problem(payload, frame)
        if problem:
            return Refused(None, ErrorCode.FORMAT_VIOLATION, problem, message_id, action)
        return SendReceived(message_id, action, payload, frame)

    def _receive_result(self, parsed: list[Any], frame: Frame) -> Received:
        message_id = _read_id(parsed)
        call = self._waiting
        if call is None or call.message_id != message_id:
            return self._stray(message_id)
        if len(parsed) != 3:
            return self._unreadable_answer(call, "a CALLRESULT has three elements")
        payload = {} if parsed[2] is None else parsed[2]
        problem = _payload_problem(payload, frame)
        if problem is not None:
            return self._unreadable_answer(call, problem)
        self._settle(SlotEvent.RESULT)
        return ResultReceived(call.message_id, payload, call)

    def _receive_error(self, parsed: list[Any], _frame: Frame) -> Received:
        message_id = _read_id(parsed)
        call = self._waiting
        if call is None or call.message_id != message_id:
            return self._stray(message_id)
        self._settle(SlotEvent.ERROR)
        return ErrorReceived(call.message_id, *_read_error(parsed), call)

    def _receive_result_error(self, parsed: list[Any], _frame: Frame) -> Received:
        message_id = _read_id(parsed)
        state = Inbound.ANSWERED if message_id in self._answered else Inbound.NEW
        if message_id is None or (state, InboundEvent.RESULT_ERROR) not in INCOMING:
            return Ignored("CALLRESULTERROR for no answer of ours", message_id)
        return ResultErrorReceived(message_id, *_read_error(parsed))

    def _refuse_action(self, message_id: str, action: str) -> Received:
        shown = action[:_SHOWN]
        if action in self._known:
            return self._refuse(message_id, shown, ErrorCode.NOT_SUPPORTED, "action is not for this side")
        return self._refuse(message_id, shown, ErrorCode.NOT_IMPLEMENTED, "action is unknown")

    def _refuse(self, message_id: str, action: str | None, code: ErrorCode, reason: str) -> Refused:
        reply = self._error_frame(frames.CALLERROR, message_id, code, reason, None)
        return Refused(reply, code, reason, message_id, action)

    def _not_rpc(self, reason: str) -> Refused:
        # 2.x part 4 §4.2.3: RpcFrameworkError, and "-1" where the message id cannot be read.
        code = ErrorCode.RPC_FRAMEWORK_ERROR
        reply = self._error_frame(frames.CALLERROR, frames.UNREADABLE_ID, code, reason, None)
        return Refused(reply, code, reason)

    def _unreadable(self, frame: Frame, reason: str) -> Received:
        kind, message_id, action = frames.salvage(frame)
        code = ErrorCode.FORMAT_VIOLATION
        call = self._waiting
        if kind in _ANSWERS and call is not None and call.message_id == message_id:
            return self._unreadable_answer(call, reason)
        if kind is not None and kind != frames.CALL:
            return Refused(None, code, reason, message_id)
        # The answer to an open CALL is still to come: an error with its id would be taken for it.
        reply_id = frames.UNREADABLE_ID if message_id is None or message_id in self._open else message_id
        reply = self._error_frame(frames.CALLERROR, reply_id, code, reason, None)
        return Refused(reply, code, reason, message_id, action)

    def _unreadable_answer(self, call: Call, reason: str) -> Refused:
        self._settle(SlotEvent.UNREADABLE)
        code = ErrorCode.FORMAT_VIOLATION
        reply = self.refuse_result(call.message_id, code, reason)
        return Refused(reply, code, reason, call.message_id, call.action, call)

    def _unknown_type(self, parsed: list[Any]) -> Received:
        message_id = _read_id(parsed)
        if self.version is not Version.V201:
            return Ignored("unknown message type", message_id)
        code = ErrorCode.MESSAGE_TYPE_NOT_SUPPORTED
        reply_id = frames.UNREADABLE_ID if message_id is None or message_id in self._open else message_id
        reply = self._error_frame(frames.CALLERROR, reply_id, code, "unknown message type", None)
        return Refused(reply, code, "unknown message type", message_id)

    def _stray(self, message_id: str | None) -> Ignored:
        """Report an answer that is late or belongs to nothing; it changes nothing."""
        call = self._expired.pop(message_id, None) if message_id is not None else None
        return Ignored("answer to nothing outstanding" if call is None else "late answer", message_id, call)

    @property
    def _slot(self) -> Slot:
        return Slot.FREE if self._waiting is None else Slot.WAITING

    def _settle(self, event: SlotEvent) -> None:
        after, _ = OUTGOING[Slot.WAITING, event]
        if after is Slot.FREE:
            self._waiting = None

    def _take(self, message_id: str, event: InboundEvent) -> int:
        state = Inbound.OPEN if message_id in self._open else Inbound.NEW
        if (state, event) not in INCOMING:
            raise RpcMisuse(f"no open CALL {message_id!r}")
        return self._open.pop(message_id)

    def _error_frame(
        self, kind: int, message_id: str, code: ErrorCode, description: str, details: Payload | None
    ) -> str:
        text = description[: frames.MAX_DESCRIPTION]
        return _dump([kind, message_id, spell(self.version, code), text, details or {}])


def _dump(frame: list[Any]) -> str:
    return orjson.dumps(frame).decode()


def _require_id(message_id: str) -> None:
    if not 0 < len(message_id) <= frames.MAX_MESSAGE_ID:
        raise RpcMisuse(f"a message id has 1 to {frames.MAX_MESSAGE_ID} characters")


def _read_id(parsed: list[Any]) -> str | None:
    if len(parsed) < 2:
        return None
    message_id = parsed[1]
    if type(message_id) is str and 0 < len(message_id) <= frames.MAX_MESSAGE_ID:
        return message_id
    return None


def _read_error(parsed: list[Any]) -> tuple[str, str, Payload]:
    """Read code, description and details leniently: real stations leave elements out."""
    code = parsed[2] if len(parsed) > 2 and type(parsed[2]) is str else ErrorCode.GENERIC_ERROR
    description = parsed[3] if len(parsed) > 3 and type(parsed[3]) is str else ""
    details = parsed[4] if len(parsed) > 4 and type(parsed[4]) is dict else {}
    if frames.too_deep(details):
        # What is read can be deeper than what can be written again.
        details = {}
    return canonical(code[: frames.MAX_DESCRIPTION]), description[: frames.MAX_DESCRIPTION], details


def _payload_problem(payload: object, frame: Frame) -> str | None:
    if type(payload) is not dict:
        return "payload is not an object"
    if isinstance(frame, bytes):
        brackets = frame.count(b"{") + frame.count(b"[")
    else:
        brackets = frame.count("{") + frame.count("[")
    # Counting is an upper bound of the depth; only a frame with many brackets is walked.
    if brackets > frames.MAX_DEPTH and frames.too_deep(payload):
        return "payload is nested too deeply"
    return None


_Receiver = Callable[[RpcMachine, list[Any], Frame], Received]
_COMMON: Final[dict[int, _Receiver]] = {
    frames.CALL: RpcMachine._receive_call,
    frames.CALLRESULT: RpcMachine._receive_result,
    frames.CALLERROR: RpcMachine._receive_error,
}
_RECEIVERS: Final[Mapping[Version, Mapping[int, _Receiver]]] = {
    Version.V16: _COMMON,
    Version.V201: _COMMON,
    Version.V21: _COMMON
    | {frames.SEND: RpcMachine._receive_send, frames.CALLRESULTERROR: RpcMachine._receive_result_error},
}
