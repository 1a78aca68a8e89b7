"""What sessions.latest and billing.cdrs.latest tell, given what the log tells."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import msgspec
import pytest

from libs.bus.message import Emit
from libs.bus.runtime_memory import MemoryRuntime
from libs.events.contract import load_contract
from libs.events.latest import CdrLatest, SessionLatest
from libs.events.record import Record
from libs.events.sessions import BillingDocument
from libs.events.topics import BILLING_CDRS, BILLING_CDRS_LATEST, SESSIONS_EVENTS, SESSIONS_LATEST
from services.projections.domain.sessions.processor import DAY, REMEMBER, KnownSession, SessionsLatest
from tests.unit.projections.given import BEGUN, Told

TOLD = Told()


def run(*records: Record) -> MemoryRuntime[KnownSession]:
    runtime = MemoryRuntime(SessionsLatest())
    for record in records:
        feed(runtime, record)
    assert not runtime.dead
    return runtime


def feed(runtime: MemoryRuntime[KnownSession], record: Record) -> list[Emit]:
    return runtime.feed(
        BILLING_CDRS if isinstance(record, BillingDocument) else SESSIONS_EVENTS, "CP-1", record
    )


def session(runtime: MemoryRuntime[KnownSession]) -> SessionLatest:
    *_, last = [emit.record for emit in runtime.emitted if emit.topic == SESSIONS_LATEST]
    assert isinstance(last, SessionLatest)
    return last


def charge(runtime: MemoryRuntime[KnownSession]) -> CdrLatest:
    *_, last = [emit.record for emit in runtime.emitted if emit.topic == BILLING_CDRS_LATEST]
    assert isinstance(last, CdrLatest)
    return last


def test_a_session_under_way_has_its_start_and_what_it_delivered_so_far() -> None:
    latest = session(run(TOLD.started(), TOLD.updated(60, 500)))
    assert (latest.running, latest.revision, latest.ended_at) == (True, 0, None)
    assert (latest.started_at, latest.meter_start_wh) == (BEGUN, 100)
    assert (latest.energy_wh, latest.meter_wh) == (500, 600)
    assert (latest.cdr_version, latest.amount_minor) == (0, None)


def test_a_session_that_ended_has_its_price_once_its_charge_record_is_issued() -> None:
    runtime = run(TOLD.started(), TOLD.updated(60, 500), TOLD.ended(90, 700))
    ended = session(runtime)
    assert (ended.running, ended.revision, ended.billed_wh, ended.meter_wh) == (False, 1, 700, 800)
    assert ended.amount_minor is None
    feed(runtime, TOLD.issued(90, 700))
    priced = session(runtime)
    assert (priced.cdr_version, priced.amount_minor, priced.currency) == (1, 70, "EUR")
    assert (priced.energy_wh, priced.ended_at) == (ended.energy_wh, ended.ended_at)


def test_until_a_correction_is_priced_the_price_before_stands_and_says_its_version() -> None:
    runtime = run(TOLD.started(), TOLD.ended(90, 700), TOLD.issued(90, 700), TOLD.corrected(120, 900, 2))
    latest = session(runtime)
    assert (latest.revision, latest.billed_wh, latest.cdr_version, latest.amount_minor) == (2, 900, 1, 70)
    feed(runtime, TOLD.credited(130, 700))
    feed(runtime, TOLD.issued(130, 900, 2))
    latest = session(runtime)
    assert (latest.revision, latest.cdr_version, latest.amount_minor) == (2, 2, 90)


def test_a_session_that_goes_on_is_under_way_again_and_keeps_its_price() -> None:
    runtime = run(
        TOLD.started(), TOLD.ended(90, 700), TOLD.issued(90, 700), TOLD.reopened(200, 800, 1)
    )  # fmt: skip
    latest = session(runtime)
    assert (latest.running, latest.revision, latest.ended_at) == (True, 1, None)
    assert (latest.meter_start_wh, latest.energy_wh) == (100, 800)
    assert (latest.cdr_version, latest.amount_minor) == (1, 70)


def test_what_is_told_again_steps_nothing_back() -> None:
    history = [TOLD.started(), TOLD.updated(60, 500), TOLD.ended(90, 700), TOLD.issued(90, 700)]
    runtime = run(*history)
    before = session(runtime)
    for record in history:
        assert not [emit for emit in feed(runtime, record) if emit.topic == SESSIONS_LATEST]
    assert session(runtime) == before


HISTORY = (
    TOLD.started(),
    TOLD.updated(60, 500),
    TOLD.ended(90, 700),
    TOLD.reopened(200, 800, 1),
    TOLD.updated(230, 900, 1),
    TOLD.corrected(260, 1000, 2),
)
DOCUMENTS = (TOLD.issued(90, 700), TOLD.credited(260, 700), TOLD.issued(260, 1000, 2))


def interleaved() -> Iterator[tuple[Record, ...]]:
    """Both topics in their own order, mixed in every way."""
    size = len(HISTORY) + len(DOCUMENTS)
    for places in combinations(range(size), len(DOCUMENTS)):
        events, documents = iter(HISTORY), iter(DOCUMENTS)
        yield tuple([next(documents if place in places else events) for place in range(size)])


def test_however_the_two_topics_are_mixed_the_latest_is_the_same() -> None:
    ends = {(session(run(*mixed)), charge(run(*mixed))) for mixed in interleaved()}
    assert len(ends) == 1
    ((latest, document),) = ends
    assert (latest.running, latest.revision, latest.cdr_version, latest.amount_minor) == (False, 2, 2, 100)
    assert (document.version, document.credited, document.amount_minor) == (2, False, 100)


def test_a_charge_record_is_told_with_its_latest_version() -> None:
    runtime = run(TOLD.started(), TOLD.ended(90, 700), TOLD.issued(90, 700))
    first = charge(runtime)
    assert (first.version, first.credited, first.billed_wh, first.amount_minor) == (1, False, 700, 70)
    feed(runtime, TOLD.credited(120, 700))
    taken_back = charge(runtime)
    assert (taken_back.version, taken_back.credited) == (1, True)
    assert (taken_back.billed_wh, taken_back.amount_minor, taken_back.energy_wh) == (0, 0, 0)


def test_an_ended_session_is_forgotten_after_a_day_and_one_without_stop_after_a_week() -> None:
    runtime = run(TOLD.started(), TOLD.ended(90, 700), TOLD.issued(90, 700))
    key = TOLD.started().session_id
    runtime.tick(BEGUN + REMEMBER)
    assert runtime.state_of(key) is not None
    runtime.tick(BEGUN + REMEMBER + DAY)
    assert runtime.state_of(key) is None
    doubt = ("no_stop",)
    runtime = run(
        TOLD.started(), TOLD.ended(90, 700, review=doubt), TOLD.issued(90, 700, review=doubt)
    )  # fmt: skip
    runtime.tick(BEGUN + 7 * DAY)
    assert runtime.state_of(key) is not None
    runtime.tick(BEGUN + 9 * DAY)
    assert runtime.state_of(key) is None


@pytest.mark.parametrize("mixed", [(0, 1), (1, 0)])
def test_it_is_not_forgotten_between_its_end_and_the_charge_record(mixed: tuple[int, int]) -> None:
    """Ticks are due at once when the log tells of long ago, as in a replay of the sessions."""
    runtime = run(TOLD.started())
    both = (TOLD.ended(90, 700), TOLD.issued(90, 700))
    for place in mixed:
        feed(runtime, both[place])
        runtime.tick(BEGUN + 100 * DAY)
    assert session(runtime).amount_minor == 70
    assert runtime.state_of(TOLD.started().session_id) is None


def test_of_a_session_that_was_forgotten_a_correction_tells_everything() -> None:
    runtime = run(TOLD.corrected(120, 900, 2), TOLD.credited(120, 700), TOLD.issued(120, 900, 2))
    latest = session(runtime)
    assert (latest.started_at, latest.meter_start_wh, latest.billed_wh) == (BEGUN, 100, 900)
    assert (latest.revision, latest.cdr_version, latest.amount_minor) == (2, 2, 90)


def test_a_session_has_little_state_however_long_its_record() -> None:
    told = Told("hostile")
    runtime = MemoryRuntime(SessionsLatest())
    feed(runtime, told.started())
    for second in range(1, 10_000):
        feed(runtime, msgspec.structs.replace(told.updated(second, second), transaction_id="x" * 1000))
    feed(runtime, told.issued(10_000, 700, review=tuple(f"doubt-{n}" for n in range(1000))))
    state = runtime.state_of(told.started().session_id)
    assert len(msgspec.msgpack.encode(state)) < 512


@pytest.mark.parametrize(
    ("latest", "of"),
    [(SESSIONS_LATEST, (SESSIONS_EVENTS, BILLING_CDRS)), (BILLING_CDRS_LATEST, (BILLING_CDRS,))],
)
def test_it_is_partitioned_like_what_it_is_told_from(latest: str, of: tuple[str, ...]) -> None:
    topics = load_contract().topics
    assert topics[latest].latest_of == of
    assert {topics[name].partitions for name in of} == {topics[latest].partitions}
    runtime = MemoryRuntime(SessionsLatest())
    emits = feed(runtime, TOLD.issued(90, 700))
    assert {emit.partition for emit in emits} == {0}
