"""A connection to the platform's bus: settings and the codec with the schema ids in force."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition

from libs.bus.errors import BusUnavailableError, ContractMismatchError
from libs.bus.schemas import SCHEMAS_TOPIC, RegisteredSchema, SchemaRegistry
from libs.bus.settings import BusSettings
from libs.events.codec import Codec, CodecError, UnknownSchemaIdError
from libs.events.contract import Contract, Topic, dead_letter_topic, load_contract
from libs.events.record import Record
from libs.runtime.logging import get_logger

log = get_logger(__name__)


class Bus:
    """What every producer and consumer shares. Make one with `connect`."""

    def __init__(
        self, settings: BusSettings, contract: Contract, codec: Codec, registry: SchemaRegistry
    ) -> None:
        self.settings = settings
        self.contract = contract
        self.codec = codec
        self._registry = registry
        self._unknown_ids: dict[int, CodecError] = {}

    async def decode(self, value: bytes) -> Record:
        """The record in `value`; a schema id seen for the first time is asked of the registry.

        Raises CodecError if the value cannot be read, also when the registry cannot be asked.
        """
        try:
            return self.codec.decode(value)
        except UnknownSchemaIdError as error:
            try:
                await self.learn(error.schema_id)
            except BusUnavailableError as unavailable:
                raise CodecError(f"{error} here and {unavailable}") from unavailable
            return self.codec.decode(value)

    async def learn(self, schema_id: int) -> None:
        """Ask the registry for the schema with this id, so that `codec` can read its values.

        Raises CodecError if there is none or it holds no records, BusUnavailableError if the registry cannot be
        asked.
        """
        if schema_id in self._unknown_ids:
            raise self._unknown_ids[schema_id]
        schema = await self._registry.schema_by_id(schema_id)
        if schema is None:
            # Remembered, so that a flood of such values does not become a flood of requests.
            self._unknown_ids[schema_id] = CodecError(f"schema id {schema_id} is not registered")
            raise self._unknown_ids[schema_id]
        self.codec.learn(schema_id, schema)
        log.info("schema_learnt", schema_id=schema_id)


def contract_topics(contract: Contract) -> list[tuple[str, Topic]]:
    """Every topic that has values by the contract: its topics with schemas, and their dead-letter topics."""
    named = [(topic.name, topic) for topic in contract.topics.values() if topic.schemas]
    return named + [(dead_letter_topic(name), topic) for name, topic in named if topic.dead_letters]


@asynccontextmanager
async def connect(settings: BusSettings, contract: Contract | None = None) -> AsyncIterator[Bus]:
    """A Bus with the schema ids read from Kafka; `contract` is the platform's unless another is given.

    Raises ContractMismatchError if this version's contract has not been applied there
    (`voltbus contract apply`), and aiokafka's KafkaConnectionError if Kafka does not answer.
    """
    contract = contract or load_contract()
    registered = await _read_schemas(settings)
    ids = {
        (schema.subject, json.dumps(schema.schema, sort_keys=True)): schema.schema_id for schema in registered
    }
    write_ids: dict[str, int] = {}
    missing = []
    for name, _ in contract_topics(contract):
        wanted = (f"{settings.topic(name)}-value", json.dumps(contract.value_schema(name), sort_keys=True))
        if wanted in ids:
            write_ids[name] = ids[wanted]
        else:
            missing.append(name)
    if missing:
        raise ContractMismatchError(
            f"the contract is not applied for {', '.join(missing[:5])}: run `voltbus contract apply`"
        )
    codec = Codec(contract, write_ids, {schema.schema_id: schema.schema for schema in registered})
    async with SchemaRegistry(settings.registry_url, attempts=2) as registry:
        yield Bus(settings, contract, codec, registry)


async def _read_schemas(settings: BusSettings) -> list[RegisteredSchema]:
    topic = settings.topic(SCHEMAS_TOPIC)
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka, auto_offset_reset="earliest")
    await consumer.start()
    try:
        if topic not in await consumer.topics():
            raise ContractMismatchError("the contract is not applied: run `voltbus contract apply`")
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        found: dict[bytes, RegisteredSchema] = {}
        while await consumer.position(partition) < end:
            for messages in (await consumer.getmany(timeout_ms=500)).values():
                for message in messages:
                    body = json.loads(message.value)
                    found[message.key] = RegisteredSchema(body["subject"], body["schema_id"], body["schema"])
        return list(found.values())
    finally:
        await consumer.stop()
