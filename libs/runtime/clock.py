"""Wall clock in the platform's unit. Domain code never calls it: time reaches it as an argument."""

from datetime import UTC, datetime
from time import time_ns

SECOND = 1_000_000
"""Microseconds in a second."""


def now_us() -> int:
    """Microseconds since the Unix epoch, UTC."""
    return time_ns() // 1000


def iso(micros: int) -> str:
    """`micros` as RFC 3339 text with microseconds, UTC."""
    return datetime.fromtimestamp(micros / SECOND, UTC).isoformat(timespec="microseconds")
