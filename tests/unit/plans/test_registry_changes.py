"""Corrections after operators changed what has no date, or removed what the session was placed by."""

from __future__ import annotations

import msgspec

from libs.events.decisions import Decision
from libs.events.registry import SiteRegistered, TariffVersion
from libs.events.tariffs import (
    Dimension,
    DriverPlan,
    PriceComponent,
    TariffElement,
    TariffRestrictions,
)
from libs.events.topics import SESSIONS_EVIDENCE
from services.sessions.replay.rederive import recall_of
from tests.unit.plans.given import FLEET, World, tables, version
from tests.unit.sessions.exchanges import DAY, HOUR, MINUTE, NOON, STATION, event2

NEW_YEAR = NOON + 39 * DAY + 11 * HOUR + 30 * MINUTE
"""Half past midnight of the first of January in Berlin, half an hour before it in UTC."""


def _night() -> TariffVersion:
    """Half the price from midnight to two by the site's clock, and the bundle."""
    dear = version(FLEET)
    assert dear.terms is not None
    night = TariffElement(
        price_components=(PriceComponent(type=Dimension.ENERGY, price_milli=25_000),),
        restrictions=TariffRestrictions(start_time="00:00", end_time="02:00"),
    )
    terms = msgspec.structs.replace(dear.terms, elements=(night, *dear.terms.elements))
    return msgspec.structs.replace(dear, terms=terms)


def _reset_zone(world: World) -> None:
    site = world.sessions.tables["registry.sites"]["depot"]
    assert isinstance(site, SiteRegistered)
    world.sessions.tables["registry.sites"]["depot"] = msgspec.structs.replace(site, timezone="UTC")


def _charged_by_night(world: World) -> None:
    world.tell(
        event2("Started", "x", 0, NEW_YEAR, 0, tag="TAG-A"),
        event2("Ended", "x", 2, NEW_YEAR + HOUR, 30_000),
    )
    world.answer()


def test_a_correction_prices_by_the_clock_that_the_site_had() -> None:
    world = World(tables(_night()))
    _charged_by_night(world)
    _reset_zone(world)
    world.decide(world.cdrs[-1], Decision.ACCEPT)
    world.answer()
    assert [(c.version, c.net_minor, c.prepaid_wh) for c in world.cdrs] == [
        (1, 250, 20_000),
        (2, 250, 20_000),
    ]
    assert {ask.month for ask in world.asked()} == {"2027-01"}
    assert {c.timezone for c in world.cdrs} == {"Europe/Berlin"}


def test_a_session_without_a_start_keeps_the_clock_when_the_start_comes() -> None:
    world = World(tables(_night()))
    world.tell(event2("Ended", "x", 2, NEW_YEAR + HOUR, 30_000, tag="TAG-A"))
    world.tick(NEW_YEAR + DAY + 2 * HOUR)
    _reset_zone(world)
    world.tell(event2("Started", "x", 0, NEW_YEAR, 0, tag="TAG-A"))
    world.answer()
    assert {(c.timezone, c.tariff_id) for c in world.cdrs} == {("Europe/Berlin", "fleets")}
    assert (world.cdrs[-1].net_minor, world.cdrs[-1].prepaid_wh) == (250, 20_000)
    assert {ask.month for ask in world.asked()} == {"2027-01"}


def test_a_session_recalled_after_it_was_forgotten_has_the_clock_of_its_record() -> None:
    world = World(tables(_night()))
    _charged_by_night(world)
    state = world.sessions.state_of(STATION)
    assert state is not None
    (known,) = state.closed
    assert known.asked is not None
    world.tick(NEW_YEAR + 8 * DAY)
    _reset_zone(world)
    asked = msgspec.structs.replace(known.asked, month="2026-12", timezone="UTC")
    folded = msgspec.structs.replace(known, timezone="UTC", asked=asked)
    _, recall = recall_of(
        world.cdrs[-1], folded, reason="the stop", decided_by="anna", now=NEW_YEAR + 9 * DAY
    )
    world.sessions.feed(SESSIONS_EVIDENCE, STATION, recall)
    world.answer()
    assert [(c.version, c.net_minor, c.timezone) for c in world.cdrs] == [
        (1, 250, "Europe/Berlin"),
        (2, 250, "Europe/Berlin"),
    ]
    assert {ask.month for ask in world.asked()} == {"2027-01"}


def _given_a_session_without_its_start() -> World:
    """Of a driver with a tenth off; it is charged, and then its start comes late."""
    discount = DriverPlan(group_id="fleet", discount_milli=10_000)
    world = World(tables(version(discount)))
    world.tell(event2("Ended", "x", 2, NOON + HOUR, 10_000, tag="TAG-A"))
    world.tick(NOON + DAY + 2 * HOUR)
    return world


def test_a_session_keeps_its_group_when_the_token_is_removed() -> None:
    world = _given_a_session_without_its_start()
    del world.sessions.tables["registry.tokens"]["tag-a"]
    world.tell(event2("Started", "x", 0, NOON, 0, tag="TAG-A"))
    assert (world.cdrs[-1].group_id, world.cdrs[-1].net_minor) == ("fleet", 450)


def test_a_session_keeps_its_site_when_the_station_is_removed() -> None:
    world = _given_a_session_without_its_start()
    del world.sessions.tables["registry.stations"][STATION]
    world.tell(event2("Started", "x", 0, NOON, 0, tag="TAG-A"))
    last = world.cdrs[-1]
    assert (last.site_id, last.net_minor, last.max_power_w) == ("depot", 450, 22_080)


def test_a_session_does_not_keep_the_group_of_another_token_than_its_own() -> None:
    world = _given_a_session_without_its_start()
    world.tell(event2("Started", "x", 0, NOON, 0, tag="TAG-X"))
    assert (world.cdrs[-1].group_id, world.cdrs[-1].net_minor) == (None, 500)
