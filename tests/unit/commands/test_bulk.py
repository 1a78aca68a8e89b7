"""A bulk command: whom it asks and when, what it counts, how it stops, goes on and is retried."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from libs.bus.message import Emit
from libs.bus.runtime_memory import MemoryRuntime
from libs.events.bulk import (
    BulkAction,
    BulkCommandProgressed,
    BulkMessage,
    BulkStationProgressed,
    BulkStationStatus,
    BulkTarget,
    RequestBulkCommand,
    SteerBulkCommand,
)
from libs.events.commands import CommandDialect, RequestCommand
from services.commands.domain.bulk.bulk import Bulk
from services.commands.domain.bulk.processor import KEPT_FOR, BulkProcessor
from services.commands.domain.bulk.turn import GRACE

SECOND = 1_000_000
T0 = 1_700_000_000 * SECOND
TTL_S, CALL_S = 60, 30
ACCEPTED, REJECTED = BulkStationStatus.ACCEPTED, BulkStationStatus.REJECTED
FAILED, TIMED_OUT = BulkStationStatus.FAILED, BulkStationStatus.TIMED_OUT


def at(seconds: float) -> int:
    return T0 + int(seconds * SECOND)


def asked(*stations: str, skipped: dict[str, int] | None = None, **fields: Any) -> RequestBulkCommand:
    """A soft reset of stations, all at once. `skipped`: for which reason, from 1, a station is."""
    values: dict[str, Any] = {
        "messages": (BulkMessage(action="Reset", payload='{"type":"Soft"}', dialect=CommandDialect.OCPP),),
        "stations": tuple(
            BulkTarget(station_id=each, message=0, skipped=(skipped or {}).get(each, 0)) for each in stations
        ),
        "skip_reasons": ("not connected", "lacks Reset"),
        "concurrency": 100,
        "ttl_ms": TTL_S * 1000,
        "call_timeout_ms": CALL_S * 1000,
    }
    return RequestBulkCommand(
        event_id="bulk",
        occurred_at=at(0),
        recorded_at=at(0),
        cause_id="bulk",
        bulk_id="bulk",
        requested_by="anna",
        reason="they hang",
        **(values | fields),
    )


class World:
    """The processor, and the ledger that tells it what became of commands."""

    def __init__(self, request: RequestBulkCommand | None = None) -> None:
        self.runtime: MemoryRuntime[Bulk] = MemoryRuntime(BulkProcessor())
        self.commands: list[RequestCommand] = []
        self.now = 0.0
        if request is not None:
            self.feed(request)

    def feed(self, record: RequestBulkCommand | SteerBulkCommand | BulkStationProgressed) -> list[Emit]:
        stations = isinstance(record, BulkStationProgressed)
        return self._took(
            self.runtime.feed("commands.bulk-stations" if stations else "commands.bulk", "bulk", record)
        )

    def tick(self, seconds: float) -> list[Emit]:
        self.now = seconds
        return self._took(self.runtime.tick(at(seconds)))

    def answer(self, station: str, status: BulkStationStatus, command_id: str | None = None) -> list[Emit]:
        """The ledger tells the fate of the station's newest command, or of another one."""
        self.now += 1
        newest = next(c.event_id for c in reversed(self.commands) if c.station_id == station)
        told = BulkStationProgressed(
            event_id=f"{station}-{self.now}",
            occurred_at=at(self.now),
            recorded_at=at(self.now),
            cause_id="ledger",
            bulk_id="bulk",
            station_id=station,
            status=status,
            command_id=command_id or newest,
        )
        return self.feed(told)

    def steer(self, action: BulkAction, event_id: str = "", **fields: Any) -> list[Emit]:
        self.now += 1
        return self.feed(
            SteerBulkCommand(
                event_id=event_id or f"{action}-{self.now}",
                occurred_at=at(self.now),
                recorded_at=at(self.now),
                cause_id="bulk",
                bulk_id="bulk",
                requested_by="ben",
                reason="customers complain",
                action=action,
                **fields,
            )
        )

    def _took(self, out: list[Emit]) -> list[Emit]:
        assert self.runtime.dead == []
        self.commands += [emit.record for emit in out if isinstance(emit.record, RequestCommand)]
        return out

    @property
    def state(self) -> Bulk | None:
        return self.runtime.state_of("bulk")

    @property
    def progress(self) -> BulkCommandProgressed:
        return [e.record for e in self.runtime.emitted if isinstance(e.record, BulkCommandProgressed)][-1]

    @property
    def status(self) -> str:
        return self.progress.status.value

    @property
    def counts(self) -> dict[str, int]:
        """What is not zero."""
        names = ("waiting", "sent", "accepted", "rejected", "failed", "timed_out", "skipped")
        found = {name: getattr(self.progress, name) for name in names}
        assert sum(found.values()) == self.progress.total
        return {name: count for name, count in found.items() if count}


