"""Terms as people write them, and what is wrong with some."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from libs.tariffs.model import TariffTerms
from libs.tariffs.validation import TariffError, problems
from libs.tariffs.written import parse, render
from tests.unit.tariffs.strategies import terms

KWH: dict[str, Any] = {"type": "ENERGY", "price": "0.4567"}


def written(
    *, component: dict[str, Any] | None = None, when: dict[str, Any] | None = None, **more: Any
) -> Any:
    """A tariff of one element."""
    element: dict[str, Any] = {"price_components": [{**KWH, **(component or {})}]}
    if when is not None:
        element["restrictions"] = when
    return {"elements": [element], **more}


@given(terms())
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_written_is_read_back(tariff: TariffTerms) -> None:
    for currency in ("EUR", "JPY", "KWD"):
        assert parse(render(tariff, currency), currency) == tariff


def test_numbers_are_those_of_the_smallest_unit() -> None:
    tariff = parse(
        written(
            component={"vat": "8.875"},
            when={"min_kwh": "0.5", "max_power": "11", "min_current": "6.3", "min_duration": 60},
            min_price="0.50",
        ),
        "EUR",
    )
    component, r = tariff.elements[0].price_components[0], tariff.elements[0].restrictions
    assert (component.price_milli, component.vat_milli, tariff.min_price_minor) == (45_670, 8_875, 50)
    assert r is not None
    assert (r.min_wh, r.max_power_w, r.min_current_ma, r.min_duration_s) == (500, 11_000, 6_300, 60)


def test_a_price_per_minute_is_one_per_hour() -> None:
    component = {"type": "TIME", "price": "0.1", "per": "minute"}
    tariff = parse({"elements": [{"price_components": [component]}]}, "EUR")
    assert tariff.elements[0].price_components[0].price_milli == 600_000


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "missing required field `elements`"),
        ({"elements": []}, "elements: 1 to 100"),
        (written(component={"price": 0.45}), "elements[0].price_components[0].price: Expected `str`"),
        (
            written(component={"price": "-1"}),
            "elements[0].price_components[0].price: Expected `str` matching",
        ),
        (
            written(component={"price": "0.000001"}),
            "elements[0].price_components[0].price: at most 5 decimals",
        ),
        (
            written(component={"type": "POWER"}),
            "elements[0].price_components[0].type: Invalid enum value 'POWER'",
        ),
        (written(component={"step_size": 0}), "elements[0].price_components[0].step_size: must be from 1"),
        (
            written(component={"per": "minute"}),
            "elements[0].price_components[0].per: ENERGY has no price per minute",
        ),
        (written(component={"pirce": "1"}), "unknown field `pirce`"),
        (
            {"elements": [{"price_components": [KWH, KWH]}]},
            "elements[0].price_components[1].type: a second price",
        ),
        ({"elements": [{"price_components": []}]}, "elements[0].price_components: at least one"),
        (written(when={"start_time": "24:00"}), "elements[0].restrictions.start_time: must be HH:MM"),
        (written(when={"start_time": "08:00", "end_time": "08:00"}), "end_time: equal to start_time"),
        (written(when={"end_date": "2026-02-29"}), "end_date: must be a date"),
        (
            written(when={"start_date": "2026-02-02", "end_date": "2026-02-01"}),
            "end_date: must be after start_date",
        ),
        (written(when={"season_start": "11-01"}), "season_end: a season has a start and an end"),
        (
            written(when={"season_start": "11-31", "season_end": "12-01"}),
            "season_start: must be a day of the year",
        ),
        (written(when={"min_kwh": "10", "max_kwh": "10"}), "max_kwh: must be more than min_kwh"),
        (written(when={"day_of_week": ["FRIDAY", "FRIDAY"]}), "day_of_week[1]: 'FRIDAY' is there twice"),
        (written(when={"group_ids": [""]}), "group_ids[0]: must not be empty"),
        (written(min_price="2", max_price="1"), "min_price: more than max_price"),
        (written(taxes=[{"name": "VAT", "rate": "101"}]), "taxes[0].rate: must be from 0"),
        (written(rounding={"increment": "0"}), "rounding.increment: must be from 1"),
        (written(idle_grace_s=-1), "idle_grace_s: must be from 0"),
        (written(plans=[{"group_id": "a"}, {"group_id": "A"}]), "plans[1].group_id: 'a' is there twice"),
    ],
    ids=lambda value: value[:60] if isinstance(value, str) else "",
)
def test_what_is_wrong_is_said_with_its_place(data: Any, said: str) -> None:
    with pytest.raises(TariffError) as error:
        parse(data, "EUR")
    assert said in str(error.value)


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(TariffError) as error:
        parse(written(when={"start_time": "8:00", "end_time": "25:00"}, idle_grace_s=-1), "EUR")
    assert [problem.path for problem in error.value.problems] == [
        "elements[0].restrictions.start_time",
        "elements[0].restrictions.end_time",
        "idle_grace_s",
    ]


@given(terms())
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_terms_that_properties_use_are_valid(tariff: TariffTerms) -> None:
    assert problems(tariff) == ()
