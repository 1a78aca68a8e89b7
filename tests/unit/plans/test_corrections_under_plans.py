"""Corrections of sessions under a plan: what is taken back, what is asked anew, what is given back."""

from __future__ import annotations

import msgspec
import pytest

from libs.events.decisions import SessionRecalled
from libs.events.plans import PrepaidAsked
from libs.events.record import Record
from libs.events.registry import Assignment, GroupMembership
from libs.events.tariffs import DriverPlan
from libs.events.topics import SESSIONS_EVIDENCE
from services.sessions.domain.decisions import NEWER_KNOWN, recalled
from services.sessions.domain.session import Session
from services.sessions.replay.compare import Comparison, Period, Side
from services.sessions.replay.rederive import recall_of
from tests.unit.plans.given import FLEET, World, tables, version
from tests.unit.sessions.exchanges import DAY, HOUR, MINUTE, NOON, STATION, event2, start16, stop16

DISCOUNT = DriverPlan(group_id="fleet", discount_milli=10_000)


def test_a_credit_note_names_whom_the_version_was_charged_to() -> None:
    world = World(tables(version(DISCOUNT)))
    world.tell(event2("Started", "x", 0, NOON, 0), event2("Ended", "x", 2, NOON + HOUR, 10_000))
    world.tell(event2("Updated", "x", 1, NOON + MINUTE, 100, tag="TAG-A"))
    assert [(d.group_id, d.id_token, d.net_minor) for d in world.documents] == [
        (None, None, 500),
        (None, None, -500),
        ("fleet", "TAG-A", 450),
    ]


def _starts_later_than_it_did(before: DriverPlan, after: DriverPlan) -> World:
    """A session that seems to have begun after the plan changed at noon, until its start comes; as much is billed."""
    world = World(tables(version(before), version(after, number=2, valid_from=NOON)))
    for seq, minutes, wh in ((3, 30, 0), (5, 60, 10_000)):
        kind = "Updated" if seq == 3 else "Ended"
        world.tell(event2(kind, "x", seq, NOON + minutes * MINUTE, wh, tag="TAG-A"))
    world.tick(NOON + DAY + HOUR + MINUTE)
    world.answer()
    world.tell(event2("Started", "x", 0, NOON - HOUR, 0, tag="TAG-A"))
    world.answer()
    return world


def test_what_a_later_version_of_the_plan_had_granted_is_given_back_where_it_has_no_bundle() -> None:
    free = DriverPlan(group_id="fleet", monthly_fee_minor=4_900)
    world = _starts_later_than_it_did(free, FLEET)
    assert [(c.version, c.prepaid_wh, c.net_minor) for c in world.cdrs] == [(1, 10_000, 0), (2, 0, 500)]
    assert [(ask.bundle_wh, ask.billed_wh) for ask in world.asked()] == [
        (20_000, 10_000),
        (20_000, 0),
        (0, 10_000),
    ]


def test_a_bundle_is_asked_for_that_only_the_earlier_version_of_the_plan_has() -> None:
    free = DriverPlan(group_id="fleet", monthly_fee_minor=4_900)
    world = _starts_later_than_it_did(FLEET, free)
    assert [(c.version, c.prepaid_wh, c.net_minor) for c in world.cdrs] == [(1, 0, 500), (2, 10_000, 0)]


def test_a_bundle_of_another_size_is_asked_for_anew() -> None:
    smaller = DriverPlan(group_id="fleet", prepaid_wh=6_000)
    world = _starts_later_than_it_did(FLEET, smaller)
    assert [(c.version, c.prepaid_wh, c.net_minor) for c in world.cdrs] == [(1, 6_000, 200), (2, 10_000, 0)]


def test_the_site_and_the_group_are_those_of_the_start_however_late_it_comes() -> None:
    registry = tables(version(DISCOUNT))
    station, site = registry["registry.stations"][STATION], registry["registry.sites"]["depot"]
    sites = (Assignment(id="depot", valid_from=0), Assignment(id="yard", valid_from=NOON))
    registry["registry.stations"][STATION] = msgspec.structs.replace(station, sites=sites)
    registry["registry.sites"]["yard"] = msgspec.structs.replace(site, site_id="yard")
    groups = (
        GroupMembership(group_id="fleet", valid_from=0),
        GroupMembership(group_id=None, valid_from=NOON),
    )
    member = registry["registry.tokens"]["tag-a"]
    registry["registry.tokens"]["tag-a"] = msgspec.structs.replace(member, groups=groups)
    world = World(registry)
    world.tell(event2("Ended", "x", 5, NOON + HOUR, 10_000, tag="TAG-A"))
    world.tick(NOON + DAY + HOUR + MINUTE)
    world.tell(event2("Started", "x", 0, NOON - HOUR, 0, tag="TAG-A"))
    assert [(d.site_id, d.group_id, d.net_minor) for d in world.documents] == [
        ("yard", None, 0),
        ("yard", None, 0),
        ("depot", "fleet", 450),
    ]


