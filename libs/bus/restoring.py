"""The states of a partition as a task begins with them: read from the changelog, or kept since the last assignment."""

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, NamedTuple

from aiokafka.structs import ConsumerRecord, RecordMetadata

from libs.bus import metrics
from libs.bus.bus import Bus
from libs.bus.encoding import EncodedRecord
from libs.bus.follower import pass_over
from libs.bus.processor import Processor, S
from libs.bus.reading import partition_end, read_to_end
from libs.bus.state_codec import StateCodec
from libs.bus.states import States


class Kept(NamedTuple, Generic[S]):
    """The committed states of a partition, and where its changelog ends with them."""

    states: States[S]
    changelog_end: int


async def restore(
    bus: Bus,
    processor: Processor[S],
    codec: StateCodec[S],
    number: int,
    *,
    kept: Kept[S] | None,
    stopping: Callable[[], bool],
) -> Kept[S] | None:
    """The states of partition `number`: those `kept` if nobody has written to the changelog since, else what it holds.

    Call it when nobody else can write any more. None if it was `stopping`. Raises KafkaError, StateShapeError.
    """
    topic = processor.state_topic
    end = await partition_end(bus.settings, topic, number)
    if kept is not None and kept.changelog_end == end:
        metrics.RESTORES.labels(processor.name, "kept").inc()
        return kept
    states: States[S] = States(processor, codec)
    async for record in read_to_end(bus.settings, topic, (number,), stopping):
        if (key := state_key(processor.name, topic, record)) is not None:
            states.load(key, record.value, record.headers)
    if stopping():
        return None
    states.loaded(topic, number)
    metrics.RESTORES.labels(processor.name, "read").inc()
    return Kept(states, end)


def state_key(processor: str, topic: str, record: ConsumerRecord) -> str | None:
    """The key of a state topic's `record`; None, counted and logged, if no processor writes such a one."""
    try:
        return bytes(record.key or b"").decode()
    except UnicodeDecodeError as error:
        pass_over(processor, topic, record, "foreign", f"the key is no text: {error}")
        return None


def changelog_end(changes: Sequence[EncodedRecord], written: Iterable[RecordMetadata]) -> int | None:
    """Where the changelog ends after a transaction with `changes`; None if that is not known.

    `written`: the batches of the transaction, with the offsets of their first records.
    """
    place = changes[0].topic, changes[0].partition
    begin = min(batch.offset for batch in written if (batch.topic, batch.partition) == place)
    # After the records comes the marker of the transaction.
    return None if begin < 0 else begin + len(changes) + 1
