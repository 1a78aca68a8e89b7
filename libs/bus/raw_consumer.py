"""Raw records in batches per partition, for a consumer that keeps its own positions.

The consumer is a member of a group, so that partitions move between processes. But its owner is asked for the start
offsets on every assignment; offsets are committed only to show the progress to people.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import IllegalStateError, KafkaError

from libs.bus.bounded_waits import run_bounded, stop_consumer
from libs.bus.bus import Bus
from libs.bus.connection import connection
from libs.bus.fetching import fetch
from libs.bus.membership import membership
from libs.runtime.logging import get_logger

log = get_logger(__name__)

_RETRY_S = 0.5
_COMMIT_S = 3.0
_FETCH_BYTES = 16 << 20
_FETCH_MIN_BYTES = 64 << 10
_FETCH_MAX_WAIT_MS = 100
"""A fetch waits this long for `_FETCH_MIN_BYTES`, so that few records do not cost a request each."""
_READ_RECORDS = 10_000
_READ_BYTES = 8 << 20
"""At most as many records, of about as many bytes, are returned by one `read`."""


class Partition(NamedTuple):
    """A partition of a topic (named as in the contract)."""

    topic: str
    number: int


class RawRecord(Protocol):
    """A record as Kafka has it. `timestamp` is in milliseconds."""

    @property
    def offset(self) -> int: ...  # noqa: D102
    @property
    def timestamp(self) -> int: ...  # noqa: D102
    @property
    def key(self) -> bytes | None: ...  # noqa: D102
    @property
    def value(self) -> bytes | None: ...  # noqa: D102
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...  # noqa: D102


class LogShorterError(RuntimeError):
    """A position lies beyond the end of its partition: the topic was deleted and made again, or lost its tail."""


OnAssigned = Callable[[frozenset[Partition]], Awaitable[Mapping[Partition, int]]]
"""Gives the offset to start from; a partition that it leaves out is read from its beginning."""

OnRevoked = Callable[[], Awaitable[None]]
"""Called when the group takes every partition away, before anybody gets them; returns when no effect is pending."""


class RawConsumer:
    """Committed records of `topics`, read as a member of consumer group `group`.

    Every rebalance takes all partitions away and assigns anew: `on_revoked`, then `on_assigned`. Until that has
    answered nothing is read. Within a partition, records come in order and none is skipped.
    """

    def __init__(
        self,
        bus: Bus,
        topics: Collection[str],
        group: str,
        *,
        on_assigned: OnAssigned,
        on_revoked: OnRevoked,
    ) -> None:
        self._settings = bus.settings
        self._topics = [bus.settings.topic(topic) for topic in topics]
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked
        self._next: dict[TopicPartition, int] = {}
        self._held: set[str] = set()
        self._epoch = 0
        self._positioning: asyncio.Task[None] | None = None
        self._consumer = AIOKafkaConsumer(
            **connection(bus.settings),
            group_id=bus.settings.group(group),
            client_id=f"voltbus-{group}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            partition_assignment_strategy=(RangePartitionAssignor,),
            fetch_min_bytes=_FETCH_MIN_BYTES,
            fetch_max_wait_ms=_FETCH_MAX_WAIT_MS,
            fetch_max_bytes=_FETCH_BYTES,
            max_poll_interval_ms=300_000,
            **membership(bus.settings),
        )

    @property
    def positioned(self) -> bool:
        """Whether partitions have been assigned and their start offsets are known."""
        return self._positioning is not None and self._positioning.done()

    async def start(self) -> None:
        """Join the group. Raises KafkaConnectionError if no broker answers."""
        self._consumer.subscribe(self._topics, listener=_Listener(self))
        await self._consumer.start()

    async def stop(self) -> None:
        """Leave the group."""
        await self._stop_positioning()
        await stop_consumer(self._consumer)

    async def read(self, timeout_s: float) -> dict[Partition, Sequence[RawRecord]]:
        """What has arrived, waiting up to `timeout_s` for the first record. Kafka's absence reads as silence.

        Raises what `on_assigned` raised, and LogShorterError.
        """
        if self._positioning is not None and self._positioning.done():
            self._positioning.result()
        epoch = self._epoch
        try:
            fetched = await fetch(
                self._consumer,
                timeout_ms=int(timeout_s * 1000),
                max_records=_READ_RECORDS,
                max_bytes=_READ_BYTES,
            )
        except KafkaError as error:
            log.warning("batches_unreadable", error=repr(error))
            await asyncio.sleep(_RETRY_S)
            return {}
        if epoch != self._epoch:
            # aiokafka may hand over records that were fetched before the partitions were positioned.
            for partition in fetched:
                if partition in self._next:
                    self._consumer.seek(partition, self._next[partition])
            return {}
        batches: dict[Partition, Sequence[RawRecord]] = {}
        for partition, records in fetched.items():
            if partition in self._next and records:
                self._next[partition] = records[-1].offset + 1
                batches[self._logical(partition)] = records
        return batches

    def hold(self, topics: Collection[str]) -> None:
        """Stop fetching of exactly these topics; the others go on."""
        wanted = {self._settings.topic(topic) for topic in topics}
        if wanted == self._held:
            return
        changed, self._held = wanted ^ self._held, wanted
        for partition in self._next:
            if partition.topic in changed:
                (self._consumer.pause if partition.topic in wanted else self._consumer.resume)(partition)

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Show the group's progress; `offsets` are the next to be read. Nothing hangs on it: a failure is logged."""
        known = {self._kafka(partition): offset for partition, offset in offsets.items()}
        owned = {partition: offset for partition, offset in known.items() if partition in self._next}
        if not owned:
            return
        try:
            if not await run_bounded(_COMMIT_S, self._consumer.commit(owned)):
                log.warning("offsets_not_shown", error="Kafka does not answer")
        except (KafkaError, IllegalStateError) as error:
            log.warning("offsets_not_shown", error=repr(error))

    async def unread(self) -> dict[str, int]:
        """Records (control records included) between what was read and the end of the log, by topic."""
        unread: dict[str, int] = {}
        for partition in list(self._next):
            if partition not in self._next:
                continue
            try:
                end = self._consumer.last_stable_offset(partition)
                position = await self._consumer.position(partition)
            except (KafkaError, IllegalStateError):
                continue
            topic = self._settings.logical(partition.topic)
            unread[topic] = unread.get(topic, 0) + max(0, (end or 0) - position)
        return unread

    async def _revoked(self) -> None:
        self._epoch += 1
        self._next.clear()
        await self._stop_positioning()
        await self._on_revoked()

    def _assigned(self, partitions: Collection[TopicPartition]) -> None:
        self._epoch += 1
        self._next.clear()
        self._consumer.pause(*partitions)
        # Positions may take long (their keeper may be away), and the group must not wait for them.
        self._positioning = asyncio.create_task(self._position(partitions), name="positioning")

    async def _position(self, partitions: Collection[TopicPartition]) -> None:
        starts = await self._on_assigned(frozenset(map(self._logical, partitions)))
        first, end = await self._bounds(partitions)
        positions: dict[TopicPartition, int] = {}
        for partition in partitions:
            wanted = starts.get(self._logical(partition), first[partition])
            if wanted > end[partition]:
                raise LogShorterError(
                    f"{partition.topic}/{partition.partition} ends at {end[partition]}, before position {wanted}"
                )
            if wanted < first[partition]:
                log.error(
                    "records_expired_unread", topic=partition.topic, partition=partition.partition,
                    first_missed=wanted, first_left=first[partition],
                )  # fmt: skip
            positions[partition] = max(wanted, first[partition])
        # Without awaiting, so that nothing is read from a partition before it is positioned.
        self._epoch += 1
        for partition, position in positions.items():
            self._consumer.seek(partition, position)
            if partition.topic not in self._held:
                self._consumer.resume(partition)
        self._next.update(positions)
        log.info("partitions_positioned", partitions=len(positions))

    async def _bounds(
        self, partitions: Collection[TopicPartition]
    ) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
        while True:
            try:
                return (
                    await self._consumer.beginning_offsets(partitions),
                    await self._consumer.end_offsets(partitions),
                )
            except KafkaError as error:
                log.warning("offsets_unreadable", error=repr(error))
                await asyncio.sleep(_RETRY_S)

    async def _stop_positioning(self) -> None:
        if self._positioning is not None:
            self._positioning.cancel()
            await asyncio.gather(self._positioning, return_exceptions=True)
            self._positioning = None

    def _logical(self, partition: TopicPartition) -> Partition:
        return Partition(self._settings.logical(partition.topic), partition.partition)

    def _kafka(self, partition: Partition) -> TopicPartition:
        return TopicPartition(self._settings.topic(partition.topic), partition.number)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, owner: RawConsumer) -> None:
        self._owner = owner

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        await self._owner._revoked()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self._owner._assigned(assigned)
