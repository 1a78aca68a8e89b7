"""What records of one station have in common."""

from __future__ import annotations

from typing import Any

STATION = "cp1"
SECOND = 1_000_000
T0 = 1_700_000_000 * SECOND


def at(seconds: float) -> int:
    """That long after the beginning, microseconds."""
    return T0 + int(seconds * SECOND)


def envelope(event_id: str, seconds: float) -> dict[str, Any]:
    """The fields of every record of the station."""
    return {
        "event_id": event_id,
        "occurred_at": at(seconds),
        "recorded_at": at(seconds),
        "cause_id": event_id,
        "station_id": STATION,
    }
