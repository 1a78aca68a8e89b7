"""The schema check with the bends that real chargers need: lenient in, strict out.

A conforming payload costs one strict check and nothing else. One that does not conform is repaired on a copy
where a rule below knows how, each repair named by a quirk flag (``libs.ocpp.quirks``); otherwise its first
violation is returned.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from functools import cache
from hashlib import blake2b
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from libs.ocpp import quirks, schemas
from libs.ocpp.errors import ErrorCode
from libs.ocpp.faults import Fault, Place
from libs.ocpp.schemas import Kind, Payload, Violation
from libs.ocpp.versions import Version

MOST_CONNECTORS: Final = 256
LONGEST_TEXT: Final = 255
"""Texts that are longer than the specification allows are kept up to so many bytes, or up to what it allows."""
_CONNECTORS: Final = "NumberOfConnectors"

_ROUNDS: Final = 6
_FAULTS: Final = 160
"""Faults that are looked at in any payload; a larger one may have one more for each `_BYTES_PER_FAULT`.

Never fewer than in an earlier release: recorded calls are read by the same rule, and must be read as they were.
"""
_BYTES_PER_FAULT: Final = 32
_ENOUGH: Final = 64 * 1024
_LONGEST_NUMBER: Final = 40
_LONGEST_EXPONENT: Final = 30

# Properties whose unlisted values are vendor inventions that hurt nobody.
_OPEN_ENUMS: Final = frozenset(
    {"errorCode", "context", "location", "unit", "reason", "stoppedReason", "triggerReason"}
)
_SAMPLES: Final = "sampledValue"

# What can be read of these is taken: a charger repeats what is refused for ever, and nobody pays, or nobody charges.
_ABOUT_MONEY: Final = frozenset(
    {"Authorize", "StartTransaction", "StopTransaction", "MeterValues", "TransactionEvent"}
)
# Without these a driver would be let in on less than was shown.
_PROOFS: Final = frozenset({"certificate", "iso15118CertificateHashData"})
_TOKEN: Final = ("idToken",)
_TOKEN_TYPE: Final = ("idToken", "type")
# What a refused StopTransaction would lack in the end is its energy: it is confirmed, and read as far as it goes.
_OF_A_STOP: Final = {"transactionId": quirks.TRANSACTION_ID_MISSING, "meterStop": quirks.SAMPLE_DROPPED}
# A sample means the same without these; without its unit or phase it would be another one.
_BESIDE_THE_VALUE: Final = frozenset({"signedMeterValue", "customData"})
_LISTS_THAT_MAY_BE_EMPTY: Final = frozenset({_SAMPLES, "meterValue", "transactionData"})


class CheckedCall(msgspec.Struct, frozen=True):
    """A payload fit for use, and the names of the quirks that were bent to make it so."""

    payload: Payload
    quirks: tuple[str, ...] = ()


class _Drop(msgspec.Struct, frozen=True, gc=False):
    """Remove what ``path`` leads to."""

    path: tuple[str | int, ...]
    quirk: str
    settled: bool = False
    """Whether no other fault can come of it."""
    lacking: str | None = None
    """The quirk of what the message is read without although it is required."""


class _Put(msgspec.Struct, frozen=True, gc=False):
    """Replace what ``path`` leads to by ``value``."""

    path: tuple[str | int, ...]
    quirk: str
    value: Any


class _Keep(msgspec.Struct, frozen=True, gc=False):
    """Tolerate the value as it is."""

    quirk: str


class _Strip(msgspec.Struct, frozen=True, gc=False):
    """Remove properties of the object that ``path`` leads to."""

    path: tuple[str | int, ...]
    quirk: str
    names: tuple[str, ...]


_ODD_MOMENT: Final = _Keep(quirks.TIMESTAMP_FORMAT)
_UNLISTED: Final = _Keep(quirks.UNLISTED_VALUE)

_SINGLE: Final = frozenset({str, int, bool, type(None)})
"""Types of values of which equal ones are the same; 0.0 and -0.0 are not."""

_Change = _Drop | _Put | _Strip
_Bend = _Change | _Keep
_Known = dict[tuple[Place, str, type, Any], tuple[_Bend | None, bool]]


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
    number = _decimal(value)
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
    if action not in _ABOUT_MONEY:
        return False
    parts = Counter(
        str(fault.path[0])
        for fault in faults
        if fault.place.optional[:1] == (True,) and _cut(action, fault.place) is not None
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
) -> tuple[list[_Change], bool] | Violation:
    """What helps against the faults, and whether no others can come of that.

    `seen` gets the quirks, `received` what was sent where a value is replaced that is to be looked at again.
    """
    changes: list[_Change] = []
    put: tuple[str | int, ...] | None = None
    gone: tuple[str | int, ...] | None = None
    settled = True
    known: _Known = {}
    for fault in faults:
        path = fault.path
        if path == put or (gone is not None and path[: len(gone)] == gone):
            continue
        bend, closed = _helpful(action, kind, fault, seen, known)
        if isinstance(bend, _Put) and not closed:
            received.setdefault(path, fault)
            settled = False
        if bend is None:
            # The peer is told what it sent, not what became of that: 7 for a name is a wrong type.
            return schemas.violation(received.get(path, fault))
        seen[bend.quirk] = None
        if isinstance(bend, _Keep):
            continue
        if isinstance(bend, _Drop):
            gone = bend.path
            settled &= bend.settled
            if bend.lacking is not None:
                seen[bend.lacking] = None
            # What was to be changed in it goes with it.
            while changes and changes[-1].path[: len(gone)] == gone:
                changes.pop()
        elif isinstance(bend, _Put):
            put = path
        changes.append(bend)
    return changes, settled


def _helpful(
    action: str, kind: Kind, fault: Fault, seen: dict[str, None], known: _Known
) -> tuple[_Bend | None, bool]:
    """What helps against a fault, None if nothing does, and whether nothing is wrong then that is not kept.

    A thousand samples may have the same fault: `known` has what helps against those of single values.
    """
    value = fault.instance
    same = (fault.place, fault.keyword, type(value), value) if type(value) in _SINGLE else None
    if same is not None and same in known:
        bend, closed = known[same]
        return _at_path(bend, fault.path), closed
    bend = _rule_of(action, kind, fault)
    helps = _lasting(action, kind, fault, bend, seen) if isinstance(bend, _Put) else (bend, True)
    if same is not None:
        known[same] = helps
    return helps


def _at_path(bend: _Bend | None, path: tuple[str | int, ...]) -> _Bend | None:
    """What helps against the same fault at another `path`."""
    return bend if bend is None or isinstance(bend, _Keep) else replace(bend, path=path[: len(bend.path)])


def _lasting(
    action: str, kind: Kind, fault: Fault, put: _Put, seen: dict[str, None]
) -> tuple[_Bend | None, bool]:
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
            if not isinstance(bend, _Keep):
                break
            seen[bend.quirk] = None
        else:
            return put, True
        if not isinstance(bend, _Put):
            return bend, True
        put = bend
    return None, True


def _rule_of(action: str, kind: Kind, fault: Fault) -> _Bend | None:
    bend = _rule(action, fault)
    if kind == "request" or bend is None:
        return bend
    if bend.quirk == quirks.TOO_LONG:
        # A cut value would be taken for the charger's setting.
        return _Keep(bend.quirk)
    return bend


def _too_many(most: int, first: Fault) -> Violation:
    told = schemas.violation(first)
    return Violation(told.code, told.path, f"more than {most} faults, such as: {told.message}")


def _most_faults(size: int) -> int:
    """How many faults are looked at in a payload of so many bytes."""
    return _FAULTS + min(size, _ENOUGH) // _BYTES_PER_FAULT


def _copied(value: Any) -> Any:
    if type(value) is dict:
        return {name: _copied(inner) for name, inner in value.items()}
    return [_copied(item) for item in value] if type(value) is list else value


def _apply(payload: Payload, changes: list[_Change]) -> None:
    for change in changes:
        if isinstance(change, _Put):
            _at(payload, change.path[:-1])[change.path[-1]] = change.value
        elif isinstance(change, _Strip):
            stripped = _at(payload, change.path)
            for name in change.names:
                del stripped[name]
    # They are in the payload's order: from the back, so that earlier indexes stay right.
    for change in reversed(changes):
        if isinstance(change, _Drop):
            del _at(payload, change.path[:-1])[change.path[-1]]


def _at(payload: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        payload = payload[part]
    return payload


def _rule(action: str, fault: Fault) -> _Bend | None:
    """Return what to do about one failed keyword, ``None`` if nothing helps."""
    rule = _RULES.get(fault.keyword)
    bend = None if rule is None else rule(action, fault)
    value, place = fault.instance, fault.place
    if value is None and bend is not None and action in _ABOUT_MONEY:
        # Without a value that it needs, what holds it goes as well.
        instead = _stands_for(action, place.names)
        if instead is not None:
            return _Drop(fault.path, bend.quirk, settled=True, lacking=instead)
        return bend if place.lacking else _left_out(action, fault) or bend
    if bend is not None:
        return bend
    if isinstance(value, str) and not value.strip() and place.lacking:
        return _Drop(fault.path, quirks.EMPTY_REMOVED, settled=place.names[-1] is not None)
    return _left_out(action, fault) if action in _ABOUT_MONEY else None


def _left_out(action: str, fault: Fault) -> _Bend | None:
    """Leave out the least that the message can do without, ``None`` if it needs what is wrong."""
    if fault.keyword == "additionalProperties":
        return _Strip(fault.path, quirks.PROPERTY_UNLISTED, fault.expected)
    cut = _cut(action, fault.place)
    if cut is None:
        return None
    length, quirk, instead = cut
    # Without an item a list may be too short.
    return _Drop(fault.path[:length], quirk, fault.place.names[length - 1] is not None, instead)


@cache
def _cut(action: str, place: Place) -> tuple[int, str, str | None] | None:
    """How much of the path to a fault leads to what is left out, and the quirks of that and of what is lacking then."""
    names = place.names
    if names and names[0] in _PROOFS:
        return None
    if _SAMPLES in names:
        # One bad sample must not cost its neighbours; only a fault inside an item is the item's own.
        item = names.index(_SAMPLES) + 2
        if names[item : item + 1] and names[item] not in _BESIDE_THE_VALUE:
            names = names[:item]
    for length in range(len(names), 0, -1):
        shorter = names[:length]
        if shorter == _TOKEN:
            return None
        if shorter[-1] is None:
            # Of another list, some items alone would not be what was said.
            if shorter[-2] in _LISTS_THAT_MAY_BE_EMPTY:
                return length, quirks.SAMPLE_DROPPED, None
        elif place.optional[length - 1]:
            return length, quirks.VALUE_DROPPED, None
        elif (instead := _stands_for(action, shorter)) is not None:
            return length, quirks.VALUE_DROPPED, instead
    return None


def _rule_type(_action: str, fault: Fault) -> _Bend | None:
    value, path = fault.instance, fault.path
    if not path:
        return None
    if value is None:
        return _Drop(path, quirks.NULL_REMOVED) if isinstance(path[-1], str) else None
    convert = _CONVERSIONS.get(fault.expected)
    found = None if convert is None else convert(value)
    return None if found is None else _Put(path, found[0], found[1])


def _rule_enum(_action: str, fault: Fault) -> _Bend | None:
    value, path = fault.instance, fault.path
    if not isinstance(value, str) or not path:
        return None
    listed = fault.expected.get(value.strip().casefold())
    if listed is not None:
        return _Put(path, quirks.ENUM_SPELLING, listed)
    if not value.strip() or (path[-1] not in _OPEN_ENUMS and path[-2:] != _TOKEN_TYPE):
        return None
    kept = shortened(value, LONGEST_TEXT)
    return _UNLISTED if kept is value else _Put(path, quirks.UNLISTED_VALUE, kept)


def _rule_format(_action: str, fault: Fault) -> _Bend | None:
    return _ODD_MOMENT if fault.expected == "date-time" else _UNLISTED


def _rule_max_length(_action: str, fault: Fault) -> _Bend | None:
    kept = shortened(fault.instance, max(int(fault.expected), LONGEST_TEXT))
    return _Keep(quirks.TOO_LONG) if kept is fault.instance else _Put(fault.path, quirks.TOO_LONG, kept)


def shortened(text: str, most: int) -> str:
    """`text` itself, or its begin and a digest of all of it if it takes more than `most` bytes.

    What differs stays different, so that long ids still tell one thing from another.
    """
    if len(text) * 4 <= most:
        return text
    whole = text.encode("utf-8", "surrogatepass")
    if len(whole) <= most:
        return text
    digest = blake2b(whole, digest_size=8).hexdigest()
    return f"{whole[: most - 1 - len(digest)].decode('utf-8', 'ignore')}~{digest}"


def _rule_min_items(_action: str, fault: Fault) -> _Bend | None:
    return (
        _Keep(quirks.EMPTY_LIST) if fault.path[-1:] and fault.path[-1] in _LISTS_THAT_MAY_BE_EMPTY else None
    )


def _rule_required(action: str, fault: Fault) -> _Bend | None:
    quirk = _stands_for(action, (*fault.path, fault.expected))
    return None if quirk is None else _Keep(quirk)


def _stands_for(action: str, path: tuple[str | int | None, ...]) -> str | None:
    """Return the flag of what a message about money is read without although it is required, ``None`` for the rest."""
    if action == "StopTransaction" and len(path) == 1 and path[0] in _OF_A_STOP:
        return _OF_A_STOP[str(path[0])]
    # The moment of a StartTransaction is part of the id that it is given.
    dated = action in _ABOUT_MONEY and action != "StartTransaction"
    return quirks.TIMESTAMP_UNREADABLE if dated and path[-1] == "timestamp" else None


_RULES: Final[Mapping[str, Callable[[str, Fault], _Bend | None]]] = {
    "type": _rule_type,
    "enum": _rule_enum,
    "format": _rule_format,
    "maxLength": _rule_max_length,
    "minItems": _rule_min_items,
    "required": _rule_required,
}


def _to_string(value: Any) -> tuple[str, Any] | None:
    if value is True or value is False:
        return quirks.NUMBER_FOR_STRING, "true" if value else "false"
    if type(value) is int or type(value) is float:
        return quirks.NUMBER_FOR_STRING, str(value)
    return None


def _to_integer(value: Any) -> tuple[str, Any] | None:
    if isinstance(value, float):
        if value.is_integer():
            large = abs(value) >= 2**63
            return (quirks.INTEGER_TOO_LARGE if large else quirks.FRACTION_FOR_INTEGER), int(value)
        return quirks.FRACTION_FOR_INTEGER, round(value)
    number = _decimal(value)
    if number is None:
        return None
    return _number_quirk(value), int(number.to_integral_value(ROUND_HALF_EVEN))


def _to_number(value: Any) -> tuple[str, Any] | None:
    number = _decimal(value)
    return None if number is None else (_number_quirk(value), float(number))


def _to_boolean(value: Any) -> tuple[str, Any] | None:
    known = {"true": True, "false": False, "1": True, "0": False}
    found = known.get(str(value).strip().lower()) if isinstance(value, str | int) else None
    return None if found is None else (quirks.STRING_FOR_BOOLEAN, found)


def _to_list(value: Any) -> tuple[str, Any] | None:
    # Lua writes an empty list as an object.
    return (quirks.OBJECT_FOR_LIST, [_copied(value)] if value else []) if isinstance(value, dict) else None


_CONVERSIONS: Final[Mapping[str, Callable[[Any], tuple[str, Any] | None]]] = {
    "string": _to_string,
    "integer": _to_integer,
    "number": _to_number,
    "boolean": _to_boolean,
    "array": _to_list,
}


def _number_quirk(value: str) -> str:
    return quirks.DECIMAL_COMMA if "," in value else quirks.STRING_FOR_NUMBER


def _decimal(value: Any) -> Decimal | None:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_NUMBER:
        return None
    try:
        number = Decimal(value.strip().replace(",", "."))
    except InvalidOperation:
        return None
    # An exponent in the millions would turn into as many digits.
    if not number.is_finite() or abs(number.adjusted()) > _LONGEST_EXPONENT:
        return None
    return number
