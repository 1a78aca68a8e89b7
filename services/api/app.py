"""Wiring of one API process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from libs.runtime.http import HttpBounds, serve_http
from libs.runtime.logging import get_logger
from libs.runtime.service import Health
from services.api.application import create_application
from services.api.parts import Running, connections_at_most, running_parts
from services.api.settings import ApiSettings

log = get_logger(__name__)


async def main(settings: ApiSettings, health: Health, stop: asyncio.Event) -> None:
    """Serve the API until `stop`. Raises if it cannot go on."""
    async with serving(settings, health) as running:
        log.info("api_listening", host=settings.api_host, port=running.port)
        await running.until(stop)


@asynccontextmanager
async def serving(settings: ApiSettings, health: Health) -> AsyncIterator[Running]:
    """The API, with its read models caught up, while the context is open.

    Raises ContractMismatchError or KafkaError if the bus is not usable, OSError if the port is taken.
    """
    async with AsyncExitStack() as stack:
        parts = await stack.enter_async_context(running_parts(settings, health, "api"))
        port = await stack.enter_async_context(
            serve_http(
                create_application(parts.context, health),
                settings.api_host,
                settings.api_port,
                HttpBounds(
                    request_s=settings.api_request_s,
                    half_open=connections_at_most(settings.api_half_open),
                    connections=connections_at_most(settings.api_connections),
                ),
                proxies=settings.trusted_proxies,
            )
        )
        # Before the server waits for open requests to end.
        stack.callback(parts.close)
        yield Running(port, parts.task)
