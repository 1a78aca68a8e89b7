"""Wiring of the sessions processor: the fold on the transactional runtime."""

import asyncio

from libs.bus.bus import connect
from libs.bus.runtime_transactional import TransactionalRuntime
from libs.runtime.service import Health
from services.sessions.domain.processor import SessionsProcessor
from services.sessions.settings import SessionsSettings


async def run(settings: SessionsSettings, health: Health, stop: asyncio.Event) -> None:
    """Fold transactions into sessions until `stop`; then finish the transactions under way."""
    async with connect(settings) as bus:
        runtime = TransactionalRuntime(bus, SessionsProcessor(settings.show_cost_every_s))
        health.ready("partitions", lambda: runtime.ready)
        health.ready("tables", lambda: runtime.tables.ready)
        await runtime.run(stop)
