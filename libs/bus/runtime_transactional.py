"""The transactional processor runtime: effects, state and offsets of a batch in one Kafka transaction.

Each input partition is one task (`partition_task`) with its own transactional id, so that starting a partition
elsewhere fences whoever had it before (aiokafka commits offsets by group id alone).
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Generic

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError

from libs.bus.bounded_waits import stop_consumer
from libs.bus.bus import Bus
from libs.bus.connection import connection
from libs.bus.failures import FailureLimit
from libs.bus.fetching import feed
from libs.bus.membership import membership
from libs.bus.partition_task import PartitionTask
from libs.bus.partitioning import check_partitions
from libs.bus.processor import Processor, S
from libs.bus.restoring import Kept
from libs.bus.state_codec import StateCodec
from libs.bus.tables import TableSet
from libs.runtime.logging import get_logger

log = get_logger(__name__)

RETRY_BACKOFF_S = 0.5
READS_PER_LINGER = 4
RESTORING_S = 0.05
SATISFIED_S = 0.005
"""Between two looks at whether tasks that have enough to do are still satisfied."""


class TransactionalRuntime(Generic[S]):
    """Runs `processor` in its consumer group until told to stop; any number of processes may do so.

    Guarantees: every input message takes effect exactly once in state, outputs and offsets as read by
    read-committed consumers; messages of one key in the order of each topic, across topics by timestamp as far
    as they are at hand; a message that raises is dead-lettered in the same transaction, up to a limit. A partition
    that must not go on stands still, and the others go on.
    """

    def __init__(self, bus: Bus, processor: Processor[S]) -> None:
        self.bus = bus
        self.processor = processor
        self.group = bus.settings.group(processor.name)
        self.tables = TableSet(bus, processor.name, processor.tables)
        self._codec = StateCodec(processor, bus.settings.state_release)
        self.consumer: AIOKafkaConsumer
        self._tasks: dict[int, PartitionTask[S]] = {}
        self._failures = defaultdict[int, FailureLimit](self._new_limit)
        self._kept: dict[int, Kept[S] | None] = {}
        self._assigned = False

    @property
    def ready(self) -> bool:
        """Whether this process is in the group, every partition that it was given restored, and its tables follow."""
        return self._assigned and self.tables.ready and all(task.ready for task in self._tasks.values())

    async def run(self, stop: asyncio.Event) -> None:
        """Process until `stop` is set, then finish the transactions under way and leave the group.

        Raises ContractMismatchError if the inputs are not partitioned alike, KafkaError if Kafka cannot be
        reached at the start, StateShapeError for states that this version cannot read: others get the partition;
        FollowerEndedError if the tables are not followed any more.
        """
        async with self.tables:
            await self._run(stop)

    async def _run(self, stop: asyncio.Event) -> None:
        settings = self.bus.settings
        self.consumer = AIOKafkaConsumer(
            **connection(settings),
            group_id=self.group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            partition_assignment_strategy=[RangePartitionAssignor],
            fetch_max_wait_ms=100,
            max_partition_fetch_bytes=2 << 20,
            **membership(settings),
        )
        try:
            await self.consumer.start()
            await check_partitions(self.bus, self.processor, self.consumer)
            self.consumer.subscribe(
                [settings.topic(topic) for topic in self.processor.inputs], listener=_Rebalance(self)
            )
            while not stop.is_set():
                await self._poll()
        finally:
            await self.revoke()
            await stop_consumer(self.consumer)

    async def _poll(self) -> None:
        """Fetch for those who are short of records, and let what is fetched lie while all have enough."""
        for task in self._tasks.values():
            if task.failure is not None:
                raise task.failure
        tasks = [task for task in self._tasks.values() if task.ready]
        wanted = [place for task in tasks for place in task.needs_fetch]
        satisfied = len(wanted) < len(tasks) * len(self.processor.inputs)
        some = full = False
        try:
            if wanted or not tasks:
                # Fetch without waiting while some tasks still have records. A member without tasks polls all
                # partitions, or the group evicts it.
                some, full = await feed(self.consumer, self._fed, wanted, timeout_ms=0 if satisfied else 100)
            for task in list(self._tasks.values()):
                await task.observe()
        except KafkaError as error:
            # Also what a partition answers that the group took away in between.
            log.warning("poll_failed", processor=self.processor.name, error=repr(error))
            await asyncio.sleep(RETRY_BACKOFF_S)
            return
        if not tasks:
            await asyncio.sleep(RESTORING_S)
        elif full:
            await asyncio.sleep(0)
        elif satisfied:
            await asyncio.sleep(SATISFIED_S)
        elif some and self.processor.linger_s:
            # A busy topic is read in few requests; so the first news of another partition may wait as long.
            await asyncio.sleep(self.processor.linger_s / READS_PER_LINGER)

    def _fed(self) -> Iterable[PartitionTask[S]]:
        """Who gets what is fetched: after a rebalance, in which `_tasks` becomes another dict, others than before."""
        return self._tasks.values()

    async def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Start a task for every partition given; called in a rebalance."""
        kept, self._kept = self._kept, {}
        for number in sorted({partition.partition for partition in partitions}):
            self._tasks[number] = PartitionTask(
                self.bus,
                self.processor,
                self._codec,
                self.tables,
                self.consumer,
                group=self.group,
                number=number,
                failures=self._failures[number],
                kept=kept.get(number),
            )
            self._tasks[number].start()
        self._assigned = True
        log.info("partitions_assigned", processor=self.processor.name, partitions=sorted(self._tasks))

    def _new_limit(self) -> FailureLimit:
        settings = self.bus.settings
        return FailureLimit(settings.dead_letter_limit, settings.dead_letter_window_s)

    async def revoke(self) -> None:
        """Finish what every task has under way and stop it; called in a rebalance and at the end."""
        tasks, self._tasks = self._tasks, {}
        self._assigned = False
        await asyncio.gather(*(task.stop() for task in tasks.values()))
        # Most partitions come back to whom they were taken from, and nobody else has had them meanwhile.
        self._kept = {number: task.kept for number, task in tasks.items()}


class _Rebalance(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, runtime: TransactionalRuntime[Any]) -> None:
        self._runtime = runtime

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        await self._runtime.revoke()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        await self._runtime.assign(assigned)
