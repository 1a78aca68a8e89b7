"""Fixtures of tests with edges: a namespace of topics of their own, and what the edges wrote to them."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from libs.bus.settings import BusSettings
from libs.devstack import Endpoints
from libs.events.ids import new_id
from tests.integration.bus import bus_settings, make_topics
from tests.integration.edge_process import Log, open_log


@pytest.fixture(scope="module")
def bus(stack: Endpoints) -> BusSettings:
    """Topics for the tests of one module."""
    settings = bus_settings(stack, f"edge{new_id()[:6]}", partitions=3, slots=4)
    asyncio.run(make_topics(settings))
    return settings


@pytest.fixture
async def log(bus: BusSettings) -> AsyncIterator[Log]:
    """What is written to the topics of `bus`."""
    async with open_log(bus) as log:
        yield log
