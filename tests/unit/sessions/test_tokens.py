"""Sessions of tokens that were refused: given what was answered, who is charged, and whether anything is billed."""

from __future__ import annotations

from itertools import permutations
from random import Random

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.bus.runtime_memory import MemoryRuntime
from libs.events.commands import RequestCommand
from libs.events.decisions import Decision
from libs.events.registry import TariffVersion
from libs.events.sessions import CdrCredited, CdrIssued
from libs.events.topics import OCPP_TRANSACTIONS
from libs.ocpp.semantics.model import StepKind, TransactionStep
from libs.tariffs.documents import parse
from services.sessions.domain.processor import SessionsProcessor
from services.sessions.domain.tokens import ACCEPTED, MOST, Presented, joined, refusal
from tests.unit.plans.given import World
from tests.unit.sessions.exchanges import HOUR, MINUTE, NOON, STATION, event2, start16, stop16
from tests.unit.sessions.given import Told, kinds, registry

TERMS = """
min_price: "5"
elements:
- price_components: [{type: FLAT, price: "2"}, {type: TIME, price: "3"}, {type: ENERGY, price: "0.40"}]
"""
WITH_FEES = registry(
    versions=(
        TariffVersion(
            version=1,
            valid_from=0,
            currency="EUR",
            price_per_kwh_milli=0,
            terms=parse(yaml.safe_load(TERMS), "EUR"),
        ),
    )
)
REFUSALS = ["Blocked", "Expired", "Invalid", "ConcurrentTx", "Unknown", "NoCredit", "NotAtThisLocation"]


def shares(cdr: CdrIssued) -> tuple[int, int, int]:
    assert cdr.billed_wh + cdr.review_wh + cdr.written_off_wh == cdr.energy_wh
    return cdr.billed_wh, cdr.review_wh, cdr.written_off_wh


@pytest.mark.parametrize("status", REFUSALS)
def test_what_a_refused_token_took_is_in_review_and_nothing_is_billed(status: str) -> None:
    told = Told([start16(7, NOON, 0, status=status), stop16(7, NOON + HOUR, 9_000)], WITH_FEES)
    (cdr,) = told.cdrs
    assert shares(cdr) == (0, 9_000, 0)
    assert (cdr.review, cdr.token_refusal, cdr.id_token) == (("not_authorized",), status, "TAG-A")
    assert (cdr.amount_minor, cdr.lines, cdr.intervals, cdr.tariff_id) == (0, (), (), "flat")


def test_a_refused_token_that_took_nothing_is_not_charged_and_nobody_has_to_look() -> None:
    told = Told([start16(7, NOON, 500, status="Invalid"), stop16(7, NOON + MINUTE, 500)], WITH_FEES)
    (cdr,) = told.cdrs
    assert (cdr.energy_wh, cdr.review, cdr.token_refusal) == (0, (), "Invalid")
    assert (cdr.amount_minor, cdr.lines) == (0, ())


def test_other_doubts_stay() -> None:
    told = Told([start16(7, NOON, 0, status="Blocked"), stop16(7, NOON + HOUR, 900_000)])
    assert told.cdrs[0].review == ("implausible_energy", "not_authorized")
    assert shares(told.cdrs[0]) == (0, 38_120, 0)


# --- what answers say of it


def test_a_start_that_comes_again_and_is_accepted_then_is_billed() -> None:
    told = Told([start16(7, NOON, 0, status="Invalid"), stop16(7, NOON + HOUR, 9_000)])
    told.tell(start16(7, NOON, 0, recorded_at=NOON + 2 * HOUR))
    assert [shares(cdr) for cdr in told.cdrs] == [(0, 9_000, 0), (9_000, 0, 0)]
    assert (told.cdrs[1].review, told.cdrs[1].token_refusal) == ((), "")


def test_who_is_blocked_while_the_vehicle_charges_was_let_in() -> None:
    told = Told([start16(7, NOON, 0), stop16(7, NOON + HOUR, 9_000, tag="tag-a", status="Blocked")])
    told.tell(start16(7, NOON, 0, recorded_at=NOON + 2 * HOUR, status="Blocked"))
    assert [shares(cdr) for cdr in told.cdrs] == [(9_000, 0, 0)]


