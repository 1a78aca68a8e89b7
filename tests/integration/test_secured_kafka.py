"""Kafka with an authoriser: each service works with just its rights, and others' topics refuse it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from libs.bus.access import apply_rights
from libs.bus.admin import apply_contract, rewind, wanted_topics
from libs.bus.bus import connect
from libs.bus.connection import connection
from libs.bus.errors import ContractMismatchError
from libs.bus.reading import read_to_end
from libs.bus.rights import DEPLOY, Right, rights
from libs.bus.settings import BusSettings
from libs.clickhouse.client import ClickHouseClient
from libs.clickhouse.settings import ClickHouseSettings
from libs.devstack import Endpoints, packages
from libs.devstack.endpoints import free_ports
from libs.events.contract import load_contract
from tests.integration.certificates import Authority
from tests.integration.edge_process import BOOT_16, EdgeProcess, charger, stamp
from tests.integration.secured import ADMIN, SecuredBroker, secured_registry
from tests.integration.service_process import ServiceProcess
from tests.patience import WAIT_S, until

pytestmark = pytest.mark.skipif(not packages.is_supported(), reason="needs the embedded Kafka")

CONTRACT = load_contract()
NAMESPACE = "sec"
PRINCIPALS = sorted({right.principal for right in rights(BusSettings(), CONTRACT)})
STATION = "S-1"
KEY = "an-operators-key-0123456789"
SEALING = "shared by the API and the edge"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    folder = tmp_path_factory.mktemp("secured")
    broker = SecuredBroker(folder, Authority(folder), PRINCIPALS)
    try:
        broker.start(120)
        yield broker
    finally:
        broker.kill()


class World:
    """The contract on the secured broker, and the rights of everybody."""

    def __init__(self, broker: SecuredBroker, stack: Endpoints) -> None:
        self.broker = broker
        self.where: dict[str, Any] = {
            "registry_url": stack.registry_url,
            "namespace": NAMESPACE,
            "partitions": 2,
            "slots": 1,
        }
        self.rights = rights(self.settings(ADMIN), CONTRACT)

    def settings(self, principal: str) -> BusSettings:
        return self.broker.as_principal(principal, **self.where)

    def topics(self, principal: str, *operations: str) -> set[str]:
        """Kafka's names of the topics on which the principal may do one of these."""
        return {
            right.name
            for right in self.rights
            if right.principal == principal
            and right.kind == "topic"
            and not right.prefixed
            and right.operation in operations
        }


@pytest.fixture(scope="module")
def world(broker: SecuredBroker, stack: Endpoints) -> World:
    world = World(broker, stack)

    async def deploy() -> None:
        with pytest.raises(ContractMismatchError, match="Authorization failed"):
            await apply_contract(world.settings(DEPLOY))  # nobody has any rights yet
        await apply_rights(world.settings(ADMIN), world.rights)
        await apply_contract(world.settings(DEPLOY))

    asyncio.run(deploy())
    return world


async def test_lists_are_applied_once_and_what_is_not_wanted_any_more_is_taken_away(world: World) -> None:
    admin = world.settings(ADMIN)
    again = await apply_rights(admin, world.rights)
    assert (again.added, again.removed) == (0, 0)
    former = Right("sink", "topic", f"{NAMESPACE}.registry.credentials", False, "Read")
    changed = await apply_rights(admin, [*world.rights, former])
    assert (changed.added, changed.removed) == (1, 0)
    changed = await apply_rights(admin, world.rights)
    assert (changed.added, changed.removed) == (0, 1)


async def test_services_cannot_change_the_lists(world: World) -> None:
    with pytest.raises(KafkaError):
        await apply_rights(world.settings("sessions"), world.rights)


