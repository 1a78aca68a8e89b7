"""The runtimes when processes are killed or frozen and brokers go away."""

import asyncio
import os
import random
import signal
from collections.abc import Callable

import pytest

from libs.devstack import Endpoints, Stack
from tests.integration.bus import bus_settings, make_topics
from tests.integration.runtimes.bench import KafkaBench, kafka_bench
from tests.integration.runtimes.tally import CONTRACT, call
from tests.patience import until

ROUNDS = int(os.environ.get("VOLTBUS_CHAOS_ROUNDS", "1"))
STATIONS = [f"s{number}" for number in range(8)]
CALLS = 150


def seen(kafka: KafkaBench) -> int:
    return sum(len({output.event_id for output in outputs}) for outputs in kafka.seen.values())


async def send_round(kafka: KafkaBench) -> None:
    for _ in range(CALLS):
        await kafka.send(*(call(station, "Add", 1) for station in STATIONS))


async def all_seen(kafka: KafkaBench, calls: int) -> None:
    await until(lambda: seen(kafka) >= calls * len(STATIONS), f"{calls} calls of each station to take effect")


def check_nothing_lost_or_counted_twice(kafka: KafkaBench, calls: int) -> None:
    """Each call led to its output, in order, and the counts, which come from state, have no gap and no repeat."""
    for station in STATIONS:
        first_seen = {output.event_id: output for output in reversed(kafka.seen[station])}
        assert sorted(output.meter_wh or 0 for output in first_seen.values()) == list(range(1, calls + 1))
        for output in kafka.seen[station]:
            assert output == first_seen[output.event_id], "what is repeated is the same"


def check_exactly_once(kafka: KafkaBench, calls: int) -> None:
    for station in STATIONS:
        assert [output.meter_wh for output in kafka.seen[station]] == list(range(1, calls + 1))


async def killed_rounds(kafka: KafkaBench) -> None:
    dice = random.Random(f"{kafka.kind}-{ROUNDS}")
    child = await kafka.spawn()
    for number in range(ROUNDS):
        sending = asyncio.create_task(send_round(kafka))
        target = (number + dice.uniform(0.1, 0.8)) * CALLS * len(STATIONS)
        await until(lambda goal=target: seen(kafka) >= goal, "the flow to be in its middle")  # type: ignore[misc]
        child.kill()
        await child.wait()
        child = await kafka.spawn()
        await sending
    await all_seen(kafka, CALLS * ROUNDS)


@pytest.mark.chaos
@pytest.mark.guarantee("nothing-lost")
@pytest.mark.guarantee("state-once")
@pytest.mark.guarantee("same-ids")
async def test_killed_in_mid_flow(kafka: KafkaBench) -> None:
    await killed_rounds(kafka)
    check_nothing_lost_or_counted_twice(kafka, CALLS * ROUNDS)
    if kafka.kind == "transactional":
        check_exactly_once(kafka, CALLS * ROUNDS)


@pytest.mark.chaos
@pytest.mark.guarantee("sharing")
async def test_a_killed_members_partitions_are_taken_over(kafka: KafkaBench) -> None:
    await kafka.start()
    child = await kafka.spawn()
    await send_round(kafka)
    await all_seen(kafka, CALLS)
    child.kill()
    await send_round(kafka)
    await all_seen(kafka, 2 * CALLS)
    check_nothing_lost_or_counted_twice(kafka, 2 * CALLS)


@pytest.mark.chaos
@pytest.mark.guarantee("fencing")
async def test_a_frozen_member_wakes_up_after_its_partitions_moved(kafka: KafkaBench) -> None:
    zombie = await kafka.spawn()
    sending = asyncio.create_task(send_round(kafka))
    await until(lambda: seen(kafka) > CALLS, "the flow to be in its middle")
    zombie.send_signal(signal.SIGSTOP)
    await kafka.start()
    await sending
    await all_seen(kafka, CALLS)
    zombie.send_signal(signal.SIGCONT)
    await send_round(kafka)
    await all_seen(kafka, 2 * CALLS)
    check_exactly_once(kafka, 2 * CALLS)
    assert zombie.returncode is None


@pytest.mark.chaos
@pytest.mark.guarantee("nothing-lost")
async def test_the_broker_restarts_in_mid_flow(
    kind: str, stack: Endpoints, private_stack: Callable[..., Stack], namespace: str
) -> None:
    own = await asyncio.to_thread(private_stack, registry=False, clickhouse=False)
    settings = bus_settings(own.endpoints, namespace, registry_url=stack.registry_url)
    await make_topics(settings, CONTRACT)
    async with kafka_bench(kind, settings) as kafka:
        await kafka.start()
        sending = asyncio.create_task(send_round(kafka))
        await until(lambda: seen(kafka) > CALLS, "the flow to be in its middle")
        await asyncio.to_thread(own.brokers[0].kill)
        await asyncio.to_thread(own.brokers[0].restart)
        await sending
        await all_seen(kafka, CALLS)
        check_nothing_lost_or_counted_twice(kafka, CALLS)
        if kind == "transactional":
            check_exactly_once(kafka, CALLS)
