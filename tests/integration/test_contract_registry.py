"""The contract in a real registry and a real Kafka."""

import copy
from collections.abc import AsyncIterator

import msgspec
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import MessageSizeTooLargeError

from libs.bus.admin import apply_contract, delete_topics, topics_known
from libs.bus.bus import connect
from libs.bus.connection import connection
from libs.bus.errors import BusUnavailableError, ContractMismatchError
from libs.bus.schemas import SCHEMAS_TOPIC, SchemaRegistry
from libs.bus.settings import BusSettings
from libs.devstack import Endpoints
from libs.events.codec import CodecError
from libs.events.contract import Contract, load_contract
from tests.integration.bus import bus_settings

CONTRACT = load_contract()


@pytest.fixture
async def settings(stack: Endpoints, namespace: str) -> AsyncIterator[BusSettings]:
    bus = bus_settings(stack, namespace)
    yield bus
    await delete_topics(bus, list(CONTRACT.topics))


def changed(topic: str, field: dict[str, object]) -> Contract:
    """The contract with one more field in the first record of `topic`."""
    name = CONTRACT.topics[topic].schemas[0]
    schema = copy.deepcopy(CONTRACT.schemas[name])
    schema["fields"].append(field)
    return msgspec.structs.replace(CONTRACT, schemas={**CONTRACT.schemas, name: schema})


async def test_applying_twice_changes_nothing(settings: BusSettings) -> None:
    first = await apply_contract(settings)
    again = await apply_contract(settings)
    assert f"{settings.namespace}.ocpp.transactions" in first.created
    assert f"{settings.namespace}.ocpp.transactions.dead" in first.created
    assert again.created == ()
    assert again.schema_ids == first.schema_ids


async def test_a_service_does_not_start_before_its_contract_is_applied(settings: BusSettings) -> None:
    with pytest.raises(ContractMismatchError, match="voltbus contract apply"):
        async with connect(settings):
            pass


async def test_only_compatible_changes_are_registered(settings: BusSettings) -> None:
    await apply_contract(settings)
    compatible = changed("billing.cdrs", {"name": "note", "type": "string", "default": ""})
    applied = await apply_contract(settings, compatible)
    incompatible = changed("billing.cdrs", {"name": "needed", "type": "string"})
    with pytest.raises(ContractMismatchError, match=r"billing\.cdrs"):
        await apply_contract(settings, incompatible)
    async with SchemaRegistry(settings) as registry:
        subject = f"{settings.namespace}.billing.cdrs-value"
        with pytest.raises(ContractMismatchError, match="refused by the schema registry"):
            await registry.register(subject, incompatible.value_schema("billing.cdrs"))
        assert await registry.schema_by_id(applied.schema_ids["billing.cdrs"]) == compatible.value_schema(
            "billing.cdrs"
        )


async def test_a_schema_that_kafka_does_not_take_is_an_error(settings: BusSettings) -> None:
    admin = AIOKafkaAdminClient(**connection(settings))
    await admin.start()
    try:
        small = {"cleanup.policy": "compact", "max.message.bytes": "200"}
        await admin.create_topics([NewTopic(settings.topic(SCHEMAS_TOPIC), 1, 1, topic_configs=small)])
        await topics_known(admin, {settings.topic(SCHEMAS_TOPIC): 1})
    finally:
        await admin.close()
    with pytest.raises(MessageSizeTooLargeError):
        await apply_contract(settings)


async def test_a_schema_that_is_applied_later_is_learnt_without_the_registry(settings: BusSettings) -> None:
    await apply_contract(settings)
    deaf = settings.model_copy(update={"registry_url": "http://127.0.0.1:1"})
    async with connect(deaf) as bus:
        newer = changed("billing.cdrs", {"name": "note", "type": "string", "default": ""})
        schema_id = (await apply_contract(settings, newer)).schema_ids["billing.cdrs"]
        await bus.fetch_schema(schema_id)
        assert bus.codec.knows(schema_id)
        with pytest.raises(BusUnavailableError):
            await bus.fetch_schema(0x7FFFFFFF)


async def test_a_better_text_is_no_new_schema(settings: BusSettings) -> None:
    first = await apply_contract(settings)
    schema = copy.deepcopy(CONTRACT.schemas["CdrIssued"])
    schema["doc"] = schema["fields"][0]["doc"] = "Said better."
    reworded = msgspec.structs.replace(CONTRACT, schemas={**CONTRACT.schemas, "CdrIssued": schema})
    assert (await apply_contract(settings, reworded)).schema_ids == first.schema_ids
    async with connect(settings, reworded):
        pass


async def test_a_changed_partition_count_is_refused(settings: BusSettings) -> None:
    await apply_contract(settings)
    more = settings.model_copy(update={"partitions": 3})
    with pytest.raises(ContractMismatchError, match="2 partitions, the contract asks for 3"):
        await apply_contract(more)


async def test_a_schema_that_only_the_registry_knows_is_learnt(settings: BusSettings) -> None:
    await apply_contract(settings)
    async with connect(settings) as bus, SchemaRegistry(settings) as registry:
        newer = changed("billing.cdrs", {"name": "note", "type": "string", "default": ""})
        schema = newer.value_schema("billing.cdrs")
        registered = await registry.register(f"{settings.namespace}.billing.cdrs-value", schema)
        with pytest.raises(CodecError):
            bus.codec.decode(b"\0" + registered.schema_id.to_bytes(4, "big"))
        with pytest.raises(CodecError, match="CdrIssued"):  # known now, but the value is cut short
            await bus.decode(b"\0" + registered.schema_id.to_bytes(4, "big") + b"\0")
        with pytest.raises(CodecError, match="is not registered"):
            await bus.decode(b"\0\x7f\xff\xff\xffx")
