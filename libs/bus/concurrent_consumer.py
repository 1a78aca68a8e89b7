"""Messages handled concurrently by the members of a consumer group, for work that waits on something outside."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from libs.bus import metrics
from libs.bus.bounded_waits import run_bounded, stop_consumer
from libs.bus.bus import Bus
from libs.bus.connection import connection
from libs.bus.errors import BusError, ContractMismatchError
from libs.bus.fetching import fetch
from libs.bus.membership import membership
from libs.bus.message import SUBJECT_HEADER, TYPE_HEADER, TYPE_PREFIX, Message, header
from libs.bus.reading import partitions_of
from libs.bus.tail import read_message
from libs.events.codec import CodecError, UnknownRecordError
from libs.runtime.logging import get_logger

log = get_logger(__name__)

_COMMIT_S: Final = 1.0
_COMMIT_WAIT_S: Final = 3.0
RETRY_S: Final = 0.5
_JOIN_S: Final = 30.0
_PLACE_S: Final = 2.0
_FETCHED_RECORDS: Final = 500
_AT_ONCE: Final = 256
_FETCHED_BYTES: Final = 8 << 20
FAILURES: Final = 20
"""In a row: what goes on for ten seconds does not end by itself."""
_PREFIX: Final = TYPE_PREFIX.decode()

Wants = Callable[[str, str, str | None], bool]
"""Topic, kind and subject of a record, by its headers: whether it can matter."""

Handle = Callable[[Message], Awaitable[None]]


class OffsetTracker:
    """The offset to commit when records of a partition are done in any order. `start`: the first record's offset."""

    def __init__(self, start: int = 0) -> None:
        self._under_way: set[int] = set()
        self._next = start

    def begin(self, offset: int) -> None:
        """Start a record; called in the order of the partition."""
        self._under_way.add(offset)
        self._next = offset + 1

    def done(self, offset: int) -> None:
        """Finish a record, in any order."""
        self._under_way.discard(offset)

    @property
    def next(self) -> int:
        """The offset before which everything is done."""
        return min(self._under_way, default=self._next)


