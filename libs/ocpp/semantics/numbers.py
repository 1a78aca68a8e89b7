"""Numbers of JSON to integers of a finer unit."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

_LARGEST: Final = 10**18
_HIGHEST_ID: Final = 2**31 - 1
_MOST_WH: Final = 10**15


def thousandths(value: float) -> int:
    """Return a number times 1000, rounded half to even; at most 10^18, whatever stood there."""
    number = Decimal(repr(value))
    if not number.is_finite() or abs(number) > _LARGEST // 1000:
        return _LARGEST if value > 0 else -_LARGEST
    return int((number * 1000).to_integral_value(ROUND_HALF_EVEN))


def thousandths_of(value: Any) -> int | None:
    """Return the thousandths of what may be absent."""
    return None if value is None else thousandths(value)


def whole(value: Any) -> int | None:
    """Return a number of what may be absent as an integer."""
    return None if value is None else round(thousandths(value) / 1000)


def evse_number(number: int | None) -> int | None:
    """Return the number of an EVSE or connector; None for one that no station has: negative, or beyond 32 bits."""
    return number if number is not None and 0 <= number <= _HIGHEST_ID else None


def register_wh(number: int) -> int | None:
    """Return the Wh of a register; None for what is no measurement, as of sampled values: 10^15 or more."""
    return number if -_MOST_WH < number < _MOST_WH else None
