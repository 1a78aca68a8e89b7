"""A connection to the platform's bus: settings and the codec with the schema ids in force."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from libs.bus.bounded_waits import FIRST_WAIT_S, LONGEST_WAIT_S
from libs.bus.errors import ContractMismatchError, SchemaUnavailableError
from libs.bus.schemas import SchemaLookup, SchemaRegistry, add_schemas, read_schemas
from libs.bus.settings import BusSettings
from libs.events.codec import Codec, UnknownSchemaIdError
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
        self._lookup = SchemaLookup(settings, registry, codec)

    async def decode(self, value: bytes) -> Record:
        """The record in `value`; a schema id seen for the first time is looked up.

        Raises CodecError if the value cannot be read (UnknownRecordError: pass over it, a newer version wrote it),
        SchemaUnavailableError if that cannot be told while the schema cannot be looked up.
        """
        try:
            return self.codec.decode(value)
        except UnknownSchemaIdError as error:
            schema_id = error.schema_id
        await self.fetch_schema(schema_id)
        return self.codec.decode(value)

    async def decode_patiently(self, value: bytes) -> Record:
        """`decode`, but as long as the schema cannot be looked up it waits. Raises CodecError."""
        wait_s = FIRST_WAIT_S
        while True:
            try:
                return await self.decode(value)
            except SchemaUnavailableError as error:
                log.warning("schema_unavailable", error=str(error), retry_in_s=wait_s)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    async def fetch_schema(self, schema_id: int) -> None:
        """Fetch the schema with this id, from the bus or else the registry, so that `codec` can read its values.

        Raises CodecError if nobody has it or it holds no records, SchemaUnavailableError if that cannot be told now.
        """
        await self._lookup.fetch(schema_id)


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
    registered = await read_schemas(settings)
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
    codec = Codec(contract, write_ids)
    add_schemas(codec, registered)
    async with SchemaRegistry(settings, attempts=2) as registry:
        yield Bus(settings, contract, codec, registry)
