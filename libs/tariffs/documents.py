"""Terms as people write them: OCPI 2.2.1's names, amounts as decimal text in the major currency unit.

Prices are per kWh, hour (or minute: `per`) or session; percentages, kWh, kW and A are decimal text, too. OCPI's JSON
numbers are read as the shortest decimal that stands for them. What OCPI does not have is named as in `model`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from libs.events.registry import TariffVersion
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
from libs.runtime.clock import micros
from libs.tariffs.currency import minor_digits
from libs.tariffs.validation import Problem, TariffError, problems

_HIGHEST_NUMBER: Final = 1_000_000_000_000
Number: TypeAlias = (
    Annotated[
        str,
        Meta(
            pattern=r"^\d{1,12}(\.\d{1,12})?$", description="A decimal number as text.", examples=["0.4567"]
        ),
    ]
    | Annotated[int, Meta(ge=0, lt=_HIGHEST_NUMBER)]
    | Annotated[float, Meta(ge=0, lt=_HIGHEST_NUMBER, description="A JSON number, as OCPI has it.")]
)
_THOUSANDTHS: Final = 3
_MINUTES: Final = 60


class ComponentDocument(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A price for one dimension. `per`: of prices of time. `vat`: percent, instead of the tariff's taxes."""

    type: Dimension
    price: Number
    per: Literal["hour", "minute"] = "hour"
    vat: Number | None = None
    step_size: int = 1


