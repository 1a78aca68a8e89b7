"""The registry and ClickHouse behind TLS that asks for client certificates; the registry also wants a password."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from libs.bus.errors import BusUnavailableError
from libs.bus.schemas import SchemaRegistry
from libs.bus.settings import BusSettings
from libs.clickhouse.client import ClickHouseClient, ClickHouseUnavailableError
from libs.clickhouse.settings import ClickHouseSettings
from libs.devstack import Endpoints
from libs.devstack.endpoints import HOST
from tests.integration.certificates import Authority, Issued

SCHEMA = {"type": "record", "name": "Example", "fields": []}
REFUSAL = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def client(authority: Authority) -> Issued:
    return authority.issue("sink")


@asynccontextmanager
async def guarded(authority: Authority, target: int, password: bytes = b"") -> AsyncIterator[int]:
    """The server at a loopback port behind TLS; the port. `password`: what a request's head has to hold."""
    issued = authority.issue(HOST, server=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(issued.certificate, issued.key)

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(1 << 16)
        if password not in first:
            writer.write(REFUSAL)
            writer.close()
            return
        inner_reader, inner_writer = await asyncio.open_connection(HOST, target)
        inner_writer.write(first)
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    async with await asyncio.start_server(carry, HOST, 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(1 << 16):
            writer.write(chunk)
            await writer.drain()
    writer.close()


async def test_the_registry(stack: Endpoints, authority: Authority, client: Issued, namespace: str) -> None:
    basic = b"Basic " + b64encode(b"voltbus:of-the-registry")
    target = int(stack.registry_url.split(":")[2].split("/")[0])
    async with guarded(authority, target, basic) as port:
        right: dict[str, Any] = {
            "registry_url": f"https://{HOST}:{port}/apis/ccompat/v7",
            "registry_username": "voltbus",
            "registry_password": "of-the-registry",
            "registry_ssl_ca_file": authority.ca,
            "registry_ssl_cert_file": client.certificate,
            "registry_ssl_key_file": client.key,
        }
        async with SchemaRegistry(BusSettings(**right)) as registry:
            made = await registry.register(f"{namespace}-value", SCHEMA)
            assert await registry.schema_by_id(made.schema_id) == SCHEMA
        for wrong in (
            {"registry_password": "guessed"},
            {"registry_ssl_ca_file": None},
            {"registry_ssl_cert_file": None, "registry_ssl_key_file": None},
        ):
            async with SchemaRegistry(BusSettings(**right | wrong), attempts=1) as registry:
                with pytest.raises(BusUnavailableError):
                    await registry.schema_by_id(made.schema_id)


async def test_clickhouse(stack: Endpoints, authority: Authority, client: Issued) -> None:
    async with guarded(authority, stack.clickhouse_port) as port:
        right: dict[str, Any] = {
            "clickhouse_host": HOST,
            "clickhouse_port": port,
            "clickhouse_database": "default",
            "clickhouse_secure": True,
            "clickhouse_ssl_ca_file": authority.ca,
            "clickhouse_ssl_cert_file": client.certificate,
            "clickhouse_ssl_key_file": client.key,
        }

        def one(given: dict[str, Any]) -> Any:
            connection = ClickHouseClient(ClickHouseSettings(**given))
            try:
                return connection.rows("SELECT 1 AS one")
            finally:
                connection.close()

        assert await asyncio.to_thread(one, right) == [{"one": 1}]
        for wrong in (
            {"clickhouse_ssl_ca_file": None},
            {"clickhouse_ssl_cert_file": None, "clickhouse_ssl_key_file": None},
            {"clickhouse_ssl_ca_file": None, "clickhouse_ssl_cert_file": None, "clickhouse_secure": False}
            | {"clickhouse_ssl_key_file": None},
        ):
            with pytest.raises(ClickHouseUnavailableError):
                await asyncio.to_thread(one, right | wrong)
