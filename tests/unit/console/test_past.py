"""Sessions as they were at a moment: the projection's own fold over what was told by then."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from libs.bus.runtime_memory import MemoryRuntime
from libs.events.latest import SessionLatest
from libs.events.record import Record
from libs.events.sessions import SessionUpdated
from libs.events.topics import SESSIONS_EVENTS, SESSIONS_LATEST
from services.console.past import sessions_of
from services.projections.domain.sessions.processor import SessionsLatest
from tests.unit.projections.given import Told

Placed = tuple[str, int, Record]


def placed(records: list[Record]) -> list[Placed]:
    return [(SESSIONS_EVENTS, offset, record) for offset, record in enumerate(records)]


def reduced(records: list[Placed]) -> list[Placed]:
    """What is read of the log: of a session's updates of one stage only the last."""
    kept: dict[Any, Placed] = {}
    for each in records:
        record = each[2]
        if isinstance(record, SessionUpdated):
            kept[record.session_id, record.revision] = each
        else:
            kept[record.event_id] = each
    return list(kept.values())


def live(records: list[Placed]) -> dict[str, SessionLatest]:
    """What sessions.latest says after all of it."""
    runtime = MemoryRuntime(SessionsLatest())
    for topic, _, record in records:
        runtime.feed(topic, "CP-1", record)
    return {
        emit.key: emit.record
        for emit in runtime.emitted
        if emit.topic == SESSIONS_LATEST and isinstance(emit.record, SessionLatest)
    }


STEPS = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(("update", "end", "reopen", "correct"))), max_size=12
)


@given(STEPS, st.integers(0, 14))
def test_at_every_moment_it_is_what_the_projection_told(steps: list[tuple[str, str]], length: int) -> None:
    told = {name: Told(name) for name in "ab"}
    ends = dict.fromkeys("ab", 0)
    records: list[Record] = [each.started(number) for number, each in enumerate(told.values())]
    for number, (name, step) in enumerate(steps, 2):
        session, over = told[name], ends[name]
        if step == "update":
            records.append(session.updated(number, number, over // 2))
        elif step == "reopen" and over % 2:
            ends[name] += 1
            records.append(session.reopened(number, number, over // 2 + 1))
        elif step in ("end", "correct") and not over % 2:
            ends[name] += 1
            if over:
                records.append(session.corrected(number, number, over // 2 + 1))
            else:
                records.append(session.ended(number, number))
    by_then = placed(records)[:length]
    expected = live(by_then)
    found = sessions_of(reversed(reduced(by_then)))
    assert {each.session_id: (each.status == "running", each.energy_wh) for each in found} == {
        key: (record.running, record.energy_wh) for key, record in expected.items()
    }


def test_a_session_whose_start_is_not_known_is_left_out() -> None:
    told = Told("a")
    assert sessions_of(placed([told.updated(5, 10)])) == []
    assert [each.status for each in sessions_of(placed([told.ended(5, 10)]))] == ["ended"]


def test_nothing_comes_of_nothing() -> None:
    assert sessions_of([]) == []
