"""What a rebalance costs: states that nobody has changed are kept, and who has a name comes back at once."""

import asyncio
from functools import partial
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from faust.tables.recovery import Recovery

from libs.bus import metrics
from libs.bus.connection import connection
from libs.bus.faust_app import Consumer
from libs.bus.faust_member import QUEUED_EVENTS
from libs.bus.partitioner import partition_of
from libs.bus.runtime_transactional import TransactionalRuntime
from libs.bus.settings import BusSettings
from tests.integration.runtimes.bench import KafkaBench, kafka_bench
from tests.integration.runtimes.tally import STATE, Tally, call
from tests.patience import until

STATIONS = [f"s{number}" for number in range(6)]
FAUST_FETCH_S = 1.2
"""Longer than a fetch of Faust waits for records."""


def restores(how: str) -> float:
    return float(metrics.RESTORES.labels(Tally.name, how)._value.get())


async def add(kafka: KafkaBench, total: int) -> None:
    """Count each station on, to `total`."""
    await kafka.send(*(call(station, "Add", 1) for station in STATIONS))
    for station in STATIONS:
        outputs = await kafka.outputs(station, total)
        assert [output.meter_wh for output in outputs] == list(range(1, total + 1))


async def reassigned(kafka: KafkaBench) -> TransactionalRuntime:  # type: ignore[type-arg]
    """A member that has counted each station once, and has lost its partitions."""
    member = await kafka.start()
    await add(kafka, 1)
    runtime = member.runtime
    assert isinstance(runtime, TransactionalRuntime)
    await runtime.revoke()
    return runtime


async def assign(runtime: TransactionalRuntime) -> None:  # type: ignore[type-arg]
    await runtime.assign(runtime.consumer.assignment())
    await until(lambda: runtime.ready, "the partitions to be restored")


@pytest.mark.parametrize("kind", ["transactional"])
async def test_a_partition_that_stays_keeps_its_states(kafka: KafkaBench) -> None:
    first = await kafka.start()
    await add(kafka, 1)
    kept, read = restores("kept"), restores("read")
    second = await kafka.start()
    await until(lambda: first.runtime.ready and second.runtime.ready, "both members to be ready")
    await add(kafka, 2)
    assert (restores("kept") - kept, restores("read") - read) == (1, 1)


@pytest.mark.parametrize("kind", ["transactional"])
async def test_states_are_kept_again_and_again(kafka: KafkaBench) -> None:
    runtime = await reassigned(kafka)
    kept, read = restores("kept"), restores("read")
    for total in range(2, 5):
        await assign(runtime)
        await add(kafka, total)
        await runtime.revoke()
    await assign(runtime)
    assert (restores("kept") - kept, restores("read") - read) == (8, 0)


@pytest.mark.parametrize("kind", ["transactional"])
async def test_states_that_somebody_has_changed_meanwhile_are_read_again(kafka: KafkaBench) -> None:
    runtime = await reassigned(kafka)
    kept, read = restores("kept"), restores("read")
    settings = kafka.bus.settings
    writer = AIOKafkaProducer(**connection(settings))
    await writer.start()
    await writer.send_and_wait(settings.topic(STATE), None, b"s1", partition_of(b"s1", 2))
    await writer.stop()
    await assign(runtime)
    assert (restores("kept") - kept, restores("read") - read) == (1, 1)
    await kafka.send(call("s1", "Add", 1))
    assert [output.meter_wh for output in await kafka.outputs("s1", 2)] == [1, 1]


@pytest.mark.chaos
@pytest.mark.parametrize("kind", ["transactional"])
async def test_a_named_member_that_was_killed_gets_its_partitions_back_at_once(
    kind: str, settings: BusSettings
) -> None:
    """The session timeout is longer than anything waits."""
    named = settings.model_copy(update={"kafka_instance_id": "member-0", "kafka_session_timeout_s": 600.0})
    async with kafka_bench(kind, named) as kafka:
        for total in range(1, 4):
            child = await kafka.spawn()
            await kafka.send(*(call(station, "Add", 1) for station in STATIONS))
            await until(partial(all_seen, kafka, total), f"{total} of each station")
            child.kill()
            await child.wait()


