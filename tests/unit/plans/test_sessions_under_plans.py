"""Sessions of drivers under a plan: whom they belong to, what they ask, and how their charge records wait for it."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.bus.runtime_memory import MemoryRuntime
from libs.events.cdr_hash import digest
from libs.events.decisions import Decision
from libs.events.plans import PrepaidGranted
from libs.events.record import Record
from libs.events.registry import GroupMembership, TokenRegistered
from libs.events.sessions import CdrCredited, CdrIssued, SessionCorrected, SessionEnded
from libs.events.tariffs import DriverPlan
from libs.events.topics import BILLING_PREPAID, BILLING_PREPAID_ASKED, OCPP_TRANSACTIONS
from services.sessions.domain.plans import AWAIT_GRANT
from services.sessions.domain.processor import SessionsProcessor
from tests.unit.plans.given import FLEET, World, at_station, tables, token, version
from tests.unit.sessions.exchanges import DAY, HOUR, MINUTE, NOON, SECOND, event2, meter16, start16, stop16
from tests.unit.sessions.given import kinds

DISCOUNT = DriverPlan(group_id="fleet", discount_milli=10_000)


def charged(cdr: CdrIssued | CdrCredited) -> tuple[int, int, int]:
    """Version, what the bundle covered, net amount."""
    return cdr.version, cdr.prepaid_wh, cdr.net_minor


def test_the_group_is_that_of_the_token_however_it_is_written() -> None:
    world = World(tables(version(DISCOUNT)))
    world.tell(start16(1, NOON, 0, tag="TAG-A"), stop16(1, NOON + HOUR, 10_000))
    world.tell(start16(2, NOON + DAY, 0, tag="tag-c"), stop16(2, NOON + DAY + HOUR, 10_000))
    assert [(c.group_id, c.net_minor) for c in world.cdrs] == [("fleet", 450), (None, 500)]
    assert not world.asked()


def test_a_blocked_token_still_has_its_group() -> None:
    world = World(tables(version(DISCOUNT)))
    world.tell(start16(1, NOON, 0, tag="TAG-B"), stop16(1, NOON + HOUR, 10_000))
    assert world.cdrs[0].group_id == "fleet"


def test_a_group_that_changes_later_changes_no_bill() -> None:
    world = World(tables(version(DISCOUNT)))
    world.tell(start16(1, NOON, 0, tag="TAG-A"))
    world.sessions.tables["registry.tokens"]["tag-a"] = token("tag-a", "other")
    world.tell(stop16(1, NOON + HOUR, 10_000))
    world.tell(meter16(1, NOON + 30 * MINUTE, 12_000, recorded_at=NOON + 2 * HOUR))
    assert len(world.cdrs) > 1
    assert {each.group_id for each in world.documents} == {"fleet"}


def test_a_token_that_becomes_known_later_brings_its_group() -> None:
    world = World(tables(version(DISCOUNT)))
    world.tell(event2("Started", "x", 0, NOON, 0), event2("Updated", "x", 1, NOON + MINUTE, 100, tag="TAG-A"))
    world.sessions.tables["registry.tokens"]["tag-a"] = token("tag-a", "other")
    world.tell(event2("Ended", "x", 2, NOON + HOUR, 10_000))
    assert [(c.group_id, c.net_minor) for c in world.cdrs] == [("fleet", 450)]


def test_the_end_is_announced_at_once_and_the_charge_record_waits() -> None:
    world = World()
    told = world.tell(start16(1, NOON, 0), stop16(1, NOON + HOUR, 12_000))
    assert kinds(told) == ["SessionStarted", "SessionEnded", "PrepaidAsked"]
    (ask,) = world.asked()
    assert (ask.group_id, ask.tariff_id, ask.month, ask.timezone) == (
        "fleet",
        "fleets",
        "2026-11",
        "Europe/Berlin",
    )
    assert (ask.bundle_wh, ask.billed_wh, ask.revision) == (20_000, 12_000, 1)
    (cdr,) = world.answer()
    assert isinstance(cdr, CdrIssued)
    assert charged(cdr) == (1, 12_000, 0)
    assert [(line.kind, line.quantity) for line in cdr.lines] == [("prepaid", 12_000)]
    assert cdr.cause_id == ask.cause_id
    assert cdr.sources[-1].topic == BILLING_PREPAID


def test_what_is_beyond_the_bundle_is_paid() -> None:
    world = World()
    for n in (0, 1):
        begin = NOON + n * DAY
        world.tell(start16(n + 1, begin, 0), stop16(n + 1, begin + HOUR, 15_000))
        world.answer()
    assert [charged(c) for c in world.cdrs] == [(1, 15_000, 0), (1, 5_000, 500)]
    assert [(line.kind, line.quantity) for line in world.cdrs[1].lines] == [
        ("prepaid", 5_000),
        ("energy", 10_000),
    ]


def test_a_session_without_energy_does_not_wait() -> None:
    world = World()
    told = world.tell(start16(1, NOON, 0), stop16(1, NOON + HOUR, 0))
    assert kinds(told)[1:] == ["SessionEnded", "PrepaidAsked", "CdrIssued"]


def test_a_plan_with_a_fee_alone_is_told_and_not_awaited() -> None:
    world = World(tables(version(DriverPlan(group_id="fleet", monthly_fee_minor=900))))
    told = world.tell(start16(1, NOON, 0), stop16(1, NOON + HOUR, 10_000))
    assert kinds(told)[1:] == ["SessionEnded", "PrepaidAsked", "CdrIssued"]
    assert world.asked()[0].bundle_wh == 0
    assert world.answer() == []


def test_documents_keep_their_order_and_what_comes_later_waits_for_what_was_before() -> None:
    world = World()
    world.tell(start16(1, NOON, 0, tag="TAG-A"), stop16(1, NOON + HOUR, 12_000))
    told = world.tell(start16(2, NOON + 2 * HOUR, 0, tag="TAG-C"), stop16(2, NOON + 2 * HOUR + MINUTE, 300))
    assert kinds(told) == ["CdrIssued", "SessionStarted", "SessionEnded", "CdrIssued"]

    world = World()
    world.tell(start16(1, NOON, 0, tag="TAG-A"), stop16(1, NOON + MINUTE, 200))
    told = world.tell(start16(2, NOON + 2 * MINUTE, 0, tag="TAG-C"), stop16(2, NOON + 3 * MINUTE, 300))
    assert kinds(told) == ["SessionStarted", "SessionEnded"]
    first, second = world.answer()
    assert isinstance(first, CdrIssued)
    assert isinstance(second, CdrIssued)
    assert (first.transaction_id, second.transaction_id) == ("1", "2")
    assert second.previous_hash == first.hash == digest(first)


def test_a_correction_asks_again_and_gets_what_it_had_and_what_is_left() -> None:
    world = World()
    world.tell(
        event2("Started", "x", 0, NOON, 5_000, tag="TAG-A"), event2("Ended", "x", 9, NOON + HOUR, 12_000)
    )
    world.answer()
    world.tell(start16(2, NOON + 2 * HOUR, 0, connector=2), stop16(2, NOON + 3 * HOUR, 8_000))
    world.answer()
    # The register had fallen in between; an operator says that it was reset, and accepts what it counted since.
    world.tell(event2("Updated", "x", 1, NOON + 20 * MINUTE, 9_000, recorded_at=NOON + 4 * HOUR))
    world.tell(event2("Updated", "x", 2, NOON + 30 * MINUTE, 1_000, recorded_at=NOON + 4 * HOUR))
    assert world.cdrs[-1].review_wh == 9_000
    told = world.decide(world.cdrs[-1], Decision.ACCEPT)
    assert kinds(told) == ["SessionCorrected", "PrepaidAsked", "SessionDecisionConcluded"]
    assert world.asked()[-1].billed_wh == 16_000
    assert kinds(world.answer()) == ["CdrCredited", "CdrIssued"]
    assert charged(world.cdrs[-1])[1:] == (12_000, 200)

    # Another one writes it off: the bundle has it back.
    told = world.decide(world.cdrs[-1], Decision.WRITE_OFF)
    assert kinds(told)[:2] == ["SessionCorrected", "PrepaidAsked"]
    world.answer()
    assert charged(world.cdrs[-1])[1:] == (0, 0)
    assert world.granted()[-1].granted_wh == 0
    assert_sound(world)


def test_a_mere_change_of_reasons_asks_nothing_again() -> None:
    world = World()
    world.tell(start16(1, NOON, 0), stop16(1, NOON + HOUR, 12_000))
    world.answer()
    told = world.tell(stop16(1, NOON + HOUR, 12_500, recorded_at=NOON + 2 * HOUR))
    assert kinds(told) == ["SessionCorrected", "CdrCredited", "CdrIssued"]
    assert [charged(d) for d in world.documents] == [(1, 12_000, 0), (1, -12_000, 0), (2, 12_000, 0)]


def test_without_an_answer_it_is_issued_without_the_bundle_and_corrected_later() -> None:
    world = World()
    world.tell(start16(1, NOON, 0), stop16(1, NOON + HOUR, 12_000))
    ended = NOON + HOUR + SECOND
    assert world.tick(ended + AWAIT_GRANT - 1) == []
    (cdr,) = world.tick(ended + AWAIT_GRANT)
    assert isinstance(cdr, CdrIssued)
    assert charged(cdr) == (1, 0, 600)
    told = world.answer()
    assert kinds(told) == ["SessionCorrected", "CdrCredited", "CdrIssued"]
    assert [charged(d) for d in world.documents] == [(1, 0, 600), (1, 0, -600), (2, 12_000, 0)]
    assert len(world.asked()) == 1


def test_a_queue_of_sessions_is_corrected_when_answers_come_at_last() -> None:
    world = World()
    for n in range(66):
        begin = NOON + n * MINUTE
        world.tell(
            start16(n + 1, begin, 0, recorded_at=NOON + 2 * HOUR),
            stop16(n + 1, begin + 50 * SECOND, 300, recorded_at=NOON + 2 * HOUR),
        )
    # Where more wait than may, the first of them are issued without the bundle.
    assert [charged(c) for c in world.cdrs] == [(1, 0, 15)] * 2
    world.tick(NOON + 2 * HOUR + AWAIT_GRANT)
    assert [charged(c) for c in world.cdrs] == [(1, 0, 15)] * 66
    world.answer()
    assert [charged(c) for c in world.cdrs[66:]] == [(2, 300, 0)] * 66
    assert_sound(world)


def test_what_a_session_was_granted_that_is_forgotten_meanwhile_goes_back() -> None:
    # Given more sessions than are remembered, all issued without the bundle while the ledger is away.
    world = World()
    for n in range(80):
        begin = NOON + n * MINUTE
        world.tell(
            start16(n + 1, begin, 0, recorded_at=NOON + 2 * HOUR),
            stop16(n + 1, begin + 50 * SECOND, 200, recorded_at=NOON + 2 * HOUR),
        )
    world.tick(NOON + 2 * HOUR + AWAIT_GRANT)
    assert {charged(c) for c in world.cdrs} == {(1, 0, 10)}
    # When the ledger is back, then it keeps drawn what charge records say, and nothing else.
    world.answer()
    assert drawn(world) == prepaid(world)
    assert sum(prepaid(world).values()) == 67 * 200
    assert_sound(world)


def test_what_is_granted_after_a_session_is_forgotten_goes_back() -> None:
    world = World()
    world.tell(start16(1, NOON, 0), stop16(1, NOON + HOUR, 12_000))
    world.tick(NOON + HOUR + SECOND + AWAIT_GRANT)
    world.tick(NOON + 8 * DAY)
    world.answer()
    assert [charged(c) for c in world.cdrs] == [(1, 0, 600)]
    assert drawn(world) == prepaid(world)
    # A correction of a session that was recalled can still draw, and what was given back comes again without effect.
    first, back = world.asked()
    assert first.revision == back.revision
    again = msgspec.structs.replace(first, event_id="again", revision=first.revision + 1)
    for ask in (first, back, again, back):
        world.plans.feed(BILLING_PREPAID_ASKED, ask.group_id, ask)
    assert [each.granted_wh for each in world.granted()] == [12_000, 0, 12_000]


def test_evidence_that_comes_while_it_waits_is_a_correction_of_its_own() -> None:
    world = World()
    world.tell(start16(1, NOON, 0), meter16(1, NOON + 30 * MINUTE, 6_000), stop16(1, NOON + HOUR, 12_000))
    told = world.tell(
        meter16(1, NOON + 40 * MINUTE, 20_000, recorded_at=NOON + HOUR + 2 * SECOND),
        meter16(1, NOON + 50 * MINUTE, 7_000, recorded_at=NOON + HOUR + 3 * SECOND),
    )
    assert not {"CdrIssued", "CdrCredited"}.intersection(kinds(told))
    answered = kinds(world.answer())
    assert answered[0] == "CdrIssued"
    assert answered[1:] == ["CdrCredited", "CdrIssued"] * (len(answered) // 2)
    assert_sound(world)


def test_when_the_month_is_closed_a_session_keeps_what_it_had() -> None:
    world = World()
    world.tell(
        event2("Started", "x", 0, NOON, 5_000, tag="TAG-A"), event2("Ended", "x", 9, NOON + HOUR, 12_000)
    )
    world.answer()
    world.tell(event2("Updated", "x", 1, NOON + 20 * MINUTE, 9_000, recorded_at=NOON + 4 * HOUR))
    world.tell(event2("Updated", "x", 2, NOON + 30 * MINUTE, 1_000, recorded_at=NOON + 4 * HOUR))
    world.decide(world.cdrs[-1], Decision.ACCEPT)
    ask = world.asked()[-1]
    closed = PrepaidGranted(
        event_id="late",
        occurred_at=ask.recorded_at,
        recorded_at=ask.recorded_at,
        cause_id=ask.event_id,
        station_id=ask.station_id,
        group_id=ask.group_id,
        session_id=ask.session_id,
        revision=ask.revision,
        tariff_id=ask.tariff_id,
        month=ask.month,
        billed_wh=ask.billed_wh,
        granted_wh=0,
        closed=True,
    )
    world.sessions.feed(BILLING_PREPAID, closed.station_id, closed)
    assert charged(world.cdrs[-1])[1:] == (7_000, 450)
    assert_sound(world)


def test_another_driver_gives_back_what_the_first_had() -> None:
    world = World()
    world.tell(event2("Started", "x", 0, NOON, 0, tag="TAG-A"), event2("Ended", "x", 2, NOON + HOUR, 12_000))
    world.answer()
    # A message that was late names who had begun it.
    world.tell(
        event2("Updated", "x", 1, NOON - SECOND, 0, tag="TAG-C", recorded_at=NOON + 2 * HOUR),
    )
    assert world.asked()[-1].billed_wh == 0
    world.answer()
    assert world.granted()[-1].granted_wh == 0
    assert (world.cdrs[-1].group_id, world.cdrs[-1].prepaid_wh) == (None, 0)


def test_an_answer_that_comes_before_its_question_is_kept() -> None:
    world = World()
    calls = [start16(1, NOON, 0), stop16(1, NOON + HOUR, 12_000)]
    world.tell(*calls)
    world.answer()
    anew = MemoryRuntime(SessionsProcessor(), tables())
    (grant,) = world.granted()
    anew.feed(BILLING_PREPAID, grant.station_id, grant)
    out = [emit.record for call in calls for emit in anew.feed(OCPP_TRANSACTIONS, call.station_id, call)]
    assert kinds([record for record in out if record is not None]) == [
        "SessionStarted",
        "SessionEnded",
        "PrepaidAsked",
        "CdrIssued",
    ]
    assert out[-1] == world.cdrs[0]


def test_answers_to_nobody_are_bounded() -> None:
    world = World()
    world.tell(start16(1, NOON, 0), stop16(1, NOON + HOUR, 12_000))
    world.answer()
    (grant,) = world.granted()
    before = world.sessions.state_of(grant.station_id)
    # The same again is no news.
    assert world.sessions.feed(BILLING_PREPAID, grant.station_id, grant) == []
    assert world.sessions.state_of(grant.station_id) == before
    for n in range(50):
        world.sessions.feed(
            BILLING_PREPAID,
            grant.station_id,
            msgspec.structs.replace(grant, session_id=f"s{n}", cause_id=f"c{n}"),
        )
    state = world.sessions.state_of(grant.station_id)
    assert state is not None
    assert len(state.early) == 8


def test_a_session_that_begins_before_midnight_is_of_the_old_month() -> None:
    world = World()
    midnight = NOON + 8 * DAY + 11 * HOUR  # 1 December in Berlin
    world.tell(start16(1, midnight - MINUTE, 0), stop16(1, midnight + HOUR, 12_000))
    world.answer()
    world.tell(start16(2, midnight + 2 * HOUR, 0), stop16(2, midnight + 3 * HOUR, 12_000))
    world.answer()
    assert [ask.month for ask in world.asked()] == ["2026-11", "2026-12"]
    assert [c.prepaid_wh for c in world.cdrs] == [12_000, 12_000]


def test_stations_share_the_bundle() -> None:
    world = World(tables(stations=("one", "two")))
    for station in ("one", "two"):
        world.tell(
            at_station(start16(1, NOON, 0), station), at_station(stop16(1, NOON + HOUR, 12_000), station)
        )
    world.answer()
    assert sorted(c.prepaid_wh for c in world.cdrs) == [8_000, 12_000]


def drawn(world: World) -> dict[str, int]:
    """What the ledger has drawn for each session in the end."""
    return {each.session_id: each.granted_wh for each in world.granted()}


def prepaid(world: World) -> dict[str, int]:
    """What the last charge record of each session says that the bundle covers."""
    return {each.session_id: each.prepaid_wh for each in world.cdrs}


def assert_sound(world: World) -> None:
    """Documents of each charge are in order, chained, and add up to the last; each of its Wh has one fate."""
    chain = ""
    sums: dict[str, list[int]] = {}
    last: dict[str, CdrIssued] = {}
    for document in world.documents:
        assert document.previous_hash == chain
        chain = document.hash
        assert document.hash == digest(document)
        known = sums.setdefault(document.cdr_id, [0, 0, 0])
        known[0] += document.prepaid_wh
        known[1] += document.amount_minor
        known[2] += document.energy_wh
        if isinstance(document, CdrIssued):
            assert document.version == (last[document.cdr_id].version if document.cdr_id in last else 0) + 1
            last[document.cdr_id] = document
            assert document.prepaid_wh == sum(x.quantity for x in document.lines if x.kind == "prepaid")
            assert document.billed_wh + document.review_wh + document.written_off_wh == document.energy_wh
        else:
            assert document.version == last[document.cdr_id].version
            assert document.credited_hash == last[document.cdr_id].hash
    for cdr_id, cdr in last.items():
        assert sums[cdr_id] == [cdr.prepaid_wh, cdr.amount_minor, cdr.energy_wh]


_SESSIONS = st.lists(
    st.tuples(st.integers(0, 12_000), st.sampled_from(["TAG-A", "TAG-B", "TAG-C"]), st.booleans()),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(_SESSIONS, st.data())
def test_whenever_answers_come_documents_are_the_same(
    sessions: list[tuple[int, str, bool]], data: st.DataObject
) -> None:
    """Answers come at once, or late, one by one, or twice; late messages correct. Documents do not show it."""
    calls = []
    for n, (wh, tag, corrected) in enumerate(sessions):
        begin = NOON + n * 2 * MINUTE
        calls += [start16(n + 1, begin, 0, tag=tag), stop16(n + 1, begin + MINUTE, min(wh, 360))]
        if corrected:
            calls.append(meter16(n + 1, begin + 30 * SECOND, wh // 2, recorded_at=begin + 3 * MINUTE))
    at_once, late = World(small()), World(small())
    for call in calls:
        at_once.tell(call)
        at_once.answer()
        late.tell(call)
        if data.draw(st.booleans()):
            late.answer()
            for emit in list(late.plans.emitted):
                if isinstance(emit.record, PrepaidGranted) and data.draw(st.booleans()):
                    late.sessions.feed(BILLING_PREPAID, emit.key, emit.record)
    late.answer()
    assert_sound(at_once)
    assert [bare(d) for d in late.documents] == [bare(d) for d in at_once.documents]
    assert late.asked() == at_once.asked()
    used = {each.cdr_id: each.prepaid_wh for each in at_once.cdrs}
    assert sum(used.values()) <= 1_000


def small() -> dict[str, dict[str, Record]]:
    return tables(version(msgspec.structs.replace(FLEET, prepaid_wh=1_000)))


def bare(document: CdrIssued | CdrCredited) -> CdrIssued | CdrCredited:
    """Without the places of answers in the log, and the hashes that they go into."""
    empty = {"hash": "", "previous_hash": ""} | (
        {"sources": ()} if isinstance(document, CdrIssued) else {"credited_hash": ""}
    )
    return msgspec.structs.replace(document, **empty)


def test_ends_are_announced_before_documents() -> None:
    world = World()
    world.tell(start16(1, NOON, 0), stop16(1, NOON + HOUR, 12_000))
    ends = [e.record for e in world.sessions.emitted if isinstance(e.record, SessionEnded | SessionCorrected)]
    assert len(ends) == 1
    assert world.documents == []


def test_when_the_log_is_folded_anew_groups_are_those_of_then() -> None:
    calls = [start16(1, NOON, 0, tag="TAG-A"), stop16(1, NOON + HOUR, 10_000)]
    registry = tables(version(DISCOUNT))
    first = World(registry)
    first.tell(*calls)
    card = registry["registry.tokens"]["tag-a"]
    assert isinstance(card, TokenRegistered)
    registry["registry.tokens"]["tag-a"] = msgspec.structs.replace(
        card,
        group_id=None,
        groups=(
            GroupMembership(group_id="fleet", valid_from=0),
            GroupMembership(group_id=None, valid_from=NOON + 1),
        ),
    )
    anew = World(registry)
    anew.tell(*calls)
    assert anew.documents == first.documents
    anew.tell(start16(2, NOON + DAY, 0, tag="TAG-A"), stop16(2, NOON + DAY + HOUR, 10_000))
    assert [cdr.group_id for cdr in anew.cdrs] == ["fleet", None]
