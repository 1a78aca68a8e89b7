"""Terms as people write them, and what is wrong with some."""

from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings

from libs.events.tariffs import TariffTerms
from libs.tariffs.documents import parse, render
from libs.tariffs.validation import TariffError, problems
from tests.unit.tariffs.strategies import terms

KWH: dict[str, Any] = {"type": "ENERGY", "price": "0.4567"}


def written(
    *,
    component: dict[str, Any] | None = None,
    when: dict[str, Any] | None = None,
    otherwise: bool = False,
    **more: Any,
) -> Any:
    """A tariff of one element, and of another one for whenever that does not hold."""
    element: dict[str, Any] = {"price_components": [{**KWH, **(component or {})}]}
    if when is not None:
        element["restrictions"] = when
    return {"elements": [element, {"price_components": [KWH]}] if otherwise else [element], **more}


@given(terms())
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_written_is_read_back(tariff: TariffTerms) -> None:
    assume(not problems(tariff))
    for currency in ("EUR", "JPY", "KWD"):
        assert parse(render(tariff, currency), currency) == tariff


def test_numbers_are_those_of_the_smallest_unit() -> None:
    tariff = parse(
        written(
            component={"vat": "8.875"},
            when={"min_kwh": "0.5", "max_power": "11", "min_duration": 60},
            otherwise=True,
            min_price="0.50",
        ),
        "EUR",
    )
    component, r = tariff.elements[0].price_components[0], tariff.elements[0].restrictions
    assert (component.price_milli, component.vat_milli, tariff.min_price_minor) == (45_670, 8_875, 50)
    assert r is not None
    assert (r.min_wh, r.max_power_w, r.min_duration_s) == (500, 11_000, 60)


def test_numbers_of_json_are_read_as_they_are_written() -> None:
    """OCPI 2.2.1 has numbers where decimal text is written here."""
    numbers = written(
        component={"price": 0.4567, "vat": 19.0},
        when={"min_kwh": 0.5, "max_power": 11, "min_power": 3.7},
        otherwise=True,
        min_price=0.5,
        taxes=[{"name": "VAT", "rate": 9.975}],
        plans=[{"group_id": "a", "prepaid_kwh": 200, "discount": 2.5, "max_price_per_kwh": 0.45}],
    )
    texts = written(
        component={"price": "0.4567", "vat": "19"},
        when={"min_kwh": "0.5", "max_power": "11", "min_power": "3.7"},
        otherwise=True,
        min_price="0.5",
        taxes=[{"name": "VAT", "rate": "9.975"}],
        plans=[{"group_id": "a", "prepaid_kwh": "200", "discount": "2.5", "max_price_per_kwh": "0.45"}],
    )
    assert parse(numbers, "EUR") == parse(texts, "EUR")


@pytest.mark.parametrize(
    "bound", [{"max_current": 20}, {"min_current": "6"}, {"min_current": 6, "max_kwh": 5}]
)
@pytest.mark.parametrize("kind", ["ENERGY", "TIME", "PARKING_TIME", "FLAT"])
@pytest.mark.parametrize("otherwise", [False, True])
def test_prices_by_current_are_refused(bound: dict[str, Any], kind: str, otherwise: bool) -> None:
    """Sessions do not keep the current: nothing would ever have that price, but another one or none."""
    priced = {"type": kind, "price": "0.50"}
    elements: list[Any] = [{"price_components": [priced], "restrictions": bound}]
    if otherwise:
        elements.append({"price_components": [{**priced, "price": "0.60"}]})
    with pytest.raises(TariffError) as error:
        parse({"elements": elements}, "EUR")
    (problem,) = error.value.problems
    assert problem.path == f"elements[0].restrictions.{next(iter(bound))}"
    assert problem.detail == "never holds, as sessions do not keep the current; use power"


def test_all_bounds_of_the_current_are_named() -> None:
    with pytest.raises(TariffError) as error:
        parse(written(when={"min_current": 6, "max_current": "20"}, otherwise=True), "EUR")
    assert [problem.path.rpartition(".")[2] for problem in error.value.problems] == [
        "min_current",
        "max_current",
    ]


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ({"start_date": "2026-05-04", "end_date": "2026-05-06", "day_of_week": ["MONDAY"]}, True),
        ({"start_date": "2026-05-05", "end_date": "2026-05-11", "day_of_week": ["MONDAY"]}, False),
        ({"start_date": "2026-05-05", "end_date": "2026-05-12", "day_of_week": ["MONDAY"]}, True),
        ({"start_date": "2026-05-01", "season_start": "11-01", "season_end": "03-01"}, True),
        (
            {
                "start_date": "2026-05-01",
                "end_date": "2026-10-01",
                "season_start": "11-01",
                "season_end": "03-01",
            },
            False,
        ),
        (
            {
                "start_date": "2026-01-01",
                "end_date": "2028-01-01",
                "season_start": "02-29",
                "season_end": "03-01",
            },
            False,
        ),
        ({"start_date": "0001-01-01", "end_date": "9999-12-31", "day_of_week": ["MONDAY"]}, True),
    ],
)
def test_dates_weekdays_and_seasons_that_have_no_day_in_common_are_refused(
    when: dict[str, Any], holds: bool
) -> None:
    if holds:
        assert parse(written(when=when), "EUR")
        return
    with pytest.raises(TariffError, match=r"elements\[0\].restrictions.end_date: no day before it"):
        parse(written(when=when), "EUR")


def test_a_price_per_minute_is_one_per_hour() -> None:
    component = {"type": "TIME", "price": "0.1", "per": "minute"}
    tariff = parse({"elements": [{"price_components": [component]}]}, "EUR")
    assert tariff.elements[0].price_components[0].price_milli == 600_000


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "missing required field `elements`"),
        ({"elements": []}, "elements: 1 to 100"),
        (written(component={"price": -0.45}), "elements[0].price_components[0].price: Expected `float` >= 0"),
        (written(component={"price": 1e13}), "elements[0].price_components[0].price: Expected `float` < "),
        (
            written(component={"price": True}),
            "elements[0].price_components[0].price: Expected `int | float | str`, got",
        ),
        (written(when={"max_power": 0.1 + 0.2}), "elements[0].restrictions.max_power: at most 3 decimals"),
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
    assert [problem for problem in problems(tariff) if "never holds" not in problem.detail] == []
