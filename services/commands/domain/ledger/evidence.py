"""What the edges' records prove about a command's fate."""

from __future__ import annotations

from itertools import chain

import msgspec

from libs.events.commands import Fate
from libs.events.ids import derive_id
from libs.events.ocpp_log import CallError, CallOutcome, DispatchRefused, OcppCallSent
from libs.ocpp.errors import UNUSABLE_ANSWER
from libs.ocpp.semantics.results import CHANGES_NOTHING
from libs.ocpp.semantics.sent_calls import (
    read_item_limit,
    read_items,
    read_unsupported,
    read_variables,
    read_verdict,
)

_MOST_ATTEMPTS = 512
_LONGEST_REASON = 500


class Evidence(msgspec.Struct, frozen=True):
    """What an edge's record says a command's fate is. `items`: how many items the message was about.

    `lacks`: what the charger, which spoke `version`, says that it cannot do at all, or what kind of charging profile it
    rejected. `told`: its own variables that decide how commands are put. `excess`: what to take for known of them, as
    the message was too large for it.
    """

    event_id: str
    dispatch_id: str
    command_id: str
    at: int
    fate: Fate
    reason: str
    result: str | None = None
    error: CallError | None = None
    items: int = 0
    version: str = ""
    lacks: str | None = None
    told: dict[str, str] = {}
    excess: dict[str, str] = {}


def evidence_of_call(call: OcppCallSent) -> Evidence:
    """The fate of a command that was written to the charger's socket."""
    fate, reason = _verdict(call)
    # Chargers' words may be long; the log has all of them.
    reason = reason[:_LONGEST_REASON]
    return Evidence(
        event_id=call.event_id,
        dispatch_id=call.cause_id,
        command_id=call.command_id,
        at=call.recorded_at,
        fate=fate,
        reason=reason,
        result=call.result,
        error=call.error,
        items=read_items(call),
        version=call.version,
        lacks=read_unsupported(call) if fate in (Fate.FAILED, Fate.REJECTED) else None,
        told=read_variables(call) if fate in (Fate.ACCEPTED, Fate.REJECTED) else {},
        excess=read_item_limit(call),
    )


def evidence_of_refusal(refused: DispatchRefused) -> Evidence:
    """The fate of a command that an edge found invalid."""
    return Evidence(
        event_id=refused.event_id,
        dispatch_id=refused.cause_id,
        command_id=refused.command_id,
        at=refused.recorded_at,
        fate=Fate.FAILED,
        reason=f"the payload breaks the charger's OCPP version: {refused.detail}"[:_LONGEST_REASON],
    )


def _verdict(call: OcppCallSent) -> tuple[Fate, str]:
    match call.outcome:
        case CallOutcome.TIMEOUT:
            return Fate.UNKNOWN, "the charger did not answer in time"
        case CallOutcome.CONNECTION_LOST:
            return Fate.UNKNOWN, "the connection was lost after the command was sent"
        case CallOutcome.ERROR if call.error is not None and call.error.details == UNUSABLE_ANSWER:
            return _unreadable(call, call.error.description)
        case CallOutcome.ERROR:
            code = call.error.code if call.error is not None else "no code"
            return Fate.FAILED, f"the charger answered with an error: {code}"
        case CallOutcome.UNKNOWN:
            return Fate.UNKNOWN, "how it ended is not known to this version of the platform"
        case CallOutcome.RESULT:
            return _verdict_of_result(call)


def _verdict_of_result(call: OcppCallSent) -> tuple[Fate, str]:
    try:
        verdict, word = read_verdict(call)
    except ValueError as error:
        return _unreadable(call, str(error))
    return (Fate.ACCEPTED if verdict == "accepted" else Fate.REJECTED), f"the charger's word: {word}"


def _unreadable(call: OcppCallSent, why: str) -> tuple[Fate, str]:
    """The charger said neither yes nor no: it may have done what it was asked."""
    fate = Fate.FAILED if call.action in CHANGES_NOTHING else Fate.UNKNOWN
    return fate, f"the charger's answer cannot be read: {why}"


def attempt_number(command_id: str, dispatch_id: str, newest: int) -> int | None:
    """Which dispatch of the command `dispatch_id` is (its id is derived from the number); `newest`: the likely one.

    None if it is none of these and the first 512.
    """
    for attempt in chain((newest,), range(1, _MOST_ATTEMPTS + 1)):
        if derive_id(command_id, f"dispatch:{attempt}") == dispatch_id:
            return attempt
    return None
