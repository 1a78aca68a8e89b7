"""kill -9 of each part in mid-flow: nothing is lost, nothing is doubled, every command has one fate."""

import asyncio
from collections.abc import Iterator

import pytest

from deploy.local.platform import Platform
from deploy.local.settings import on_free_ports
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


@pytest.mark.chaos
@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize("victim", SERVICES)
async def test_a_service_is_killed(ledger: Ledger, victim: str, number: int) -> None:
    await ledger.round(
        SEED + 100 * number + SERVICES.index(victim), ledger.platform.services[victim].kill, times=2
    )


@pytest.mark.chaos
@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize("victim", SERVERS)
async def test_a_server_is_killed(ledger: Ledger, victim: str, number: int) -> None:
    part = getattr(ledger.platform.stack, victim)
    await ledger.round(SEED + 100 * number + 50 + SERVERS.index(victim), part.kill)


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
