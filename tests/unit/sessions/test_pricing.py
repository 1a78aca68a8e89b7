"""Which tariff applies, and what it makes of the energy."""

from decimal import ROUND_HALF_EVEN, Decimal

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from libs.events.registry import Assignment, TariffVersion
from libs.events.tariffs import Dimension, PriceComponent, TariffElement, flat_terms
from libs.tariffs.usage import Interval
from libs.tariffs.validation import problems
from services.sessions.domain.pricing import charge
from tests.unit.sessions.exchanges import DAY, HOUR, NOON, start16, stop16
from tests.unit.sessions.given import Told, registry


def amount_minor(energy_wh: int, price_per_kwh_milli: int) -> int:
    version = TariffVersion(version=1, valid_from=0, currency="EUR", price_per_kwh_milli=price_per_kwh_milli)
    charged = charge("site-1", NOON, (Interval(NOON, NOON + HOUR, energy_wh),), registry(versions=(version,)))
    assert charged is not None
    return charged.bill.gross_minor


@given(st.integers(0, 10**9), st.integers(0, 10**7))
def test_amounts_round_half_to_even(energy_wh: int, price_milli: int) -> None:
    exact = Decimal(energy_wh) * Decimal(price_milli) / Decimal(1_000_000)
    assert amount_minor(energy_wh, price_milli) == int(exact.quantize(Decimal(1), ROUND_HALF_EVEN))


def test_halves() -> None:
    assert [amount_minor(n, 100_000) for n in (5, 15, 25)] == [0, 2, 2]


def test_the_tariff_is_that_of_the_sessions_start() -> None:
    versions = (
        TariffVersion(version=1, valid_from=0, currency="EUR", price_per_kwh_milli=40_000),
        TariffVersion(
            version=2, valid_from=NOON + 30 * 60_000_000, currency="EUR", price_per_kwh_milli=90_000
        ),
    )
    told = Told([start16(1, NOON, 0), stop16(1, NOON + HOUR, 10_000)], registry(versions=versions))
    told.tell(start16(2, NOON + DAY, 0), stop16(2, NOON + DAY + HOUR, 10_000))
    assert [(c.tariff_version, c.amount_minor) for c in told.cdrs] == [(1, 400), (2, 900)]


def test_the_site_is_that_of_the_sessions_start() -> None:
    sites = (Assignment(id="old", valid_from=0), Assignment(id="site-1", valid_from=NOON))
    told = Told([start16(1, NOON - 1, 0), start16(2, NOON, 0, connector=2)], registry(sites=sites))
    assert [s.site_id for s in told.starts] == ["old", "site-1"]


def test_a_tariff_that_prices_what_a_later_version_knows_bills_nothing_and_is_reviewed() -> None:
    component = PriceComponent(type=Dimension.UNKNOWN, price_milli=1)
    terms = flat_terms(40_000)
    terms = replace(terms, elements=(*terms.elements, TariffElement(price_components=(component,))))
    version = TariffVersion(version=1, valid_from=0, currency="EUR", price_per_kwh_milli=0, terms=terms)
    tables = registry(versions=(version,))
    (cdr,) = Told([start16(1, NOON, 0), stop16(1, NOON + HOUR, 10_000)], tables).cdrs
    assert (cdr.amount_minor, cdr.review) == (0, ("no_tariff",))
    assert [problem.path for problem in problems(terms)] == ["elements[1].price_components[0].type"]


def test_without_a_tariff_the_record_is_unpriced_and_reviewed() -> None:
    unpriced = registry(tariffs=(Assignment(id="flat", valid_from=NOON + 1),))
    for tables in (unpriced, registry(sites=()), registry(versions=()), {}):
        told = Told([start16(1, NOON, 0), stop16(1, NOON + HOUR, 10_000)], tables)
        cdr = told.cdrs[0]
        assert (cdr.tariff_id, cdr.currency, cdr.amount_minor, cdr.lines) == (None, None, 0, ())
        assert cdr.review == ("no_tariff",)
        assert told.ends[0].review == ()
