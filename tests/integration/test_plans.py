"""One bundle that stations on different partitions share, on real Kafka, with its ledger killed in mid-flow."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count

import msgspec
import pytest

from libs.bus.partitioner import partition_of
from libs.bus.runtime_memory import MemoryRuntime
from libs.devstack import Endpoints
from libs.events.plans import PrepaidAsked, PrepaidGranted
from libs.events.sessions import CdrCredited, CdrIssued
from libs.events.topics import BILLING_PREPAID, BILLING_PREPAID_ASKED
from libs.runtime.clock import SECOND, now_us
from services.plans.domain.processor import PlansProcessor
from tests.integration.processor_rig import PARTITIONS, Rig, by_id, kill_repeatedly, open_rig
from tests.integration.service_process import ServiceProcess
from tests.unit.plans.given import FLEET, at_station, tables, version
from tests.unit.sessions.exchanges import start16, stop16

SESSIONS = 30
BUNDLE_WH = 10_000
SESSION_WH = 300


@pytest.fixture
async def rig(stack: Endpoints, namespace: str) -> AsyncIterator[Rig]:
    async with open_rig(stack, namespace) as rig:
        yield rig


def stations() -> tuple[str, str]:
    """Two whose messages lie in different partitions."""
    by_partition: dict[int, str] = {}
    for name in (f"CP-{n}" for n in count()):
        by_partition.setdefault(partition_of(name.encode(), PARTITIONS), name)
        if len(by_partition) > 1:
            first, second = by_partition.values()
            return first, second
    raise AssertionError


async def publish(rig: Rig, names: tuple[str, str], numbers: range) -> None:
    for n in numbers:
        now = now_us()
        for name in names:
            begin = now - (SESSIONS - n) * 2 * SECOND
            for call in (start16(n + 1, begin, 0), stop16(n + 1, begin + SECOND, SESSION_WH)):
                timed = msgspec.structs.replace(call, recorded_at=now_us())
                await rig.publish("ocpp.transactions", name, at_station(timed, name))


@pytest.mark.chaos
async def test_stations_share_a_bundle_while_its_ledger_is_killed(rig: Rig) -> None:
    names = stations()
    registry = tables(version(msgspec.structs.replace(FLEET, prepaid_wh=BUNDLE_WH)), stations=names)
    for topic, records in registry.items():
        for key, record in records.items():
            await rig.publish(topic, key, record)
    rig.follow(BILLING_PREPAID_ASKED, BILLING_PREPAID, "billing.cdrs", "ocpp.transactions")
    sessions, ledger = (ServiceProcess(name, rig.bus.settings) for name in ("sessions", "plans"))
    for service in (sessions, ledger):
        service.start()
    try:
        for service in (sessions, ledger):
            await rig.ready(service)
        for part in range(3):
            have = len(rig.messages[BILLING_PREPAID])
            await publish(rig, names, range(part * SESSIONS // 3, (part + 1) * SESSIONS // 3))
            await kill_repeatedly(rig, ledger, [have + 3], lambda: len(rig.messages[BILLING_PREPAID]))
        await rig.until(lambda: len(latest(rig)) == 2 * SESSIONS, "every session has its record")
        # What is asked is written with, or before, the record that it is about.
        await rig.whole(BILLING_PREPAID_ASKED)
        await rig.until(
            lambda: len(rig.messages[BILLING_PREPAID]) >= len(rig.messages[BILLING_PREPAID_ASKED]),
            "all is answered",
        )
        await rig.ready(ledger)
    finally:
        status = [service.stop() for service in (ledger, sessions)]
    assert status == [0, 0]
    await rig.whole(BILLING_PREPAID_ASKED, BILLING_PREPAID, "billing.cdrs", "ocpp.transactions")

    assert len({m.partition for m in rig.messages["ocpp.transactions"]}) == len(names)
    documents, grants = by_id(rig.messages["billing.cdrs"]), by_id(rig.messages[BILLING_PREPAID])
    asks = [m.record for m in rig.messages[BILLING_PREPAID_ASKED] if isinstance(m.record, PrepaidAsked)]
    assert len({m.partition for m in rig.messages[BILLING_PREPAID_ASKED]}) == 1
    # What a ledger in memory makes of the same questions in the same order.
    memory = MemoryRuntime(PlansProcessor(), registry)
    expected = [emit.record for ask in asks for emit in memory.feed(BILLING_PREPAID_ASKED, ask.group_id, ask)]
    assert {r.event_id: r for r in expected if isinstance(r, PrepaidGranted)} == grants
    # Nobody else's documents name it; the bundle is used up, and no more than that.
    final = latest(rig)
    assert {cdr.group_id for cdr in final.values()} == {"fleet"}
    for month in {ask.month for ask in asks}:
        ids = {ask.session_id for ask in asks if ask.month == month}
        used = sum(cdr.prepaid_wh for cdr in final.values() if cdr.session_id in ids)
        assert used == min(BUNDLE_WH, SESSION_WH * len(ids))
    for cdr in final.values():
        paid = sum(line.quantity for line in cdr.lines if line.kind == "energy")
        assert (cdr.billed_wh, cdr.prepaid_wh + paid) == (SESSION_WH, SESSION_WH)
    # Credit notes and records of a charge add up to the last.
    sums = dict.fromkeys(final, 0)
    for document in documents.values():
        assert isinstance(document, CdrIssued | CdrCredited)
        sums[document.cdr_id] += document.amount_minor
    assert sums == {cdr_id: cdr.amount_minor for cdr_id, cdr in final.items()}


def latest(rig: Rig) -> dict[str, CdrIssued]:
    return {cdr.cdr_id: cdr for cdr in rig.records("billing.cdrs", CdrIssued)}
