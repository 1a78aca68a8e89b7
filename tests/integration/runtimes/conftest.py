"""Fixtures of the conformance suite."""

from collections.abc import AsyncIterator

import pytest

from libs.bus.guarantees import GUARANTEES, RUNTIMES
from libs.bus.settings import BusSettings
from libs.devstack import Endpoints
from tests.integration.bus import SESSION_TIMEOUT_S, bus_settings, make_topics
from tests.integration.runtimes.bench import Bench, KafkaBench, MemoryBench, drop_contract, kafka_bench
from tests.integration.runtimes.tally import CONTRACT

PATIENT_TIMEOUT_S = 6.0
"""How long a member may be silent in tests that kill nobody: a busy machine is no death."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "guarantee(name): runs with every runtime that gives this guarantee")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with every runtime that gives the guarantee that it is marked with."""
    marks = list(metafunc.definition.iter_markers("guarantee"))
    if marks:
        kinds = [
            kind for kind in RUNTIMES if all(kind in GUARANTEES[mark.args[0]].holds_for() for mark in marks)
        ]
        if not {"bench", "bench_before_start"} & set(metafunc.fixturenames):
            kinds = [kind for kind in kinds if kind != "memory"]
        metafunc.parametrize("kind", kinds)


@pytest.fixture
async def settings(
    request: pytest.FixtureRequest, stack: Endpoints, namespace: str
) -> AsyncIterator[BusSettings]:
    """Settings of a namespace in which the contract is applied."""
    # Where nobody is killed, nobody is taken for dead because the machine is busy.
    patient = request.node.get_closest_marker("chaos") is None
    timeout_s = PATIENT_TIMEOUT_S if patient else SESSION_TIMEOUT_S
    settings = bus_settings(stack, namespace, slots=3, kafka_session_timeout_s=timeout_s)
    await make_topics(settings, CONTRACT)
    yield settings
    await drop_contract(settings)


@pytest.fixture
async def kafka(kind: str, settings: BusSettings) -> AsyncIterator[KafkaBench]:
    """A bench on Kafka without members."""
    async with kafka_bench(kind, settings) as bench:
        yield bench


@pytest.fixture
async def bench_before_start(kind: str, settings: BusSettings) -> AsyncIterator[Bench]:
    """A bench that nothing runs on yet if it is on Kafka."""
    if kind == "memory":
        yield MemoryBench()
        return
    async with kafka_bench(kind, settings) as on_kafka:
        yield on_kafka


@pytest.fixture
async def bench(kind: str, settings: BusSettings) -> AsyncIterator[Bench]:
    """A bench with one member, on Kafka or in memory."""
    if kind == "memory":
        yield MemoryBench()
        return
    async with kafka_bench(kind, settings) as on_kafka:
        await on_kafka.start()
        yield on_kafka
