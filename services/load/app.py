"""Wiring of load management: observer and planner, each on its own transactional runtime."""

import asyncio

from libs.bus.bus import connect
from libs.bus.runtime_transactional import TransactionalRuntime
from libs.runtime.service import Health, until_stopped
from services.load.domain.sites.processor import LoadProcessor
from services.load.domain.stations.processor import LoadObserver
from services.load.settings import LoadSettings


async def run(settings: LoadSettings, health: Health, stop: asyncio.Event) -> None:
    """Observe EVSEs and plan sites until `stop`; then finish the transactions under way.

    The failure of one processor ends both.
    """
    async with connect(settings) as bus, asyncio.TaskGroup() as tasks:
        observer = TransactionalRuntime(bus, LoadObserver())
        planner = TransactionalRuntime(bus, LoadProcessor())
        health.ready("observer", lambda: observer.ready)
        health.ready("planner", lambda: planner.ready)
        health.ready("tables", lambda: observer.tables.ready and planner.tables.ready)
        tasks.create_task(until_stopped(observer.run(stop), stop), name="load-observer")
        tasks.create_task(until_stopped(planner.run(stop), stop), name="load")