def stations_of(out: list[Emit]) -> list[str]:
    return [emit.record.station_id for emit in out if isinstance(emit.record, RequestCommand)]


def told(out: list[Emit]) -> list[tuple[str, str, str]]:
    return [
        (e.record.station_id, e.record.status.value, e.record.reason)
        for e in out
        if isinstance(e.record, BulkStationProgressed)
    ]


def test_every_station_is_asked_once_with_what_was_requested() -> None:
    world = World()
    out = world.feed(asked("a", "b", "a"))
    assert [(e.topic, e.key) for e in out] == [
        ("commands.requested", "a"),
        ("commands.bulk-stations", "bulk"),
        ("commands.requested", "b"),
        ("commands.bulk-stations", "bulk"),
        ("commands.bulk-progress", "bulk"),
    ]
    (first, second) = world.commands
    assert (first.action, first.payload, first.dialect) == ("Reset", '{"type":"Soft"}', CommandDialect.OCPP)
    assert (first.requested_by, first.bulk_id, first.expires_at) == ("anna", "bulk", at(TTL_S))
    assert first.event_id != second.event_id
    assert told(out) == [("a", "SENT", ""), ("b", "SENT", "")]
    assert world.counts == {"sent": 2}
    assert world.feed(asked("a", "b", "c")) == []


def test_a_replay_asks_with_the_same_ids() -> None:
    ids = [[c.event_id for c in World(asked("a", "b")).commands] for _ in range(2)]
    assert ids[0] == ids[1]


def test_no_more_stations_than_allowed_have_it_at_once() -> None:
    world = World(asked("a", "b", "c", "d", concurrency=2))
    assert stations_of(world.runtime.emitted) == ["a", "b"]
    assert world.counts == {"waiting": 2, "sent": 2}
    assert stations_of(world.answer("b", ACCEPTED)) == ["c"]
    assert stations_of(world.answer("a", REJECTED)) == ["d"]
    world.answer("c", FAILED)
    assert world.status == "RUNNING"
    world.answer("d", TIMED_OUT)
    assert world.status == "FINISHED"
    assert world.counts == {"accepted": 1, "rejected": 1, "failed": 1, "timed_out": 1}


def test_stations_that_are_skipped_are_told_with_the_reason_and_not_asked() -> None:
    world = World()
    out = world.feed(asked("a", "b", "c", skipped={"a": 1, "c": 2}))
    assert stations_of(out) == ["b"]
    assert told(out) == [
        ("a", "SKIPPED", "not connected"),
        ("c", "SKIPPED", "lacks Reset"),
        ("b", "SENT", ""),
    ]
    assert world.counts == {"sent": 1, "skipped": 2}


def test_if_all_are_skipped_it_is_finished_at_once() -> None:
    world = World(asked("a", skipped={"a": 1}))
    assert (world.status, world.counts) == ("FINISHED", {"skipped": 1})


def test_each_station_is_sent_the_message_of_its_version() -> None:
    messages = tuple(
        BulkMessage(action="Reset", payload=payload, dialect=CommandDialect.OCPP)
        for payload in ('{"type":"Soft"}', '{"type":"OnIdle"}')
    )
    targets = tuple(
        BulkTarget(station_id=each, message=i) for each, i in (("a", 1), ("b", 0), ("c", -1), ("d", 7))
    )
    world = World(asked(messages=messages, stations=targets))
    assert [(c.station_id, c.payload) for c in world.commands] == [
        ("a", '{"type":"OnIdle"}'),
        ("b", '{"type":"Soft"}'),
    ]
    assert ("c", "SKIPPED", "no message is for it") in told(world.runtime.emitted)
    assert world.counts == {"sent": 2, "skipped": 2}


def test_a_fate_counts_once_and_only_of_the_command_that_was_sent() -> None:
    world = World(asked("a", "b"))
    assert world.answer("a", ACCEPTED, "another command") == []
    world.answer("a", ACCEPTED)
    assert world.answer("a", REJECTED) == []
    stranger = replace(world.runtime.emitted[1].record, station_id="x", status=ACCEPTED)  # type: ignore[type-var]
    assert isinstance(stranger, BulkStationProgressed)
    assert world.feed(stranger) == []
    assert world.counts == {"accepted": 1, "sent": 1}