class RestrictionsDocument(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """When an element counts, as in OCPI; `season_start`, `season_end` (MM-DD) and `group_ids` besides."""

    start_time: str | None = None
    end_time: str | None = None
    start_date: str | None = None
    end_date: str | None = None
    season_start: str | None = None
    season_end: str | None = None
    day_of_week: tuple[DayOfWeek, ...] = ()
    min_kwh: Number | None = None
    max_kwh: Number | None = None
    min_power: Number | None = None
    max_power: Number | None = None
    min_current: Number | None = None
    max_current: Number | None = None
    min_duration: int | None = None
    max_duration: int | None = None
    group_ids: tuple[str, ...] = ()


class ElementDocument(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Prices, and when they count."""

    price_components: tuple[ComponentDocument, ...]
    restrictions: RestrictionsDocument | None = None


class TaxDocument(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A tax on everything that has no VAT of its own. `rate`: percent."""

    name: str
    rate: Number


class RoundingDocument(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What is rounded and how. `increment`: the amount to pay is a multiple of it."""

    scope: RoundingScope = RoundingScope.TOTAL
    mode: RoundingMode = RoundingMode.HALF_EVEN
    increment: Number | None = None


class PlanDocument(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What drivers of a group have agreed on. `discount`: percent."""

    group_id: str
    discount: Number | None = None
    prepaid_kwh: Number | None = None
    max_price_per_kwh: Number | None = None
    max_price: Number | None = None
    monthly_fee: Number | None = None


class TermsDocument(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """By what a version of a tariff bills. `idle_grace_s`: seconds of idling that cost nothing."""

    elements: tuple[ElementDocument, ...]
    min_price: Number | None = None
    max_price: Number | None = None
    idle_grace_s: int = 0
    suspended: Suspension = Suspension.FREE
    taxes: tuple[TaxDocument, ...] = ()
    tax_included: bool = False
    rounding: RoundingDocument | None = None
    plans: tuple[PlanDocument, ...] = ()


_NAMES: Final = {
    "price_milli": "price",
    "vat_milli": "vat",
    "rate_milli": "rate",
    "discount_milli": "discount",
    "min_price_minor": "min_price",
    "max_price_minor": "max_price",
    "max_price_per_kwh_milli": "max_price_per_kwh",
    "monthly_fee_minor": "monthly_fee",
    "prepaid_wh": "prepaid_kwh",
    "min_wh": "min_kwh",
    "max_wh": "max_kwh",
    "min_power_w": "min_power",
    "max_power_w": "max_power",
    "min_current_ma": "min_current",
    "max_current_ma": "max_current",
    "min_duration_s": "min_duration",
    "max_duration_s": "max_duration",
    "rounding_increment_minor": "rounding.increment",
}
"""Stored fields that are written otherwise."""


def parse(data: Any, currency: str, *, texts: bool = False) -> TariffTerms:
    """Valid terms from what is written: dicts and lists, as JSON gives them.

    `texts`: every value is text, as a YAML file read without guessing gives it. Raises TariffError.
    """
    try:
        written = msgspec.convert(data, TermsDocument, strict=not texts)
    except msgspec.ValidationError as error:
        detail, _, path = str(error).partition(" - at `$")
        raise TariffError([Problem(path.strip("`."), detail)]) from None
    reader = _Reader(minor_digits(currency))
    terms = reader.terms(written)
    found = reader.problems or [
        Problem(_as_written(problem.path), _as_written(problem.detail)) for problem in problems(terms)
    ]
    if found:
        raise TariffError(found)
    return terms


def parse_version(written: Mapping[str, Any], *, texts: bool = False) -> TariffVersion:
    """A version of a tariff as the API shows it. `texts` as of `parse`.

    Raises TariffError for its terms, KeyError, TypeError or another ValueError for what is missing or misspelt.
    """
    terms = written.get("terms")
    return TariffVersion(
        version=int(written["version"]),
        valid_from=micros(datetime.fromisoformat(written["valid_from"])),
        currency=written["currency"],
        price_per_kwh_milli=int(written["price_per_kwh_milli"]),
        terms=parse(terms, written["currency"], texts=texts) if isinstance(terms, dict) else None,
    )


def _as_written(text: str) -> str:
    return re.sub(r"\w+", lambda match: _NAMES.get(match[0], match[0]), text)


class _Reader:
    """Numbers as whole ones; what does not fit is in `problems`. `minor`: decimals of the currency's minor unit."""

    def __init__(self, minor: int) -> None:
        self._minor = minor
        self.problems: list[Problem] = []

    def terms(self, w: TermsDocument) -> TariffTerms:
        rounding = w.rounding or RoundingDocument()
        increment = self._number("rounding.increment", rounding.increment, self._minor)
        return TariffTerms(
            elements=tuple(self._element(f"elements[{i}]", each) for i, each in enumerate(w.elements)),
            min_price_minor=self._number("min_price", w.min_price, self._minor),
            max_price_minor=self._number("max_price", w.max_price, self._minor),
            idle_grace_s=w.idle_grace_s,
            suspended=w.suspended,
            taxes=tuple(
                Tax(name=tax.name, rate_milli=self._number(f"taxes[{i}].rate", tax.rate, _THOUSANDTHS) or 0)
                for i, tax in enumerate(w.taxes)
            ),
            tax_included=w.tax_included,
            rounding_scope=rounding.scope,
            rounding_mode=rounding.mode,
            rounding_increment_minor=1 if increment is None else increment,
            plans=tuple(self._plan(f"plans[{i}]", plan) for i, plan in enumerate(w.plans)),
        )

    def _element(self, path: str, w: ElementDocument) -> TariffElement:
        components = enumerate(w.price_components)
        return TariffElement(
            price_components=tuple(
                self._component(f"{path}.price_components[{i}]", c) for i, c in components
            ),
            restrictions=None
            if w.restrictions is None
            else self._restrictions(f"{path}.restrictions", w.restrictions),
        )

    def _component(self, path: str, w: ComponentDocument) -> PriceComponent:
        price = self._number(f"{path}.price", w.price, self._minor + _THOUSANDTHS) or 0
        if w.per == "minute":
            if w.type not in (Dimension.TIME, Dimension.PARKING_TIME):
                self.problems.append(Problem(f"{path}.per", f"{w.type} has no price per minute"))
            price *= _MINUTES
        vat = self._number(f"{path}.vat", w.vat, _THOUSANDTHS)
        return PriceComponent(type=w.type, price_milli=price, vat_milli=vat, step_size=w.step_size)

    def _restrictions(self, path: str, w: RestrictionsDocument) -> TariffRestrictions:
        def number(name: str, written: Number | None) -> int | None:
            return self._number(f"{path}.{name}", written, _THOUSANDTHS)

        return TariffRestrictions(
            start_time=w.start_time,
            end_time=w.end_time,
            start_date=w.start_date,
            end_date=w.end_date,
            season_start=w.season_start,
            season_end=w.season_end,
            day_of_week=w.day_of_week,
            min_wh=number("min_kwh", w.min_kwh),
            max_wh=number("max_kwh", w.max_kwh),
            min_power_w=number("min_power", w.min_power),
            max_power_w=number("max_power", w.max_power),
            min_current_ma=number("min_current", w.min_current),
            max_current_ma=number("max_current", w.max_current),
            min_duration_s=w.min_duration,
            max_duration_s=w.max_duration,
            group_ids=tuple(group.casefold() for group in w.group_ids),
        )

    def _plan(self, path: str, w: PlanDocument) -> DriverPlan:
        return DriverPlan(
            group_id=w.group_id.casefold(),
            discount_milli=self._number(f"{path}.discount", w.discount, _THOUSANDTHS) or 0,
            prepaid_wh=self._number(f"{path}.prepaid_kwh", w.prepaid_kwh, _THOUSANDTHS) or 0,
            max_price_per_kwh_milli=self._number(
                f"{path}.max_price_per_kwh", w.max_price_per_kwh, self._minor + _THOUSANDTHS
            ),
            max_price_minor=self._number(f"{path}.max_price", w.max_price, self._minor),
            monthly_fee_minor=self._number(f"{path}.monthly_fee", w.monthly_fee, self._minor) or 0,
        )

    def _number(self, path: str, number: Number | None, digits: int) -> int | None:
        """The whole number of the smallest unit, `digits` decimals below the one written."""
        if number is None:
            return None
        scaled = Decimal(str(number)).scaleb(digits)
        if scaled != scaled.to_integral_value():
            self.problems.append(Problem(path, f"at most {digits} decimals"))
        return int(scaled)


def render(terms: TariffTerms, currency: str) -> dict[str, Any]:
    """Terms as they are written: what `parse` makes the same terms of. What has its default is left out."""
    minor = minor_digits(currency)

    def text(number: int | None, digits: int) -> str | None:
        return None if number is None else f"{Decimal(number).scaleb(-digits).normalize():f}"

    def given(number: int, digits: int) -> str | None:
        return text(number or None, digits)

    increment = terms.rounding_increment_minor
    rounding = RoundingDocument(
        terms.rounding_scope, terms.rounding_mode, text(increment, minor) if increment > 1 else None
    )
    written = TermsDocument(
        elements=tuple(_render_element(element, text, minor) for element in terms.elements),
        min_price=text(terms.min_price_minor, minor),
        max_price=text(terms.max_price_minor, minor),
        idle_grace_s=terms.idle_grace_s,
        suspended=terms.suspended,
        taxes=tuple(TaxDocument(tax.name, text(tax.rate_milli, _THOUSANDTHS) or "0") for tax in terms.taxes),
        tax_included=terms.tax_included,
        rounding=None if rounding == RoundingDocument() else rounding,
        plans=tuple(
            PlanDocument(
                plan.group_id,
                given(plan.discount_milli, _THOUSANDTHS),
                given(plan.prepaid_wh, _THOUSANDTHS),
                text(plan.max_price_per_kwh_milli, minor + _THOUSANDTHS),
                text(plan.max_price_minor, minor),
                given(plan.monthly_fee_minor, minor),
            )
            for plan in terms.plans
        ),
    )
    rendered: dict[str, Any] = msgspec.to_builtins(written)
    return rendered


def _render_element(
    element: TariffElement, text: Callable[[int | None, int], str | None], minor: int
) -> ElementDocument:
    components = tuple(
        ComponentDocument(
            c.type,
            text(c.price_milli, minor + _THOUSANDTHS) or "0",
            vat=text(c.vat_milli, _THOUSANDTHS),
            step_size=c.step_size,
        )
        for c in element.price_components
    )
    r = element.restrictions
    if r is None:
        return ElementDocument(components)
    return ElementDocument(
        components,
        RestrictionsDocument(
            start_time=r.start_time,
            end_time=r.end_time,
            start_date=r.start_date,
            end_date=r.end_date,
            season_start=r.season_start,
            season_end=r.season_end,
            day_of_week=r.day_of_week,
            min_kwh=text(r.min_wh, _THOUSANDTHS),
            max_kwh=text(r.max_wh, _THOUSANDTHS),
            min_power=text(r.min_power_w, _THOUSANDTHS),
            max_power=text(r.max_power_w, _THOUSANDTHS),
            min_current=text(r.min_current_ma, _THOUSANDTHS),
            max_current=text(r.max_current_ma, _THOUSANDTHS),
            min_duration=r.min_duration_s,
            max_duration=r.max_duration_s,
            group_ids=r.group_ids,
        ),
    )
