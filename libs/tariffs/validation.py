"""What is wrong with terms, and where."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from typing import Final

import msgspec

from libs.events.tariffs import Dimension, PriceComponent, TariffRestrictions, TariffTerms
from libs.tariffs.calendar import rule_of

MOST_ELEMENTS: Final = 100
MOST_PLANS: Final = 1000
HIGHEST_PRICE_MILLI: Final = 10_000_000_000
HIGHEST_AMOUNT_MINOR: Final = 1_000_000_000
HIGHEST_RATE_MILLI: Final = 100_000
HIGHEST_STEP: Final = 1_000_000
LONGEST_GRACE_S: Final = 7 * 86_400
HIGHEST_INCREMENT_MINOR: Final = 10_000
HIGHEST_BOUND: Final = 1_000_000_000_000

_TIME: Final = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_MONTH_DAY: Final = re.compile(r"\d{2}-\d{2}")
_LEAP_YEAR: Final = 2000
_LONGEST_SEARCH: Final = 8 * 366
"""Days within which every weekday and every season comes, but for a 29 February around a year like 2100."""


class Problem(msgspec.Struct, frozen=True):
    """`path`: such as elements[1].restrictions.end_time; `detail`: what is wrong there."""

    path: str
    detail: str

    def __str__(self) -> str:
        return f"{self.path}: {self.detail}" if self.path else self.detail


class TariffError(ValueError):
    """Terms that nobody can be billed by; `problems` says why."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))


def problems(terms: TariffTerms) -> tuple[Problem, ...]:
    """Everything that is wrong; nothing for terms that `engine` can bill by."""
    return tuple(_problems(terms))


def _problems(terms: TariffTerms) -> Iterator[Problem]:
    if not 1 <= len(terms.elements) <= MOST_ELEMENTS:
        yield Problem("elements", f"1 to {MOST_ELEMENTS} elements")
    for index, element in enumerate(terms.elements):
        path = f"elements[{index}]"
        if not element.price_components:
            yield Problem(f"{path}.price_components", "at least one price")
        seen: set[Dimension] = set()
        for number, component in enumerate(element.price_components):
            where = f"{path}.price_components[{number}]"
            if component.type in seen:
                yield Problem(
                    f"{where}.type", f"a second price for {component.type}; put it into an element of its own"
                )
            seen.add(component.type)
            yield from _component(where, component)
        if element.restrictions is not None:
            yield from _restrictions(f"{path}.restrictions", element.restrictions)
    yield from _range("min_price_minor", terms.min_price_minor, 0, HIGHEST_AMOUNT_MINOR)
    yield from _range("max_price_minor", terms.max_price_minor, 0, HIGHEST_AMOUNT_MINOR)
    low, high = terms.min_price_minor, terms.max_price_minor
    if low is not None and high is not None and low > high:
        yield Problem("min_price_minor", "more than max_price_minor")
    yield from _range("idle_grace_s", terms.idle_grace_s, 0, LONGEST_GRACE_S)
    yield from _range("rounding_increment_minor", terms.rounding_increment_minor, 1, HIGHEST_INCREMENT_MINOR)
    yield from _unique("taxes", "name", [tax.name for tax in terms.taxes])
    for index, tax in enumerate(terms.taxes):
        yield from _range(f"taxes[{index}].rate_milli", tax.rate_milli, 0, HIGHEST_RATE_MILLI)
    yield from _plans(terms)


def _plans(terms: TariffTerms) -> Iterator[Problem]:
    if len(terms.plans) > MOST_PLANS:
        yield Problem("plans", f"at most {MOST_PLANS} plans")
    yield from _unique("plans", "group_id", [plan.group_id for plan in terms.plans])
    for index, plan in enumerate(terms.plans):
        path = f"plans[{index}]"
        yield from _range(f"{path}.discount_milli", plan.discount_milli, 0, HIGHEST_RATE_MILLI)
        yield from _range(f"{path}.prepaid_wh", plan.prepaid_wh, 0, HIGHEST_BOUND)
        yield from _range(
            f"{path}.max_price_per_kwh_milli", plan.max_price_per_kwh_milli, 0, HIGHEST_PRICE_MILLI
        )
        yield from _range(f"{path}.max_price_minor", plan.max_price_minor, 0, HIGHEST_AMOUNT_MINOR)
        yield from _range(f"{path}.monthly_fee_minor", plan.monthly_fee_minor, 0, HIGHEST_AMOUNT_MINOR)


