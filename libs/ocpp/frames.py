"""What the RPC machine hands to its user after each received frame, and the limits that it enforces."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from libs.ocpp.errors import ErrorCode

MAX_MESSAGE_ID: Final = 36
MAX_DESCRIPTION: Final = 255
MAX_FRAME: Final = 256 * 1024
MAX_DEPTH: Final = 64
MAX_OPEN: Final = 8
KEPT_ANSWERS: Final = 8
UNREADABLE_ID: Final = "-1"

CALL: Final = 2
CALLRESULT: Final = 3
CALLERROR: Final = 4
CALLRESULTERROR: Final = 5
SEND: Final = 6

Payload = dict[str, Any]
Frame = str | bytes

_CALL_HEAD = re.compile(r'\s*\[\s*[26]\s*,\s*"(?:[^"\\]|\\.)*"\s*,\s*"(?:[^"\\]|\\.)*"\s*,\s*', re.DOTALL)
# A broken frame's first elements, if they are plain enough to be trusted.
_SALVAGE = re.compile(
    rb'\s*\[\s*([2-6])\s*,\s*"([\x20\x21\x23-\x5b\x5d-\x7e]{1,36})"\s*(?:,\s*"([A-Za-z0-9]{1,64})")?'
)
_SALVAGE_WINDOW = 256


class Call(msgspec.Struct, frozen=True):
    """A CALL that we sent."""

    message_id: str
    action: str
    payload: Payload


class CallReceived(msgspec.Struct, frozen=True, tag=True):
    """The peer calls: check the payload, then ``answer`` or ``fail`` this message id, once.

    An earlier CALL of the peer may still be unanswered, against the one-at-a-time rule.
    """

    message_id: str
    action: str
    payload: Payload
    frame: Frame

    @property
    def payload_json(self) -> str:
        """The payload's JSON text as received."""
        return payload_text(self.frame, CALL, self.message_id, self.action)


class SendReceived(msgspec.Struct, frozen=True, tag=True):
    """The peer sent an unconfirmed message (2.1 SEND); it must not be answered."""

    message_id: str
    action: str
    payload: Payload
    frame: Frame

    @property
    def payload_json(self) -> str:
        """The payload's JSON text as received."""
        return payload_text(self.frame, SEND, self.message_id, self.action)


class ResultReceived(msgspec.Struct, frozen=True, tag=True):
    """The peer answered ``call``; the slot is free again."""

    message_id: str
    payload: Payload
    call: Call


class ErrorReceived(msgspec.Struct, frozen=True, tag=True):
    """The peer answered ``call`` with an error; the slot is free again. ``code`` is spelt canonically."""

    message_id: str
    code: str
    description: str
    details: Payload
    call: Call


class ResultErrorReceived(msgspec.Struct, frozen=True, tag=True):
    """The peer could not use an answer that we gave (2.1 CALLRESULTERROR); nothing is to be sent."""

    message_id: str
    code: str
    description: str
    details: Payload


class Replay(msgspec.Struct, frozen=True, tag=True):
    """The peer repeated a CALL that is already answered: send ``answer_text`` again, do nothing else."""

    message_id: str
    answer_text: str


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The frame is unusable. Send ``reply_text`` if there is one.

    ``call`` is set when the frame was the answer to it: that CALL has failed and the slot is free.
    """

    reply_text: str | None
    code: ErrorCode
    reason: str
    message_id: str | None = None
    action: str | None = None
    call: Call | None = None


class Ignored(msgspec.Struct, frozen=True, tag=True):
    """Nothing to do but to report. ``call`` is the timed-out CALL that a late answer belongs to."""

    reason: str
    message_id: str | None = None
    call: Call | None = None


Received = (
    CallReceived
    | SendReceived
    | ResultReceived
    | ErrorReceived
    | ResultErrorReceived
    | Replay
    | Refused
    | Ignored
)


def payload_text(frame: Frame, kind: int, message_id: str, action: str) -> str:
    """Return the verbatim JSON text of the payload of a CALL or SEND, ``{}`` for null; the whole frame if it has none.

    ``kind``, ``message_id`` and ``action`` are what the frame has been read as.
    """
    text = frame if isinstance(frame, str) else frame.decode("utf-8", "replace")
    # Most stations leave no blanks, and then it is known where the payload begins.
    plain_head = f'[{kind},"{message_id}","{action}",'
    if text.startswith(plain_head) and text.endswith("}]"):
        return text[len(plain_head) : -1]
    head = _CALL_HEAD.match(text)
    if head is None:
        return text
    body = text[head.end() :].rstrip()[:-1].rstrip()
    # 1.6 §4.2.1 allows null for no payload; its readers need not know.
    return "{}" if body == "null" else body


def salvage(frame: Frame) -> tuple[int | None, str | None, str | None]:
    """Return message type, message id and action of a frame that is not JSON, as far as they can be read."""
    head = frame[:_SALVAGE_WINDOW]
    found = _SALVAGE.match(head if isinstance(head, bytes) else head.encode("utf-8", "surrogatepass"))
    if found is None:
        return None, None, None
    kind, message_id, action = found.groups()
    return int(kind), message_id.decode("ascii"), action.decode("ascii") if action else None


def too_deep(payload: Payload) -> bool:
    """Whether objects and lists nest deeper than ``MAX_DEPTH``; empty ones do not count."""
    level: list[Any] = [payload]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            for child in (node.values() if type(node) is dict else node)
            if child and (type(child) is dict or type(child) is list)
        ]
        if not level:
            return False
    return True
