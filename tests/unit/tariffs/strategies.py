"""Tariffs and usages for properties; moments lie near where clocks, days, weeks, seasons and years change."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from libs.events.tariffs import (
    DayOfWeek,
    Dimension,
    DriverPlan,
    PriceComponent,
    RoundingMode,
    RoundingScope,
    Suspension,
    TariffElement,
    TariffRestrictions,
    TariffTerms,
    Tax,
)
from libs.tariffs.usage import Interval, Usage, VehicleState

US = 1_000_000
PRICED = [dimension for dimension in Dimension if dimension is not Dimension.UNKNOWN]


def utc(text: str) -> int:
    """Seconds since 1970."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


# Zone, and moments (UTC) at which its clocks jump or its calendar turns.
PLACES = [
    ("Europe/Berlin", "2026-03-29T01:00", "2026-10-25T01:00", "2028-02-28T23:00", "2028-02-29T23:00"),
    ("America/New_York", "2026-03-08T07:00", "2026-11-01T06:00", "2027-01-01T05:00"),
    ("Australia/Lord_Howe", "2026-04-04T15:00", "2026-10-03T15:30", "2026-06-06T13:30"),
    ("America/St_Johns", "2026-03-08T05:30", "2026-11-01T04:30", "2026-12-31T03:30"),
    ("Asia/Kathmandu", "2026-05-01T18:15", "2026-05-02T00:15"),
    ("UTC", "2026-01-31T00:00", "2026-02-28T22:00"),
]
TIMES = [
    "00:00",
    "00:05",
    "01:30",
    "01:45",
    "02:00",
    "02:15",
    "02:30",
    "03:00",
    "03:05",
    "22:00",
    "23:50",
    "23:59",
]
DATES = ["2026-03-08", "2026-03-29", "2026-03-30", "2026-10-25", "2026-11-01", "2028-02-29", "2028-03-01"]
SEASONS = ["01-01", "02-28", "02-29", "03-01", "03-29", "04-05", "10-25", "11-01", "12-31"]
PRICES = st.one_of(st.integers(0, 1_000_000), st.sampled_from([0, 1, 500, 1000, 49_000, 600_000, 123_457]))


@st.composite
def places(draw: st.DrawFn) -> tuple[str, int]:
    """A zone, and a second (UTC) near something there."""
    zone, *moments = draw(st.sampled_from(PLACES))
    return zone, utc(draw(st.sampled_from(moments)))


def pair(draw: st.DrawFn, values: st.SearchStrategy[Any], *, ordered: bool, both: bool) -> tuple[Any, Any]:
    first, second = draw(st.lists(values, min_size=2, max_size=2, unique=True))
    if ordered and first > second:
        first, second = second, first
    if not both and draw(st.integers(0, 3)) == 0:
        return (first, None) if draw(st.booleans()) else (None, second)
    return first, second


@st.composite
def restrictions(draw: st.DrawFn, tick: int) -> TariffRestrictions | None:
    fields: dict[str, Any] = {}
    values: st.SearchStrategy[Any]
    kinds = ["time", "day", "date", "season", "duration", "power", "current", "group", "energy"]
    for kind in draw(st.lists(st.sampled_from(kinds[: 8 if tick > 1 else 9]), max_size=2)):
        match kind:
            case "time":
                names, values, ordered = ("start_time", "end_time"), st.sampled_from(TIMES), False
            case "date":
                names, values, ordered = ("start_date", "end_date"), st.sampled_from(DATES), True
            case "season":
                names, values, ordered = ("season_start", "season_end"), st.sampled_from(SEASONS), False
            case "duration":
                names, ordered = ("min_duration_s", "max_duration_s"), True
                values = st.integers(1, 1500 if tick == 1 else 2000).map(lambda n: n * tick)
            case "power":
                names, values, ordered = ("min_power_w", "max_power_w"), st.integers(1, 12_000), True
            case "current":
                names, values, ordered = ("min_current_ma", "max_current_ma"), st.integers(1, 50), True
            case "energy":
                names, values, ordered = ("min_wh", "max_wh"), st.integers(1, 500), True
            case "day":
                fields["day_of_week"] = tuple(
                    draw(st.sets(st.sampled_from(DayOfWeek), min_size=1, max_size=4))
                )
                continue
            case _:
                fields["group_ids"] = ("fleet",)
                continue
        fields |= dict(zip(names, pair(draw, values, ordered=ordered, both=kind == "season"), strict=True))
    return TariffRestrictions(**fields) if fields else None


