"""What holds for every bill, and the corners."""

from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.events.registry import TariffVersion
from libs.events.tariffs import (
    Dimension,
    DriverPlan,
    PriceComponent,
    RoundingScope,
    TariffElement,
    TariffRestrictions,
    TariffTerms,
    Tax,
)
from libs.tariffs.bill import Bill, Line, LineKind
from libs.tariffs.engine import DriverContract, bill, monthly_bill, pricer
from libs.tariffs.usage import Interval, VehicleState
from tests.unit.tariffs.cut import truncate
from tests.unit.tariffs.strategies import US, places, terms, usages, utc

RELAXED = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], max_examples=60
)
ENERGY_LINES = {LineKind.ENERGY, LineKind.PREPAID}
HOUR = 3600 * US


def version(terms: TariffTerms | None = None, price: int = 49_000) -> TariffVersion:
    return TariffVersion(version=1, valid_from=0, currency="EUR", price_per_kwh_milli=price, terms=terms)


def element(kind: Dimension, price: int, *, step: int = 1, **restrictions: object) -> TariffElement:
    return TariffElement(
        price_components=(PriceComponent(type=kind, price_milli=price, step_size=step),),
        restrictions=TariffRestrictions(**restrictions) if restrictions else None,  # type: ignore[arg-type]
    )


def of(found: Bill, *kinds: LineKind) -> list[Line]:
    return [line for line in found.lines if line.kind in kinds]


def price(found: Bill, tariff: TariffTerms) -> int:
    """In the terms of the tariff's prices, before it is rounded to an increment."""
    lines = [line for line in found.lines if line.kind is not LineKind.ROUNDING]
    return sum(line.gross_minor if tariff.tax_included else line.net_minor for line in lines)


def used(found: Bill) -> list[tuple[str, int, int]]:
    return [(line.kind, -1 if line.element is None else line.element, line.quantity) for line in found.lines]


@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_a_version_without_terms_is_a_price_per_kwh(wh: int, price: int) -> None:
    usage = (Interval(0, 1000 * HOUR, wh),)
    exact = Decimal(wh * price) / 1_000_000
    assert bill(usage, version(price=price), "UTC").gross_minor == int(
        exact.to_integral_value(ROUND_HALF_EVEN)
    )


