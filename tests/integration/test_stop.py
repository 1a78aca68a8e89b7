"""Services that are asked to end while everything that they need is gone."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from libs.bus.bus import connect
from libs.bus.producer import Producer
from libs.devstack import Endpoints
from libs.devstack.endpoints import free_ports
from services.sink.settings import SinkSettings
from tests.conftest import StackFactory
from tests.integration.service_process import ServiceProcess
from tests.integration.sink_process import Database, SinkProcess, new_platform
from tests.integration.test_sink import examples
from tests.patience import until

STOPPED_WITHIN_S = 25.0


def services(settings: SinkSettings) -> list[ServiceProcess]:
    """One of each kind: the edge, the API, a processor, several processors and a reader in a group."""
    (edge_port, api_port) = free_ports(2)
    where = {
        "clickhouse_host": settings.clickhouse_host,
        "clickhouse_port": settings.clickhouse_port,
        "clickhouse_database": settings.clickhouse_database,
    }
    return [
        ServiceProcess(
            "edge", settings, edge_port=edge_port, transaction_key="only for these tests", drain_s=5
        ),
        ServiceProcess("api", settings, **where, api_port=api_port, api_key="only-for-these-tests"),
        ServiceProcess("sessions", settings),
        ServiceProcess("provisioning", settings, certificate_checks=True),
    ]


async def test_every_service_ends_in_time_and_nothing_is_lost_when_kafka_and_clickhouse_are_gone(
    stack: Endpoints, private_stack: StackFactory, namespace: str
) -> None:
    servers = private_stack(registry=False)
    assert servers.clickhouse is not None
    settings = await new_platform(replace(servers.endpoints, registry_url=stack.registry_url), namespace)
    (broker,) = servers.brokers
    sink, others = SinkProcess(settings), services(settings)
    await sink.start()
    for service in others:
        service.start()
    try:
        await until(sink.is_ready, "the sink is ready")
        for service in others:
            await until(lambda service=service: asyncio.to_thread(service.is_ready), service.name)  # type: ignore[misc]
        async with connect(settings) as bus:
            producer = Producer(bus, "test", timeout_s=5)
            await producer.start()
            await asyncio.to_thread(servers.clickhouse.kill)
            for topic, record in examples():
                await producer.send_and_wait(topic, getattr(record, "station_id", "k"), record)
            await asyncio.to_thread(broker.kill)
            await producer.stop()
        begun = time.monotonic()
        statuses = await asyncio.gather(sink.end(), *(asyncio.to_thread(each.stop) for each in others))
        assert time.monotonic() - begun < STOPPED_WITHIN_S
        assert statuses == [0] * 5

        for server in (broker, servers.clickhouse):
            await asyncio.to_thread(server.start)
        database = Database(settings)
        await sink.start()
        written = sum(topic == "ocpp.transactions" for topic, _ in examples())
        await until(lambda: has(database, "ocpp_transactions", written), "the sink went on")
        assert await sink.end() == 0
    finally:
        if sink.running:
            await sink.end()
        for service in others:
            service.kill()


async def has(database: Database, table: str, rows: int) -> bool:
    found = await database.value(f"SELECT count() FROM {table}")
    assert found is None or found <= rows
    return bool(found == rows)