def _component(path: str, component: PriceComponent) -> Iterator[Problem]:
    if component.type is Dimension.UNKNOWN:
        yield Problem(f"{path}.type", "nothing is billed by it")
    yield from _range(f"{path}.price_milli", component.price_milli, 0, HIGHEST_PRICE_MILLI)
    yield from _range(f"{path}.vat_milli", component.vat_milli, 0, HIGHEST_RATE_MILLI)
    highest_step = 1 if component.type is Dimension.FLAT else HIGHEST_STEP
    yield from _range(f"{path}.step_size", component.step_size, 1, highest_step)


def _restrictions(path: str, r: TariffRestrictions) -> Iterator[Problem]:
    for bound in ("min_current_ma", "max_current_ma"):
        if getattr(r, bound) is not None:
            # What it prices would be free, or cost what another element says.
            yield Problem(f"{path}.{bound}", "never holds, as sessions do not keep the current; use power")
    for low, high in (
        ("min_wh", "max_wh"),
        ("min_power_w", "max_power_w"),
        ("min_current_ma", "max_current_ma"),
        ("min_duration_s", "max_duration_s"),
    ):
        first, end = getattr(r, low), getattr(r, high)
        yield from _range(f"{path}.{low}", first, 0, HIGHEST_BOUND)
        yield from _range(f"{path}.{high}", end, 1, HIGHEST_BOUND)
        if first is not None and end is not None and first >= end:
            yield Problem(f"{path}.{high}", f"must be more than {low}")
    yield from _pair(
        path, ("start_time", "end_time"), (r.start_time, r.end_time), _is_time, "HH:MM, 00:00 to 23:59"
    )
    yield from _pair(
        path, ("start_date", "end_date"), (r.start_date, r.end_date), _is_date, "a date, YYYY-MM-DD"
    )
    if r.start_date is not None and r.end_date is not None and r.start_date > r.end_date:
        yield Problem(f"{path}.end_date", "must be after start_date")
    yield from _pair(
        path,
        ("season_start", "season_end"),
        (r.season_start, r.season_end),
        _is_month_day,
        "a day of the year, MM-DD",
    )
    if (r.season_start is None) != (r.season_end is None):
        missing = "season_start" if r.season_start is None else "season_end"
        yield Problem(f"{path}.{missing}", "a season has a start and an end")
    yield from _unique(f"{path}.day_of_week", "", [str(day) for day in r.day_of_week])
    yield from _unique(f"{path}.group_ids", "", list(r.group_ids))
    yield from _no_day(path, r)


def _no_day(path: str, r: TariffRestrictions) -> Iterator[Problem]:
    days = [(r.start_date, _is_date), (r.end_date, _is_date)]
    season = [(r.season_start, _is_month_day), (r.season_end, _is_month_day)]
    if not all(day is not None and check(day) for day, check in days):
        return
    if not all(day is None or check(day) for day, check in season):
        return
    rule = rule_of(msgspec.structs.replace(r, start_time=None, end_time=None))
    if rule is None or rule.first_day is None or rule.last_day is None:
        return
    first, end = rule.first_day, rule.last_day
    if first < end <= first + _LONGEST_SEARCH and not any(rule.holds(day, 0) for day in range(first, end)):
        yield Problem(f"{path}.end_date", "no day before it is one of these weekdays and within the season")


def _pair(
    path: str,
    names: tuple[str, str],
    values: tuple[str | None, str | None],
    check: Callable[[str], bool],
    form: str,
) -> Iterator[Problem]:
    for name, value in zip(names, values, strict=True):
        if value is not None and not check(value):
            yield Problem(f"{path}.{name}", f"must be {form}")
    if values[0] is not None and values[0] == values[1]:
        yield Problem(f"{path}.{names[1]}", f"equal to {names[0]}: never; leave both out for always")


def _is_time(text: str) -> bool:
    return _TIME.fullmatch(text) is not None


def _is_date(text: str) -> bool:
    if _DATE.fullmatch(text) is None:
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _is_month_day(text: str) -> bool:
    return _MONTH_DAY.fullmatch(text) is not None and _is_date(f"{_LEAP_YEAR}-{text}")


def _range(path: str, value: int | None, low: int, high: int) -> Iterator[Problem]:
    if value is not None and not low <= value <= high:
        yield Problem(path, f"must be from {low} to {high}")


def _unique(path: str, field: str, values: list[str]) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, value in enumerate(values):
        where = f"{path}[{index}].{field}" if field else f"{path}[{index}]"
        if not value:
            yield Problem(where, "must not be empty")
        elif value in seen:
            yield Problem(where, f"{value!r} is there twice")
        seen.add(value)
