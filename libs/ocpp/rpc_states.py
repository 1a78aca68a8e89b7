"""The RPC state machines as tables, by which ``libs.ocpp.rpc`` decides.

``OUTGOING`` is the one slot for our own CALLs (one outstanding per direction, OCPP-J §4.1.1). ``INCOMING`` is
the life of one message id that the peer's CALL carried. The diagram in docs/ocpp-rpc-states.md is generated
from these tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Slot(StrEnum):
    """The slot for our own CALL."""

    FREE = "Free"
    WAITING = "Waiting"


class SlotEvent(StrEnum):
    """What happens to the slot. A stray answer is one whose message id is not that of the waiting CALL."""

    CALL = "we call"
    RESULT = "result"
    ERROR = "error"
    UNREADABLE = "unreadable answer"
    TIMEOUT = "timeout"
    STRAY = "late or unknown answer"


class Inbound(StrEnum):
    """One message id of the peer's CALLs."""

    NEW = "New"
    OPEN = "Open"
    ANSWERED = "Answered"


class InboundEvent(StrEnum):
    """What happens to that message id."""

    CALL = "call"
    AGAIN = "same frame again"
    REUSED = "other frame, same id"
    ANSWER = "we answer"
    FAIL = "we fail it"
    FORGET = "answer evicted"
    RESULT_ERROR = "peer refuses our answer (2.1)"


class Effect(StrEnum):
    """What the machine does in a step."""

    SEND = "send"
    DELIVER = "deliver"
    REPLAY = "replay stored answer"
    IGNORE = "ignore, report"
    REFUSE = "refuse"
    DROP = "drop"


OUTGOING: Final[Mapping[tuple[Slot, SlotEvent], tuple[Slot, Effect]]] = {
    (Slot.FREE, SlotEvent.CALL): (Slot.WAITING, Effect.SEND),
    (Slot.FREE, SlotEvent.TIMEOUT): (Slot.FREE, Effect.IGNORE),
    (Slot.FREE, SlotEvent.STRAY): (Slot.FREE, Effect.IGNORE),
    (Slot.WAITING, SlotEvent.CALL): (Slot.WAITING, Effect.REFUSE),
    (Slot.WAITING, SlotEvent.RESULT): (Slot.FREE, Effect.DELIVER),
    (Slot.WAITING, SlotEvent.ERROR): (Slot.FREE, Effect.DELIVER),
    (Slot.WAITING, SlotEvent.UNREADABLE): (Slot.FREE, Effect.REFUSE),
    (Slot.WAITING, SlotEvent.TIMEOUT): (Slot.FREE, Effect.DELIVER),
    (Slot.WAITING, SlotEvent.STRAY): (Slot.WAITING, Effect.IGNORE),
}

INCOMING: Final[Mapping[tuple[Inbound, InboundEvent], tuple[Inbound, Effect]]] = {
    (Inbound.NEW, InboundEvent.CALL): (Inbound.OPEN, Effect.DELIVER),
    (Inbound.OPEN, InboundEvent.AGAIN): (Inbound.OPEN, Effect.IGNORE),
    (Inbound.OPEN, InboundEvent.REUSED): (Inbound.OPEN, Effect.REFUSE),
    (Inbound.OPEN, InboundEvent.ANSWER): (Inbound.ANSWERED, Effect.SEND),
    (Inbound.OPEN, InboundEvent.FAIL): (Inbound.NEW, Effect.SEND),
    (Inbound.ANSWERED, InboundEvent.AGAIN): (Inbound.ANSWERED, Effect.REPLAY),
    (Inbound.ANSWERED, InboundEvent.REUSED): (Inbound.OPEN, Effect.DELIVER),
    (Inbound.ANSWERED, InboundEvent.FORGET): (Inbound.NEW, Effect.DROP),
    (Inbound.ANSWERED, InboundEvent.RESULT_ERROR): (Inbound.ANSWERED, Effect.DELIVER),
}
