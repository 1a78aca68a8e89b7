"""How many partitions topics have, and whether topics that are joined have as many as each other."""

from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer

from libs.bus.bus import Bus
from libs.bus.connection import connection
from libs.bus.errors import ContractMismatchError
from libs.bus.processor import Processor, S
from libs.bus.reading import partitions_of


async def count_partitions(bus: Bus, topics: Sequence[str]) -> int:
    """How many partitions each of these topics of the contract has.

    Raises ContractMismatchError if they are not as many, or a topic is not there.
    """
    consumer = AIOKafkaConsumer(**connection(bus.settings))
    await consumer.start()
    try:
        counts = {topic: len(await partitions_of(bus.settings, topic, consumer)) for topic in topics}
    finally:
        await consumer.stop()
    if len(set(counts.values())) != 1:
        raise ContractMismatchError(f"these topics have unequal partition counts: {counts}")
    return counts[topics[0]]


async def check_partitions(bus: Bus, processor: Processor[S], consumer: AIOKafkaConsumer) -> None:
    """Joined topics, and the state beside them, must have as many partitions as each other.

    `consumer` is started and need not be subscribed. Raises ContractMismatchError.
    """
    counts = {
        name: len(await partitions_of(bus.settings, name, consumer))
        for name in [*processor.inputs, *([processor.state_topic] if processor.state else [])]
    }
    if len(set(counts.values())) != 1:
        raise ContractMismatchError(f"{processor.name} joins topics of unequal partition counts: {counts}")
