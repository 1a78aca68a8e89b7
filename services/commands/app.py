"""Wiring of commands: the ledger and bulk commands, each on its own transactional runtime."""

import asyncio

from libs.bus.bus import connect
from libs.bus.runtime_transactional import TransactionalRuntime
from libs.runtime.service import Health, until_stopped
from services.commands.domain.bulk.processor import BulkProcessor
from services.commands.domain.ledger.processor import CommandsProcessor
from services.commands.settings import CommandsSettings


async def run(settings: CommandsSettings, health: Health, stop: asyncio.Event) -> None:
    """Route commands and record their fates until `stop`; then finish the transactions under way.

    The failure of one processor ends both.
    """
    async with connect(settings) as bus, asyncio.TaskGroup() as tasks:
        ledger = TransactionalRuntime(bus, CommandsProcessor())
        bulk = TransactionalRuntime(bus, BulkProcessor())
        health.ready("partitions", lambda: ledger.ready)
        health.ready("bulk", lambda: bulk.ready)
        tasks.create_task(until_stopped(ledger.run(stop), stop), name="commands")
        tasks.create_task(until_stopped(bulk.run(stop), stop), name="bulk")
