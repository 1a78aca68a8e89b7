"""The schema check with the bends that real chargers need: lenient in, strict out.

A conforming payload costs one strict check and nothing else. One that does not conform is repaired on a copy
where ``libs.ocpp.bends`` knows how, each repair named by a quirk flag (``libs.ocpp.quirks``); otherwise its first
violation is returned.
"""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from libs.ocpp import quirks, schemas
from libs.ocpp.bends import (
    ABOUT_MONEY,
    Bend,
    Change,
    Drop,
    Keep,
    Put,
    Strip,
    least_part,
    read_number,
    what_helps,
)
from libs.ocpp.errors import ErrorCode
from libs.ocpp.faults import Fault, Place
from libs.ocpp.schemas import Kind, Payload, Violation
from libs.ocpp.versions import Version

MOST_CONNECTORS: Final = 256
_CONNECTORS: Final = "NumberOfConnectors"

_ROUNDS: Final = 6
_FAULTS: Final = 160
"""Faults that are looked at in any payload; a larger one may have one more for each `_BYTES_PER_FAULT`.

Never fewer than in an earlier release: recorded calls are read by the same rule, and must be read as they were.
"""
_BYTES_PER_FAULT: Final = 32
_ENOUGH: Final = 64 * 1024


class CheckedCall(msgspec.Struct, frozen=True):
    """A payload fit for use, and the names of the quirks that were bent to make it so."""

    payload: Payload
    quirks: tuple[str, ...] = ()


_SINGLE: Final = frozenset({str, int, bool, type(None)})
"""Types of values of which equal ones are the same; 0.0 and -0.0 are not."""

_Known = dict[tuple[Place, str, type, Any], tuple[Bend | None, bool]]


def check_call(version: Version, action: str, payload: Payload) -> CheckedCall | Violation:
    """Check a station's CALL (or SEND); bend what can be bent. ``payload`` itself is never changed.

    Raises ``KeyError`` for an action that the version does not have.
    """
    if schemas.is_valid(version, action, "request", payload):
        return CheckedCall(payload)
    return _bend(version, action, "request", payload)


def check_result(version: Version, action: str, payload: Payload) -> CheckedCall | Violation:
    """Check a station's CALLRESULT to our ``action``, bent by the same rules.

    A number of connectors that no station has (Growatt says 1634030126) is brought down to ``MOST_CONNECTORS``.
    """
    if schemas.is_valid(version, action, "response", payload):
        checked: CheckedCall | Violation = CheckedCall(payload)
    else:
        checked = _bend(version, action, "response", payload)
    if action == "GetConfiguration" and isinstance(checked, CheckedCall):
        return _bound_connectors(checked)
    return checked


def _bound_connectors(checked: CheckedCall) -> CheckedCall:
    keys = checked.payload.get("configurationKey", ())
    absurd = [
        n for n, each in enumerate(keys) if each["key"] == _CONNECTORS and _is_absurd(each.get("value"))
    ]
    if not absurd:
        return checked
    bent = copy.deepcopy(checked.payload)
    for number in absurd:
        bent["configurationKey"][number]["value"] = str(MOST_CONNECTORS)
    return CheckedCall(bent, (*checked.quirks, quirks.CONNECTOR_COUNT_ABSURD))


def _is_absurd(value: str | None) -> bool:
    number = read_number(value)
    return number is not None and number > MOST_CONNECTORS


def _bend(version: Version, action: str, kind: Kind, payload: Payload) -> CheckedCall | Violation:
    seen: dict[str, None] = {}
    received: dict[tuple[str | int, ...], Fault] = {}
    # Whatever blanks and escapes it was sent with.
    text = msgspec.json.encode(payload)
    bent: Payload = msgspec.json.decode(text)
    left = most = _most_faults(len(text))
    for _ in range(_ROUNDS):
        found = schemas.faults(version, action, kind, bent, most, nulls=True)
        faults = found.faults
        if not faults and not found.nulls and not schemas.is_valid(version, action, kind, bent):
            return Violation(ErrorCode.FORMAT_VIOLATION, "", "payload is nested too deeply")
        if found.left < 0:
            if not _leave_worst_part_out(action, bent, faults):
                return _too_many(most, received.get(faults[0].path, faults[0]))
            seen[quirks.VALUE_DROPPED] = None
            continue
        if found.nulls:
            seen[quirks.NULL_REMOVED] = None
        helps = _changes(action, kind, faults, seen=seen, received=received)
        if isinstance(helps, Violation):
            return helps
        changes, settled = helps
        for holder, name in found.nulls or ():
            del holder[name]
        # What is kept as it is comes again in each round, what is changed does not.
        left -= len(changes)
        if left < 0:
            if not _leave_worst_part_out(action, bent, faults):
                return _too_many(most, received.get(faults[0].path, faults[0]))
            seen[quirks.VALUE_DROPPED] = None
            left = most
            continue
        _apply(bent, changes)
        if settled:
            return CheckedCall(bent, tuple(seen))
    return Violation(ErrorCode.FORMAT_VIOLATION, "", "payload has too many faults")


