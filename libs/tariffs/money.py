"""Exact rounding and apportionment of whole numbers."""

from collections.abc import Sequence

from libs.events.tariffs import RoundingMode


def round_div(number: int, divisor: int, mode: RoundingMode) -> int:
    """`number / divisor` to the nearest whole number; halves as `mode` says. The divisor is positive."""
    whole, rest = divmod(number, divisor)
    if 2 * rest < divisor:
        return whole
    if 2 * rest > divisor:
        return whole + 1
    if mode is RoundingMode.HALF_UP:
        return whole + 1 if number > 0 else whole
    return whole + (whole & 1)


def apportion(weights: Sequence[int], divisor: int, total: int) -> list[int]:
    """`total` in whole parts, each one of the neighbours of its weight / divisor (the largest remainders round up).

    `total` is one of the neighbours of the sum of the weights / divisor. Of equal remainders the first goes up.
    """
    pairs = [divmod(weight, divisor) for weight in weights]
    parts = [whole for whole, _ in pairs]
    missing = total - sum(parts)
    if missing:
        order = sorted(range(len(pairs)), key=lambda index: -pairs[index][1])
        for index in order[:missing]:
            parts[index] += 1
    return parts
