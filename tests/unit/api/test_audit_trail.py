"""The writer of the audit trail: one chain, a new one after a failure, bounded refusals."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from libs.bus.errors import BusUnavailableError
from libs.bus.message import Message
from libs.bus.producer import Producer
from libs.events.audit import AuditKind, AuditOutcome, AuditPrincipalKind, AuditRecorded
from libs.events.audit_chain import check
from libs.events.ids import new_id
from libs.events.topics import AUDIT_EVENTS
from libs.runtime.clock import SECOND
from services.api.http.audit_trail import EACH, STRANGERS, AuditTrail, Refusals

NOW = 1_790_000_000 * SECOND


class Kafka:
    """A producer that keeps what it is sent. `lost`: how many sends from now on fail, as does all after them."""

    def __init__(self) -> None:
        self.sent: list[AuditRecorded] = []
        self.failed = False
        self.silent = False
        self.lost = 0
        self._news = asyncio.Event()

    async def until(self, events: int) -> None:
        while len(self.sent) < events:
            self._news.clear()
            await self._news.wait()

    async def restart(self) -> None:
        await asyncio.sleep(0)
        self.failed = False

    async def send(self, topic: str, key: str, record: AuditRecorded) -> asyncio.Future[None]:
        assert (topic, key) == (AUDIT_EVENTS, record.writer_id)
        if self.failed:
            raise BusUnavailableError("failed")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.lost:
            self.lost -= 1
            self.failed = True
            future.set_exception(BusUnavailableError("lost"))
        elif not self.silent:
            self.sent.append(record)
            self._news.set()
            future.set_result(None)
        return future


def trail(kafka: Kafka, **options: Any) -> AuditTrail:
    return AuditTrail(cast(Producer, kafka), "api", "a test", timeout_s=0.2, **options)


def event(
    outcome: AuditOutcome = AuditOutcome.DONE,
    principal: str = "anna",
    address: str = "203.0.113.9",
    at: int = NOW,
) -> AuditRecorded:
    return AuditRecorded(
        event_id=new_id(),
        occurred_at=at,
        recorded_at=at,
        cause_id="c",
        writer_id="",
        sequence=0,
        kind=AuditKind.REQUEST,
        request_id=new_id(),
        outcome=outcome,
        principal=principal,
        principal_kind=AuditPrincipalKind.KEY if principal else AuditPrincipalKind.NOBODY,
        address=address,
    )


def as_message(record: AuditRecorded) -> Message:
    return Message(AUDIT_EVENTS, 0, 0, record.writer_id, record, 0)


async def test_events_of_many_requests_are_one_chain() -> None:
    kafka = Kafka()
    writer = trail(kafka)
    await asyncio.gather(*(writer.record(event()) for _ in range(50)))
    assert [each.sequence for each in kafka.sent] == list(range(51))
    assert kafka.sent[0].kind is AuditKind.CHAIN_STARTED
    assert check(kafka.sent).sound


async def test_after_a_failed_write_a_new_chain_begins_that_names_the_end_of_the_former() -> None:
    kafka = Kafka()
    writer = trail(kafka)
    await writer.record(event())
    kafka.lost = 1
    with pytest.raises(BusUnavailableError):
        await writer.record(event())
    await writer.record(event())
    starts = [each for each in kafka.sent if each.kind is AuditKind.CHAIN_STARTED]
    assert len(starts) == 2
    assert [head.writer_id for head in starts[1].heads] == [starts[0].writer_id]
    # What was lost is not missed: nobody was told that it is there.
    assert check(kafka.sent).sound


async def test_a_bus_that_does_not_answer_is_waited_for_only_so_long() -> None:
    kafka = Kafka()
    kafka.silent = True
    with pytest.raises(BusUnavailableError):
        await trail(kafka).record(event())


async def test_what_need_not_be_waited_for_is_written_and_at_the_end_too() -> None:
    kafka = Kafka()
    writer = trail(kafka)
    task = asyncio.create_task(writer.run())
    writer.later(event())
    await kafka.until(2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    writer.later(event())
    await writer.stop()
    assert len(kafka.sent) == 3
    assert check(kafka.sent).sound


async def test_anchors_name_the_ends_of_others_while_there_is_news() -> None:
    ours, theirs = Kafka(), Kafka()
    other = trail(theirs)
    await other.record(event())
    writer = trail(ours, anchor_s=0.01)
    for each in (theirs.sent[1], theirs.sent[0]):
        writer.take(as_message(each))
    await writer.record(event())
    assert [(head.writer_id, head.sequence) for head in ours.sent[0].heads] == [(theirs.sent[0].writer_id, 1)]
    await other.record(event())
    writer.take(as_message(theirs.sent[2]))
    task = asyncio.create_task(writer.run())
    await ours.until(3)
    # Without news there is no further one.
    await asyncio.sleep(0.05)
    task.cancel()
    assert [each.kind for each in ours.sent[2:]] == [AuditKind.ANCHOR]
    assert ours.sent[2].heads[0].sequence == 2
    assert check([*ours.sent, *theirs.sent]).sound
    assert not check([*ours.sent, *theirs.sent[:2]]).sound


async def test_only_a_reading_that_is_recorded_spares_the_next_one() -> None:
    clock = Clock()
    writer, first = trail(Kafka(), clock=clock), event()
    target = "/frames?" + "x" * 5000
    assert not writer.repeats(first, target)
    assert not writer.repeats(first, target), "asking alone is no record"
    writer.note_read(first, target)
    assert writer.repeats(first, target)
    assert not writer.repeats(first, target + "y")
    assert not writer.repeats(event(principal="ben"), target)
    clock.now += 60 * SECOND
    assert not writer.repeats(first, target)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


def refused(**fields: Any) -> AuditRecorded:
    return event(AuditOutcome.REFUSED, **fields)


def test_refusals_of_one_are_recorded_then_counted_and_told_of_by_the_minute() -> None:
    clock = Clock()
    refusals = Refusals(clock)
    admitted = sum(refusals.admits(refused()) for _ in range(1000))
    assert admitted == EACH
    assert refusals.admits(refused(principal="ben"))
    assert not refusals.told()
    clock.now += 60 * SECOND
    (told,) = refusals.told()
    assert (told.principal, told.count, told.action) == ("anna", 1000 - EACH, "")
    assert not refusals.told()
    assert refusals.admits(refused())


def test_strangers_from_everywhere_have_one_bound_and_nothing_grows() -> None:
    clock = Clock()
    refusals = Refusals(clock)
    asked = 5000
    admitted = sum(
        refusals.admits(refused(principal="", address=f"10.{number >> 8}.{number & 255}.1"))
        for number in range(asked)
    )
    assert admitted == STRANGERS
    told = refusals.told(everything=True)
    assert len(told) <= 1001
    assert sum(each.count for each in told) == asked - STRANGERS