@st.composite
def elements(draw: st.DrawFn, tick: int, plain: bool) -> TariffElement:
    dimensions = draw(st.sets(st.sampled_from(PRICED), min_size=1))
    components = [
        PriceComponent(
            type=dimension,
            price_milli=draw(PRICES),
            vat_milli=None if plain else draw(st.sampled_from([None, None, None, 0, 7_000])),
            step_size=draw(st.sampled_from([1, 1, 60, 100]))
            if not plain and dimension is not Dimension.FLAT
            else 1,
        )
        for dimension in sorted(dimensions)
    ]
    return TariffElement(price_components=tuple(components), restrictions=draw(restrictions(tick)))


@st.composite
def plans(draw: st.DrawFn, tick: int) -> DriverPlan:
    return DriverPlan(
        group_id="fleet",
        discount_milli=draw(st.sampled_from([0, 10_000, 33_333, 100_000])),
        prepaid_wh=0 if tick > 1 else draw(st.sampled_from([0, 1, 100, 10_000])),
        max_price_per_kwh_milli=draw(st.sampled_from([None, 0, 40_000])),
        max_price_minor=draw(st.sampled_from([None, 10, 500])),
    )


@st.composite
def terms(draw: st.DrawFn, tick: int = 1, *, plain: bool = False) -> TariffTerms:
    """`plain`: without steps, and everything taxed alike."""
    low = draw(st.sampled_from([None, None, 1, 50, 300]))
    high = draw(st.sampled_from([None, None, 300, 1000]))
    return TariffTerms(
        elements=tuple(draw(st.lists(elements(tick, plain), min_size=1, max_size=4))),
        min_price_minor=low,
        max_price_minor=high,
        idle_grace_s=draw(st.sampled_from([0, 0, 1, 7, 15])) * 60,
        suspended=draw(st.sampled_from(Suspension)),
        taxes=draw(
            st.sampled_from(
                [
                    (),
                    (Tax(name="VAT", rate_milli=19_000),),
                    (Tax(name="GST", rate_milli=5_000), Tax(name="QST", rate_milli=9_975)),
                ]
            )
        ),
        tax_included=draw(st.booleans()),
        rounding_scope=draw(st.sampled_from(RoundingScope)),
        rounding_mode=draw(st.sampled_from(RoundingMode)),
        rounding_increment_minor=draw(st.sampled_from([1, 1, 5, 10])),
        plans=tuple(draw(st.lists(plans(tick), max_size=1))),
    )


@st.composite
def usages(draw: st.DrawFn, near: int, tick: int = 1) -> Usage:
    """Some minutes that begin up to 20 minutes before `near`; with `tick` 60 up to two days, from the day before on."""
    longest, before = (400, 1200) if tick == 1 else (900, 1440)
    at = (near - tick * draw(st.integers(0, before))) // tick * tick
    found = []
    for _ in range(draw(st.integers(1, 4))):
        length = tick * draw(st.integers(0 if tick == 1 else 1, longest))
        found.append(
            Interval(
                at * US,
                (at + length) * US,
                draw(st.integers(0, 300 if tick == 1 else 40_000)),
                draw(
                    st.sampled_from(
                        [
                            VehicleState.CHARGING,
                            VehicleState.CHARGING,
                            VehicleState.IDLE,
                            VehicleState.SUSPENDED,
                        ]
                    )
                ),
                draw(st.sampled_from([None, 16, 32])),
            )
        )
        at += length
    return tuple(found)
