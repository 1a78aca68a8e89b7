"""Charge records: what they were made from, what takes them back, and the bill by a tariff with terms."""

from libs.events.registry import TariffVersion
from libs.events.sessions import CdrCredited, CdrReading, CdrSource
from libs.events.tariffs import Dimension, PriceComponent, TariffElement, TariffRestrictions, TariffTerms, Tax
from tests.unit.sessions.exchanges import HOUR, MINUTE, NOON, event2, meter16, start16, stop16
from tests.unit.sessions.given import Told, registry


def test_a_correction_takes_the_former_version_back() -> None:
    told = Told([start16(1, NOON, 0), meter16(1, NOON + MINUTE, 700), start16(2, NOON + HOUR, 700)])
    told.tell(stop16(1, NOON + 30 * MINUTE, 9000))
    first, credit, second = told.documents
    assert isinstance(credit, CdrCredited)
    assert (credit.version, credit.credited_hash, credit.cdr_id) == (1, first.hash, first.cdr_id)
    assert (credit.amount_minor, credit.billed_wh, credit.currency) == (-first.amount_minor, -700, "EUR")
    assert [first.previous_hash, credit.previous_hash, second.previous_hash] == ["", first.hash, credit.hash]
    assert (second.version, second.billed_wh) == (2, 9000)


def test_a_record_says_what_it_was_made_from() -> None:
    told = Told([start16(1, NOON, 0), meter16(1, NOON + MINUTE, 100), stop16(1, NOON + HOUR, 9000)])
    cdr = told.cdrs[0]
    assert cdr.sources == (CdrSource(topic="ocpp.transactions", partition=0, first_offset=0, last_offset=2),)
    assert cdr.readings == (CdrReading(at=NOON + MINUTE, wh=100),)


TERMS = TariffTerms(
    elements=(
        TariffElement(
            price_components=(PriceComponent(type=Dimension.ENERGY, price_milli=30_000),),
            restrictions=TariffRestrictions(start_time="12:30", end_time="13:00"),
        ),
        TariffElement(
            price_components=(
                PriceComponent(type=Dimension.ENERGY, price_milli=50_000),
                PriceComponent(type=Dimension.PARKING_TIME, price_milli=600_000),
            )
        ),
    ),
    taxes=(Tax(name="VAT", rate_milli=19_000),),
)


def test_a_session_is_billed_by_time_of_use_state_and_tax() -> None:
    version = TariffVersion(version=3, valid_from=0, currency="EUR", price_per_kwh_milli=0, terms=TERMS)
    told = Told(
        [
            event2("Started", "a", 0, NOON, 0, state="Charging"),
            event2("Updated", "a", 1, NOON + 30 * MINUTE, 5000, state="Charging"),
            event2("Updated", "a", 2, NOON + 60 * MINUTE, 15_000, state="EVConnected"),
            event2("Ended", "a", 3, NOON + 90 * MINUTE, 15_000),
        ],
        registry(versions=(version,)),
    )
    end, cdr = told.ends[0], told.cdrs[0]
    assert (end.charging_s, end.suspended_s, end.idle_s) == (3600, 0, 1800)
    assert [(line.kind, line.quantity, line.unit, line.net_minor) for line in cdr.lines] == [
        ("energy", 5000, "Wh", 250),
        ("energy", 10_000, "Wh", 300),
        ("parking_time", 1800, "s", 300),
    ]
    assert (cdr.net_minor, cdr.tax_minor, cdr.amount_minor, cdr.tariff_version) == (850, 162, 1012, 3)
    assert [(tax.name, tax.tax_minor) for tax in cdr.taxes] == [("VAT", 162)]


def test_without_states_a_register_that_stands_still_tells() -> None:
    told = Told(
        [start16(1, NOON, 0), meter16(1, NOON + 10 * MINUTE, 3000), meter16(1, NOON + 30 * MINUTE, 3000)]
    )
    told.tell(meter16(1, NOON + 40 * MINUTE, 6000), meter16(1, NOON + 80 * MINUTE, 6000))
    told.tell(stop16(1, NOON + 90 * MINUTE, 6000))
    end = told.ends[0]
    assert (end.charging_s, end.suspended_s, end.idle_s) == (20 * 60, 20 * 60, 50 * 60)
