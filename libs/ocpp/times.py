"""Charger timestamps to microseconds since the Unix epoch (UTC), and back."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import Final

from libs.ocpp import quirks
from libs.ocpp.quirks.corrected_text import CorrectedText
from libs.runtime.clock import SECOND, iso, micros

Micros = int

_CREDIBLE: Final = 366 * 86_400 * SECOND
"""No queue is older than that; a clock that was never set says 1970, or when its firmware was built."""
_LONGEST: Final = 40
_SECONDS_LIMIT: Final = 100_000_000_000  # a bare number above it counts milliseconds


def parse_timestamp(value: object, received_at: Micros, zone: tzinfo = UTC) -> tuple[Micros, tuple[str, ...]]:
    """Return a charger's timestamp in microseconds, and the quirks that reading it took.

    ``value`` is what the payload holds, usually a string. Without a zone it is read in ``zone`` (the
    charger's configured one, see :func:`local_moment`). What is more than a year before or after ``received_at``,
    and whatever cannot be read at all, gives ``received_at``. A missing timestamp (``None``) gives
    ``received_at`` without a quirk.
    """
    if type(value) is not str or len(value) > _LONGEST:
        return _from_other(value, received_at, zone)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return _parse_odd(value, received_at, zone)
    return _zoned(moment, received_at, zone, ())


def format_timestamp(at: Micros) -> str:
    """Return ``at`` as RFC 3339 in UTC with milliseconds: ``2026-01-01T00:00:00.000Z``."""
    return f"{iso(at)[:-9]}Z"


def local_moment(shown: datetime, received_at: Micros, zone: tzinfo) -> Micros:
    """Return the moment at which clocks in ``zone`` show ``shown``, a time without zone.

    Of the two where clocks go back it is the one nearer to ``received_at``.
    """
    moments = [micros(shown.replace(tzinfo=zone, fold=fold)) for fold in (0, 1)]
    return min(moments, key=lambda at: abs(at - received_at))


def _from_other(value: object, received_at: Micros, zone: tzinfo) -> tuple[Micros, tuple[str, ...]]:
    if value is None:
        return received_at, ()
    if type(value) is CorrectedText:
        at, odd = parse_timestamp(value.meant, received_at, zone)
        return at, (*value.flags, *odd)
    if type(value) is int or type(value) is float:
        return _from_number(value, received_at)
    return received_at, (quirks.TIMESTAMP_UNREADABLE,)


def _parse_odd(text: str, received_at: Micros, zone: tzinfo) -> tuple[Micros, tuple[str, ...]]:
    """Read what ``fromisoformat`` does not: lower-case letters, leap seconds, bare numbers."""
    tidy = text.strip().upper()
    try:
        return _from_number(float(tidy), received_at)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(tidy.replace(":60Z", ":59Z").replace(":60.", ":59."))
    except ValueError:
        return received_at, (quirks.TIMESTAMP_UNREADABLE,)
    return _zoned(moment, received_at, zone, (quirks.TIMESTAMP_FORMAT,))


def _zoned(
    moment: datetime, received_at: Micros, zone: tzinfo, seen: tuple[str, ...]
) -> tuple[Micros, tuple[str, ...]]:
    if moment.tzinfo is None:
        seen = (*seen, quirks.TIMESTAMP_WITHOUT_ZONE)
        return _bounded(local_moment(moment, received_at, zone), received_at, seen)
    return _bounded(micros(moment), received_at, seen)


def _from_number(number: float, received_at: Micros) -> tuple[Micros, tuple[str, ...]]:
    seconds = number / 1000 if abs(number) >= _SECONDS_LIMIT else number
    # Also refuses NaN and infinity, which would not convert.
    if not 0 <= seconds < _SECONDS_LIMIT:
        return received_at, (quirks.TIMESTAMP_NUMBER, quirks.TIMESTAMP_OUT_OF_BOUNDS)
    return _bounded(round(seconds * SECOND), received_at, (quirks.TIMESTAMP_NUMBER,))


def _bounded(at: Micros, received_at: Micros, seen: tuple[str, ...]) -> tuple[Micros, tuple[str, ...]]:
    if abs(at - received_at) <= _CREDIBLE:
        return at, seen
    return received_at, (*seen, quirks.TIMESTAMP_OUT_OF_BOUNDS)
