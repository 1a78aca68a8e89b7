"""Exact amounts to a bill: discount, limits, taxes and rounding.

Amounts are whole multiples of 1 / SCALE of a minor unit, in the terms of the prices: with tax or without.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from libs.events.tariffs import DriverPlan, RoundingScope, TariffTerms, Tax
from libs.tariffs.bill import Bill, Line, LineKind, TaxAmount
from libs.tariffs.money import apportion, round_div

SCALE: Final = 1_800_000_000_000
"""Divides exactly: prices per kWh by Wh, prices per hour by seconds, and thousandths of a percent of both."""

PERCENT: Final = 100_000
"""Thousandths of a percent in the whole."""

Taxes = tuple[Tax, ...]


class Amount(msgspec.Struct, gc=False):
    """A line before it is rounded."""

    kind: LineKind
    element: int | None
    start: int
    end: int
    quantity: int
    unit: str
    price_milli: int
    exact: int
    taxes: Taxes


def bill_of(amounts: list[Amount], terms: TariffTerms, plan: DriverPlan | None, end: int) -> Bill:
    """The bill over `amounts`; what the plan and the tariff take off or put on is added to them. `end`: of the session.

    1. Each line is rounded, if lines are. 2. The plan's discount. 3. The minimum price, if anything is to be paid.
    4. The maximum price, the tariff's or the plan's. 5. Taxes, and what else is rounded.
    """
    unit, mode = 1, terms.rounding_mode
    if terms.rounding_scope is RoundingScope.LINE:
        unit = SCALE
        for amount in amounts:
            amount.exact = round_div(amount.exact, SCALE, mode) * SCALE
    if plan is not None and plan.discount_milli:
        for taxes, exact in _by_taxes(amounts).items():
            off = round_div(-exact * plan.discount_milli, PERCENT * unit, mode) * unit
            _adjust(amounts, LineKind.DISCOUNT, off, taxes, end)
    total = sum([amount.exact for amount in amounts])
    if terms.min_price_minor is not None and 0 < total < terms.min_price_minor * SCALE:
        _limit(amounts, LineKind.MINIMUM, (total, terms.min_price_minor * SCALE), unit, end)
        total = terms.min_price_minor * SCALE
    limits = [terms.max_price_minor, None if plan is None else plan.max_price_minor]
    limit = min((each for each in limits if each is not None), default=None)
    if limit is not None and total > limit * SCALE:
        _limit(amounts, LineKind.MAXIMUM, (total, limit * SCALE), unit, end)
    return _rounded(amounts, terms, end)


def _by_taxes(amounts: Sequence[Amount]) -> dict[Taxes, int]:
    found: dict[Taxes, int] = {}
    for amount in amounts:
        found[amount.taxes] = found.get(amount.taxes, 0) + amount.exact
    return found


def _adjust(amounts: list[Amount], kind: LineKind, exact: int, taxes: Taxes, end: int) -> None:
    if exact:
        amounts.append(Amount(kind, None, end, end, 1, "session", 0, exact, taxes))


def _limit(amounts: list[Amount], kind: LineKind, totals: tuple[int, int], unit: int, end: int) -> None:
    """Lines that bring the first of `totals` to the second, shared out by what is taxed alike.

    Where two have the same claim to a minor unit, what is taxed less gets it: nobody pays more for a tie.
    """
    total, limit = totals
    groups = sorted(_by_taxes(amounts).items(), key=lambda group: _rates(group[0]))
    parts = apportion([exact * (limit - total) for _, exact in groups], total * unit, (limit - total) // unit)
    for (taxes, _), part in zip(groups, parts, strict=True):
        _adjust(amounts, kind, part * unit, taxes, end)


def _rates(taxes: Taxes) -> tuple[int, list[tuple[str, int]]]:
    named = [(tax.name, tax.rate_milli) for tax in taxes]
    return sum(rate for _, rate in named), named


def _rounded(amounts: Sequence[Amount], terms: TariffTerms, end: int) -> Bill:
    mode = terms.rounding_mode
    exact = [amount.exact for amount in amounts]
    prices = apportion(exact, SCALE, round_div(sum(exact), SCALE, mode))
    taxes = [0] * len(amounts)
    shown: list[TaxAmount] = []
    members: dict[Taxes, list[int]] = {}
    for index, amount in enumerate(amounts):
        members.setdefault(amount.taxes, []).append(index)
    charged: dict[Tax, tuple[list[int], int]] = {}
    for group, indexes in members.items():
        # Of an amount that contains taxes of together R, each is rate / (1 + R).
        whole = PERCENT + (sum(tax.rate_milli for tax in group) if terms.tax_included else 0)
        for tax in group:
            weights = [exact[index] * tax.rate_milli for index in indexes]
            if terms.rounding_scope is RoundingScope.LINE:
                parts = [round_div(weight, whole * SCALE, mode) for weight in weights]
            else:
                parts = apportion(weights, whole * SCALE, round_div(sum(weights), whole * SCALE, mode))
            for index, part in zip(indexes, parts, strict=True):
                taxes[index] += part
            on, sums = charged.get(tax, ([], 0))
            charged[tax] = [*on, *indexes], sums + sum(parts)
    nets = [price - tax if terms.tax_included else price for price, tax in zip(prices, taxes, strict=True)]
    for tax, (indexes, minor) in charged.items():
        shown.append(TaxAmount(tax.name, tax.rate_milli, sum(nets[index] for index in indexes), minor))
    lines = [
        Line(a.kind, a.element, a.start, a.end, a.quantity, a.unit, a.price_milli, net, tax)
        for a, net, tax in zip(amounts, nets, taxes, strict=True)
    ]
    net, tax_minor = sum(nets), sum(taxes)
    increment = terms.rounding_increment_minor
    if increment > 1:
        gross = net + tax_minor
        difference = round_div(gross, increment, mode) * increment - gross
        if difference:
            lines.append(Line(LineKind.ROUNDING, None, end, end, 1, "session", 0, difference, 0))
            net += difference
    prepaid_wh = sum(line.quantity for line in lines if line.kind is LineKind.PREPAID)
    return Bill(tuple(lines), net, tax_minor, tuple(shown), prepaid_wh)
