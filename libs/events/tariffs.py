"""What a version of a tariff consists of, as it is stored: OCPI 2.2.1's tariff elements, and what OCPI lacks.

Integers only: prices are thousandths of a minor currency unit per kWh, hour or session, rates thousandths of a
percent, energy Wh, power W, current mA, durations seconds. Times of day and dates are the site's own, by its clocks.
`libs.tariffs.documents` reads and writes the form in which people write them.
"""

from enum import StrEnum
from functools import lru_cache

from libs.events.record import NestedRecord


class Dimension(StrEnum):
    """What a price component prices (OCPI 2.2.1 TariffDimensionType).

    TIME: while charging. PARKING_TIME: while connected and idle. FLAT: once per session. UNKNOWN: one added later.
    """

    ENERGY = "ENERGY"
    TIME = "TIME"
    PARKING_TIME = "PARKING_TIME"
    FLAT = "FLAT"
    UNKNOWN = "UNKNOWN"


class DayOfWeek(StrEnum):
    """Weekday, by the site's calendar."""

    MONDAY = "MONDAY"
    TUESDAY = "TUESDAY"
    WEDNESDAY = "WEDNESDAY"
    THURSDAY = "THURSDAY"
    FRIDAY = "FRIDAY"
    SATURDAY = "SATURDAY"
    SUNDAY = "SUNDAY"


class Suspension(StrEnum):
    """What the time counts as in which charging is suspended, by the vehicle or by the station."""

    FREE = "FREE"
    TIME = "TIME"
    PARKING_TIME = "PARKING_TIME"


class RoundingScope(StrEnum):
    """What is rounded: the session's total, or each line and each tax on it."""

    TOTAL = "TOTAL"
    LINE = "LINE"


class RoundingMode(StrEnum):
    """Where a half goes: to the even neighbour, or away from zero."""

    HALF_EVEN = "HALF_EVEN"
    HALF_UP = "HALF_UP"


class PriceComponent(NestedRecord, frozen=True, kw_only=True):
    """A price for one dimension.

    `price_milli`: thousandths of a minor unit per kWh, hour or session. `vat_milli`: thousandths of a percent,
    instead of the tariff's taxes; None: those. `step_size`: Wh or seconds, see `engine`.
    """

    type: Dimension
    price_milli: int
    vat_milli: int | None = None
    step_size: int = 1


class TariffRestrictions(NestedRecord, frozen=True, kw_only=True):
    """When an element counts: whenever all of these hold. Lower bounds are inclusive, upper ones exclusive.

    `start_time`, `end_time`: HH:MM; the later may be first: past midnight. `start_date`, `end_date`: YYYY-MM-DD.
    `season_start`, `season_end`: MM-DD of every year; past New Year if the later is first. `min_wh`, `max_wh`: the
    session's energy so far. `min_duration_s`, `max_duration_s`: since its start. Power and current (the sum of all
    phases) are those of the metered interval. `day_of_week`, `group_ids`: any of these; all if there are none.
    """

    start_time: str | None = None
    end_time: str | None = None
    start_date: str | None = None
    end_date: str | None = None
    season_start: str | None = None
    season_end: str | None = None
    day_of_week: tuple[DayOfWeek, ...] = ()
    min_wh: int | None = None
    max_wh: int | None = None
    min_power_w: int | None = None
    max_power_w: int | None = None
    min_current_ma: int | None = None
    max_current_ma: int | None = None
    min_duration_s: int | None = None
    max_duration_s: int | None = None
    group_ids: tuple[str, ...] = ()


class TariffElement(NestedRecord, frozen=True, kw_only=True):
    """Prices, and when they count; for each dimension the first element counts that has it and whose restrictions hold.

    At most one component per dimension.
    """

    price_components: tuple[PriceComponent, ...]
    restrictions: TariffRestrictions | None = None


class Tax(NestedRecord, frozen=True, kw_only=True):
    """A tax on everything. `rate_milli`: thousandths of a percent of the net amount."""

    name: str
    rate_milli: int


class DriverPlan(NestedRecord, frozen=True, kw_only=True):
    """What drivers of one group (`TokenRegistered.group_id`) have agreed on.

    `discount_milli`: thousandths of a percent off every session. `prepaid_wh`: per calendar month, free of charge.
    `max_price_per_kwh_milli`: no kWh costs more; `max_price_minor`: no session does. `monthly_fee_minor`: due for each
    month, apart from sessions.
    """

    group_id: str
    discount_milli: int = 0
    prepaid_wh: int = 0
    max_price_per_kwh_milli: int | None = None
    max_price_minor: int | None = None
    monthly_fee_minor: int = 0


class TariffTerms(NestedRecord, frozen=True, kw_only=True, cache_hash=True):
    """Everything by which a session is billed, but the currency.

    `min_price_minor`, `max_price_minor`: of a session, in the terms of the prices (with taxes if `tax_included`).
    `idle_grace_s`: the first seconds of idling in a session that cost nothing. `rounding_increment_minor`: the amount
    to pay is a multiple of it.
    """

    elements: tuple[TariffElement, ...]
    min_price_minor: int | None = None
    max_price_minor: int | None = None
    idle_grace_s: int = 0
    suspended: Suspension = Suspension.FREE
    taxes: tuple[Tax, ...] = ()
    tax_included: bool = False
    rounding_scope: RoundingScope = RoundingScope.TOTAL
    rounding_mode: RoundingMode = RoundingMode.HALF_EVEN
    rounding_increment_minor: int = 1
    plans: tuple[DriverPlan, ...] = ()


@lru_cache(maxsize=1024)
def flat_terms(price_per_kwh_milli: int) -> TariffTerms:
    """Every kWh at one price, no taxes: what a version of a tariff without terms means."""
    component = PriceComponent(type=Dimension.ENERGY, price_milli=price_per_kwh_milli)
    return TariffTerms(elements=(TariffElement(price_components=(component,)),))


@lru_cache(maxsize=1024)
def billable(terms: TariffTerms) -> bool:
    """Whether everything that they price is known here: not if a later version of the platform wrote them."""
    return all(
        component.type is not Dimension.UNKNOWN
        for element in terms.elements
        for component in element.price_components
    )


def base_price_milli(terms: TariffTerms) -> int:
    """What a kWh costs where nothing restricts, in thousandths of a minor unit; 0 if nothing prices it there."""
    for element in terms.elements:
        for component in element.price_components:
            if component.type is Dimension.ENERGY and element.restrictions is None:
                return component.price_milli
    return 0
