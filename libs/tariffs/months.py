"""Calendar months by the clocks of a site. A month is a number: twelve times the year, and January is 0."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from libs.runtime.clock import SECOND

_MONTHS: Final = 12


def month_at(at: int, zone: str) -> int:
    """The month that clocks in the IANA zone `zone` show at `at` (microseconds).

    Raises ZoneInfoNotFoundError for a zone that is not known.
    """
    local = datetime.fromtimestamp(at // SECOND, UTC).astimezone(ZoneInfo(zone))
    return local.year * _MONTHS + local.month - 1


@lru_cache(maxsize=1024)
def month_start(month: int, zone: str) -> int:
    """When `month` begins in `zone` (microseconds). Raises like `month_at`, and ValueError outside of years 1 to 9999.

    Where the clock skips midnight: when it jumps. Where midnight comes twice: the first time.
    """
    year, index = divmod(month, _MONTHS)
    begin = datetime(year, index + 1, 1, tzinfo=ZoneInfo(zone))
    return int(begin.timestamp()) * SECOND


def month_text(month: int) -> str:
    """YYYY-MM."""
    year, index = divmod(month, _MONTHS)
    return f"{year:04}-{index + 1:02}"


def month_number(text: str) -> int:
    """The number of YYYY-MM. Raises ValueError for anything else."""
    year, index = text.split("-")
    number = int(year) * _MONTHS + int(index) - 1
    if month_text(number) != text:
        raise ValueError(f"{text!r} is no month")
    return number
