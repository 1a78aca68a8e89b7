"""State and derived topics deleted, processors started again from offset 0: the same records with the same ids."""

import asyncio
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from deploy.local.platform import PROCESSORS, Platform
from deploy.local.settings import on_free_ports
from libs.bus.admin import apply_contract, delete_topics, rewind
from libs.bus.bus import connect
from libs.bus.settings import BusSettings
from libs.bus.tail import read_all
from libs.events.commands import CommandConcluded, Fate
from libs.events.load import StationNews, StationObserved
from libs.events.record import Record
from libs.testing.localstack.process import wait_ready
from tests.chaos.harness import Ledger

# Each processor with its inputs. What operators asked for (commands.requested, firmware.campaigns) is not derived.
INPUTS = {
    "commands": ["commands.requested", "ocpp.commands", "edge.connections", "stations.capabilities"],
    "capabilities": ["ocpp.lifecycle", "ocpp.commands"],
    "sessions": ["ocpp.transactions", "ocpp.lifecycle", "billing.decisions", "billing.prepaid"],
    "telemetry-measurements": ["ocpp.transactions"],
    "telemetry-health": ["ocpp.lifecycle", "ocpp.rejected"],
    "load-observer": [
        "sessions.events",
        "telemetry.measurements",
        "ocpp.lifecycle",
        "commands.outcomes",
        "registry.stations",
    ],
}
DERIVED = [
    "commands.outcomes",
    "stations.capabilities",
    "sessions.events",
    "billing.cdrs",
    "telemetry.measurements",
    "telemetry.health",
    "load.observations",
    "load.stations",
]
# Left out: health windows that had not closed before and have since; what is observed of EVSEs for load management,
# which joins derived topics in the order in which they were written (ADR 0004).
COMPARED = [t for t in DERIVED if t not in ("telemetry.health", "load.observations")]
# Moves are told with the session, boot or tick that showed them first.
MOVES = (StationNews.JOINED, StationNews.LEFT)


@pytest.fixture
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    made = Platform(on_free_ports(tmp_path_factory.mktemp("replay")))
    made.start(print)
    yield made
    made.stop()


def comparable(record: Record) -> Record | None:
    """What of a record a replay has to give again (ADR 0007): None for which limit was overtaken by a newer one, and
    without what kept a command from being sent, if it never was. Of stations' news not the moves, and not where a
    station was before.
    """
    if isinstance(record, StationObserved):
        return None if record.news in MOVES else replace(record, other_site_id=None)
    if not isinstance(record, CommandConcluded):
        return record
    if record.requested_by == "load":
        return None
    return replace(record, reason="", attempts=0, cause_id="") if record.fate is Fate.EXPIRED else record


async def records(settings: BusSettings) -> dict[str, dict[str, Record]]:
    """Records of every compared topic by id. One id must always have one content."""
    found: dict[str, dict[str, Record]] = {}
    async with connect(settings) as bus:
        for topic in COMPARED:
            by_id = found.setdefault(topic, {})
            async for message in read_all(bus, topic):
                assert message.record is not None
                if (record := comparable(message.record)) is not None:
                    assert by_id.setdefault(record.event_id, record) == record
    return found


async def at_rest(settings: BusSettings) -> None:
    """Until processors have nothing more to say: two looks with some time between see the same."""
    async with asyncio.timeout(120):
        seen: dict[str, int] = {}
        while True:
            now = {topic: len(found) for topic, found in (await records(settings)).items()}
            if now == seen:
                return
            seen = now
            await asyncio.sleep(3)


async def test_a_replay_gives_the_same_records(platform: Platform) -> None:
    ledger = Ledger(platform)
    await ledger.round(seed=7, kill=lambda: None)
    await at_rest(platform.bus)
    for name in PROCESSORS:
        platform.services[name].stop()
    before = await records(platform.bus)
    assert all(before.values())

    await delete_topics(platform.bus, [*DERIVED, *(f"state.{name}" for name in INPUTS)])
    await apply_contract(platform.bus)
    for name, topics in INPUTS.items():
        await rewind(platform.bus, name, topics)
    replaying = [
        platform.services[name] for name in ("provisioning", "commands", "sessions", "telemetry", "load")
    ]
    for service in replaying:
        service.launch()
    await asyncio.to_thread(wait_ready, replaying, 60)

    after = await records(platform.bus)
    async with asyncio.timeout(120):
        while any(len(after[topic]) < len(before[topic]) for topic in COMPARED):
            await asyncio.sleep(1)
            after = await records(platform.bus)
    for topic in COMPARED:
        assert set(after[topic]) == set(before[topic]), topic
        different = [
            (before[topic][event_id], record)
            for event_id, record in after[topic].items()
            if record != before[topic][event_id]
        ]
        assert not different, (topic, len(different), different[0])
