"""kill -9 of each part in mid-flow: nothing is lost, nothing is doubled, every command has one fate."""

import asyncio
from collections.abc import Iterator

import pytest

from deploy.local.platform import Platform
from deploy.local.settings import on_free_ports
from libs.devstack.process import ServerProcess
from tests.chaos.harness import ROUNDS, SEED, Ledger

SERVICES = (
    "edge-0",
    "commands",
    "sessions",
    "plans",
    "telemetry",
    "load",
    "firmware",
    "provisioning",
    "projections",
    "sink",
)
SERVERS = ("registry", "clickhouse")


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    platform = Platform(on_free_ports(tmp_path_factory.mktemp("platform")))
    platform.start(print)
    yield Ledger(platform)
    platform.stop()


def part_of(ledger: Ledger, name: str) -> ServerProcess:
    part: ServerProcess = ledger.platform.services.get(name) or getattr(ledger.platform.stack, name)
    return part


@pytest.mark.chaos
@pytest.mark.parametrize("number", range(ROUNDS))
async def test_everything_but_the_broker_is_killed_in_one_round(ledger: Ledger, number: int) -> None:
    kills = [part_of(ledger, name).kill for name in (*SERVICES, *SERVERS)]
    await ledger.round(SEED + 100 * number + 70, *kills)


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize("victim", [*SERVICES, *SERVERS])
async def test_a_part_is_killed_twice(ledger: Ledger, victim: str, number: int) -> None:
    seed = SEED + 100 * number + (*SERVICES, *SERVERS).index(victim)
    await ledger.round(seed, *[part_of(ledger, victim).kill] * 2)


@pytest.mark.slow
@pytest.mark.chaos
async def test_one_of_three_brokers_is_killed_under_load(tmp_path_factory: pytest.TempPathFactory) -> None:
    platform = Platform(on_free_ports(tmp_path_factory.mktemp("three"), brokers=3))
    await asyncio.to_thread(platform.start, print)
    try:
        ledger = Ledger(platform)
        for number in range(ROUNDS):
            broker = platform.stack.brokers[number % 3]
            await ledger.round(SEED + 100 * number + 90, broker.kill)
    finally:
        platform.stop()
