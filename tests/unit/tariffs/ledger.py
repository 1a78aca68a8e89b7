"""What a session costs, worked out slowly: a walk over every second (or minute) of the local day, and every Wh.

Shares no code with the engine. Fractions throughout; a naive reading of docs/tariffs.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from fractions import Fraction
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from libs.events.tariffs import DriverPlan, PriceComponent, TariffRestrictions, TariffTerms
from libs.tariffs.usage import Interval, Usage

US = 1_000_000
UNIT = {"ENERGY": 1000, "TIME": 3600, "PARKING_TIME": 3600, "FLAT": 1}


class Entry(NamedTuple):
    """Some Wh or seconds. `element`: None if nothing counts. `free`: prepaid, or within the grace."""

    dimension: str
    element: int | None
    free: bool
    quantity: int


class Run(NamedTuple):
    dimension: str
    element: int | None
    free: bool
    quantity: int
    step: bool
    amount: Fraction
    taxes: tuple[tuple[str, int], ...]


class Result(NamedTuple):
    runs: list[Run]
    net: int
    tax: int
    gross: int


@lru_cache(maxsize=100_000)
def wall(minute: int, zone: str) -> tuple[str, str, str, str]:
    """What the clock on the site's wall shows in this minute since 1970: time, date, day of the year, weekday."""
    local = datetime.fromtimestamp(minute * 60, UTC).astimezone(ZoneInfo(zone))
    return f"{local:%H:%M}", f"{local:%Y-%m-%d}", f"{local:%m-%d}", f"{local:%A}".upper()


def in_season(day: str, start: str | None, end: str | None) -> bool:
    if start is not None and end is not None and start > end:
        return day >= start or day < end
    return (start is None or day >= start) and (end is None or day < end)