def test_what_it_tells_itself_is_passed_over() -> None:
    world = World(asked("a"))
    (sent,) = [e.record for e in world.runtime.emitted if isinstance(e.record, BulkStationProgressed)]
    assert world.feed(sent) == []


def test_it_stops_when_too_many_stations_fail_and_those_that_have_it_still_count() -> None:
    world = World(asked(*"abcdefgh", concurrency=3, stop_at_percent=50, stop_after=4))
    for station, status in (("a", REJECTED), ("b", FAILED), ("c", ACCEPTED)):
        world.answer(station, status)
    assert world.status == "RUNNING"
    assert stations_of(world.answer("d", TIMED_OUT)) == []
    assert world.status == "STOPPED"
    assert world.progress.reason == "3 of 4 stations were not successful"
    assert world.counts == {
        "waiting": 2,
        "sent": 2,
        "accepted": 1,
        "rejected": 1,
        "failed": 1,
        "timed_out": 1,
    }
    world.answer("e", ACCEPTED)
    assert (world.status, world.counts["accepted"]) == ("STOPPED", 2)


@pytest.mark.parametrize(("percent", "stops"), [(None, False), (51, False), (50, True)])
def test_the_share_of_failures_is_of_the_stations_that_are_through(percent: int | None, stops: bool) -> None:
    world = World(asked("a", "b", "c", concurrency=1, stop_at_percent=percent, stop_after=2))
    world.answer("a", REJECTED)
    world.answer("b", ACCEPTED)
    assert (world.status == "STOPPED") is stops


def test_stopped_by_hand_it_asks_nobody_until_it_goes_on() -> None:
    world = World(asked("a", "b", "c", concurrency=1))
    world.steer(BulkAction.STOP)
    assert (world.status, world.progress.reason) == (
        "STOPPED",
        "stopped by ben: customers complain",
    )
    assert stations_of(world.answer("a", ACCEPTED)) == []
    assert world.counts == {"accepted": 1, "waiting": 2}
    assert stations_of(world.steer(BulkAction.RESUME)) == ["b"]
    assert (world.status, world.progress.reason) == ("RUNNING", "")


def test_after_it_goes_on_the_failures_before_do_not_stop_it_again() -> None:
    world = World(asked(*"abcde", concurrency=1, stop_at_percent=50, stop_after=2))
    world.answer("a", REJECTED)
    world.answer("b", REJECTED)
    assert world.status == "STOPPED"
    assert stations_of(world.steer(BulkAction.RESUME)) == ["c"]
    assert stations_of(world.answer("c", REJECTED)) == ["d"]


def test_stopped_with_nobody_left_to_ask_it_is_finished() -> None:
    world = World(asked("a"))
    world.steer(BulkAction.STOP)
    world.answer("a", ACCEPTED)
    assert (world.status, world.progress.reason) == ("FINISHED", "")


def test_a_retry_asks_those_again_that_did_not_accept_with_other_commands() -> None:
    world = World(asked(*"abcde", skipped={"e": 1}))
    for station, status in (("a", ACCEPTED), ("b", REJECTED), ("c", FAILED), ("d", TIMED_OUT)):
        world.answer(station, status)
    before = {c.station_id: c.event_id for c in world.commands}
    out = world.steer(BulkAction.RETRY)
    assert stations_of(out) == ["b", "c", "d", "e"]
    assert {("b", "WAITING", ""), ("e", "WAITING", "")} <= {*told(out)}
    assert not {c.event_id for c in world.commands[4:]} & {*before.values()}
    assert (world.progress.round, world.counts) == (2, {"accepted": 1, "sent": 4})
    assert world.answer("b", ACCEPTED, before["b"]) == []
    world.answer("b", ACCEPTED)
    assert world.counts == {"accepted": 2, "sent": 3}


def test_a_retry_skips_those_that_cannot_be_asked_now() -> None:
    world = World(asked("a", "b", "c"))
    for station in "abc":
        world.answer(station, REJECTED)
    out = world.steer(BulkAction.RETRY, skip_reasons=("not connected",), skipped=(0, 1, 9))
    assert stations_of(out) == ["a", "c"]
    assert ("b", "SKIPPED", "not connected") in told(out)
    assert world.counts == {"sent": 2, "skipped": 1}


