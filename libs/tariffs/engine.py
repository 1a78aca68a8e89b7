"""What a usage costs by a version of a tariff: exact, deterministic, without floats.

- For each dimension the first element counts that has a price for it and whose restrictions hold (OCPI 2.2.1,
  mod_tariffs). Energy and time for which none does are free.
- An interval is cut where what counts may change: by the site's clock, the session's duration, its energy, the end
  of the grace or of a bundle. `usage` says how its energy is split. Time counts in whole seconds of UTC: each moment
  is rounded down, so that parts add up.
- FLAT is charged once, at the first moment at which an element that has it counts.
- A restriction on current does not hold where the current is not known, nor one on power or current in an interval
  without length.
- Steps: once per session for ENERGY and once for TIME and PARKING_TIME together (for the latter, if any was
  billed) the quantity billed is rounded up to a multiple of the step of the price that counted last, at that price.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import msgspec

from libs.events.registry import TariffVersion
from libs.events.tariffs import (
    Dimension,
    DriverPlan,
    PriceComponent,
    Suspension,
    TariffRestrictions,
    TariffTerms,
    Tax,
    flat_terms,
)
from libs.runtime.clock import SECOND
from libs.tariffs.bill import Bill, LineKind
from libs.tariffs.calendar import DAY, Calendar, rule_of
from libs.tariffs.totals import SCALE, Amount, Taxes, bill_of
from libs.tariffs.usage import Interval, Usage, VehicleState

_NEVER: Final = 1 << 62
_WH: Final = SCALE // 1_000_000
_SECOND: Final = SCALE // 3_600_000
_ONCE: Final = SCALE // 1_000
_STEPS: Final = {
    Dimension.ENERGY: (LineKind.ENERGY, LineKind.ENERGY_STEP),
    Dimension.TIME: (LineKind.TIME, LineKind.TIME_STEP),
    Dimension.PARKING_TIME: (LineKind.PARKING_TIME, LineKind.PARKING_TIME_STEP),
}
_NO_PRICE: Final = PriceComponent(type=Dimension.ENERGY, price_milli=0)


class DriverContract(msgspec.Struct, frozen=True):
    """The driver's group, and what is left of its plan's bundle this month (Wh); None: all of it."""

    group_id: str | None = None
    prepaid_left_wh: int | None = None


NO_CONTRACT: Final = DriverContract()


class _Used(msgspec.Struct, gc=False):
    """Use of one price without another one in between. `element`: -1 if none counted."""

    kind: LineKind
    element: int
    start: int
    end: int
    quantity: int


def terms_of(version: TariffVersion) -> TariffTerms:
    """By what a version bills: its terms, or its one price per kWh."""
    return flat_terms(version.price_per_kwh_milli) if version.terms is None else version.terms


def plan_of(version: TariffVersion, group_id: str | None) -> DriverPlan | None:
    """What a version agrees with a driver group; None if nothing."""
    return None if version.terms is None else _plan_of(version.terms, group_id)


def bill(usage: Usage, version: TariffVersion, zone: str, *, contract: DriverContract = NO_CONTRACT) -> Bill:
    """What `usage` costs at a site in the IANA zone `zone`.

    The version's terms are valid (see `validation`). Raises ValueError for a usage with gaps, ZoneInfoNotFoundError
    for a zone that is not known.
    """
    terms = terms_of(version)
    group_id = contract.group_id if contract.group_id in _groups(terms) else None
    return pricer(terms, zone, group_id).bill(usage, contract.prepaid_left_wh)


def monthly_bill(version: TariffVersion, group_id: str, start: int, end: int) -> Bill | None:
    """The subscription's fee of the month from `start` to `end`; None if the group has no plan or pays no fee."""
    terms = terms_of(version)
    plan = plan_of(version, group_id)
    if plan is None or not plan.monthly_fee_minor:
        return None
    fee = plan.monthly_fee_minor
    amount = Amount(LineKind.SUBSCRIPTION, None, start, end, 1, "month", fee * 1000, fee * SCALE, terms.taxes)
    return bill_of(
        [amount], msgspec.structs.replace(terms, min_price_minor=None, max_price_minor=None), None, end
    )