class Ledger:
    """`tick`: seconds that are looked at together; more than one only where nothing depends on the energy so far."""

    def __init__(
        self, usage: Usage, terms: TariffTerms, zone: str, group: str | None, prepaid: int, tick: int = 1
    ) -> None:
        self.usage, self.terms, self.zone, self.group, self.prepaid, self.tick = (
            usage, terms, zone, group, prepaid, tick,
        )  # fmt: skip
        self.plan: DriverPlan | None = None
        for plan in terms.plans:
            if plan.group_id == group:
                self.plan = plan
        tiers = [r for e in terms.elements if (r := e.restrictions) and (r.min_wh or r.max_wh is not None)]
        self.every_wh = bool(prepaid or tiers)
        self.used: list[Entry] = []
        self.walk()

    # --- what counts

    def holds(self, r: TariffRestrictions | None, second: int, wh: int, interval: Interval) -> bool:
        if r is None:
            return True
        if r.group_ids and self.group not in r.group_ids:
            return False
        clock, day, of_year, weekday = wall(second // 60, self.zone)
        start, end = r.start_time or "00:00", r.end_time or "24:00"
        if not (start <= clock < end if start < end else clock >= start or clock < end):
            return False
        if not in_season(day, r.start_date, r.end_date):
            return False
        if not in_season(of_year, r.season_start, r.season_end):
            return False
        if r.day_of_week and weekday not in r.day_of_week:
            return False
        passed = second - self.usage[0].start // US
        if passed < (r.min_duration_s or 0) or (r.max_duration_s is not None and passed >= r.max_duration_s):
            return False
        if wh < (r.min_wh or 0) or (r.max_wh is not None and wh >= r.max_wh):
            return False
        return self.in_band(r, interval)

    def in_band(self, r: TariffRestrictions, interval: Interval) -> bool:
        seconds = Fraction(interval.end - interval.start, US)
        if r.min_power_w is not None or r.max_power_w is not None:
            if not seconds:
                return False
            watts = interval.energy_wh * 3600 / seconds
            if watts < (r.min_power_w or 0) or (r.max_power_w is not None and watts >= r.max_power_w):
                return False
        if r.min_current_ma is not None or r.max_current_ma is not None:
            current = interval.current_ma
            if not seconds or current is None:
                return False
            if current < (r.min_current_ma or 0):
                return False
            if r.max_current_ma is not None and current >= r.max_current_ma:
                return False
        return True

    def counting(self, dimension: str, second: int, wh: int, interval: Interval) -> int | None:
        for number, element in enumerate(self.terms.elements):
            if any(c.type == dimension for c in element.price_components) and self.holds(
                element.restrictions, second, wh, interval
            ):
                return number
        return None

    # --- the walk

    def walk(self) -> None:
        before = 0
        grace = self.terms.idle_grace_s
        priced = {str(c.type) for element in self.terms.elements for c in element.price_components}
        flat_due = "FLAT" in priced
        for interval in self.usage:
            first, last = interval.start // US, interval.end // US
            for second in range(first, last, self.tick):
                shown = before + self.register(interval, second * US)
                nearly = before + self.register(interval, (second + self.tick) * US - 1)
                then = before + self.register(interval, (second + self.tick) * US)
                self.energy(range(shown, then), second, interval)
                flat_due = flat_due and not self.flat(range(shown, nearly + 1), second, interval)
                dimension = {
                    "charging": "TIME",
                    "idle": "PARKING_TIME",
                    "suspended": str(self.terms.suspended),
                }
                what = dimension[str(interval.kind)]
                if what in priced:
                    free = what == "PARKING_TIME" and grace > 0
                    grace -= self.tick if free else 0
                    element = None if free else self.counting(what, second, nearly, interval)
                    self.used.append(Entry(what, element, free, self.tick))
            if first == last:
                self.energy(range(before, before + interval.energy_wh), first, interval)
                flat_due = flat_due and not self.flat(
                    range(before, before + max(interval.energy_wh, 1)), first, interval
                )
            before += interval.energy_wh

    def energy(self, units: range, second: int, interval: Interval) -> None:
        if not self.every_wh:
            if units:
                element = self.counting("ENERGY", second, 0, interval)
                self.used.append(Entry("ENERGY", element, False, len(units)))
            return
        for wh in units:
            element = self.counting("ENERGY", second, wh, interval)
            self.used.append(Entry("ENERGY", element, wh < self.prepaid, 1))

    def flat(self, units: range, second: int, interval: Interval) -> bool:
        for wh in units if self.every_wh else (0,):
            element = self.counting("FLAT", second, wh, interval)
            if element is not None:
                self.used.append(Entry("FLAT", element, False, 1))
                return True
        return False

    @staticmethod
    def register(interval: Interval, at: int) -> int:
        """To the nearest Wh."""
        if interval.end == interval.start or at >= interval.end:
            return interval.energy_wh
        exact = Fraction(interval.energy_wh * (at - interval.start), interval.end - interval.start)
        return math.floor(exact + Fraction(1, 2))

    # --- money

    def runs(self) -> Iterator[Run]:
        stepped = {"ENERGY": True, "TIME": True, "PARKING_TIME": True}
        parked = any(e.dimension == "PARKING_TIME" and e.element is not None for e in self.used)
        stepped["TIME"] = not parked
        for dimension in ("FLAT", "ENERGY", "TIME", "PARKING_TIME"):
            entries = [entry for entry in self.used if entry.dimension == dimension]
            billed, last = 0, None
            for (element, free), group in groupby(entries, key=lambda e: (e.element, e.free)):
                quantity = sum(entry.quantity for entry in group)
                yield self.run(dimension, element, free, quantity)
                if element is not None and not free:
                    billed, last = billed + quantity, element
            if last is not None and stepped.get(dimension):
                step = self.component(dimension, last).step_size
                missing = math.ceil(Fraction(billed, step)) * step - billed
                if missing:
                    yield self.run(dimension, last, False, missing, step=True)

    def component(self, dimension: str, element: int) -> PriceComponent:
        (found,) = (c for c in self.terms.elements[element].price_components if c.type == dimension)
        return found

    def run(self, dimension: str, element: int | None, free: bool, quantity: int, step: bool = False) -> Run:
        price, taxes = 0, tuple((tax.name, tax.rate_milli) for tax in self.terms.taxes)
        if element is not None:
            component = self.component(dimension, element)
            price = 0 if free else component.price_milli
            if component.vat_milli is not None:
                taxes = (("VAT", component.vat_milli),)
            if dimension == "ENERGY" and self.plan and self.plan.max_price_per_kwh_milli is not None:
                price = min(price, self.plan.max_price_per_kwh_milli)
        amount = Fraction(price, 1000) * Fraction(quantity, UNIT[dimension])
        return Run(dimension, element, free, quantity, step, amount, taxes)

    def round(self, value: Fraction) -> int:
        if self.terms.rounding_mode == "HALF_EVEN":
            return round(value)
        return math.floor(abs(value) + Fraction(1, 2)) * (1 if value >= 0 else -1)

    def result(self) -> Result:
        runs = list(self.runs())
        by_line = self.terms.rounding_scope == "LINE"
        amounts = [(Fraction(self.round(r.amount)) if by_line else r.amount, r.taxes) for r in runs]
        if self.plan and self.plan.discount_milli:
            for amount, taxes in self.groups(amounts):
                off = -amount * self.plan.discount_milli / 100_000
                amounts.append((Fraction(self.round(off)) if by_line else off, taxes))
        self.limit(amounts)
        tax = 0
        for amount, taxes in amounts if by_line else self.groups(amounts):
            inside = sum(rate for _, rate in taxes) if self.terms.tax_included else 0
            for _, rate in taxes:
                tax += self.round(amount * rate / (100_000 + inside))
        total = self.round(sum((amount for amount, _ in amounts), Fraction()))
        net, gross = (total - tax, total) if self.terms.tax_included else (total, total + tax)
        step = self.terms.rounding_increment_minor
        payable = self.round(Fraction(gross, step)) * step
        return Result(runs, net + payable - gross, tax, payable)

    @staticmethod
    def groups(amounts: list[tuple[Fraction, Any]]) -> list[tuple[Fraction, Any]]:
        """What is taxed alike, added up."""
        kinds = dict.fromkeys(taxes for _, taxes in amounts)
        return [(sum((a for a, t in amounts if t == taxes), Fraction()), taxes) for taxes in kinds]

    def limit(self, amounts: list[tuple[Fraction, Any]]) -> None:
        total = sum((amount for amount, _ in amounts), Fraction())
        low = self.terms.min_price_minor
        if low is not None and 0 < total < low:
            self.bring(amounts, total, low)
            total = Fraction(low)
        highs = [self.terms.max_price_minor, self.plan.max_price_minor if self.plan else None]
        if limits := [high for high in highs if high is not None]:
            high = min(limits)
            if total > high:
                self.bring(amounts, total, high)

    def bring(self, amounts: list[tuple[Fraction, Any]], total: Fraction, to: int) -> None:
        parts = [(part / total * (to - total), taxes) for part, taxes in self.groups(amounts)]
        parts.sort(key=lambda part: (sum(rate for _, rate in part[1]), part[1]))
        if self.terms.rounding_scope == "LINE":
            whole = [math.floor(part) for part, _ in parts]
            while sum(whole) < to - total:
                rests = [part - down for (part, _), down in zip(parts, whole, strict=True)]
                whole[rests.index(max(rests))] += 1
            parts = [(Fraction(down), taxes) for down, (_, taxes) in zip(whole, parts, strict=True)]
        amounts += parts