class ConcurrentConsumer:
    """Reads `topics` as a member of `group`, from its committed offsets; a new group begins at the end.

    The start offset is committed even if nothing arrives, so that the next member continues from there.

    Up to 256 messages are handled at a time, in any order: one that takes long delays no other. Offsets are
    committed when all before them are handled, so that after a crash some are handled again. What cannot be read, or
    fails in `handle`, is logged and counted. A membership that only fails is given up for a new one.

    `healthy`: whether what is written from now on will be read, as far as can be told.
    """

    def __init__(self, bus: Bus, topics: Collection[str], group: str, wants: Wants) -> None:
        self._bus = bus
        self._group = group
        self._wants = wants
        self._most = asyncio.Semaphore(_AT_ONCE)
        self._progress: dict[TopicPartition, OffsetTracker] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._topics = topics
        self._consumer = self._new_consumer()
        self._committed: dict[TopicPartition, int] = {}
        self._failures = 0
        self._member = False

    @property
    def healthy(self) -> bool:
        """Whether it is a member that knows where it reads, and the last attempt to read succeeded."""
        placed = self._consumer.assignment() <= self._progress.keys()
        return self._member and placed and not self._failures

    async def run(self, handle: Handle, stop: asyncio.Event) -> None:
        """Hand messages to `handle` until `stop`; then finish what is under way.

        At the start it raises KafkaConnectionError if no broker answers, KafkaTimeoutError if a busy one does not tell
        the partitions of a topic, and ContractMismatchError if a topic is not there; later it tries again. Raises
        BusError if it cannot commit any more.
        """
        await self._join()
        committing = asyncio.create_task(self._commit_again_and_again())
        try:
            while not stop.is_set():
                if committing.done():
                    raise BusError(f"{self._group} commits no more: {committing!r}")
                await self._read(handle)
            await asyncio.gather(*self._tasks, return_exceptions=True)
        finally:
            self._member = False
            committing.cancel()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(committing, *self._tasks, return_exceptions=True)
            await self._commit()
            await stop_consumer(self._consumer)

    def _new_consumer(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            **connection(self._bus.settings),
            group_id=self._bus.settings.group(self._group),
            client_id=f"voltbus-{self._group}",
            enable_auto_commit=False,
            auto_offset_reset="latest",
            isolation_level="read_committed",
            fetch_max_wait_ms=100,
            **membership(self._bus.settings),
        )

    async def _join(self) -> None:
        """Become a member of the group, of topics that are known.

        Raises KafkaError, and ContractMismatchError if the broker that is asked does not have a topic.
        """
        await self._consumer.start()
        try:
            # Who does not know a topic yet is given nothing of it, and a new group would begin behind its records.
            for topic in self._topics:
                await partitions_of(self._bus.settings, topic, self._consumer)
        except BaseException:
            await stop_consumer(self._consumer)
            raise
        names = [self._bus.settings.topic(topic) for topic in self._topics]
        self._consumer.subscribe(names, listener=_Listener(self))

    def _leave_all(self) -> None:
        self._member = False
        self._progress.clear()
        self._committed = {}

    async def _join_anew(self) -> None:
        """Become another member of the group. Raises as `_join`, and TimeoutError."""
        self._leave_all()
        await stop_consumer(self._consumer)
        self._consumer = self._new_consumer()
        async with asyncio.timeout(_JOIN_S):
            await self._join()
        self._failures = 0

    async def _take_places(self) -> None:
        """Note where partitions are read from that nothing was read of yet."""
        for partition in self._consumer.assignment() - self._progress.keys():
            with suppress(IllegalStateError):  # it was taken away meanwhile
                async with asyncio.timeout(_PLACE_S):
                    start = await self._consumer.position(partition)
                self._progress.setdefault(partition, OffsetTracker(start))

    async def _read(self, handle: Handle) -> None:
        try:
            if self._failures >= FAILURES:
                await self._join_anew()
            await self._take_places()
            fetched = await fetch(
                self._consumer, timeout_ms=200, max_records=_FETCHED_RECORDS, max_bytes=_FETCHED_BYTES
            )
        # The topics were there at the start: a broker that lacks one has yet to learn of it.
        except (KafkaError, ContractMismatchError, TimeoutError) as error:
            self._failures += 1
            log.warning("group_unreadable", group=self._group, error=repr(error))
            await asyncio.sleep(RETRY_S)
            return
        self._failures = 0
        for partition, records in fetched.items():
            topic = self._bus.settings.logical(partition.topic)
            for record in records:
                progress = self._progress.setdefault(partition, OffsetTracker())
                progress.begin(record.offset)
                if self._may_matter(topic, record):
                    await self._most.acquire()
                    task = asyncio.create_task(self._handle(handle, topic, record, progress))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
                else:
                    progress.done(record.offset)

    def _may_matter(self, topic: str, record: ConsumerRecord) -> bool:
        kind = header(record.headers, TYPE_HEADER)
        if kind is None:
            return True
        return self._wants(topic, kind.removeprefix(_PREFIX), header(record.headers, SUBJECT_HEADER))

    async def _handle(
        self, handle: Handle, topic: str, record: ConsumerRecord, progress: OffsetTracker
    ) -> None:
        try:
            await handle(await read_message(self._bus, topic, record))
        except UnknownRecordError:
            metrics.UNKNOWN_KINDS.labels(self._group, topic).inc()
        except CodecError as error:
            metrics.DEAD_LETTERS.labels(self._group, topic, "undecodable").inc()
            log.error("group_record_unreadable", topic=topic, offset=record.offset, error=str(error))
        except Exception:
            metrics.DEAD_LETTERS.labels(self._group, topic, "failed").inc()
            log.exception("group_record_failed", group=self._group, topic=topic, offset=record.offset)
        finally:
            self._most.release()
            progress.done(record.offset)

    async def _commit_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(_COMMIT_S)
            await self._commit()

    async def _commit(self) -> None:
        # What another member reads is his to commit; one such partition would spoil the commit of all.
        assigned = self._consumer.assignment()
        offsets = {
            partition: progress.next
            for partition, progress in self._progress.items()
            if partition in assigned
        }
        if offsets == self._committed:
            return
        try:
            if not await run_bounded(_COMMIT_WAIT_S, self._consumer.commit(offsets)):
                log.warning("group_not_committed", group=self._group, error="Kafka does not answer")
                return
            self._committed = offsets
        except (KafkaError, IllegalStateError) as error:
            log.warning("group_not_committed", group=self._group, error=repr(error))


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, owner: ConcurrentConsumer) -> None:
        self._owner = owner

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        await self._owner._commit()
        self._owner._leave_all()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        # Records read before may have been begun since.
        self._owner._leave_all()
        self._owner._member = True