@pytest.mark.parametrize("status", ["Accepted", "Invalid"])
@pytest.mark.parametrize("began", ["Accepted", "Blocked"])
def test_the_card_that_stops_says_nothing_of_the_one_that_began(began: str, status: str) -> None:
    stop = stop16(7, NOON + HOUR, 9_000, tag="TAG-B", status=status)
    for messages in permutations([start16(7, NOON, 0, status=began), stop]):
        last = Told(messages).cdrs[-1]
        assert last.id_token == "TAG-A"
        assert last.billed_wh == (9_000 if began == "Accepted" else 0)


def test_a_card_that_is_accepted_at_the_stop_redeems_itself() -> None:
    """It was registered while the vehicle charged."""
    told = Told(
        [start16(7, NOON, 0, status="Invalid"), stop16(7, NOON + HOUR, 9_000, tag="TAG-a", status="Accepted")]
    )
    assert shares(told.cdrs[0]) == (9_000, 0, 0)
    assert told.cdrs[0].id_token == "TAG-A"


def test_without_a_token_or_an_answer_sessions_are_billed() -> None:
    """Free vending; an end whose answer was left to a processor."""
    free = Told([event2("Started", "a", 0, NOON, 0), event2("Ended", "a", 1, NOON + HOUR, 9_000)])
    assert shares(free.cdrs[0]) == (9_000, 0, 0)
    nameless = Told(
        [
            event2("Started", "a", 0, NOON, 0, tag="", status="Invalid"),
            event2("Ended", "a", 1, NOON + HOUR, 9_000),
        ]
    )
    assert shares(nameless.cdrs[0]) == (9_000, 0, 0)
    late = Told([event2("Started", "a", 0, NOON, 0), event2("Ended", "a", 1, NOON + HOUR, 9_000, tag="T")])
    assert (shares(late.cdrs[0]), late.cdrs[0].id_token) == ((9_000, 0, 0), "T")


def test_a_token_that_is_named_late_is_judged_as_well() -> None:
    told = Told(
        [
            event2("Started", "a", 0, NOON, 0),
            event2(
                "Updated", "a", 1, NOON + MINUTE, 100, tag="TAG-X", status="Unknown", trigger="Authorized"
            ),
            event2("Updated", "a", 2, NOON + 2 * MINUTE, 200),
            event2("Ended", "a", 3, NOON + HOUR, 9_000),
        ]
    )
    assert (shares(told.cdrs[0]), told.cdrs[0].token_refusal) == ((0, 9_000, 0), "Unknown")


def test_the_second_card_has_the_session_if_the_first_was_refused() -> None:
    messages = [
        event2("Started", "a", 0, NOON, 0, tag="TAG-X", status="Unknown"),
        event2("Updated", "a", 1, NOON + MINUTE, 100, tag="TAG-B", status="Accepted", trigger="Authorized"),
        event2("Ended", "a", 2, NOON + HOUR, 9_000),
    ]
    for order in permutations(messages):
        last = Told(order).cdrs[-1]
        assert (last.id_token, shares(last), last.review) == ("TAG-B", (9_000, 0, 0), ())


def test_a_card_that_may_stop_any_session_does_not_have_it() -> None:
    """2.x: the step that says so comes before the end."""
    messages = [
        event2("Started", "a", 0, NOON, 0, tag="TAG-A", status="Blocked"),
        event2(
            "Updated", "a", 1, NOON + HOUR, 9_000, tag="MASTER", status="Accepted", trigger="StopAuthorized"
        ),
        event2("Ended", "a", 2, NOON + HOUR, 9_000, reason="MasterPass", tag="MASTER", status="Accepted"),
    ]
    for order in permutations(messages):
        last = Told(order).cdrs[-1]
        assert (last.id_token, last.token_refusal, last.billed_wh) == ("TAG-A", "Blocked", 0)


# --- bundles and decisions


def test_nothing_is_asked_of_a_bundle_until_an_operator_accepts() -> None:
    world = World()
    world.tell(start16(1, NOON, 0, status="Blocked"), stop16(1, NOON + HOUR, 12_000))
    assert not world.asked()
    (first,) = world.cdrs
    assert (first.group_id, shares(first)) == ("fleet", (0, 12_000, 0))
    told = world.decide(first, Decision.ACCEPT)
    assert kinds(told) == ["SessionCorrected", "PrepaidAsked", "SessionDecisionConcluded"]
    credit, cdr = world.answer()
    assert isinstance(credit, CdrCredited)
    assert isinstance(cdr, CdrIssued)
    assert (cdr.prepaid_wh, shares(cdr), cdr.token_refusal) == (12_000, (12_000, 0, 0), "Blocked")


