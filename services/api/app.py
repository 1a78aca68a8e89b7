"""Wiring of one API process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import msgspec

from libs.runtime import descriptors
from libs.runtime.http import HttpBounds, serve_http
from libs.runtime.logging import get_logger
from libs.runtime.service import Health
from services.api.application import create_application
from services.api.parts import running_parts
from services.api.settings import ApiSettings

log = get_logger(__name__)

_OTHER_DESCRIPTORS: Final = 512


class Running(msgspec.Struct, frozen=True):
    """A serving API. `task` ends only by an error."""

    port: int
    task: asyncio.Task[None]


async def main(settings: ApiSettings, health: Health, stop: asyncio.Event) -> None:
    """Serve the API until `stop`. Raises if it cannot go on."""
    async with serving(settings, health) as running:
        log.info("api_listening", host=settings.api_host, port=running.port)
        stopped = asyncio.create_task(stop.wait(), name="stop")
        await asyncio.wait({stopped, running.task}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if running.task.done():
            running.task.result()


@asynccontextmanager
async def serving(settings: ApiSettings, health: Health) -> AsyncIterator[Running]:
    """The API, with its read models caught up, while the context is open.

    Raises ContractMismatchError or KafkaError if the bus is not usable, OSError if the port is taken.
    """
    async with AsyncExitStack() as stack:
        parts = await stack.enter_async_context(running_parts(settings, health))
        port = await stack.enter_async_context(
            serve_http(
                create_application(parts.context, health),
                settings.api_host,
                settings.api_port,
                _bounds(settings),
                proxies=settings.trusted_proxies,
            )
        )
        # Before the server waits for open requests to end.
        stack.callback(parts.close)
        yield Running(port, parts.task)


def _bounds(settings: ApiSettings) -> HttpBounds:
    """Some descriptors are left for Kafka, ClickHouse, and whoever asks for health and metrics."""
    room = max(1, descriptors.limit() - _OTHER_DESCRIPTORS)
    return HttpBounds(
        request_s=settings.api_request_s,
        half_open=min(settings.api_half_open, room),
        connections=min(settings.api_connections, room),
    )