def all_seen(kafka: KafkaBench, total: int) -> bool:
    return all(seen(kafka, station) >= counts(total) for station in STATIONS)


def seen(kafka: KafkaBench, station: str) -> set[int]:
    return {output.meter_wh or 0 for output in kafka.seen[station]}


def counts(total: int) -> set[int]:
    return set(range(1, total + 1))


@pytest.fixture
def long_rebalances(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust takes its time in rebalances: longer than a fetch that is under way waits for records."""
    build, seek = Recovery._build_highwaters, Consumer.perform_seek

    async def slow_build(*args: Any) -> None:
        await asyncio.sleep(FAUST_FETCH_S)
        await build(*args)

    async def slow_seek(consumer: Consumer) -> None:
        await seek(consumer)
        await asyncio.sleep(FAUST_FETCH_S)

    monkeypatch.setattr(Recovery, "_build_highwaters", slow_build)
    monkeypatch.setattr(Consumer, "perform_seek", slow_seek)


@pytest.mark.parametrize("kind", ["faust"])
async def test_what_is_fetched_in_a_rebalance_is_handled_after_it(
    kafka: KafkaBench, long_rebalances: None
) -> None:
    """Also where nothing is committed, and nothing follows that would show that something was left out."""
    first = await kafka.start()
    second = await kafka.start()
    await until(lambda: first.runtime.ready and second.runtime.ready, "both members to be ready")
    await second.stop()
    await add(kafka, 1)
    assert first.runtime.ready


@pytest.mark.parametrize("kind", ["faust"])
async def test_a_fetch_of_before_takes_nothing_from_what_is_taken_up(
    kafka: KafkaBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that Faust began while it restored the table ends when the member has gone to where it begins."""
    seek = Consumer.perform_seek
    fetched: list[Any] = []

    async def perform_seek(consumer: Consumer) -> None:
        await seek(consumer)
        active: Any = consumer._get_active_partitions()
        restoring = {*active, *(tp for tp in consumer.assignment() if consumer._is_changelog_tp(tp))}
        fetch = asyncio.ensure_future(consumer._getmany(restoring, FAUST_FETCH_S))
        await asyncio.sleep(0)
        restoring.clear()
        restoring.update(active)
        await kafka.send(*(call(station, "Add", 1) for station in STATIONS))
        fetched.append(await fetch)

    monkeypatch.setattr(Consumer, "perform_seek", perform_seek)
    await kafka.start()
    # Faust goes there too, before the member does.
    begun = len(fetched)
    assert begun >= 1
    for station in STATIONS:
        outputs = await kafka.outputs(station, begun)
        assert [output.meter_wh for output in outputs] == list(range(1, begun + 1))
    assert fetched == [{}] * begun


@pytest.mark.parametrize("kind", ["faust"])
async def test_many_records_that_wait_for_a_member_are_handled_without_a_second_start(
    kafka: KafkaBench, long_rebalances: None
) -> None:
    """More than wait for the member, so that Faust has more of them when it throws away what it has."""
    many = 2 * QUEUED_EVENTS // len(STATIONS)
    first = await kafka.start()
    await add(kafka, 1)
    await first.stop()
    for _ in range(many):
        await kafka.send(*(call(station, "Add", 1) for station in STATIONS))
    restarts = metrics.TASK_RESTARTS.labels(Tally.name)._value
    before = restarts.get()
    await kafka.start()
    for station in STATIONS:
        outputs = await kafka.outputs(station, 1 + many)
        assert [output.meter_wh for output in outputs] == list(range(1, 2 + many))
    assert restarts.get() == before
