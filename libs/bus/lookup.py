"""What was written of one key lately, from the topic itself."""

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from libs.bus.bounded_waits import stop_consumer
from libs.bus.bus import Bus
from libs.bus.connection import connection
from libs.bus.errors import BusUnavailableError
from libs.bus.follower import pass_over
from libs.bus.message import Message
from libs.bus.partitioner import partition_of
from libs.bus.reading import partitions_of, records_until
from libs.bus.tail import as_message
from libs.events.codec import CodecError
from libs.events.record import Record


async def records_of(bus: Bus, topic: str, key: str, since: int) -> list[Record]:
    """The committed records of `key` that were written to the contract's `topic` since that moment (microseconds).

    In order; tombstones and what cannot be read are left out. Reads one partition from there to its end, and decodes
    only what has the key. Raises BusUnavailableError if Kafka cannot be read.
    """
    wanted = key.encode()
    consumer = _consumer(bus)
    try:
        await consumer.start()
        places = await partitions_of(bus.settings, topic, consumer)
        place = places[partition_of(wanted, len(places))]
        consumer.assign([place])
        end = (await consumer.end_offsets([place]))[place]
        begin = (await consumer.offsets_for_times({place: since // 1000}))[place]
        if begin is None:
            return []
        consumer.seek(place, begin.offset)
        written = [each async for each in records_until(consumer, place, end) if each.key == wanted]
        found = []
        for each in written:
            try:
                if each.value is not None:
                    found.append(await bus.decode(each.value))
            except CodecError as error:
                pass_over("lookup", topic, each, "undecodable", str(error))
    except KafkaError as error:
        raise BusUnavailableError(f"{topic} cannot be read: {error!r}") from error
    finally:
        await stop_consumer(consumer)
    return found


async def newest(bus: Bus, topic: str, most: int) -> list[Message]:
    """The last `most` messages of each partition of the contract's `topic`, in the order of their partition.

    Tombstones and what cannot be read are left out. Raises BusUnavailableError if Kafka cannot be read.
    """
    consumer = _consumer(bus)
    found = []
    try:
        await consumer.start()
        places = await partitions_of(bus.settings, topic, consumer)
        begins, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        for place in places:
            consumer.assign([place])
            consumer.seek(place, max(begins[place], ends[place] - most))
            async for each in records_until(consumer, place, ends[place]):
                try:
                    if each.value is not None:
                        found.append(as_message(topic, each, await bus.decode(each.value)))
                except CodecError as error:
                    pass_over("lookup", topic, each, "undecodable", str(error))
    except KafkaError as error:
        raise BusUnavailableError(f"{topic} cannot be read: {error!r}") from error
    finally:
        await stop_consumer(consumer)
    return found


def _consumer(bus: Bus) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        auto_offset_reset="none",
        **connection(bus.settings),
        isolation_level="read_committed",
        fetch_max_wait_ms=50,
    )
