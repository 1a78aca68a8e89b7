"""Wiring of the ledger of plans: the fold on the transactional runtime."""

import asyncio

from libs.bus.bus import connect
from libs.bus.runtime_transactional import TransactionalRuntime
from libs.runtime.service import Health
from services.plans.domain.processor import PlansProcessor
from services.plans.settings import PlansSettings


async def run(settings: PlansSettings, health: Health, stop: asyncio.Event) -> None:
    """Answer what bundles cover and charge months until `stop`; then finish the transactions under way."""
    async with connect(settings) as bus:
        runtime = TransactionalRuntime(bus, PlansProcessor())
        health.ready("partitions", lambda: runtime.ready)
        health.ready("tables", lambda: runtime.tables.ready)
        await runtime.run(stop)