def test_written_off_nothing_is_asked_either() -> None:
    world = World()
    world.tell(start16(1, NOON, 0, status="Blocked"), stop16(1, NOON + HOUR, 12_000))
    world.decide(world.cdrs[0], Decision.WRITE_OFF)
    assert not world.asked()
    assert [shares(cdr) for cdr in world.cdrs] == [(0, 12_000, 0), (0, 0, 12_000)]


def test_what_a_bundle_granted_goes_back_if_the_driver_turns_out_to_be_one_who_was_refused() -> None:
    """2.x: only the end, with the card that stopped it, was heard of for a day."""
    world = World()
    world.tell(event2("Updated", "a", 1, NOON + MINUTE, 100))
    world.tell(event2("Ended", "a", 2, NOON + HOUR, 9_000, tag="TAG-A", status="Accepted"))
    world.tick(NOON + 26 * HOUR)
    world.answer()
    assert world.cdrs[-1].prepaid_wh == world.cdrs[-1].billed_wh == 8_900
    world.tell(
        event2("Started", "a", 0, NOON, 0, tag="TAG-X", status="Invalid", recorded_at=NOON + 30 * HOUR)
    )
    world.answer()
    last = world.cdrs[-1]
    assert (last.id_token, last.prepaid_wh, shares(last)) == ("TAG-X", 0, (0, 9_000, 0))
    assert world.granted()[-1].granted_wh == 0


def test_nothing_is_shown_to_a_driver_who_was_refused() -> None:
    for status, shown in ((ACCEPTED, 2), ("Invalid", 0)):
        runtime = MemoryRuntime(SessionsProcessor(show_cost_every_s=60), WITH_FEES)
        for each in (
            event2("Started", "a", 0, NOON, 0, tag="TAG-X", status=status),
            event2("Updated", "a", 1, NOON + 10 * MINUTE, 0),
            event2("Updated", "a", 2, NOON + 90 * MINUTE, 9_000),
        ):
            runtime.feed(OCPP_TRANSACTIONS, STATION, each)
        assert len([emit for emit in runtime.emitted if isinstance(emit.record, RequestCommand)]) == shown


# --- in any order


STATUSES = st.sampled_from([None, ACCEPTED, "Blocked", "Invalid"])
STEPS = st.builds(
    lambda kind, at, token, status, trigger: TransactionStep(
        kind, "a", at, id_token=token, token_status=status, trigger=trigger
    ),
    st.sampled_from(["started", "updated", "ended"]),
    st.integers(0, 5),
    st.sampled_from(["A", "a", "B", "C", "D"]),
    STATUSES,
    st.sampled_from([None, "Authorized", "StopAuthorized"]),
)


@settings(max_examples=300, deadline=None)
@given(steps=st.lists(STEPS, min_size=1, max_size=8), seed=st.integers(0, 2**32))
def test_tokens_are_the_same_in_any_order_and_however_often(steps: list[TransactionStep], seed: int) -> None:
    told: list[tuple[Presented, ...]] = []
    for repeated in (steps, steps[::-1], Random(seed).sample([*steps, *steps], 2 * len(steps))):
        known: tuple[Presented, ...] = ()
        for step in repeated:
            known = joined(known, step)
        told.append(known)
        for step in steps:
            assert joined(known, step) is known
    assert told[0] == told[1] == told[2]
    driver = told[0][0].id_token.casefold()
    said = {s.token_status for s in steps if s.id_token is not None and s.id_token.casefold() == driver}
    assert bool(refusal(told[0])) == (ACCEPTED not in said and bool(said - {None}))


def test_no_more_tokens_are_remembered_than_cards_a_driver_tries() -> None:
    known: tuple[Presented, ...] = ()
    kind: StepKind = "updated"
    for number in range(3 * MOST):
        known = joined(
            known, TransactionStep(kind, "a", number, id_token=f"T{number}", token_status="Invalid")
        )
    assert (len(known), known[0].id_token) == (MOST, "T0")
    known = joined(known, TransactionStep(kind, "a", 99, id_token="GOOD", token_status=ACCEPTED))
    assert (len(known), known[0].id_token, refusal(known)) == (MOST, "GOOD", "")
