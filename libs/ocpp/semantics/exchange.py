"""What a recorded exchange means: `OcppCallReceived` records to semantic events."""

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
from libs.ocpp.semantics import read_call
from libs.ocpp.semantics.measurements import REGISTER
from libs.ocpp.semantics.model import SemanticEvent, TransactionStep
from libs.ocpp.versions import Version

_VERSIONS: Final = {str(version): version for version in Version}


def read_exchange(record: OcppCallReceived, zone: tzinfo = UTC) -> list[SemanticEvent]:
    """Return what the exchange means; nothing if the charger was answered with an error.

    The payload is in the log as it was received: where the edge had to bend it, it is bent again here. `zone`
    is where the charger's zoneless timestamps are. Raises ValueError for a payload that cannot be read.
    """
    return [] if record.error is not None else _read(record, _payload(record), zone)


def read_step(record: OcppCallReceived, zone: tzinfo = UTC) -> TransactionStep | None:
    """Return the transaction step that the exchange is, as `read_exchange` does, for half the cost.

    Nothing but the energy registers is read of its meter values.
    """
    if record.error is not None:
        return None
    payload = _payload(record)
    for meter_value in payload.get("meterValue") or payload.get("transactionData") or ():
        sampled = meter_value.get("sampledValue")
        if sampled:
            meter_value["sampledValue"] = [s for s in sampled if s.get("measurand", REGISTER) == REGISTER]
    for fact in _read(record, payload, zone):
        if isinstance(fact, TransactionStep):
            return fact
    return None


def _payload(record: OcppCallReceived) -> dict[str, Any]:
    payload: dict[str, Any] = orjson.loads(record.payload)
    if record.quirks:
        checked = check_call(_VERSIONS[record.version], record.action, payload)
        if not isinstance(checked, CheckedCall):
            raise ValueError(f"{record.action} breaks its schema at {checked.path!r}: {checked.message}")
        payload = checked.payload
    return payload


def _read(record: OcppCallReceived, payload: dict[str, Any], zone: tzinfo) -> list[SemanticEvent]:
    answer = record.answer
    return read_call(
        _VERSIONS[record.version],
        record.action,
        payload,
        None if answer is None or answer == "{}" else orjson.loads(answer),
        record.recorded_at,
        zone=zone,
    )


def zone_of(station: Record | None) -> tzinfo:
    """The time zone that operators configured for a station; UTC if they gave none, or one that is not known."""
    name = station.timezone if isinstance(station, StationRegistered) else None
    return UTC if name is None else _zone(name)


@lru_cache(maxsize=1024)
def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    # ZoneInfo raises OSError for a name that is a folder, ValueError for one that leaves its root.
    except (OSError, ValueError, KeyError):
        return UTC
