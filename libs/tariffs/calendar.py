"""When elements count by the clocks and the calendar of a site.

What counts at a moment is what the site's clock shows then. So a window that begins within the hour that is left
out in spring begins when the clock jumps; and in autumn, when an hour is shown twice, a window within it counts twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from libs.events.tariffs import DayOfWeek, TariffRestrictions
from libs.runtime.clock import SECOND

DAY_S: Final = 86_400
DAY: Final = DAY_S * SECOND

_HOUR_S: Final = 3600
_EPOCH: Final = date(1970, 1, 1).toordinal()
_THURSDAY: Final = 3
_WEEKDAYS: Final = {day: number for number, day in enumerate(DayOfWeek)}
_DAYS_KEPT: Final = 1024


class CalendarRule(msgspec.Struct, frozen=True, gc=False):
    """The calendar part of an element's restrictions. Seconds of the day, day numbers since 1970, (month, day)."""

    start_s: int = 0
    end_s: int = DAY_S
    weekdays: frozenset[int] = frozenset(range(7))
    first_day: int | None = None
    last_day: int | None = None
    season_start: tuple[int, int] | None = None
    season_end: tuple[int, int] | None = None

    def holds(self, day: int, second: int) -> bool:
        """Whether it holds on the local day (since 1970) at the local second of that day."""
        if not _within(second, self.start_s, self.end_s) or (day + _THURSDAY) % 7 not in self.weekdays:
            return False
        if self.first_day is not None and day < self.first_day:
            return False
        if self.last_day is not None and day >= self.last_day:
            return False
        if self.season_start is None or self.season_end is None:
            return True
        local = date.fromordinal(day + _EPOCH)
        return _within((local.month, local.day), self.season_start, self.season_end)


def _within(value: int | tuple[int, int], first: int | tuple[int, int], end: int | tuple[int, int]) -> bool:
    """From `first` on, before `end`; around the end of the day or year if that comes first."""
    if first < end:  # type: ignore[operator]
        return first <= value < end  # type: ignore[operator]
    return value >= first or value < end  # type: ignore[operator]


def rule_of(restrictions: TariffRestrictions | None) -> CalendarRule | None:
    """The calendar part of restrictions that are valid; None if there is none."""
    if restrictions is None:
        return None
    r = restrictions
    rule = CalendarRule(
        start_s=0 if r.start_time is None else seconds_of(r.start_time),
        end_s=DAY_S if r.end_time is None else seconds_of(r.end_time),
        weekdays=frozenset(_WEEKDAYS[day] for day in r.day_of_week or DayOfWeek),
        first_day=None if r.start_date is None else date.fromisoformat(r.start_date).toordinal() - _EPOCH,
        last_day=None if r.end_date is None else date.fromisoformat(r.end_date).toordinal() - _EPOCH,
        season_start=None if r.season_start is None else month_day_of(r.season_start),
        season_end=None if r.season_end is None else month_day_of(r.season_end),
    )
    return None if rule == CalendarRule() else rule


def seconds_of(time_of_day: str) -> int:
    """Seconds of the day of HH:MM."""
    hours, minutes = time_of_day.split(":")
    return int(hours) * _HOUR_S + int(minutes) * 60


def month_day_of(text: str) -> tuple[int, int]:
    """Month and day of MM-DD."""
    month, day = text.split("-")
    return int(month), int(day)


class Calendar:
    """Which elements count when, in the IANA zone `zone`. `rules`: by element; None counts always.

    Raises ZoneInfoNotFoundError or ValueError for a zone that is not known.
    """

    def __init__(self, rules: Sequence[CalendarRule | None], zone: str) -> None:
        ZoneInfo(zone)
        self._zone = zone
        self._always = sum(1 << index for index, rule in enumerate(rules) if rule is None)
        self._rules = [(1 << index, rule) for index, rule in enumerate(rules) if rule is not None]
        self._seconds = sorted({0}.union(*({r.start_s, r.end_s % DAY_S} for _, r in self._rules)))
        self._days: dict[int, tuple[list[int], list[int]]] = {}
        self.varies = bool(self._rules)

    def day(self, number: int) -> tuple[list[int], list[int]]:
        """Of the day since 1970 by UTC: moments at which what counts changes, the day's begin first, and what counts.

        What counts is a set of bits, the first element's the lowest.
        """
        found = self._days.get(number)
        if found is None:
            if len(self._days) >= _DAYS_KEPT:
                self._days.clear()
            found = self._days[number] = self._changes(number)
        return found

    def _changes(self, number: int) -> tuple[list[int], list[int]]:
        moments: list[int] = []
        masks: list[int] = []
        for moment, offset in self._moments(number):
            day, rest = divmod(moment + offset, DAY)
            mask = self._always
            for bit, rule in self._rules:
                if rule.holds(day, rest // SECOND):
                    mask |= bit
            if not masks or masks[-1] != mask:
                moments.append(moment)
                masks.append(mask)
        return moments, masks

    def _moments(self, number: int) -> Iterator[tuple[int, int]]:
        """Moments of a day by UTC at which the local clock jumps or shows a time that rules name; and its offset."""
        pieces = offsets(self._zone, number)
        for (start, offset), (end, _) in pairwise((*pieces, ((number + 1) * DAY, 0))):
            local_day = (start + offset) // DAY
            named = (d * DAY + s * SECOND - offset for d in (local_day, local_day + 1) for s in self._seconds)
            for moment in sorted({start, *(m for m in named if start < m < end)}):
                yield moment, offset


@lru_cache(maxsize=8192)
def offsets(zone: str, number: int) -> tuple[tuple[int, int], ...]:
    """The zone's offsets from UTC during the day `number` since 1970, by UTC: (from when on, offset), microseconds.

    Clocks are looked at every hour: two changes within one hour that cancel each other would be missed.
    """
    tz = ZoneInfo(zone)

    def offset_s(second: int) -> int:
        offset = datetime.fromtimestamp(second, UTC).astimezone(tz).utcoffset()
        assert offset is not None
        return offset.days * DAY_S + offset.seconds

    start = number * DAY_S
    found = [(start, offset_s(start))]
    for hour in range(start + _HOUR_S, start + DAY_S + 1, _HOUR_S):
        last = found[-1][1]
        if offset_s(hour) == last:
            continue
        low, high = hour - _HOUR_S, hour
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if offset_s(middle) == last else (low, middle)
        if high < start + DAY_S:
            found.append((high, offset_s(high)))
    return tuple((second * SECOND, offset * SECOND) for second, offset in found)
