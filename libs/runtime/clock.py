"""Wall clock in the platform's unit. Domain code never calls it: time reaches it as an argument."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from time import time_ns

SECOND = 1_000_000
"""Microseconds in a second."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def now_us() -> int:
    """Microseconds since the Unix epoch, UTC."""
    return time_ns() // 1000


def micros(moment: datetime) -> int:
    """Microseconds since the Unix epoch of `moment`, which has a time zone. Raises TypeError without one."""
    return (moment - _EPOCH) // _MICROSECOND


def moment_of(at: int) -> datetime:
    """The moment, in UTC, of `at` in microseconds since the Unix epoch. Raises OverflowError after the year 9999."""
    return _EPOCH + at * _MICROSECOND


def iso(at: int) -> str:
    """`at`, in microseconds since the Unix epoch, as RFC 3339 text with microseconds, UTC."""
    seconds, rest = divmod(at, SECOND)
    return f"{_iso_seconds(seconds)}.{rest:06d}+00:00"


@lru_cache(maxsize=64)
def _iso_seconds(seconds: int) -> str:
    """Most moments asked for are now: formatting each second once is most of the work."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").removesuffix("+00:00")
