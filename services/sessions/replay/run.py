"""A range of the log through one fold or two, partition by partition. Reads Kafka, and writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

import msgspec

from libs.bus.bus import Bus
from libs.bus.header_filter import HeaderFilter
from libs.bus.log_range import LogRange
from libs.bus.message import Message
from libs.bus.partitioner import partition_of
from libs.bus.partitioning import count_partitions
from libs.bus.processor import Tables
from libs.bus.tables import TableSet
from libs.bus.tail import read_all
from libs.events.decisions import SessionDecided, SessionDecisionConcluded, SessionRecalled
from libs.events.plans import PrepaidGranted
from libs.events.record import Record
from libs.events.registry import StationRegistered
from libs.events.sessions import CdrIssued
from libs.events.topics import (
    BILLING_CDRS,
    BILLING_DECIDED,
    BILLING_DECISIONS,
    BILLING_PREPAID,
    COMMANDS_OUTCOMES,
    REGISTRY_STATIONS,
    SESSIONS_EVIDENCE,
)
from libs.runtime.clock import SECOND
from services.sessions.domain.processor import SessionsProcessor
from services.sessions.domain.session import Session
from services.sessions.replay.change import Change
from services.sessions.replay.compare import Comparison, Entry, Period, Report, Settled, Side
from services.sessions.replay.fold import Fold

LEAD: Final = 7 * 24 * 3600 * SECOND
"""How long before a period the log is read from: sessions that began by then are whole."""
TRAIL: Final = 7 * 24 * 3600 * SECOND
"""How long after a period: evidence that comes later is not awaited by the fold either."""

_NOT_READ: Final = frozenset({BILLING_DECISIONS, SESSIONS_EVIDENCE, COMMANDS_OUTCOMES})
"""Decisions are read beforehand, and what became of messages to drivers changes no record."""

Progress = Callable[[int, int, float], None]
"""Called with the number of the partition, how many there are, and the part of it that is done."""


class Changed(msgspec.Struct, frozen=True):
    """One side of a comparison: a processor, and the tables that it looks things up in."""

    processor: SessionsProcessor
    tables: Tables


class Job(msgspec.Struct, frozen=True):
    """What is to be compared with what.

    `before` None: with the records that were issued. `stations`: only these; None for all. `read_until`: the end of
    what is read of the log. `settled`: called with each session that was compared, and what differs in it.
    """

    period: Period
    read_until: int
    before: Changed | None
    after: Changed
    stations: Collection[str] | None = None
    settled: Settled = lambda entry, fields: None


async def registry(bus: Bus) -> dict[str, dict[str, Record]]:
    """The tables of the sessions processor as they are now."""
    async with TableSet(bus, "replay", SessionsProcessor.tables) as tables:
        return {topic: dict(tables[topic]) for topic in tables}


def stations_of(site_id: str, tables: Mapping[str, Mapping[str, Record]]) -> set[str]:
    """The stations that were ever at a site."""
    return {
        key
        for key, station in tables.get(REGISTRY_STATIONS, {}).items()
        if isinstance(station, StationRegistered) and any(site.id == site_id for site in station.sites)
    }


def job_of(period: Period, now: int, before: Changed | None, after: Changed, station: str | None) -> Job:
    """What is to be read for a period, its site and a station; `now` in microseconds."""
    stations = None if period.site_id is None else stations_of(period.site_id, after.tables)
    if station is not None:
        own = {station.casefold()}
        stations = own if stations is None else stations & own
    return Job(period, min(period.until + TRAIL, now), before, after, stations)


async def backtest(
    bus: Bus, change: Change, period: Period, now: int, *, station: str | None, progress: Progress
) -> Report:
    """Fold the log with a change and without it; without any, beside the records that were issued.

    Raises ChangeError for a tariff that cannot be tried, and as `compare` does.
    """
    tables = await registry(bus)
    before = Changed(SessionsProcessor(), tables) if change.any else None
    after = Changed(SessionsProcessor(book=change.book), change.tables(tables))
    return await compare(bus, job_of(period, now, before, after, station), progress)


async def compare(bus: Bus, job: Job, progress: Progress = lambda number, count, part: None) -> Report:
    """Fold the log through both sides of `job` and say how they differ. Raises KafkaError, BusError."""
    topics = [topic for topic in job.after.processor.inputs if topic not in _NOT_READ]
    count = await count_partitions(bus, [*topics, BILLING_DECISIONS, BILLING_CDRS])
    decisions = await _decisions(bus, job.stations)
    numbers: Iterable[int] = range(count)
    if job.stations is not None:
        numbers = sorted({partition_of(each.encode(), count) for each in job.stations})
    comparison = Comparison(job.period, decisions.sessions, both=job.before is None)
    for number in numbers:
        run = _Partition(bus, job, comparison, decisions, number)
        comparison.settled = run.settled
        await run.through(topics, lambda part, number=number: progress(number, count, part))  # type: ignore[misc]
    return comparison.finished()


class _Decisions:
    """What operators decided, by partition in order; about which sessions, and which of them were recalled for it.

    `covered`: what bundles covered last of those that were recalled, by session and ledger. Each asked again then,
    where a fold that makes the right thing of it at once asks only once.
    """

    def __init__(self) -> None:
        self.by_partition: dict[int, list[Message]] = {}
        self.sessions: set[str] = set()
        self.recalled: set[str] = set()
        self.covered: dict[tuple[str, tuple[str, str, str]], int] = {}


async def _decisions(bus: Bus, stations: Collection[str] | None) -> _Decisions:
    """All that were followed; what was refused then is refused for what it was."""
    followed = {
        message.record.decision_id
        async for message in read_all(bus, BILLING_DECIDED)
        if isinstance(message.record, SessionDecisionConcluded) and message.record.applied
    }
    found = _Decisions()
    async for message in read_all(bus, BILLING_DECISIONS):
        kept, record = message, message.record
        if not isinstance(record, SessionDecided | SessionRecalled) or record.event_id not in followed:
            continue
        if stations is not None and record.station_id not in stations:
            continue
        found.sessions.add(record.session_id)
        if isinstance(record, SessionRecalled):
            found.recalled.add(record.session_id)
            # The evidence is what is folded here.
            bare = msgspec.structs.replace(record, evidence=b"")
            kept = msgspec.structs.replace(message, record=bare)
        found.by_partition.setdefault(message.partition, []).append(kept)
    if found.recalled:
        async for message in read_all(bus, BILLING_PREPAID):
            grant = message.record
            if isinstance(grant, PrepaidGranted) and grant.session_id in found.recalled and not grant.closed:
                ledger = grant.group_id, grant.tariff_id, grant.month
                found.covered[grant.session_id, ledger] = grant.granted_wh
    return found


class _Partition:
    """One partition through both sides."""

    def __init__(
        self, bus: Bus, job: Job, comparison: Comparison, decisions: _Decisions, partition: int
    ) -> None:
        self._bus = bus
        self._job = job
        self._comparison = comparison
        self._partition = partition
        self._recalled = decisions.recalled
        self._covered = decisions.covered
        self._decisions = [
            each
            for each in decisions.by_partition.get(partition, ())
            if each.timestamp_us >= job.period.read_from
        ]
        sides = ((Side.BEFORE, job.before), (Side.AFTER, job.after))
        self._folds = {side: Fold(each.processor, each.tables) for side, each in sides if each is not None}
        self._kept: dict[tuple[Side, str], Session] = {}
        self._header_filter = HeaderFilter(job.after.processor)
        inputs = job.after.processor.inputs
        self._before_decisions = inputs[: inputs.index(BILLING_DECISIONS)]
        self._decided_since = {each.key for each in self._decisions if each.timestamp_us >= job.read_until}

    async def through(self, topics: list[str], progress: Callable[[float], None]) -> None:
        """Fold everything, and settle what was compared."""
        job, comparison = self._job, self._comparison
        issued = [] if job.before is not None else [BILLING_CDRS]
        read_from, read_until = job.period.read_from, job.read_until
        log = LogRange(
            self._bus,
            [*topics, *issued],
            self._partition,
            since=read_from,
            until=read_until,
            bounded=[topic for topic in topics if topic.startswith("ocpp.")],
            wanted=self._wanted,
        )
        async with log:
            async for message in log:
                # Of what is equally old, the processor takes first what comes first among its inputs.
                at = message.timestamp_us - (message.topic in self._before_decisions)
                self._decide(min(at, read_until))
                self._take(message)
                comparison.report.messages += 1
                if comparison.report.messages % 1000 == 0:
                    progress(log.done / max(1, log.total))
        comparison.report.unreadable += log.unreadable
        self._decide(read_until)
        self._put({side: fold.pass_time(read_until) for side, fold in self._folds.items()})
        # Sessions that were decided about since.
        self._decide(None)
        comparison.settle_all()
        comparison.report.failed += sum(fold.failed for fold in self._folds.values())
        progress(1.0)

    def settled(self, entry: Entry, fields: tuple[str, ...]) -> None:
        """Hand on a session that was compared, as it is known now if it still is."""
        if entry.after is not None:
            after = entry.after
            entry.session = self._folds[Side.AFTER].known(after.station_id, after.session_id) or entry.session
        self._job.settled(entry, fields)

    def _wanted(self, topic: str, key: str, at: int, headers: Iterable[tuple[str, bytes]]) -> bool:
        if self._job.stations is not None and key not in self._job.stations:
            return False
        if topic == BILLING_CDRS:
            return at < self._job.read_until or key in self._decided_since
        return at < self._job.read_until and self._header_filter.wants(topic, headers)

    def _take(self, message: Message) -> None:
        if message.topic == BILLING_CDRS:
            if isinstance(message.record, CdrIssued):
                self._comparison.put(Side.BEFORE, message.record)
            return
        self._put({side: fold.handle(self._as_covered(fold, message)) for side, fold in self._folds.items()})

    def _as_covered(self, fold: Fold, message: Message) -> Message:
        """An answer about a bundle, as the last one about what `fold` asks: it may have been asked otherwise first."""
        grant = message.record
        if not isinstance(grant, PrepaidGranted) or grant.session_id not in self._recalled or grant.closed:
            return message
        session = fold.session(grant.station_id, grant.session_id)
        if session is None or session.asked is None:
            return message
        covered = self._covered.get((grant.session_id, session.asked.ledger), grant.granted_wh)
        return msgspec.structs.replace(message, record=msgspec.structs.replace(grant, granted_wh=covered))

    def _decide(self, until: int | None) -> None:
        """Follow what was decided up to a moment, None for the rest of it."""
        while self._decisions and (until is None or self._decisions[0].timestamp_us <= until):
            message = self._decisions.pop(0)
            record = message.record
            for side, fold in self._folds.items():
                if isinstance(record, SessionDecided):
                    self._put({side: fold.decide(message)})
                elif isinstance(record, SessionRecalled):
                    kept = self._kept.get((side, record.session_id))
                    if kept is not None:
                        self._put({side: fold.recall(message, kept)})

    def _put(self, issued: dict[Side, list[CdrIssued]]) -> None:
        for side, cdrs in issued.items():
            for cdr in cdrs:
                entry = self._comparison.put(side, cdr)
                session = self._folds[side].known(cdr.station_id, cdr.session_id)
                if side is Side.AFTER:
                    entry.session = session
                if session is not None and cdr.session_id in self._recalled:
                    self._kept[side, cdr.session_id] = session
