"""Bulk commands on real Kafka, killed while they work: every station gets the command exactly once in a round."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest

from libs.bus.message import Message
from libs.devstack import Endpoints
from libs.events.bulk import (
    BulkAction,
    BulkCommandProgressed,
    BulkMessage,
    BulkStationProgressed,
    BulkStationStatus,
    BulkStatus,
    BulkTarget,
    RequestBulkCommand,
    SteerBulkCommand,
)
from libs.events.commands import CommandDialect, DispatchCommand, RequestCommand
from libs.events.dead_letters import RecordDeadLettered
from libs.events.ids import derive_id, new_id
from libs.events.ocpp_log import CallError, CallOutcome, OcppCallSent, StationLocated
from libs.runtime.clock import SECOND, now_us
from tests.integration.processor_rig import Rig, by_id, kill_repeatedly, open_rig, running

STATIONS = [f"cp{number:02}" for number in range(40)]
OFFLINE, STUBBORN, LACKING, SILENT = STATIONS[0], STATIONS[7], STATIONS[13], STATIONS[22]
TTL_S = 20
FINAL = {"ACCEPTED", "REJECTED", "FAILED", "TIMED_OUT"}


@pytest.fixture
async def rig(stack: Endpoints, namespace: str) -> AsyncIterator[Rig]:
    async with open_rig(stack, namespace) as rig:
        rig.follow(
            "commands.requested", "commands.outcomes", "commands.bulk-stations", "commands.bulk-progress"
        )
        yield rig


def envelope(event_id: str) -> dict[str, Any]:
    now = now_us()
    return {"event_id": event_id, "occurred_at": now, "recorded_at": now, "cause_id": event_id}


def bulk(stations: Iterable[str], **fields: Any) -> RequestBulkCommand:
    bulk_id = new_id()
    values: dict[str, Any] = {
        "messages": (BulkMessage(action="Reset", payload='{"type":"Soft"}', dialect=CommandDialect.OCPP),),
        "stations": tuple(BulkTarget(station_id=each, message=0) for each in stations),
        "concurrency": 5,
        "ttl_ms": TTL_S * 1000,
        "call_timeout_ms": 1000,
    }
    return RequestBulkCommand(
        **envelope(bulk_id), bulk_id=bulk_id, requested_by="test", reason="they hang", **(values | fields)
    )


class Edges:
    """All edges in one, with the stations' sockets. `answers`: outcome and result of stations that do not accept."""

    def __init__(self, rig: Rig, answers: dict[str, tuple[CallOutcome, str]]) -> None:
        self._rig = rig
        self.answers = answers
        self.sent: list[str] = []

    async def connect(self, *stations: str) -> None:
        for station_id in stations:
            located = StationLocated(
                **envelope(derive_id(station_id, "connected")),
                station_id=station_id,
                edge_id="edge",
                slot=0,
                connection_epoch=1,
                version="ocpp1.6",
                connected=True,
            )
            await self._rig.publish("edge.connections", station_id, located)

    async def handle(self, message: Message) -> None:
        dispatch = message.record
        assert isinstance(dispatch, DispatchCommand)
        self.sent.append(dispatch.station_id)
        outcome, status = self.answers.get(dispatch.station_id, (CallOutcome.RESULT, "Accepted"))
        error = CallError(code=status, details="{}") if outcome is CallOutcome.ERROR else None
        now = now_us()
        call = OcppCallSent(
            event_id=derive_id(dispatch.event_id, "sent"),
            occurred_at=now,
            recorded_at=now,
            cause_id=dispatch.event_id,
            station_id=dispatch.station_id,
            connection_epoch=1,
            edge_id="edge",
            command_id=dispatch.command_id,
            version="ocpp1.6",
            message_id="m",
            action=dispatch.action,
            payload=dispatch.payload,
            outcome=outcome,
            result=f'{{"status":"{status}"}}' if outcome is CallOutcome.RESULT else None,
            error=error,
            sent_at=now,
            round_trip_us=SECOND,
        )
        await self._rig.publish("ocpp.commands", dispatch.station_id, call)


def progress(rig: Rig) -> BulkCommandProgressed | None:
    told = rig.records("commands.bulk-progress", BulkCommandProgressed)
    return told[-1] if told else None


def finished(rig: Rig, round_: int = 1) -> bool:
    last = progress(rig)
    return last is not None and last.status is BulkStatus.FINISHED and last.round == round_


def through(rig: Rig) -> int:
    return sum(t.status in FINAL for t in rig.records("commands.bulk-stations", BulkStationProgressed))


def newest(rig: Rig) -> dict[str, BulkStationStatus]:
    return {t.station_id: t.status for t in rig.records("commands.bulk-stations", BulkStationProgressed)}


def counts(rig: Rig) -> dict[str, int]:
    last = progress(rig)
    assert last is not None
    names = ("waiting", "sent", "accepted", "rejected", "failed", "timed_out", "skipped")
    return {name: count for name in names if (count := getattr(last, name))}


