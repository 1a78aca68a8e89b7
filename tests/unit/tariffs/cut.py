"""Usage that is cut off at a moment."""

from __future__ import annotations

import msgspec

from libs.tariffs.usage import Interval, Usage


def register_at(interval: Interval, at: int) -> int:
    """Wh since the interval's start, as the register shows them at `at` within the interval."""
    length = interval.end - interval.start
    if at >= interval.end or length == 0:
        return interval.energy_wh
    return (2 * interval.energy_wh * (at - interval.start) + length) // (2 * length)


def truncate(usage: Usage, at: int) -> Usage:
    """The usage before `at`; all of it if it ended by then."""
    kept = []
    for each in usage:
        if each.end <= at:
            kept.append(each)
        elif each.start < at:
            kept.append(msgspec.structs.replace(each, end=at, energy_wh=register_at(each, at)))
    return tuple(kept)