def test_a_retry_skips_those_that_still_wait_and_cannot_be_asked_now() -> None:
    world = World(asked("a", "b", "c", "d", concurrency=1))
    world.steer(BulkAction.STOP)
    world.answer("a", REJECTED)
    out = world.steer(BulkAction.RETRY, skip_reasons=("not connected",), skipped=(0, 1, 0, 0))
    assert ("b", "SKIPPED", "not connected") in told(out)
    assert "c" not in {station for station, *_ in told(out)}, "it waits as before"
    for station in "acd":
        world.answer(station, ACCEPTED)
    assert (world.status, world.counts) == ("FINISHED", {"accepted": 3, "skipped": 1})


def test_a_station_without_a_message_is_skipped_by_a_retry_too() -> None:
    world = World(asked(stations=(BulkTarget(station_id="a", message=-1),)))
    assert stations_of(world.steer(BulkAction.RETRY)) == []
    assert world.status == "FINISHED"


def test_what_steers_counts_once_and_only_when_it_has_something_to_do() -> None:
    world = World(asked("a", "b", concurrency=1))
    assert world.steer(BulkAction.RESUME) == []
    assert world.steer(BulkAction.RETRY) == []
    assert world.steer(BulkAction.UNKNOWN) == []
    world.steer(BulkAction.STOP, "once")
    world.steer(BulkAction.RESUME)
    assert world.steer(BulkAction.STOP, "once") == []
    world.answer("a", REJECTED)
    world.answer("b", REJECTED)
    world.steer(BulkAction.RETRY, "again")
    world.answer("a", REJECTED)
    world.answer("b", REJECTED)
    assert world.steer(BulkAction.RETRY, "again") == []


def test_what_steers_an_unknown_bulk_command_does_nothing() -> None:
    world = World()
    assert world.steer(BulkAction.STOP) == []
    assert world.state is None


def test_without_a_word_of_the_ledger_a_station_is_given_up_and_a_late_word_counts() -> None:
    world = World(asked("a", "b", concurrency=1))
    end = TTL_S + CALL_S + GRACE / SECOND
    assert world.tick(end - 1) == []
    out = world.tick(end)
    assert ("a", "TIMED_OUT", "no word from the command ledger") in told(out)
    assert stations_of(out) == ["b"]
    first = world.commands[0].event_id
    assert world.answer("a", TIMED_OUT, first) == []
    world.answer("a", ACCEPTED, first)
    assert world.counts == {"accepted": 1, "sent": 1}


def test_it_is_forgotten_a_month_after_its_last_word() -> None:
    world = World(asked("a"))
    world.answer("a", REJECTED)
    over = world.now + KEPT_FOR / SECOND
    world.tick(over - 1)
    assert world.state is not None
    assert world.tick(over) == []
    assert world.state is None


def test_a_stopped_one_is_forgotten_only_with_nobody_that_has_it() -> None:
    world = World(asked("a", "b", concurrency=1))
    world.steer(BulkAction.STOP)
    world.tick(KEPT_FOR / SECOND)
    assert world.state is not None
    assert world.counts == {"timed_out": 1, "waiting": 1}


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (asked(*(f"cp{i}" for i in range(10_001))), "larger than"),
        (asked(*(f"{i:0>200}" for i in range(5_000))), "larger than"),
        (asked("a", messages=()), "messages"),
        (asked("a", concurrency=0), "at once"),
        (asked("a", concurrency=1_001), "at once"),
        (asked("a", ttl_ms=-1), "below zero"),
    ],
)
def test_what_cannot_be_done_is_over_as_it_begins(request_: RequestBulkCommand, why: str) -> None:
    world = World(request_)
    assert world.commands == []
    assert world.state is None
    assert why in world.progress.reason
    assert world.status == "FINISHED"
    assert world.counts == {"failed": len(request_.stations)}
    assert world.runtime.bounded == {"request": 1}


def test_the_largest_fits_into_its_state() -> None:
    world = World(asked(*(f"{i:0>48}" for i in range(10_000)), concurrency=1_000))
    assert world.counts == {"waiting": 9_000, "sent": 1_000}


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from([ACCEPTED, REJECTED, FAILED, TIMED_OUT]))))
def test_whatever_the_answers_no_station_has_two_commands_of_a_round(
    answers: list[tuple[str, BulkStationStatus]],
) -> None:
    world = World(asked(*"abcd", concurrency=2, stop_at_percent=75, stop_after=3))
    for station, status in answers:
        if station in {c.station_id for c in world.commands}:
            world.answer(station, status)
        assert world.progress.sent <= 2
    ids = [c.event_id for c in world.commands]
    assert len(ids) == len({*ids}) <= 4