async def test_who_does_not_prove_who_he_is_gets_nothing(world: World) -> None:
    impostor = world.broker.as_principal("sessions", kafka_sasl_password="guessed", **world.where)
    unencrypted = BusSettings(kafka=impostor.kafka, **world.where)
    strangers = Authority(world.broker.authority.ca.parent, "Stranger")
    elsewhere = world.settings("sessions").model_copy(update={"kafka_ssl_ca_file": strangers.ca})
    uninvited = world.broker.with_certificate(strangers.issue("sessions"), **world.where)
    for settings in (impostor, unencrypted, elsewhere, uninvited):
        consumer = AIOKafkaConsumer(**connection(settings), request_timeout_ms=5_000)
        try:
            with pytest.raises(KafkaError):
                await consumer.start()
        finally:
            await consumer.stop()


async def test_a_client_certificate_is_as_good_as_a_password(world: World) -> None:
    issued = world.broker.authority.issue("sessions")
    settings = world.broker.with_certificate(issued, **world.where)
    async with connect(settings) as bus:
        assert [record async for record in read_to_end(bus.settings, "state.sessions")] == []
    with pytest.raises(TopicAuthorizationFailedError):
        await read(settings, f"{NAMESPACE}.registry.credentials")


@pytest.mark.parametrize("proof", ["certificate", "password"])
def test_the_schema_registry_keeps_its_schemas_there_with_just_its_rights(
    world: World, tmp_path: Path, proof: Literal["certificate", "password"]
) -> None:
    registry = secured_registry(world.broker, tmp_path / "registry", proof)
    subject = f"{NAMESPACE}.by-{proof}-value"
    try:
        registry.start(120)
        added = httpx.post(
            f"{registry.url}/subjects/{subject}/versions",
            json={"schema": '{"type": "string"}'},
            timeout=WAIT_S,
        )
        assert added.status_code == 200, added.text
        if proof == "password":  # one start again is enough: what is kept does not hang on the proof
            registry.kill()
            registry.start(120)
        assert subject in httpx.get(f"{registry.url}/subjects", timeout=WAIT_S).json()
    finally:
        registry.kill()


@pytest.mark.parametrize("principal", PRINCIPALS)
async def test_others_topics_refuse_it(world: World, principal: str) -> None:
    settings = world.settings(principal)
    everything = {topic.name for topic in wanted_topics(settings, CONTRACT)}
    readable = world.topics(principal, "Read", "All")
    writable = world.topics(principal, "Write", "All")
    admin = AIOKafkaAdminClient(**connection(settings))
    await admin.start()
    try:
        seen = set(await admin.list_topics())
        assert seen & everything == (readable | writable) & everything
        assert principal == "registry" or seen <= everything
    finally:
        await admin.close()

    hidden = sorted(everything - readable - writable)
    producer = AIOKafkaProducer(**connection(settings), request_timeout_ms=10_000)
    await producer.start()
    try:
        for topic in [*sorted(readable - writable), *hidden[:3]]:
            with pytest.raises(TopicAuthorizationFailedError):
                await producer.send_and_wait(topic, b"forged", b"key")
    finally:
        await producer.stop()
    for topic in [*sorted(writable - readable), *hidden[:3]]:
        with pytest.raises(TopicAuthorizationFailedError):
            await read(settings, topic)


async def read(settings: BusSettings, topic: str) -> None:
    """Fetch from a topic's beginning, once."""
    consumer = AIOKafkaConsumer(**connection(settings), request_timeout_ms=10_000)
    await consumer.start()
    try:
        await consumer._client._wait_on_metadata(topic)
        place = TopicPartition(topic, 0)
        consumer.assign([place])
        consumer.seek(place, 0)
        await consumer.getmany(place, timeout_ms=5_000)
    finally:
        await consumer.stop()