def _leave_worst_part_out(action: str, payload: Payload, faults: list[Fault]) -> bool:
    """Remove the optional property of a message about money that has most of its too many faults; whether there is one.

    Without it a StopTransaction still says where the meter stands, a TransactionEvent that it has ended.
    """
    if action not in ABOUT_MONEY:
        return False
    parts = Counter(
        str(fault.path[0])
        for fault in faults
        if fault.place.optional[:1] == (True,) and least_part(action, fault.place) is not None
    )
    if not parts:
        return False
    ((worst, _),) = parts.most_common(1)
    del payload[worst]
    return True


def _changes(
    action: str,
    kind: Kind,
    faults: list[Fault],
    *,
    seen: dict[str, None],
    received: dict[tuple[str | int, ...], Fault],
) -> tuple[list[Change], bool] | Violation:
    """What helps against the faults, and whether no others can come of that.

    `seen` gets the quirks, `received` what was sent where a value is replaced that is to be looked at again.
    """
    changes: list[Change] = []
    put: tuple[str | int, ...] | None = None
    gone: tuple[str | int, ...] | None = None
    settled = True
    known: _Known = {}
    for fault in faults:
        path = fault.path
        if path == put or (gone is not None and path[: len(gone)] == gone):
            continue
        bend, closed = _helpful(action, kind, fault, seen, known)
        if isinstance(bend, Put) and not closed:
            received.setdefault(path, fault)
            settled = False
        if bend is None:
            # The peer is told what it sent, not what became of that: 7 for a name is a wrong type.
            return schemas.violation(received.get(path, fault))
        seen[bend.quirk] = None
        if isinstance(bend, Keep):
            continue
        if isinstance(bend, Drop):
            gone = bend.path
            settled &= bend.settled
            if bend.lacking is not None:
                seen[bend.lacking] = None
            # What was to be changed in it goes with it.
            while changes and changes[-1].path[: len(gone)] == gone:
                changes.pop()
        elif isinstance(bend, Put):
            put = path
        changes.append(bend)
    return changes, settled


def _helpful(
    action: str, kind: Kind, fault: Fault, seen: dict[str, None], known: _Known
) -> tuple[Bend | None, bool]:
    """What helps against a fault, None if nothing does, and whether nothing is wrong then that is not kept.

    A thousand samples may have the same fault: `known` has what helps against those of single values.
    """
    value = fault.instance
    same = (fault.place, fault.keyword, type(value), value) if type(value) in _SINGLE else None
    if same is not None and same in known:
        bend, closed = known[same]
        return _at_path(bend, fault.path), closed
    bend = _rule_of(action, kind, fault)
    helps = _lasting(action, kind, fault, bend, seen) if isinstance(bend, Put) else (bend, True)
    if same is not None:
        known[same] = helps
    return helps


def _at_path(bend: Bend | None, path: tuple[str | int, ...]) -> Bend | None:
    """What helps against the same fault at another `path`."""
    return bend if bend is None or isinstance(bend, Keep) else replace(bend, path=path[: len(bend.path)])


def _lasting(
    action: str, kind: Kind, fault: Fault, put: Put, seen: dict[str, None]
) -> tuple[Bend | None, bool]:
    """The last of the values that replace one another where a fault is, or what else helps; None if nothing does.

    And whether nothing is wrong with it that is not kept; of a value with others in it that is not known.
    """
    for _ in range(_ROUNDS):
        faults = fault.place.faults(put.path, put.value)
        if faults is None:
            return put, False
        seen[put.quirk] = None
        for again in faults:
            bend = _rule_of(action, kind, again)
            if not isinstance(bend, Keep):
                break
            seen[bend.quirk] = None
        else:
            return put, True
        if not isinstance(bend, Put):
            return bend, True
        put = bend
    return None, True


def _rule_of(action: str, kind: Kind, fault: Fault) -> Bend | None:
    bend = what_helps(action, fault)
    if kind == "request" or bend is None:
        return bend
    if bend.quirk == quirks.TOO_LONG:
        # A cut value would be taken for the charger's setting.
        return Keep(bend.quirk)
    return bend


def _too_many(most: int, first: Fault) -> Violation:
    told = schemas.violation(first)
    return Violation(told.code, told.path, f"more than {most} faults, such as: {told.message}")


def _most_faults(size: int) -> int:
    """How many faults are looked at in a payload of so many bytes."""
    return _FAULTS + min(size, _ENOUGH) // _BYTES_PER_FAULT


def _apply(payload: Payload, changes: list[Change]) -> None:
    for change in changes:
        if isinstance(change, Put):
            _at(payload, change.path[:-1])[change.path[-1]] = change.value
        elif isinstance(change, Strip):
            stripped = _at(payload, change.path)
            for name in change.names:
                del stripped[name]
    # They are in the payload's order: from the back, so that earlier indexes stay right.
    for change in reversed(changes):
        if isinstance(change, Drop):
            del _at(payload, change.path[:-1])[change.path[-1]]


def _at(payload: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        payload = payload[part]
    return payload
