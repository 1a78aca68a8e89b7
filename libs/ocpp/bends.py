"""What helps against one fault of a payload: to convert a value, spell it as listed, shorten, leave out or keep it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from functools import cache
from hashlib import blake2b
from typing import Any, Final

import msgspec

from libs.ocpp import quirks
from libs.ocpp.faults import Fault, Place

LONGEST_TEXT: Final = 255
"""Texts that are longer than the specification allows are kept up to so many bytes, or up to what it allows."""
_LONGEST_NUMBER: Final = 40
_LONGEST_EXPONENT: Final = 30

# Properties whose unlisted values are vendor inventions that hurt nobody.
_OPEN_ENUMS: Final = frozenset(
    {"errorCode", "context", "location", "unit", "reason", "stoppedReason", "triggerReason"}
)
_SAMPLES: Final = "sampledValue"

# What can be read of these is taken: a charger repeats what is refused for ever, and nobody pays, or nobody charges.
ABOUT_MONEY: Final = frozenset(
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


class Drop(msgspec.Struct, frozen=True, gc=False):
    """Remove what ``path`` leads to."""

    path: tuple[str | int, ...]
    quirk: str
    settled: bool = False
    """Whether no other fault can come of it."""
    lacking: str | None = None
    """The quirk of what the message is read without although it is required."""


class Put(msgspec.Struct, frozen=True, gc=False):
    """Replace what ``path`` leads to by ``value``."""

    path: tuple[str | int, ...]
    quirk: str
    value: Any


class Keep(msgspec.Struct, frozen=True, gc=False):
    """Tolerate the value as it is."""

    quirk: str


class Strip(msgspec.Struct, frozen=True, gc=False):
    """Remove properties of the object that ``path`` leads to."""

    path: tuple[str | int, ...]
    quirk: str
    names: tuple[str, ...]


_ODD_MOMENT: Final = Keep(quirks.TIMESTAMP_FORMAT)
_UNLISTED: Final = Keep(quirks.UNLISTED_VALUE)

Change = Drop | Put | Strip
Bend = Change | Keep


def what_helps(action: str, fault: Fault) -> Bend | None:
    """Return what to do about one failed keyword, ``None`` if nothing helps."""
    rule = _RULES.get(fault.keyword)
    bend = None if rule is None else rule(action, fault)
    value, place = fault.instance, fault.place
    if value is None and bend is not None and action in ABOUT_MONEY:
        # Without a value that it needs, what holds it goes as well.
        instead = _stands_for(action, place.names)
        if instead is not None:
            return Drop(fault.path, bend.quirk, settled=True, lacking=instead)
        return bend if place.lacking else _left_out(action, fault) or bend
    if bend is not None:
        return bend
    if isinstance(value, str) and not value.strip() and place.lacking:
        return Drop(fault.path, quirks.EMPTY_REMOVED, settled=place.names[-1] is not None)
    return _left_out(action, fault) if action in ABOUT_MONEY else None


def _left_out(action: str, fault: Fault) -> Bend | None:
    """Leave out the least that the message can do without, ``None`` if it needs what is wrong."""
    if fault.keyword == "additionalProperties":
        return Strip(fault.path, quirks.PROPERTY_UNLISTED, fault.expected)
    cut = least_part(action, fault.place)
    if cut is None:
        return None
    length, quirk, instead = cut
    # Without an item a list may be too short.
    return Drop(fault.path[:length], quirk, fault.place.names[length - 1] is not None, instead)


@cache
def least_part(action: str, place: Place) -> tuple[int, str, str | None] | None:
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


def _rule_type(_action: str, fault: Fault) -> Bend | None:
    value, path = fault.instance, fault.path
    if not path:
        return None
    if value is None:
        return Drop(path, quirks.NULL_REMOVED) if isinstance(path[-1], str) else None
    convert = _CONVERSIONS.get(fault.expected)
    found = None if convert is None else convert(value)
    return None if found is None else Put(path, found[0], found[1])


def _rule_enum(_action: str, fault: Fault) -> Bend | None:
    value, path = fault.instance, fault.path
    if not isinstance(value, str) or not path:
        return None
    listed = fault.expected.get(value.strip().casefold())
    if listed is not None:
        return Put(path, quirks.ENUM_SPELLING, listed)
    if not value.strip() or (path[-1] not in _OPEN_ENUMS and path[-2:] != _TOKEN_TYPE):
        return None
    kept = _shortened(value, LONGEST_TEXT)
    return _UNLISTED if kept is value else Put(path, quirks.UNLISTED_VALUE, kept)


def _rule_format(_action: str, fault: Fault) -> Bend | None:
    return _ODD_MOMENT if fault.expected == "date-time" else _UNLISTED


def _rule_max_length(_action: str, fault: Fault) -> Bend | None:
    kept = _shortened(fault.instance, max(int(fault.expected), LONGEST_TEXT))
    return Keep(quirks.TOO_LONG) if kept is fault.instance else Put(fault.path, quirks.TOO_LONG, kept)


def _shortened(text: str, most: int) -> str:
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


def _rule_min_items(_action: str, fault: Fault) -> Bend | None:
    return Keep(quirks.EMPTY_LIST) if fault.path[-1:] and fault.path[-1] in _LISTS_THAT_MAY_BE_EMPTY else None


def _rule_required(action: str, fault: Fault) -> Bend | None:
    quirk = _stands_for(action, (*fault.path, fault.expected))
    return None if quirk is None else Keep(quirk)


def _stands_for(action: str, path: tuple[str | int | None, ...]) -> str | None:
    """Return the flag of what a message about money is read without although it is required, ``None`` for the rest."""
    if action == "StopTransaction" and len(path) == 1 and path[0] in _OF_A_STOP:
        return _OF_A_STOP[str(path[0])]
    # The moment of a StartTransaction is part of the id that it is given.
    dated = action in ABOUT_MONEY and action != "StartTransaction"
    return quirks.TIMESTAMP_UNREADABLE if dated and path[-1] == "timestamp" else None


_RULES: Final[Mapping[str, Callable[[str, Fault], Bend | None]]] = {
    "type": _rule_type,
    "enum": _rule_enum,
    "format": _rule_format,
    "maxLength": _rule_max_length,
    "minItems": _rule_min_items,
    "required": _rule_required,
}


def _copied(value: Any) -> Any:
    if type(value) is dict:
        return {name: _copied(inner) for name, inner in value.items()}
    return [_copied(item) for item in value] if type(value) is list else value


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
    number = read_number(value)
    if number is None:
        return None
    return _number_quirk(value), int(number.to_integral_value(ROUND_HALF_EVEN))


def _to_number(value: Any) -> tuple[str, Any] | None:
    number = read_number(value)
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


def read_number(value: Any) -> Decimal | None:
    """A number that came as text, also with a comma; ``None`` if it is none, or of absurd length."""
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