@pytest.mark.parametrize(("stop_wh", "net_minor"), [(8_000, 0), (12_000, 0), (22_000, 100)])
def test_a_corrected_fold_asks_the_bundle_anew_for_a_session_that_was_forgotten(
    stop_wh: int, net_minor: int
) -> None:
    world = World()
    world.tell(start16(1, NOON, 0), stop16(1, NOON + HOUR, 10_000))
    world.answer()
    state = world.sessions.state_of(STATION)
    assert state is not None
    (known,) = state.closed
    assert known.asked is not None
    world.tick(NOON + 8 * DAY)
    # Folded anew it asks the same question about another energy, and finds the answer of then in the log.
    asked = msgspec.structs.replace(known.asked, billed_wh=stop_wh)
    folded = msgspec.structs.replace(known, meter_stop_wh=stop_wh, asked=asked)
    _, recall = recall_of(world.cdrs[-1], folded, reason="the stop", decided_by="anna", now=NOON + 9 * DAY)
    world.sessions.feed(SESSIONS_EVIDENCE, STATION, recall)
    world.answer()
    covered = min(stop_wh, 20_000)
    assert (world.cdrs[-1].prepaid_wh, world.cdrs[-1].net_minor) == (covered, net_minor)
    assert world.granted()[-1].granted_wh == covered


def _charged_and_forgotten(*, answered: bool = True) -> tuple[World, Session]:
    world = World()
    world.tell(start16(1, NOON, 0), stop16(1, NOON + HOUR, 10_000))
    if answered:
        world.answer()
    world.tick(NOON + 2 * HOUR + MINUTE)
    state = world.sessions.state_of(STATION)
    assert state is not None
    world.tick(NOON + 8 * DAY)
    world.answer()
    return world, state.closed[0]


def _correct(world: World, folded: Session) -> list[Record]:
    """Recall it as `rederive` does, by the record that a comparison keeps; what comes of that at once."""
    entry = Comparison(Period(0, NOON + DAY, 0)).put(Side.BEFORE, world.cdrs[-1])
    assert entry.before is not None
    assert (entry.before.readings, entry.before.intervals) == ((), ())
    _, recall = recall_of(entry.before, folded, reason="the stop", decided_by="anna", now=NOON + 9 * DAY)
    out = [emit.record for emit in world.sessions.feed(SESSIONS_EVIDENCE, STATION, recall)]
    world.answer()
    return [record for record in out if record is not None]


@pytest.mark.parametrize("answered", [True, False])
def test_a_corrected_fold_that_finds_no_answer_of_its_own_goes_on_from_what_was_charged(
    answered: bool,
) -> None:
    world, known = _charged_and_forgotten(answered=answered)
    assert world.cdrs[-1].prepaid_wh == (10_000 if answered else 0)
    # Folded anew as much is billed, by another revision, to which there is no answer in the log.
    assert known.asked is not None
    asked = msgspec.structs.replace(known.asked, ask_id="of its own")
    _correct(world, msgspec.structs.replace(known, reason="Local", asked=asked, grant=None))
    # Then the bundle has it all, without waiting for long, and the ledger knows.
    assert [(c.version, c.prepaid_wh) for c in world.cdrs][-1] == (2, 10_000)
    assert world.granted()[-1].granted_wh == 10_000


def test_a_corrected_fold_under_no_plan_any_more_gives_back_what_was_charged() -> None:
    world, known = _charged_and_forgotten()
    free = tables(version())
    world.sessions.tables["registry.tariffs"] = free["registry.tariffs"]
    told = _correct(world, msgspec.structs.replace(known, asked=None, grant=None))
    assert [r.billed_wh for r in told if isinstance(r, PrepaidAsked)] == [0]
    assert (world.cdrs[-1].version, world.cdrs[-1].prepaid_wh, world.cdrs[-1].net_minor) == (2, 0, 500)
    assert (world.granted()[-1].granted_wh, world.granted()[-1].month) == (0, "2026-11")


def test_a_session_that_waits_to_be_charged_is_not_recalled_even_if_it_had_to_make_room() -> None:
    world = World()
    world.tell(start16(1, NOON, 0), stop16(1, NOON + MINUTE, 200))
    world.answer()
    state = world.sessions.state_of(STATION)
    assert state is not None
    (session,) = state.closed
    record = SessionRecalled(
        event_id="recall",
        occurred_at=NOON + HOUR,
        recorded_at=NOON + HOUR,
        cause_id="recall",
        station_id=STATION,
        session_id=session.session_id,
        evidence=msgspec.msgpack.encode(session),
        reason="a complaint",
        decided_by="anna",
    )
    assert recalled(None, record, waits=True) == (None, NEWER_KNOWN)