@lru_cache(maxsize=1024)
def pricer(terms: TariffTerms, zone: str, group_id: str | None) -> Pricer:
    """The pricer, made once. Raises ZoneInfoNotFoundError for a zone that is not known."""
    return Pricer(terms, zone, group_id)


@lru_cache(maxsize=1024)
def _groups(terms: TariffTerms) -> frozenset[str]:
    """The groups that are treated apart."""
    restricted = (
        element.restrictions.group_ids for element in terms.elements if element.restrictions is not None
    )
    return frozenset(plan.group_id for plan in terms.plans).union(*restricted)


def _plan_of(terms: TariffTerms, group_id: str | None) -> DriverPlan | None:
    return next((plan for plan in terms.plans if plan.group_id == group_id), None)


class Pricer:
    """Terms made ready for a zone and a driver group (None: drivers of no group)."""

    def __init__(self, terms: TariffTerms, zone: str, group_id: str | None) -> None:
        self._terms = terms
        self._plan = _plan_of(terms, group_id)
        restrictions = [element.restrictions for element in terms.elements]
        self._all = sum(
            1 << index
            for index, r in enumerate(restrictions)
            if r is None or not r.group_ids or group_id in r.group_ids
        )
        self._calendar = Calendar([rule_of(r) for r in restrictions], zone)
        self._durations, self._duration_masks = _steps(
            restrictions,
            lambda r: _times(r.min_duration_s, SECOND),
            lambda r: _times(r.max_duration_s, SECOND),
        )
        self._tiers, self._tier_masks = _steps(restrictions, lambda r: r.min_wh, lambda r: r.max_wh)
        self._banded = [
            (1 << index, r) for index, r in enumerate(restrictions) if r is not None and _bands(r)
        ]
        self._timed = self._calendar.varies or bool(self._durations)
        self._prices: dict[Dimension, dict[int, PriceComponent]] = {dimension: {} for dimension in Dimension}
        for index, element in enumerate(terms.elements):
            for component in element.price_components:
                self._prices[component.type][index] = component
        self._masks = {d: sum(1 << index for index in having) for d, having in self._prices.items()}
        self._taxes: dict[int | None, Taxes] = {None: terms.taxes}
        for element in terms.elements:
            for vat in (component.vat_milli for component in element.price_components):
                if vat is not None:
                    self._taxes[vat] = (Tax(name="VAT", rate_milli=vat),)

    def bill(self, usage: Usage, prepaid_left_wh: int | None = None) -> Bill:
        """The bill; `prepaid_left_wh`: of the plan's bundle, None: all of it.

        Raises ValueError for a usage with gaps.
        """
        if not usage:
            return Bill((), 0, 0)
        bundle = 0 if self._plan is None else self._plan.prepaid_wh
        prepaid = bundle if prepaid_left_wh is None or not bundle else prepaid_left_wh
        flat, energy, charging, parking = self._used(usage, prepaid)
        end = usage[-1].end
        amounts = [self._amount(Dimension.FLAT, used) for used in flat]
        for dimension, uses in (
            (Dimension.ENERGY, energy),
            (Dimension.TIME, charging),
            (Dimension.PARKING_TIME, parking),
        ):
            amounts += [self._amount(dimension, used) for used in uses]
        amounts.sort(key=lambda amount: amount.start)
        self._add_step(amounts, Dimension.ENERGY, energy, end)
        if any(used.kind is LineKind.PARKING_TIME and used.element >= 0 for used in parking):
            self._add_step(amounts, Dimension.PARKING_TIME, parking, end)
        else:
            self._add_step(amounts, Dimension.TIME, charging, end)
        return bill_of(amounts, self._terms, self._plan, end)

    def _amount(self, dimension: Dimension, used: _Used) -> Amount:
        kind, element, quantity = used.kind, used.element, used.quantity
        component = self._prices[dimension][element] if element >= 0 else _NO_PRICE
        price = component.price_milli
        if dimension is Dimension.ENERGY:
            unit, scale = "Wh", _WH
            cap = None if self._plan is None else self._plan.max_price_per_kwh_milli
            if cap is not None and price > cap:
                price = cap
        elif dimension is Dimension.FLAT:
            unit, scale = "session", _ONCE
        else:
            unit, scale = "s", _SECOND
        if kind is LineKind.PREPAID or kind is LineKind.GRACE:
            price = 0
        return Amount(
            kind,
            element if element >= 0 else None,
            used.start,
            used.end,
            quantity,
            unit,
            price,
            price * quantity * scale,
            self._taxes[component.vat_milli],
        )

    def _add_step(self, amounts: list[Amount], dimension: Dimension, uses: list[_Used], end: int) -> None:
        kind, step_kind = _STEPS[dimension]
        billed = [used for used in uses if used.kind is kind and used.element >= 0]
        if not billed:
            return
        last = billed[-1].element
        step = self._prices[dimension][last].step_size
        if step > 1 and (missing := -sum([used.quantity for used in billed]) % step):
            amounts.append(self._amount(dimension, _Used(step_kind, last, end, end, missing)))

    # One loop over the intervals: most sessions cross few changes, and then nothing in it is computed twice.
    def _used(  # noqa: PLR0912, PLR0915
        self, usage: Usage, prepaid: int
    ) -> tuple[list[_Used], list[_Used], list[_Used], list[_Used]]:
        flat: list[_Used] = []
        energy: list[_Used] = []
        charging: list[_Used] = []
        parking: list[_Used] = []
        masks = self._masks
        energy_mask, flat_mask = masks[Dimension.ENERGY], masks[Dimension.FLAT]
        clocks = {
            VehicleState.CHARGING: (charging, masks[Dimension.TIME], LineKind.TIME),
            VehicleState.IDLE: (parking, masks[Dimension.PARKING_TIME], LineKind.PARKING_TIME),
            VehicleState.SUSPENDED: (charging, 0, LineKind.TIME),
        }
        suspended = self._terms.suspended
        if suspended is not Suspension.FREE:
            clocks[VehicleState.SUSPENDED] = clocks[
                VehicleState.CHARGING if suspended is Suspension.TIME else VehicleState.IDLE
            ]
        grace = self._terms.idle_grace_s * SECOND
        origin = at = usage[0].start
        cum = 0
        time_mask, time_next = self._by_time(at, origin) if self._timed else (self._all, _NEVER)
        wh_mask, wh_next = self._by_energy(0, prepaid)
        banded = bool(self._banded)
        for interval in usage:
            start, end, whole = interval.start, interval.end, interval.energy_wh
            if start != at:
                raise ValueError(f"the usage has a gap or overlap at {at}")
            length = end - start
            band = self._by_band(interval) if banded else -1
            uses, clock_mask, clock_kind = clocks[interval.kind]
            idling = uses is parking
            base, shown = cum, 0
            while True:
                if at >= time_next:
                    time_mask, time_next = self._by_time(at, origin)
                if cum >= wh_next:
                    wh_mask, wh_next = self._by_energy(cum, prepaid)
                # The next cut, or the interval's end, and what the register will show there.
                stop, register = end, whole
                if time_next < end:
                    stop = time_next
                if idling and grace and at + grace < stop:
                    stop = at + grace
                if stop != end:
                    register = (2 * whole * (stop - start) + length) // (2 * length)
                tier = wh_next - base
                if tier <= register:
                    # The first moment at which the register, rounded half up, shows it.
                    stop = start - (length * (1 - 2 * tier)) // (2 * whole)
                    register = tier
                counting = time_mask & wh_mask & band
                if register != shown:
                    first = counting & energy_mask
                    element = (first & -first).bit_length() - 1
                    kind = LineKind.PREPAID if cum < prepaid else LineKind.ENERGY
                    _add(energy, kind, element, register - shown, (at, stop))
                if clock_mask:
                    seconds = stop // SECOND - at // SECOND
                    if seconds:
                        graced = idling and grace
                        first = 0 if graced else counting & clock_mask
                        element = (first & -first).bit_length() - 1
                        kind = LineKind.GRACE if graced else clock_kind
                        _add(uses, kind, element, seconds, (at, stop))
                if counting & flat_mask:
                    first = counting & flat_mask
                    flat.append(_Used(LineKind.FLAT, (first & -first).bit_length() - 1, at, at, 1))
                    flat_mask = 0
                if idling and grace:
                    grace -= stop - at
                at, shown, cum = stop, register, base + register
                if at == end and shown == whole:
                    break
        return flat, energy, charging, parking

    def _by_time(self, at: int, origin: int) -> tuple[int, int]:
        """What counts at `at` by calendar and duration, and until when."""
        number = at // DAY
        moments, masks = self._calendar.day(number)
        index = bisect_right(moments, at)
        mask = masks[index - 1]
        change = moments[index] if index < len(moments) else (number + 1) * DAY
        passed = bisect_right(self._durations, at - origin)
        if passed < len(self._durations):
            change = min(change, origin + self._durations[passed])
        return mask & self._duration_masks[passed] & self._all, change

    def _by_energy(self, cum: int, prepaid: int) -> tuple[int, int]:
        """What counts after `cum` Wh, and up to how many."""
        index = bisect_right(self._tiers, cum)
        change = self._tiers[index] if index < len(self._tiers) else _NEVER
        return self._tier_masks[index], min(change, prepaid) if cum < prepaid else change

    def _by_band(self, interval: Interval) -> int:
        """What counts by power and current."""
        mask = -1
        length = interval.end - interval.start
        energy = interval.energy_wh * 3600 * SECOND
        current = interval.current_ma if length else None
        for bit, r in self._banded:
            if (
                (r.min_power_w is not None and not (length and energy >= r.min_power_w * length))
                or (r.max_power_w is not None and not (length and energy < r.max_power_w * length))
                or (
                    r.min_current_ma is not None and not (current is not None and current >= r.min_current_ma)
                )
                or (r.max_current_ma is not None and not (current is not None and current < r.max_current_ma))
            ):
                mask &= ~bit
        return mask


def _add(uses: list[_Used], kind: LineKind, element: int, quantity: int, span: tuple[int, int]) -> None:
    if uses:
        last = uses[-1]
        if last.element == element and last.kind is kind:
            last.end = span[1]
            last.quantity += quantity
            return
    uses.append(_Used(kind, element, *span, quantity))


Bound = Callable[[TariffRestrictions], int | None]


def _times(number: int | None, factor: int) -> int | None:
    return None if number is None else number * factor


def _bands(r: TariffRestrictions) -> bool:
    bounds = (r.min_power_w, r.max_power_w, r.min_current_ma, r.max_current_ma)
    return any(bound is not None for bound in bounds)


def _steps(
    restrictions: list[TariffRestrictions | None], low: Bound, high: Bound
) -> tuple[list[int], list[int]]:
    """Where what counts changes along a quantity that only grows, and what counts before, between and after."""
    bounds = [(None, None) if r is None else (low(r), high(r)) for r in restrictions]
    cuts = sorted({bound for pair in bounds for bound in pair if bound})
    masks = [
        sum(
            1 << index
            for index, (first, end) in enumerate(bounds)
            if (first is None or first <= at) and (end is None or at < end)
        )
        for at in (0, *cuts)
    ]
    return cuts, masks
