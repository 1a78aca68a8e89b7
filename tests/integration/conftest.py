"""Fixtures of tests with edges: a namespace of topics of their own, and what the edges wrote to them."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from libs.bus.settings import BusSettings
from libs.devstack import Endpoints
from libs.events.ids import new_id
from tests.integration.bus import bus_settings, drop_topics, make_topics
from tests.integration.edge_process import EdgeProcess, Log, open_log
from tests.patience import until


@pytest.fixture(scope="module")
def bus(stack: Endpoints) -> Iterator[BusSettings]:
    """Topics for the tests of one module."""
    settings = bus_settings(stack, f"edge{new_id()[:6]}", partitions=3, slots=4)
    asyncio.run(make_topics(settings))
    yield settings
    asyncio.run(drop_topics(settings))


@pytest.fixture
async def log(bus: BusSettings) -> AsyncIterator[Log]:
    """What is written to the topics of `bus`."""
    async with open_log(bus) as log:
        yield log


@pytest.fixture(scope="module")
def process(bus: BusSettings) -> Iterator[EdgeProcess]:
    """One edge for a module's tests that neither stop it nor want it otherwise, in a slot that no other takes."""
    process = EdgeProcess(bus, slot=3)
    process.launch()
    try:
        asyncio.run(until(process.is_ready, "the edge is ready"))
        yield process
    finally:
        asyncio.run(process.stop())
