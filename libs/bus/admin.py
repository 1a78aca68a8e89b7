"""The deploy step: create the contract's topics, register its schemas. Safe to repeat."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, KafkaTimeoutError, TopicAlreadyExistsError, for_code
from aiokafka.protocol.metadata import MetadataRequest

from libs.bus.bus import contract_topics
from libs.bus.connection import connection
from libs.bus.errors import ContractMismatchError
from libs.bus.schemas import SCHEMAS_TOPIC, RegisteredSchema, SchemaRegistry
from libs.bus.settings import DEAD_LETTER_BYTES, TOPIC_BYTES, BusSettings
from libs.events.contract import Contract, Topic, dead_letter_topic, load_contract

_FORGOTTEN_S: Final = 30.0
_KNOWN_S: Final = 60.0
_LOOK_S: Final = 0.05
_ANSWER_S: Final = 5.0
"""A broker that takes longer is left out: it may be down."""


class Applied(msgspec.Struct, frozen=True):
    """What `apply_contract` did: topics made now, and the schema id of each topic."""

    created: tuple[str, ...]
    schema_ids: Mapping[str, int]


async def apply_contract(
    settings: BusSettings,
    contract: Contract | None = None,
    registered: Mapping[str, RegisteredSchema] | None = None,
) -> Applied:
    """Create every topic that is missing and register every schema; the topics can be used when it returns.

    `registered`: its schemas by topic, if the registry has them all (see `register_schemas`); it is not asked then.

    Raises ContractMismatchError if a topic exists with another partition count (changing it would break each
    charger's order), or if a schema is not compatible with what is registered. Raises BusUnavailableError if the
    registry does not answer, KafkaError if Kafka does not take a topic or the schemas, or if brokers still do not know
    a topic, or a leader of each of its partitions, after a minute.
    """
    contract = contract or load_contract()
    created = await _create_topics(settings, wanted_topics(settings, contract))
    if registered is None:
        registered = await register_schemas(settings, contract)
    await _publish_schemas(settings, registered.values())
    return Applied(tuple(created), {name: schema.schema_id for name, schema in registered.items()})


def wanted_topics(settings: BusSettings, contract: Contract) -> list[NewTopic]:
    """Every Kafka topic that the contract asks for, named and sized by `settings`."""
    wanted = [_new_topic(settings, topic, topic.name) for topic in contract.topics.values()]
    wanted += [
        NewTopic(
            settings.topic(dead_letter_topic(topic.name)),
            1,
            settings.replication,
            topic_configs={"retention.ms": "-1", "max.message.bytes": str(DEAD_LETTER_BYTES)},
        )
        for topic in contract.topics.values()
        if topic.dead_letters
    ]
    schemas = NewTopic(
        settings.topic(SCHEMAS_TOPIC),
        1,
        settings.replication,
        topic_configs={"cleanup.policy": "compact", "max.message.bytes": str(TOPIC_BYTES)},
    )
    return [*wanted, schemas]


def _new_topic(settings: BusSettings, topic: Topic, name: str) -> NewTopic:
    override = settings.slots if topic.scaling == "slots" else settings.partitions
    configs = {"cleanup.policy": topic.cleanup, "max.message.bytes": str(TOPIC_BYTES)}
    if topic.retention_ms is not None:
        configs["retention.ms"] = str(topic.retention_ms)
    if settings.replication >= 3:
        configs["min.insync.replicas"] = "2"
    return NewTopic(
        settings.topic(name), override or topic.partitions, settings.replication, topic_configs=configs
    )


async def _create_topics(settings: BusSettings, wanted: list[NewTopic]) -> list[str]:
    admin = AIOKafkaAdminClient(**connection(settings))
    await admin.start()
    try:
        existing = set(await admin.list_topics())
        missing = [topic for topic in wanted if topic.name not in existing]
        if missing:
            response = await admin.create_topics(missing, timeout_ms=60_000)
            for name, code, message in response.topic_errors:
                if code and for_code(code) is not TopicAlreadyExistsError:
                    raise ContractMismatchError(f"topic {name}: {message}")
        described = await admin.describe_topics([topic.name for topic in wanted if topic.name in existing])
        counts = {entry["topic"]: len(entry["partitions"]) for entry in described}
        for topic in wanted:
            have = counts.get(topic.name, topic.num_partitions)
            if have != topic.num_partitions:
                raise ContractMismatchError(
                    f"topic {topic.name} has {have} partitions, the contract asks for {topic.num_partitions}"
                )
        await topics_known(admin, {topic.name: topic.num_partitions for topic in wanted})
        return [topic.name for topic in missing]
    finally:
        await admin.close()


async def topics_known(
    admin: AIOKafkaAdminClient, counts: Mapping[str, int], timeout_s: float = _KNOWN_S
) -> None:
    """Return when every broker that answers names these Kafka topics, with a leader for each of so many partitions.

    A topic that was just made is not known everywhere, and who joins a group through a broker that does not know it is
    given nothing of it. Raises KafkaTimeoutError, which says what is lacking, after `timeout_s`.
    """
    deadline = asyncio.get_running_loop().time() + timeout_s
    while lacking := await _lacking(admin, counts):
        if asyncio.get_running_loop().time() >= deadline:
            raise KafkaTimeoutError(f"after {timeout_s:g} s not ready for use: {'; '.join(lacking)}")
        await asyncio.sleep(_LOOK_S)


async def _lacking(admin: AIOKafkaAdminClient, counts: Mapping[str, int]) -> list[str]:
    """What brokers do not know yet, in words; nothing of brokers that do not answer, unless none does."""
    client = admin._client
    brokers = [broker.nodeId for broker in client.cluster.brokers()]
    answers = await asyncio.gather(*(_described_by(client, broker, list(counts)) for broker in brokers))
    if not any(answer is not None for answer in answers):
        return ["no broker answers"]
    return [
        f"broker {broker} lacks {', '.join(missing[:3])}{' and others' * (len(missing) > 3)}"
        for broker, answer in zip(brokers, answers, strict=True)
        if answer is not None and (missing := [name for name in counts if answer.get(name) != counts[name]])
    ]


async def _described_by(client: Any, broker: int, names: list[str]) -> dict[str, int] | None:
    """How many partitions with a leader each topic has, as `broker` knows it; None if that does not answer."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            answer = await client.send(broker, MetadataRequest(names, allow_auto_topic_creation=False))
    except (KafkaError, TimeoutError):
        return None
    return {
        topic["topic"]: sum(partition["leader"] >= 0 for partition in topic["partitions"])
        for topic in answer.to_object()["topics"]
    }


async def register_schemas(settings: BusSettings, contract: Contract) -> dict[str, RegisteredSchema]:
    """Register the schema of every topic of the contract; returns them by topic.

    Raises ContractMismatchError for one that is not compatible with what is registered, BusUnavailableError if the
    registry does not answer.
    """
    at_once = asyncio.Semaphore(8)
    async with SchemaRegistry(settings) as registry:

        async def register(name: str) -> RegisteredSchema:
            async with at_once:
                return await registry.register(f"{settings.topic(name)}-value", contract.value_schema(name))

        names = [name for name, _ in contract_topics(contract)]
        return dict(zip(names, await asyncio.gather(*map(register, names)), strict=True))


async def _publish_schemas(settings: BusSettings, schemas: Iterable[RegisteredSchema]) -> None:
    producer = AIOKafkaProducer(**connection(settings), acks="all", enable_idempotence=True)
    await producer.start()
    try:
        topic = settings.topic(SCHEMAS_TOPIC)
        sent = []
        for schema in schemas:
            key = f"{schema.subject}/{schema.schema_id}"
            sent.append(await producer.send(topic, msgspec.json.encode(schema), key.encode()))
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


async def delete_topics(settings: BusSettings, names: list[str]) -> None:
    """Delete the contract's topics `names` with everything in them; those that do not exist are passed over.

    Raises KafkaError, and TimeoutError if brokers still name them after half a minute.
    """
    admin = AIOKafkaAdminClient(**connection(settings))
    await admin.start()
    try:
        existing = set(await admin.list_topics())
        doomed = [settings.topic(name) for name in names if settings.topic(name) in existing]
        if doomed:
            await admin.delete_topics(doomed, timeout_ms=60_000)
            # Brokers confirm it before they have forgotten them, and who makes them anew would find them there.
            async with asyncio.timeout(_FORGOTTEN_S):
                while not set(doomed).isdisjoint(await admin.list_topics()):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
    finally:
        await admin.close()


async def rewind(settings: BusSettings, processor: str, topics: Sequence[str]) -> None:
    """Let `processor` read `topics` from their beginning when it starts the next time; it must not be running.

    For a replay from nothing also delete its state topic and what is derived, and apply the contract again.
    Raises KafkaError, and changes nothing, while a member of the group is alive or if a topic is not there.
    """
    consumer = AIOKafkaConsumer(
        **connection(settings), group_id=settings.group(processor), enable_auto_commit=False
    )
    await consumer.start()
    try:
        places = [
            TopicPartition(name, number)
            for name in map(settings.topic, topics)
            for number in await consumer._client._wait_on_metadata(name)
        ]
        # Not by joining the group, which would only make the others share with us. Brokers take the offsets of who is
        # no member as long as there is none.
        consumer.assign(places)
        await consumer.commit(await consumer.beginning_offsets(places))
    finally:
        await consumer.stop()