async def test_each_service_works_with_just_its_rights(
    world: World, stack: Endpoints, capfd: pytest.CaptureFixture[str]
) -> None:
    async with platform(world, stack) as (edge, http):
        charge = asyncio.create_task(charge_once(edge))
        registered = await http.put("/tariffs/day", json={"currency": "EUR", "price_per_kwh_milli": 500_000})
        assert registered.status_code == 201, registered.text
        await charge

        async def session() -> Any:
            found = (await http.get("/sessions", params={"station_id": STATION})).json()["items"]
            return found and found[0]["status"] == "ended" and found[0]

        ended = await until(session, "the session is in ClickHouse")
        assert ended["energy_wh"] == 2_500

        async with charger(edge, STATION) as device:
            await device.call("BootNotification", BOOT_16)
            wish = {"action": "ClearCache", "payload": {}, "wait_s": 60}
            asked = asyncio.create_task(http.post(f"/stations/{STATION}/commands", json=wish))
            _, message_id, action, _ = await device.receive()
            assert action == "ClearCache"
            await device.send([3, message_id, {"status": "Accepted"}])
            assert (await asked).json()["status"] == "ACCEPTED"

        deploy = world.settings(DEPLOY)
        for topic in ("billing.cdrs", "telemetry.measurements", "state.telemetry-health", "stations.latest"):
            await until(partial(anything_in, deploy, topic), f"{topic} is written to")

    # What was refused to anybody would stand in the logs of all processes.
    assert "AuthorizationFailed" not in capfd.readouterr().err

    async def rewound() -> bool:
        # Kafka takes killed members for alive at first.
        with suppress(KafkaError):
            await rewind(deploy, "telemetry-measurements", ["ocpp.transactions"])
            return True
        return False

    await until(rewound, "the group is read from the beginning")


async def anything_in(settings: BusSettings, topic: str) -> bool:
    return bool([record async for record in read_to_end(settings, topic)])


async def charge_once(edge: EdgeProcess) -> None:
    async with charger(edge, STATION) as device:
        await device.call("BootNotification", BOOT_16)
        started = await device.call(
            "StartTransaction", {"connectorId": 1, "idTag": "card", "meterStart": 0, "timestamp": stamp()}
        )
        await device.call(
            "MeterValues",
            {
                "connectorId": 1,
                "transactionId": started["transactionId"],
                "meterValue": [{"timestamp": stamp(), "sampledValue": [{"value": "1000"}]}],
            },
        )
        await device.call(
            "StopTransaction",
            {"transactionId": started["transactionId"], "meterStop": 2500, "timestamp": stamp()},
        )


@asynccontextmanager
async def platform(world: World, stack: Endpoints) -> AsyncIterator[tuple[EdgeProcess, httpx.AsyncClient]]:
    """Every service as itself."""
    where = ClickHouseSettings(
        clickhouse_host=stack.clickhouse_host,
        clickhouse_port=stack.clickhouse_port,
        clickhouse_database=f"sec{secrets.token_hex(3)}",
    )
    database = where.model_dump()
    (port,) = free_ports(1)
    special: dict[str, dict[str, Any]] = {
        "api": {**database, "api_key": KEY, "api_port": port, "settle_s": 0, "secrets_key": SEALING},
        "sink": {**database, "sink_interval_ms": 100},
        "provisioning": {"certificate_checks": True},
    }
    names = [name for name in PRINCIPALS if name not in ("edge", "cli", "deploy", "downstream", "registry")]
    services = [ServiceProcess(name, world.settings(name), **special.get(name, {})) for name in names]
    edge = EdgeProcess(world.settings("edge"), secrets_key=SEALING)
    async with AsyncExitStack() as stop:
        stop.callback(partial(_drop, where))
        for service in services:
            service.start()
            stop.callback(service.kill)
        edge.launch()
        stop.push_async_callback(edge.stop)
        for service in services:
            await until(service.is_ready, f"{service.name} is ready")
        await until(edge.is_ready, "the edge is ready")
        yield (
            edge,
            await stop.enter_async_context(
                httpx.AsyncClient(
                    base_url=f"http://127.0.0.1:{port}/api/v1",
                    headers={"Authorization": f"Bearer {KEY}"},
                    timeout=WAIT_S,
                )
            ),
        )


def _drop(where: ClickHouseSettings) -> None:
    clickhouse = ClickHouseClient(where, database="default")
    clickhouse.execute(f"DROP DATABASE IF EXISTS {where.clickhouse_database}")
    clickhouse.close()