@RELAXED
@given(st.data())
def test_everything_used_is_on_the_bill(data: st.DataObject) -> None:
    zone, near = data.draw(places())
    usage, tariff = data.draw(usages(near, data.draw(st.sampled_from([1, 60])))), data.draw(terms())
    found = pricer(tariff, zone, None).bill(usage)
    assert sum(line.quantity for line in of(found, *ENERGY_LINES)) == sum(i.energy_wh for i in usage)
    priced = {component.type for each in tariff.elements for component in each.price_components}
    for dimension, kind, lines in (
        (Dimension.TIME, VehicleState.CHARGING, of(found, LineKind.TIME)),
        (Dimension.PARKING_TIME, VehicleState.IDLE, of(found, LineKind.PARKING_TIME, LineKind.GRACE)),
    ):
        spent = [
            i
            for i in usage
            if i.kind is kind
            or (i.kind is VehicleState.SUSPENDED and str(tariff.suspended) == str(dimension))
        ]
        if dimension in priced:
            assert sum(line.quantity for line in lines) == sum(i.end // US - i.start // US for i in spent)
    assert len(of(found, LineKind.FLAT)) <= 1


@RELAXED
@given(st.data())
def test_using_more_never_costs_less(data: st.DataObject) -> None:
    zone, near = data.draw(places())
    usage, tariff = data.draw(usages(near)), data.draw(terms(plain=True))
    moments = data.draw(st.lists(st.integers(usage[0].start, usage[-1].end), max_size=3))
    cut = [truncate(usage, at) for at in sorted(moments)]
    # A restriction on power may judge an interval that is cut otherwise: whole intervals only for those.
    if any(
        e.restrictions and (e.restrictions.min_power_w or e.restrictions.max_power_w) for e in tariff.elements
    ):
        cut = [usage[:n] for n in range(len(usage))]
    bills = [pricer(tariff, zone, None).bill(part) for part in [*cut, usage]]
    prices = [price(found, tariff) for found in bills]
    assert prices == sorted(prices)
    if tariff.rounding_scope is RoundingScope.TOTAL:
        costs = [found.gross_minor for found in bills]
        assert costs == sorted(costs)


@RELAXED
@given(st.data())
def test_cutting_an_interval_where_the_register_is_whole_changes_nothing(data: st.DataObject) -> None:
    zone, near = data.draw(places())
    tariff = data.draw(terms())
    length, wh = data.draw(st.integers(1, 50)) * 60 * US, data.draw(st.integers(1, 50))
    start = (near - data.draw(st.integers(0, 3600))) * US
    whole = (Interval(start, start + 3 * length, 3 * wh),)
    parts = tuple(Interval(start + n * length, start + (n + 1) * length, wh) for n in range(3))
    one, other = (pricer(tariff, zone, None).bill(usage) for usage in (whole, parts))
    # Where no energy flows for the rest of an interval, a line may begin with the next one: its amount is the same.
    assert sorted(used(one)) == sorted(used(other))
    assert (one.net_minor, one.tax_minor) == (other.net_minor, other.tax_minor)


def test_the_running_cost_is_that_of_a_session_that_ended_then() -> None:
    tariff = version(
        TariffTerms(elements=(element(Dimension.ENERGY, 50_000), element(Dimension.TIME, 600_000)))
    )
    usage = (Interval(0, 2 * HOUR, 20_000), Interval(2 * HOUR, 3 * HOUR, 0, VehicleState.IDLE))
    costs = [bill(truncate(usage, n * HOUR // 2), tariff, "UTC").gross_minor for n in range(7)]
    assert costs == [0, 550, 1100, 1650, 2200, 2200, 2200]


def test_a_session_without_anything_costs_nothing_even_with_a_minimum() -> None:
    tariff = version(TariffTerms(elements=(element(Dimension.ENERGY, 50_000),), min_price_minor=100))
    assert bill((), tariff, "UTC") == Bill((), 0, 0)
    assert bill((Interval(0, HOUR, 0),), tariff, "UTC").gross_minor == 0
    assert bill((Interval(0, HOUR, 10),), tariff, "UTC").gross_minor == 100


def test_energy_at_one_moment_is_split_by_tiers() -> None:
    tariff = version(
        TariffTerms(
            elements=(element(Dimension.ENERGY, 10_000, max_wh=400), element(Dimension.ENERGY, 20_000))
        )
    )
    lines = bill((Interval(5, 5, 1000),), tariff, "UTC").lines
    assert [(line.element, line.quantity) for line in lines] == [(0, 400), (1, 600)]


def test_lower_bounds_are_inclusive_and_upper_ones_exclusive() -> None:
    bands: list[tuple[dict[str, int], dict[str, int]]] = [
        ({"max_power_w": 10_000}, {"min_power_w": 10_000}),
        ({"max_current_ma": 32_000}, {"min_current_ma": 32_000}),
    ]
    for below, above in bands:
        elements = (element(Dimension.ENERGY, 1, **below), element(Dimension.ENERGY, 2, **above))
        usage = (
            Interval(0, HOUR, 9_999, current_ma=31_999),
            Interval(HOUR, 2 * HOUR, 10_000, current_ma=32_000),
            Interval(2 * HOUR, 2 * HOUR, 7),
        )
        lines = bill(usage, version(TariffTerms(elements=elements)), "UTC").lines
        assert [(line.element, line.quantity) for line in lines] == [(0, 9_999), (1, 10_000), (None, 7)]


def test_a_usage_with_a_gap_is_refused() -> None:
    with pytest.raises(ValueError, match="gap"):
        bill((Interval(0, 5, 1), Interval(6, 7, 1)), version(), "UTC")


NIGHT = TariffTerms(
    elements=(
        element(Dimension.TIME, 3_600_000, start_time="02:30", end_time="03:30"),
        element(Dimension.TIME, 0),
    )
)


@pytest.mark.parametrize(
    ("zone", "start", "seconds"),
    [
        ("Europe/Berlin", "2026-03-28T22:00", 1800),  # 02:30 is left out: from 03:00, when the clock jumps
        ("Europe/Berlin", "2026-10-24T22:00", 5400),  # 02:30 to 03:00, back to 02:00, 02:30 to 03:30
        ("Europe/Berlin", "2026-05-01T22:00", 3600),
        ("Australia/Lord_Howe", "2026-10-03T12:00", 3600),  # half an hour is left out: 02:00 to 02:30
        ("UTC", "2026-03-28T22:00", 3600),
    ],
)
def test_a_window_counts_when_the_clock_on_the_wall_shows_it(zone: str, start: str, seconds: int) -> None:
    begin = utc(start) * US
    found = bill((Interval(begin, begin + 8 * HOUR, 0),), version(NIGHT), zone)
    assert sum(line.quantity for line in found.lines if line.element == 0) == seconds
    assert sum(line.quantity for line in found.lines) == 8 * 3600


def test_grace_is_per_session_and_suspension_is_free_unless_said() -> None:
    tariff = version(TariffTerms(elements=(element(Dimension.PARKING_TIME, 600_000),), idle_grace_s=600))
    ten = 600 * US
    kinds = [VehicleState.IDLE, VehicleState.CHARGING, VehicleState.SUSPENDED, VehicleState.IDLE]
    usage = tuple(Interval(n * ten // 2, (n + 1) * ten // 2, 0, kind) for n, kind in enumerate(kinds))
    usage += (Interval(2 * ten, 3 * ten, 0, VehicleState.IDLE),)
    lines = bill(usage, tariff, "UTC").lines
    assert [(line.kind, line.quantity) for line in lines if line.quantity] == [
        (LineKind.GRACE, 600), (LineKind.PARKING_TIME, 600),
    ]  # fmt: skip


def test_plans_discount_cap_and_bundle() -> None:
    plan = DriverPlan(
        group_id="fleet",
        discount_milli=10_000,
        prepaid_wh=5_000,
        max_price_per_kwh_milli=40_000,
        max_price_minor=500,
        monthly_fee_minor=990,
    )
    tariff = version(
        TariffTerms(
            elements=(element(Dimension.ENERGY, 50_000),),
            plans=(plan,),
            taxes=(Tax(name="VAT", rate_milli=19_000),),
            tax_included=True,
        )
    )
    usage = (Interval(0, HOUR, 12_000),)
    assert bill(usage, tariff, "UTC").gross_minor == 600
    member = bill(usage, tariff, "UTC", contract=DriverContract("fleet"))
    assert (member.gross_minor, member.prepaid_wh) == (252, 5_000)
    spent = bill(usage, tariff, "UTC", contract=DriverContract("fleet", prepaid_left_wh=1_000))
    assert (spent.gross_minor, spent.prepaid_wh) == (396, 1_000)
    much = bill(
        (Interval(0, HOUR, 60_000),), tariff, "UTC", contract=DriverContract("fleet", prepaid_left_wh=0)
    )
    assert [line.kind for line in much.lines] == [LineKind.ENERGY, LineKind.DISCOUNT, LineKind.MAXIMUM]
    assert much.gross_minor == 500
    fee = monthly_bill(tariff, "fleet", 0, HOUR)
    assert fee is not None
    assert (fee.gross_minor, fee.tax_minor, [line.kind for line in fee.lines]) == (990, 158, ["subscription"])
    assert monthly_bill(tariff, "other", 0, HOUR) is None


@pytest.mark.parametrize("scope", RoundingScope)
def test_the_highest_price_holds_however_lines_are_rounded(scope: RoundingScope) -> None:
    elements = tuple(
        TariffElement(price_components=(PriceComponent(type=kind, price_milli=333_333, vat_milli=vat),))
        for kind, vat in ((Dimension.ENERGY, 7_000), (Dimension.TIME, 19_000), (Dimension.FLAT, 0))
    )
    tariff = version(TariffTerms(elements=elements, max_price_minor=500, rounding_scope=scope))
    found = bill((Interval(0, HOUR, 1_000),), tariff, "UTC")
    assert found.net_minor == 500
    assert sum(line.net_minor for line in of(found, LineKind.MAXIMUM)) == 500 - sum(
        line.net_minor for line in found.lines if line.kind is not LineKind.MAXIMUM
    )


@pytest.mark.parametrize("flat_first", [True, False])
def test_of_two_with_the_same_claim_what_is_taxed_less_gets_the_minor_unit(flat_first: bool) -> None:
    """3 at 19 % and 1 at none are raised by 46 to 50: 34.5 and 11.5."""
    flat = PriceComponent(type=Dimension.FLAT, price_milli=1000, vat_milli=0)
    energy = PriceComponent(type=Dimension.ENERGY, price_milli=3000)
    order = (flat, energy) if flat_first else (energy, flat)
    tariff = TariffTerms(
        elements=tuple([TariffElement(price_components=(component,)) for component in order]),
        min_price_minor=50,
        taxes=(Tax(name="VAT", rate_milli=19_000),),
        rounding_scope=RoundingScope.LINE,
    )
    found = bill((Interval(0, HOUR, 1000),), version(tariff), "UTC")
    assert [line.net_minor for line in of(found, LineKind.MINIMUM)] == [12, 34]
    assert (found.net_minor, found.tax_minor) == (50, 7)
