"""What a station's calls and our answers mean: `OcppCallReceived` records to semantic events."""

from __future__ import annotations

from datetime import UTC, tzinfo
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson

from libs.events.ocpp_log import OcppCallReceived
from libs.events.record import Record
from libs.events.registry import StationRegistered
from libs.ocpp.inbound import CheckedCall, check_call
from libs.ocpp.quirks.book import Effects, RuleBook, correct_events, correct_payload, in_force
from libs.ocpp.semantics import NO_ANSWER, STEPS, read_call
from libs.ocpp.semantics.measurements import read_registers
from libs.ocpp.semantics.model import SemanticEvent, TransactionStep
from libs.ocpp.versions import Version

_VERSIONS: Final = {str(version): version for version in Version}
_NO_EFFECTS: Final[Effects] = ()


def read_exchange(
    record: OcppCallReceived, zone: tzinfo = UTC, book: RuleBook | None = None
) -> list[SemanticEvent]:
    """Return what the exchange means; nothing if the charger was answered with an error, or spoke a version that only
    a newer release knows.

    The payload is in the log as it was received: where the edge had to correct it, it is corrected again here, and the
    rules of `book` (those in force without it) are applied by the equipment that the record names. `zone` is
    where the charger's local times are. Raises ValueError for a payload that cannot be read.
    """
    if record.error is not None or record.version not in _VERSIONS:
        return []
    payload, flags, effects = _corrected(record, zone, book)
    return _read(record, payload, zone, effects, flags)


def read_step(
    record: OcppCallReceived, zone: tzinfo = UTC, book: RuleBook | None = None
) -> TransactionStep | None:
    """Return the transaction step that the exchange is, as `read_exchange` does, for half the cost.

    Nothing but the energy registers is read of its meter values, and the power if there are several.
    """
    if record.error is not None or record.version not in _VERSIONS:
        return None
    payload, flags, effects = _corrected(record, zone, book)
    read = STEPS[_VERSIONS[record.version]].get(record.action)
    if read is None:
        return None
    at = record.recorded_at
    meter = read_registers(payload.get("meterValue") or payload.get("transactionData") or (), at, zone)
    step = read(payload, _answer(record) or NO_ANSWER, at, zone, meter)
    if step is None or not (effects or flags):
        return step
    (corrected,) = correct_events(effects, [step], flags)
    return corrected if isinstance(corrected, TransactionStep) else None


def read_payload(
    record: OcppCallReceived, zone: tzinfo = UTC, book: RuleBook | None = None
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The payload as it is to be read, and the names of the corrections that it needed, as for `read_exchange`.

    Raises ValueError for a payload that cannot be read, or of a version that only a newer release knows.
    """
    if record.version not in _VERSIONS:
        raise ValueError(f"{record.version!r} is not known")
    payload, flags, _ = _corrected(record, zone, book)
    return payload, flags


def _corrected(
    record: OcppCallReceived, zone: tzinfo, book: RuleBook | None
) -> tuple[dict[str, Any], tuple[str, ...], Effects]:
    payload, flags = _payload(record)
    effects = _effects(record, book)
    if effects:
        flags += correct_payload(effects, payload, record.recorded_at, zone)
    return payload, flags, effects


def _payload(record: OcppCallReceived) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The payload as it is to be read, and the flags of the schema check."""
    payload: dict[str, Any] = orjson.loads(record.payload)
    if not record.quirks:
        return payload, ()
    checked = check_call(_VERSIONS[record.version], record.action, payload)
    if not isinstance(checked, CheckedCall):
        raise ValueError(f"{record.action} breaks its schema at {checked.path!r}: {checked.message}")
    return checked.payload, checked.quirks


def _answer(record: OcppCallReceived) -> dict[str, Any] | None:
    answer = record.answer
    return None if answer is None or answer == "{}" else orjson.loads(answer)


def _effects(record: OcppCallReceived, book: RuleBook | None) -> Effects:
    if book is None:
        book = in_force()
    by_action = book.effects(record.version, record.vendor, record.model, record.firmware)
    return by_action.get(record.action, _NO_EFFECTS) if by_action else _NO_EFFECTS


def _read(
    record: OcppCallReceived,
    payload: dict[str, Any],
    zone: tzinfo,
    effects: Effects,
    flags: tuple[str, ...],
) -> list[SemanticEvent]:
    version = _VERSIONS[record.version]
    events = read_call(version, record.action, payload, _answer(record), record.recorded_at, zone=zone)
    return correct_events(effects, events, flags) if effects or flags else events


def zone_of(station: Record | None) -> tzinfo:
    """The time zone that operators configured for a station; UTC if they gave none, or one that is not known."""
    return zone_named(station.timezone if isinstance(station, StationRegistered) else None)


@lru_cache(maxsize=1024)
def zone_named(name: str | None) -> tzinfo:
    """The time zone of that IANA name; UTC without one, or for one that is not known."""
    if name is None:
        return UTC
    try:
        return ZoneInfo(name)
    # ZoneInfo raises OSError for a name that is a folder, ValueError for one that leaves its root.
    except (OSError, ValueError, KeyError):
        return UTC
