"""Wiring of the command ledger: the fold on the transactional runtime."""

import asyncio

from libs.bus.bus import connect
from libs.bus.runtime_transactional import TransactionalRuntime
from libs.runtime.service import Health
from services.commands.domain.processor import CommandsProcessor
from services.commands.settings import CommandsSettings


async def run(settings: CommandsSettings, health: Health, stop: asyncio.Event) -> None:
    """Route commands and record their fates until `stop`; then finish the transactions under way."""
    async with connect(settings) as bus:
        runtime = TransactionalRuntime(bus, CommandsProcessor())
        health.ready("partitions", lambda: runtime.ready)
        await runtime.run(stop)
