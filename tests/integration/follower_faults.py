"""What goes wrong around followers: a registry that refuses, records that only it can explain, a task that ends."""

import asyncio
import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from aiokafka import AIOKafkaProducer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from libs.bus.bus import Bus
from libs.bus.connection import connection
from libs.bus.schemas import SchemaRegistry
from libs.bus.settings import BusSettings
from libs.runtime.http import serve_http
from tests.integration.runtimes.tally import STATIONS, registered


async def write_raw(settings: BusSettings, topic: str, *records: tuple[bytes, bytes | None]) -> None:
    """Keys and values, all to one partition."""
    producer = AIOKafkaProducer(**connection(settings))
    await producer.start()
    try:
        for key, value in records:
            await producer.send_and_wait(settings.topic(topic), value, key, partition=0)
    finally:
        await producer.stop()


class Registry:
    """The schema registry, which answers with `status` instead if that is set."""

    def __init__(self, url: str) -> None:
        self.status: int | None = None
        self.refused = 0
        self._http = httpx.AsyncClient(base_url=url.rstrip("/") + "/")

    async def answer(self, request: Request) -> Response:
        if self.status is not None:
            self.refused += 1
            return Response("{}", self.status)
        answer = await self._http.request(
            request.method, request.path_params["path"], content=await request.body(), headers=request.headers
        )
        return Response(answer.content, answer.status_code, media_type="application/json")


@asynccontextmanager
async def registry_before(settings: BusSettings) -> AsyncIterator[tuple[Registry, BusSettings]]:
    registry = Registry(settings.registry_url)
    app = Starlette(routes=[Route("/{path:path}", registry.answer, methods=["GET", "POST", "PUT"])])
    async with serve_http(app, "127.0.0.1", 0) as port:
        yield registry, settings.model_copy(update={"registry_url": f"http://127.0.0.1:{port}/"})


async def newer_record(bus: Bus, station: str, field: str = "colour") -> bytes:
    """A station as a newer version writes it, whose schema only the registry has."""
    schema = copy.deepcopy(bus.contract.value_schema(STATIONS))
    assert isinstance(schema, dict)
    schema["fields"].append({"name": field, "type": "string", "default": ""})
    async with SchemaRegistry(bus.settings) as registry:
        newer = await registry.register(f"{bus.settings.topic(STATIONS)}-value", schema)
    return (
        b"\0"
        + newer.schema_id.to_bytes(4, "big")
        + bus.codec.encode(STATIONS, registered(station))[5:]
        + b"\0"
    )


def end_follower(name: str) -> None:
    """Cancel the task of a follower, as nobody should."""
    (task,) = (task for task in asyncio.all_tasks() if task.get_name() == f"follow {name}")
    task.cancel()