@pytest.mark.chaos
async def test_killed_again_and_again_each_station_gets_it_exactly_once_and_a_retry_asks_only_the_rest(
    rig: Rig,
) -> None:
    edges = Edges(
        rig,
        {
            STUBBORN: (CallOutcome.RESULT, "Rejected"),
            LACKING: (CallOutcome.ERROR, "NotImplemented"),
            SILENT: (CallOutcome.TIMEOUT, ""),
        },
    )
    rig.follow("commands.dispatch", then=edges.handle)
    await edges.connect(*(each for each in STATIONS if each != OFFLINE))
    wanted = bulk(STATIONS)
    with running("commands", rig) as service:
        killer = asyncio.create_task(kill_repeatedly(rig, service, [6, 18, 31], lambda: through(rig)))
        await rig.publish("commands.bulk", wanted.bulk_id, wanted)
        await rig.until(lambda: finished(rig), "every station is through")
        await killer
        assert counts(rig) == {"accepted": 36, "rejected": 1, "failed": 1, "timed_out": 2}
        found = newest(rig)
        assert [found[each].value for each in (OFFLINE, STUBBORN, LACKING, SILENT)] == [
            "TIMED_OUT",
            "REJECTED",
            "FAILED",
            "TIMED_OUT",
        ]
        assert Counter(edges.sent) == Counter(set(STATIONS) - {OFFLINE})

        # The rest again: what hindered them is gone.
        edges.answers.clear()
        edges.sent.clear()
        await edges.connect(OFFLINE)
        retry = SteerBulkCommand(
            **envelope(new_id()),
            bulk_id=wanted.bulk_id,
            requested_by="test",
            reason="it is repaired",
            action=BulkAction.RETRY,
        )
        await rig.publish("commands.bulk", wanted.bulk_id, retry)
        await rig.until(lambda: len(rig.messages["commands.requested"]) > len(STATIONS), "the retry began")
        service.kill()
        service.start()
        await rig.until(lambda: finished(rig, 2), "the rest is through")
        assert counts(rig) == {"accepted": 40}
        assert Counter(edges.sent) == Counter([OFFLINE, STUBBORN, LACKING, SILENT])
    await rig.whole("commands.requested", "commands.bulk-stations")
    requested = by_id(rig.messages["commands.requested"]).values()
    asked = Counter(each.station_id for each in requested if isinstance(each, RequestCommand))
    assert asked == Counter([*STATIONS, OFFLINE, STUBBORN, LACKING, SILENT])
    by_id(rig.messages["commands.bulk-stations"])
    by_id(rig.messages["commands.bulk-progress"])


async def test_it_stops_at_too_many_failures_and_goes_on_when_told_to(rig: Rig) -> None:
    edges = Edges(rig, dict.fromkeys(STATIONS, (CallOutcome.RESULT, "Rejected")))
    rig.follow("commands.dispatch", then=edges.handle)
    await edges.connect(*STATIONS)
    wanted = bulk(STATIONS, concurrency=2, stop_at_percent=50, stop_after=4)

    def stopped() -> bool:
        last = progress(rig)
        return last is not None and last.status is BulkStatus.STOPPED and not last.sent

    with running("commands", rig):
        await rig.publish("commands.bulk", wanted.bulk_id, wanted)
        await rig.until(stopped, "it has stopped")
        last = progress(rig)
        assert last is not None
        assert last.reason == "4 of 4 stations were not successful"
        assert 4 <= last.rejected <= 5
        assert last.waiting == len(STATIONS) - last.rejected == len(STATIONS) - len(edges.sent)
        edges.answers.clear()
        resume = SteerBulkCommand(
            **envelope(new_id()),
            bulk_id=wanted.bulk_id,
            requested_by="test",
            reason="it is repaired",
            action=BulkAction.RESUME,
        )
        await rig.publish("commands.bulk", wanted.bulk_id, resume)
        await rig.until(lambda: finished(rig), "every station is through")
    assert counts(rig) == {"accepted": last.waiting, "rejected": last.rejected}
    assert max(Counter(edges.sent).values()) == 1


async def test_garbage_among_its_records_hurts_no_bulk_command(rig: Rig) -> None:
    edges = Edges(rig, {})
    rig.follow("commands.dispatch", then=edges.handle)
    rig.follow("commands.bulk.dead")
    await edges.connect(*STATIONS[:3])
    wanted = bulk(STATIONS[:3])
    hopeless = bulk(STATIONS[:3], concurrency=0)
    with running("commands", rig):
        await rig.publish_raw("commands.bulk", wanted.bulk_id, b"no record")
        await rig.publish("commands.bulk", hopeless.bulk_id, hopeless)
        await rig.publish("commands.bulk", wanted.bulk_id, wanted)

        def both_over() -> bool:
            told = rig.records("commands.bulk-progress", BulkCommandProgressed)
            over = {each.bulk_id for each in told if each.status is BulkStatus.FINISHED}
            return over == {wanted.bulk_id, hopeless.bulk_id}

        await rig.until(both_over, "both are over")
        await rig.until(
            lambda: rig.records("commands.bulk.dead", RecordDeadLettered), "what is no record is set aside"
        )
    told = rig.records("commands.bulk-progress", BulkCommandProgressed)
    (refused,) = [each for each in told if each.bulk_id == hopeless.bulk_id]
    assert (refused.failed, refused.reason) == (3, "not 1 to 1000 stations at once")
    assert Counter(edges.sent) == Counter(STATIONS[:3])
