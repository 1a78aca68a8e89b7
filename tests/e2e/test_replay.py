"""State and derived topics deleted, processors started again from offset 0: the same records with the same ids."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import msgspec
import pytest

from deploy.local.platform import PROCESSORS, Platform
from deploy.local.settings import on_free_ports
from libs.bus.admin import apply_contract, delete_topics, rewind
from libs.bus.bus import connect
from libs.bus.settings import BusSettings
from libs.bus.tail import read_all
from libs.devstack.process import wait_ready
from libs.events.record import Record
from tests.chaos.harness import Ledger
from tests.e2e.replayed import (
    COMPARED,
    DERIVED,
    LATEST,
    MAY_BE_EMPTY,
    REPLAYED,
    SERVICES,
    comparable,
)
from tests.patience import WAIT_S


@pytest.fixture
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    made = Platform(on_free_ports(tmp_path_factory.mktemp("replay")))
    made.start(print)
    yield made
    made.stop()


async def records(settings: BusSettings) -> dict[str, dict[str, Record]]:
    """Records of every compared topic by id, of those that tell the latest state the last ones by key.

    One id must always have one content.
    """
    found: dict[str, dict[str, Record]] = {}
    async with connect(settings) as bus:
        for topic in COMPARED:
            by_id = found.setdefault(topic, {})
            async for message in read_all(bus, topic):
                assert message.record is not None
                if (record := comparable(message.record)) is None:
                    continue
                if topic in LATEST:
                    by_id[message.key] = record
                else:
                    assert by_id.setdefault(record.event_id, record) == record
    return found


async def at_rest(settings: BusSettings) -> dict[str, dict[str, Record]]:
    """Records once processors have nothing more to say: two looks with some time between see the same."""
    async with asyncio.timeout(120):
        seen: dict[str, dict[str, Record]] = {}
        while True:
            now = await records(settings)
            if now == seen:
                return now
            seen = now
            await asyncio.sleep(3)


def differences(before: Record, after: Record) -> str:
    """The fields of a record that a replay gave otherwise, with both values."""
    one, other = msgspec.structs.asdict(before), msgspec.structs.asdict(after)
    fields = {name: (one[name], other.get(name)) for name in one if one[name] != other.get(name)}
    return f"{type(before).__name__} {before.event_id}: {fields}"


@pytest.mark.slow
async def test_a_replay_gives_the_same_records(platform: Platform) -> None:
    ledger = Ledger(platform)
    await ledger.round(seed=7)
    await at_rest(platform.bus)
    for name in PROCESSORS:
        platform.services[name].stop()
    before = await records(platform.bus)
    assert all(before[topic] for topic in COMPARED if topic not in MAY_BE_EMPTY)

    states = [each.state_topic for each in REPLAYED if each.state is not None]
    await delete_topics(platform.bus, [*DERIVED, *states])
    await apply_contract(platform.bus)
    for processor in REPLAYED:
        await rewind(platform.bus, processor.name, processor.inputs)
    replaying = [platform.services[name] for name in SERVICES]
    for service in replaying:
        service.launch()
    await asyncio.to_thread(wait_ready, replaying, WAIT_S)

    with suppress(TimeoutError):
        async with asyncio.timeout(120):
            after = await records(platform.bus)
            while any(before[topic].keys() - after[topic].keys() for topic in COMPARED):
                await asyncio.sleep(1)
                after = await records(platform.bus)
    after = await at_rest(platform.bus)
    for topic in COMPARED:
        missing = [before[topic][each] for each in before[topic].keys() - after[topic].keys()]
        more = [after[topic][each] for each in after[topic].keys() - before[topic].keys()]
        assert not missing, (topic, len(missing), missing[0])
        assert not more, (topic, len(more), more[0])
        different = [
            differences(before[topic][event_id], record)
            for event_id, record in after[topic].items()
            if record != before[topic][event_id]
        ]
        assert not different, f"{topic}: {len(different)}, the first: {different[0]}"
