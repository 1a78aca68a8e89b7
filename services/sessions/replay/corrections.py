"""Sessions of the past looked up in the log, and brought back. Reads Kafka, and writes what brings them back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from libs.bus.bus import Bus
from libs.bus.producer import Producer
from libs.events.decisions import SessionEvidenceRecalled, SessionRecalled
from libs.events.sessions import CdrIssued
from libs.events.topics import BILLING_DECISIONS, SESSIONS_EVIDENCE
from libs.runtime.clock import SECOND
from services.sessions.domain.processor import SessionsProcessor
from services.sessions.domain.session import Session
from services.sessions.replay.compare import Entry, Period, Report, Settled
from services.sessions.replay.rederive import Sorted, recall_of
from services.sessions.replay.run import Changed, Progress, compare, job_of, registry

Recall = tuple[SessionRecalled, SessionEvidenceRecalled]

_DAY: Final = 24 * 3600 * SECOND


async def differing(
    bus: Bus, period: Period, now: int, *, station: str | None, progress: Progress
) -> tuple[Report, Sorted]:
    """The sessions that this version of the fold makes something else of than was issued. Raises as `compare` does."""
    found = Sorted()
    report = await _beside_issued(bus, period, now, found.add, station=station, progress=progress)
    return report, found


async def forgotten(bus: Bus, cdr: CdrIssued, now: int) -> tuple[Session | None, int]:
    """The session of a charge record by the log, None if that lacks it; and from when on the log was read."""
    found: list[Entry] = []

    def look(entry: Entry, fields: tuple[str, ...]) -> None:
        if entry.before is not None and entry.before.session_id == cdr.session_id:
            found.append(entry)

    lead = (8 + (cdr.ended_at - cdr.started_at) // _DAY) * _DAY
    until = max(cdr.ended_at, cdr.recorded_at) + 1
    period = Period(cdr.ended_at, until, max(0, cdr.ended_at - lead))
    await _beside_issued(bus, period, now, look, station=cdr.station_id)
    return (found[0].session if found else None), period.read_from


def recalls_of(found: Sorted, *, reason: str, decided_by: str, now: int) -> list[Recall]:
    """What brings back the sessions whose records are to be corrected."""
    recalls = []
    for entry in found.recalled:
        assert entry.before is not None
        assert entry.session is not None
        recalls.append(recall_of(entry.before, entry.session, reason=reason, decided_by=decided_by, now=now))
    return recalls


async def write(bus: Bus, recalls: Iterable[Recall]) -> None:
    """Each with its evidence, as the sessions processor reads them."""
    producer = Producer(bus, "cli")
    await producer.start()
    try:
        for record, evidence in recalls:
            await producer.send_and_wait(BILLING_DECISIONS, record.station_id, record)
            await producer.send_and_wait(SESSIONS_EVIDENCE, record.station_id, evidence)
    finally:
        await producer.stop()


async def _beside_issued(
    bus: Bus,
    period: Period,
    now: int,
    settled: Settled,
    *,
    station: str | None,
    progress: Progress = lambda number, count, part: None,
) -> Report:
    after = Changed(SessionsProcessor(), await registry(bus))
    job = msgspec.structs.replace(job_of(period, now, None, after, station), settled=settled)
    return await compare(bus, job, progress)
