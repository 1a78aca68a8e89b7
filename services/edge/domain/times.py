"""When something happened by the station's own clock."""

from collections.abc import Mapping
from datetime import tzinfo
from typing import Any

from libs.ocpp.quirks.effects import LocalTimeMarkedUtc
from libs.ocpp.times import parse_timestamp


def occurred_at(
    payload: Mapping[str, Any], received_at: int, zone: tzinfo, clock: LocalTimeMarkedUtc | None = None
) -> tuple[int, tuple[str, ...]]:
    """The moment that a CALL's payload names, in microseconds, and the quirks that reading it took.

    `timestamp` or `generatedAt` of the payload, else the first meter value's; `received_at` if there is none.
    `clock`: the rule about the station's clock, if there is one.
    """
    value = payload.get("timestamp") or payload.get("generatedAt")
    if value is None:
        values = payload.get("meterValue")
        if not isinstance(values, list) or not values or not isinstance(values[0], dict):
            return received_at, ()
        value = values[0].get("timestamp")
    at, quirks = parse_timestamp(value, received_at, zone)
    if clock is not None and not quirks and isinstance(value, str) and value.endswith("Z"):
        true = clock.moment(at, received_at, zone)
        if true is not None:
            return true, (clock.flag,)
    return at, quirks
