"""Wiring of one console process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from libs.runtime.http import HttpBounds, serve_http
from libs.runtime.logging import get_logger
from libs.runtime.service import Health
from services.api.parts import Running, connections_at_most, running_parts
from services.console.application import create_application
from services.console.settings import ConsoleSettings

log = get_logger(__name__)


async def main(settings: ConsoleSettings, health: Health, stop: asyncio.Event) -> None:
    """Serve the console until `stop`. Raises if it cannot go on."""
    async with serving(settings, health) as running:
        log.info("console_listening", host=settings.console_host, port=running.port)
        await running.until(stop)


@asynccontextmanager
async def serving(settings: ConsoleSettings, health: Health) -> AsyncIterator[Running]:
    """The console, with its read models caught up, while the context is open.

    Raises ContractMismatchError or KafkaError if the bus is not usable, OSError if the port is taken.
    """
    async with AsyncExitStack() as stack:
        parts = await stack.enter_async_context(running_parts(settings, health, "console"))
        port = await stack.enter_async_context(
            serve_http(
                create_application(parts.context, health),
                settings.console_host,
                settings.console_port,
                HttpBounds(connections=connections_at_most(settings.console_connections)),
                proxies=settings.console_proxies,
            )
        )
        # Before the server waits for open requests to end.
        stack.callback(parts.close)
        yield Running(port, parts.task)
