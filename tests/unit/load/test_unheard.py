"""Chargers that take no limit and measure nothing count with what they may draw."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from libs.bus.message import Emit
from libs.bus.runtime_memory import MemoryRuntime
from libs.events.commands import CommandConcluded, CommandDialect, Fate, RequestCommand
from libs.events.load import EvseObserved
from libs.events.registry import Assignment, StationRegistered
from libs.events.sessions import SessionEnded, SessionStarted
from services.load.domain.sites.site import ASK_AGAIN, REPEAT_AFTER
from services.load.domain.stations.processor import LoadObserver
from services.load.domain.stations.station import Station
from tests.unit.load.records import SECOND, STATION, at, envelope
from tests.unit.load.sites.test_plans import SITE, LoadedSite, commands, drawn, limits, observed, shares
from tests.unit.load.stations.test_observer import ended, started

REFUSED, UNANSWERED, TAKEN = False, None, True
"""What became of a limit."""


class Limited(LoadedSite):
    """A site whose stations say what they make of their limits."""

    def __init__(self, limit_ma: int | None, *given: EvseObserved) -> None:
        self.last: dict[str, RequestCommand] = {}
        super().__init__(limit_ma, *given)

    def answers(self, station: str, taken: bool | None, seconds: float) -> list[Emit]:
        """What became of the limit that the station was given last."""
        last = [each for each in commands(self.runtime.emitted) if each.station_id == station][-1]
        return self.hears(station, taken, seconds, last.event_id)

    def hears(self, station: str, taken: bool | None, seconds: float, command_id: str) -> list[Emit]:
        seen = replace(
            observed(station, seconds),
            event_id=f"{taken}-{station}-{seconds}",
            limit_command_id=command_id,
            limit_taken=taken,
        )
        return self.feed(seen)


@pytest.mark.parametrize("taken", [REFUSED, UNANSWERED])
def test_one_that_takes_no_limit_and_measures_nothing_counts_with_what_it_may_draw(
    taken: bool | None,
) -> None:
    site = Limited(40000, observed("a", 0), observed("b", 1))
    assert shares(site.plans[-1]) == {"a": 20000, "b": 20000}
    assert limits(site.answers("a", taken, 3)) == [("b", 8000)]
    assert (shares(site.plans[-1]), drawn(site.plans[-1])) == ({"a": 20000, "b": 8000}, {"a": 32000})


def test_it_counts_while_others_come_and_go() -> None:
    site = Limited(40000, observed("a", 0, max_ma=16000), observed("b", 1), observed("c", 2))
    site.answers("a", REFUSED, 3)
    assert (shares(site.plans[-1]), drawn(site.plans[-1])) == (
        {"a": 13300, "b": 12000, "c": 12000},
        {"a": 16000},
    )
    site.feed(observed("c", 10, charging=False))
    assert (shares(site.plans[-1]), drawn(site.plans[-1])) == ({"a": 16000, "b": 24000}, {})
    site.feed(observed("c", 20, transaction="next"))
    assert drawn(site.plans[-1]) == {"a": 16000}


def test_it_has_its_share_again_once_it_takes_a_limit() -> None:
    site = Limited(40000, observed("a", 0), observed("b", 1))
    site.answers("a", REFUSED, 3)
    assert limits(site.answers("a", TAKEN, 4)) == [("b", 20000)]
    assert drawn(site.plans[-1]) == {}
    assert site.tick(5_000) == []


def test_it_has_its_share_again_once_it_measures_within_it() -> None:
    site = Limited(40000, observed("a", 0), observed("b", 1))
    site.answers("a", REFUSED, 3)
    assert limits(site.feed(observed("a", 20, 19900))) == [("b", 20000)]
    assert drawn(site.plans[-1]) == {}


def test_once_it_measures_that_is_what_counts() -> None:
    site = Limited(40000, observed("a", 0), observed("b", 1))
    site.answers("a", REFUSED, 3)
    site.feed(observed("a", 20, 25000))
    site.tick(60)
    assert (shares(site.plans[-1]), drawn(site.plans[-1])) == ({"a": 20000, "b": 15000}, {"a": 25000})
    # Refused again: it is still measured.
    site.answers("a", REFUSED, 61)
    assert drawn(site.plans[-1]) == {"a": 25000}


@pytest.mark.parametrize(("taken", "pause"), [(REFUSED, ASK_AGAIN), (UNANSWERED, REPEAT_AFTER)])
def test_it_is_told_again_after_a_while(taken: bool | None, pause: int) -> None:
    site = Limited(40000, observed("a", 0), observed("b", 1))
    site.answers("a", taken, 3)
    seconds = 3 + pause / SECOND
    assert limits(site.tick(seconds - 1)) == []
    assert limits(site.tick(seconds + 30)) == [("a", 20000)]
    assert limits(site.tick(seconds + 60)) == [], "its answer is waited for"
    site.answers("a", taken, seconds + 61)
    assert drawn(site.plans[-1]) == {"a": 32000}


def test_one_that_may_draw_no_more_than_its_share_keeps_it() -> None:
    site = Limited(60000, observed("a", 0, max_ma=20000), observed("b", 1))
    assert site.answers("a", REFUSED, 3) == []
    assert site.tick(5_000) == []


def test_only_the_answer_to_its_last_limit_counts() -> None:
    site = Limited(40000, observed("a", 0))
    first = commands(site.runtime.emitted)[-1]
    site.feed(observed("b", 1))
    assert site.hears("a", REFUSED, 2, first.event_id) == []
    assert drawn(site.plans[-1]) == {}


def test_the_next_transaction_begins_anew() -> None:
    site = Limited(40000, observed("a", 0), observed("b", 1))
    site.answers("a", REFUSED, 3)
    site.feed(observed("a", 10, charging=False))
    assert site.answers("a", REFUSED, 11) == []
    site.feed(observed("a", 20, transaction="next"))
    assert drawn(site.plans[-1]) == {}


def test_an_evse_that_its_station_should_not_have_takes_nothing_from_the_others() -> None:
    site = Limited(40000, observed("a", 0), observed("b", 1, evse_id=9))
    site.answers("b", REFUSED, 3)
    assert drawn(site.plans[-1]) == {}


def test_limits_that_go_end_the_count() -> None:
    site = Limited(40000, observed("a", 0), observed("b", 1))
    site.answers("a", REFUSED, 3)
    site.limit(None, 40)
    site.limit(40000, 41)
    assert drawn(site.plans[-1]) == {}


class Told:
    """What an observer tells the sites of a station that charges."""

    def __init__(self, *records: SessionStarted | SessionEnded) -> None:
        station = StationRegistered(
            **envelope("registered", 0), sites=(Assignment(id=SITE, valid_from=at(-3600)),)
        )
        tables = {"registry.stations": {STATION: station}}
        self.runtime: MemoryRuntime[Station] = MemoryRuntime(LoadObserver(), tables)  # type: ignore[arg-type]
        for record in records:
            self.session(record)

    def session(self, record: SessionStarted | SessionEnded) -> None:
        self.runtime.feed("sessions.events", STATION, record)

    def limit(self, fate: Fate, seconds: float) -> list[tuple[int, str | None, bool | None]]:
        """A limit of a transaction is through."""
        record = CommandConcluded(
            **envelope(f"fate-{seconds}", seconds),
            command_id=f"c-{seconds}",
            action="SetLimit",
            dialect=CommandDialect.VOLTBUS,
            fate=fate,
            reason="",
            requested_at=at(seconds - 1),
            requested_by="load",
            attempts=1,
        )
        out = self.runtime.feed("commands.outcomes", STATION, record)
        assert self.runtime.dead == []
        found = [emit.record for emit in out if isinstance(emit.record, EvseObserved)]
        assert all((each.site_id, each.charging, each.current_ma) == (SITE, True, None) for each in found)
        return [(each.evse_id, each.limit_command_id, each.limit_taken) for each in found]


@pytest.mark.parametrize(
    ("fate", "taken"), [(Fate.REJECTED, REFUSED), (Fate.FAILED, REFUSED), (Fate.UNKNOWN, UNANSWERED)]
)
def test_a_limit_that_was_not_taken_is_told_to_the_site_of_the_session(
    fate: Fate, taken: bool | None
) -> None:
    told = Told(started("t1", 10, site_id=SITE))
    assert told.limit(fate, 12) == [(1, "c-12", taken)]


def test_a_limit_that_was_taken_is_told_only_after_one_that_was_not() -> None:
    told = Told(started("t1", 10, site_id=SITE))
    assert told.limit(Fate.ACCEPTED, 12) == []
    told.limit(Fate.REJECTED, 13)
    assert told.limit(Fate.ACCEPTED, 14) == [(1, "c-14", TAKEN)]
    assert told.limit(Fate.ACCEPTED, 15) == [(1, "c-15", TAKEN)], "it may be another EVSE's"
    told.session(ended("t1", 20))
    told.session(started("t2", 30, site_id=SITE))
    assert told.limit(Fate.ACCEPTED, 32) == []


def test_a_limit_that_was_never_sent_or_of_what_is_over_is_no_news() -> None:
    told = Told(started("t1", 10, site_id=SITE))
    assert told.limit(Fate.EXPIRED, 12) == []
    told.session(ended("t1", 20))
    assert told.limit(Fate.REJECTED, 21) == []


def test_a_limit_is_told_of_every_evse_that_charges_since_the_site_knows_whose_it_was() -> None:
    told = Told(started("t1", 10, 1, SITE), started("t2", 11, 2, SITE), started("t3", 12, 3, None))
    assert told.limit(Fate.REJECTED, 13) == [(1, "c-13", REFUSED), (2, "c-13", REFUSED), (3, "c-13", REFUSED)]


ANSWERS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["start", "end", "measure", "refused", "unanswered", "taken", "wait"]),
        st.integers(0, 40_000),
        st.integers(0, 400),
    ),
    max_size=30,
)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 100_000), ANSWERS)
def test_the_others_share_no_more_than_what_is_left(
    limit: int, moves: list[tuple[str, str, int, int]]
) -> None:
    site, seconds = Limited(limit), 0.0
    answers = {"refused": REFUSED, "unanswered": UNANSWERED, "taken": TAKEN}
    for station, move, current, pause in moves:
        seconds += pause
        told = [each for each in commands(site.runtime.emitted) if each.station_id == station]
        if move in answers:
            if told:
                site.answers(station, answers[move], seconds)
        elif move == "wait":
            site.tick(seconds)
        else:
            site.feed(
                observed(
                    station, seconds, current if move == "measure" else None, charging=move != "end",
                    transaction=f"t-{station}-{len(told) // 4}",
                )
            )  # fmt: skip
    for plan in site.plans:
        counted = drawn(plan)
        others = [share for station, share in shares(plan).items() if station not in counted]
        assert sum(others) <= max(0, limit - sum(counted.values()))
        assert all(counted[station] > shares(plan)[station] for station in counted)
