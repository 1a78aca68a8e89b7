"""The transactional processor runtime: effects, state and offsets of a batch in one Kafka transaction.

Each input partition is one task with its own transactional id, so that starting a partition elsewhere fences
whoever had it before (aiokafka commits offsets by group id alone). A task restores its state from the compacted
state topic after it has fenced, seeks to the committed offsets, and only then takes messages. Whatever goes
wrong in a transaction, the task starts over from what is committed.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Any, Generic

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError

from libs.bus import metrics
from libs.bus.bus import Bus
from libs.bus.compression import compression_type
from libs.bus.effects import (
    TICK_GRACE_US,
    TICK_INTERVAL_S,
    Encoded,
    Glance,
    RecordWriter,
    check_partitions,
    encode,
    encode_dead_letter,
    read_partition,
)
from libs.bus.message import Emit
from libs.bus.processor import Processor, S, Step, advance, ticks_until
from libs.bus.settings import DEAD_LETTER_BYTES
from libs.bus.states import States
from libs.bus.tables import TableSet
from libs.bus.tail import read_message
from libs.events.codec import CodecError
from libs.runtime.clock import SECOND, now_us
from libs.runtime.logging import get_logger

log = get_logger(__name__)

BATCH_RECORDS = 2_000
BUFFERED_RECORDS = 10_000
RESTART_BACKOFF_S = 0.5
OFFSETS_LINGER_S = 1.0
"""How long the offsets of messages that led to nothing may wait for a transaction."""
STOP_TIMEOUT_S = 30.0
READS_PER_LINGER = 4
RETRY_BACKOFF_MS = 10
"""Brokers ask for a retry while the last transaction is being completed, which takes milliseconds."""


class TransactionalRuntime(Generic[S]):
    """Runs `processor` in its consumer group until told to stop; any number of processes may do so.

    Guarantees: every input message takes effect exactly once in state, outputs and offsets as read by
    read-committed consumers; messages of one key in the order of each topic, across topics by timestamp as far
    as they are at hand; a message that raises is dead-lettered in the same transaction.
    """

    def __init__(self, bus: Bus, processor: Processor[S], *, group: str | None = None) -> None:
        self.bus = bus
        self.processor = processor
        self.group = bus.settings.group(group or processor.name)
        self.tables = TableSet(bus, processor.tables)
        self.glance = Glance(processor)
        self.consumer: AIOKafkaConsumer
        self._tasks: dict[int, _PartitionTask[S]] = {}
        self._assigned = False

    @property
    def ready(self) -> bool:
        """Whether this process is in the group and every partition that it was given is restored."""
        return self._assigned and all(task.ready for task in self._tasks.values())

    async def run(self, stop: asyncio.Event) -> None:
        """Process until `stop` is set, then finish the transactions under way and leave the group.

        Raises ContractMismatchError if the inputs are not partitioned alike, KafkaError if Kafka cannot be
        reached at the start.
        """
        settings = self.bus.settings
        await self.tables.start()
        self.consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.kafka,
            group_id=self.group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            partition_assignment_strategy=[RangePartitionAssignor],
            session_timeout_ms=10_000,
            heartbeat_interval_ms=2_000,
            fetch_max_wait_ms=100,
            max_partition_fetch_bytes=2 << 20,
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
            await self.consumer.stop()
            await self.tables.stop()

    async def _poll(self) -> None:
        try:
            batches = await self.consumer.getmany(timeout_ms=100)
            for partition, records in batches.items():
                if (task := self._tasks.get(partition.partition)) is not None:
                    task.offer(partition, records)
            for task in list(self._tasks.values()):
                await task.observe_lag()
            if batches and self.processor.linger_s:
                # A busy topic is read in few requests; so the first news of another partition may wait as long.
                await asyncio.sleep(self.processor.linger_s / READS_PER_LINGER)
        except KafkaError as error:
            # Also what a partition answers that the group took away in between.
            log.warning("poll_failed", processor=self.processor.name, error=repr(error))
            await asyncio.sleep(RESTART_BACKOFF_S)

    async def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Start a task for every partition given; called in a rebalance."""
        for number in sorted({partition.partition for partition in partitions}):
            self._tasks[number] = _PartitionTask(self, number)
            self._tasks[number].start()
        self._assigned = True
        log.info("partitions_assigned", processor=self.processor.name, partitions=sorted(self._tasks))

    async def revoke(self) -> None:
        """Finish what every task has under way and stop it; called in a rebalance and at the end."""
        tasks, self._tasks = list(self._tasks.values()), {}
        self._assigned = False
        await asyncio.gather(*(task.stop() for task in tasks))


class _Rebalance(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, runtime: TransactionalRuntime[Any]) -> None:
        self._runtime = runtime

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        await self._runtime.revoke()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        await self._runtime.assign(assigned)


class _Batch:
    """What one transaction will hold."""

    def __init__(self) -> None:
        self.emits: list[Encoded] = []
        self.changes_state = False
        self.offsets: dict[TopicPartition, int] = {}
        self.messages = 0
        self.begun_at = 0.0

    def __bool__(self) -> bool:
        return bool(self.offsets or self.has_effects)

    @property
    def has_effects(self) -> bool:
        """Whether anything is to be written but offsets."""
        return bool(self.emits) or self.changes_state


class _PartitionTask(Generic[S]):
    """One input partition (of every input topic): restores, processes, commits."""

    def __init__(self, runtime: TransactionalRuntime[S], number: int) -> None:
        self._runtime = runtime
        self._processor = runtime.processor
        self._bus = runtime.bus
        self._number = number
        self._inputs = {
            TopicPartition(runtime.bus.settings.topic(topic), number): topic
            for topic in runtime.processor.inputs
        }
        self._lag_gauges = {
            tp: metrics.LAG.labels(runtime.processor.name, topic, number)
            for tp, topic in self._inputs.items()
        }
        self._buffers: dict[TopicPartition, deque[ConsumerRecord]] = {tp: deque() for tp in self._inputs}
        self._next: dict[TopicPartition, int] = {}
        self._positions: dict[TopicPartition, int] = {}
        self._exhausted: set[TopicPartition] = set()
        self._wake = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._producer: AIOKafkaProducer | None = None
        self._state: States[S] = States(self._processor)
        self._encodes_at_once = False
        self._in_transaction = False
        self._batch = _Batch()
        self._clock = asyncio.get_running_loop().time
        self._committed_at = 0.0
        self._caught_up_at = 0
        self.ready = False

    def start(self) -> None:
        name = f"{self._processor.name}-{self._number}"
        self._task = asyncio.create_task(self._run(), name=name)

    async def stop(self) -> None:
        """Finish the transaction under way, or give it up if that takes too long; then close the producer."""
        self._stopping = True
        self._wake.set()
        if self._task is None:
            return
        await asyncio.wait([self._task], timeout=STOP_TIMEOUT_S)
        if not self._task.done():
            log.warning("task_given_up", processor=self._processor.name, partition=self._number)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            await self._close()

    def offer(self, partition: TopicPartition, records: list[ConsumerRecord]) -> None:
        """Take fetched records. Those fetched before the task was ready are fetched again after its seek."""
        if not self.ready:
            return
        buffer = self._buffers[partition]
        expected = self._next[partition]
        for record in records:
            if record.offset >= expected:
                buffer.append(record)
                expected = record.offset + 1
        self._next[partition] = expected
        if len(buffer) > BUFFERED_RECORDS:
            self._runtime.consumer.pause(partition)
        self._wake.set()

    async def observe_lag(self) -> None:
        """Note how far behind this task is, and when it last was not."""
        total = 0
        for partition in self._inputs:
            if not self.ready:
                return
            # Unlike the last record's offset, the position also moves past transaction markers.
            self._positions[partition] = await self._runtime.consumer.position(partition)
            lag = self._lag(partition)
            total += 1 if lag is None else lag
            if lag is not None:
                self._lag_gauges[partition].set(lag)
        if total == 0:
            self._caught_up_at = now_us()

    def _lag(self, partition: TopicPartition) -> int | None:
        """Records of `partition` that are not processed; None while it has not been fetched from."""
        end = self._runtime.consumer.last_stable_offset(partition)
        if end is None or end < 0:
            return None
        return len(self._buffers[partition]) + max(0, int(end) - self._positions[partition])

    async def _run(self) -> None:
        while not self._stopping:
            try:
                await self._restore()
                while not self._stopping:
                    await self._work()
                if self._batch:
                    await self._flush()
            except Exception:
                # Also a fenced producer: if the partition is really elsewhere, the group takes it from us.
                metrics.TASK_RESTARTS.labels(self._processor.name).inc()
                log.exception("task_restarts", processor=self._processor.name, partition=self._number)
                await self._close()
                await asyncio.sleep(RESTART_BACKOFF_S)
        await self._close()

    async def _close(self) -> None:
        self.ready = False
        for buffer in self._buffers.values():
            buffer.clear()
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            if self._in_transaction:
                self._in_transaction = False
                await asyncio.wait_for(producer.abort_transaction(), 10)
        except (Exception, TimeoutError) as error:
            log.warning("abort_failed", processor=self._processor.name, error=repr(error))
        try:
            await asyncio.wait_for(producer.stop(), 10)
        except (Exception, TimeoutError) as error:
            log.warning("producer_stop_failed", processor=self._processor.name, error=repr(error))

    async def _restore(self) -> None:
        """Fence, then read back the state and the committed offsets, then take messages."""
        started = now_us()
        settings = self._bus.settings
        self._batch = _Batch()
        self._producer = AIOKafkaProducer(
            bootstrap_servers=settings.kafka,
            transactional_id=f"{self._runtime.group}.{self._number}",
            transaction_timeout_ms=60_000,
            acks="all",
            linger_ms=0,
            max_batch_size=1 << 20,
            max_request_size=DEAD_LETTER_BYTES,
            retry_backoff_ms=RETRY_BACKOFF_MS,
            compression_type=compression_type(settings),
        )
        self._writer = RecordWriter(self._producer)
        await self._producer.start()
        # Waits for the producer id: transactions of an earlier holder of this id are ended and it is fenced.
        await self._producer.begin_transaction()
        self._in_transaction = True
        self._state = await self._read_state()
        consumer = self._runtime.consumer
        for partition in self._inputs:
            committed = await consumer.committed(partition)
            if committed is None:
                committed = (await consumer.beginning_offsets([partition]))[partition]
            self._next[partition] = committed
        self._positions.update(self._next)
        for partition, offset in self._next.items():
            consumer.seek(partition, offset)
            consumer.resume(partition)
        self.ready = True
        metrics.RESTORE_SECONDS.labels(self._processor.name).set((now_us() - started) / SECOND)

    async def _read_state(self) -> States[S]:
        state: States[S] = States(self._processor)
        if self._processor.state is None:
            return state
        topic = self._processor.state_topic
        async for record in read_partition(self._bus, topic, self._number, lambda: self._stopping):
            state.load(record.key.decode(), record.value, record.headers)
        state.loaded()
        metrics.STATE_KEYS.labels(self._processor.name, self._number).set(len(state))
        return state

    async def _work(self) -> None:
        """Process what is at hand; commit if it had effects, or if offsets alone have waited long enough."""
        batch = self._batch
        handled = batch.messages
        await self._process(batch)
        self._tick(batch)
        wait_s = self._pause(batch)
        if wait_s <= 0:
            await self._flush()
        elif batch.messages == handled:
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), wait_s)
            except TimeoutError:
                return

    def _pause(self, batch: _Batch) -> float:
        """Seconds that `batch` may still wait for company; 0: commit now."""
        if not batch:
            return TICK_INTERVAL_S
        if batch.messages >= BATCH_RECORDS:
            return 0
        now = self._clock()
        if batch.has_effects:
            return min(TICK_INTERVAL_S, self._committed_at + self._processor.linger_s - now)
        # Messages that led to nothing need no transaction of their own: taken again, they lead to nothing again.
        return min(TICK_INTERVAL_S, batch.begun_at + OFFSETS_LINGER_S - now)

    async def _flush(self) -> None:
        batch, self._batch = self._batch, _Batch()
        with metrics.COMMIT_SECONDS.labels(self._processor.name).time():
            await self._commit(batch)
        self._committed_at = self._clock()

    async def _process(self, batch: _Batch) -> None:
        """Process buffered records in order of time, while none is missing from an input that lags."""
        # What has no more to fetch stays so for as long as nobody else gets to run.
        self._exhausted.clear()
        while batch.messages < BATCH_RECORDS:
            partition = self._earliest()
            if partition is None:
                break
            buffer = self._buffers[partition]
            record = buffer.popleft()
            batch.begun_at = batch.begun_at or self._clock()
            batch.offsets[partition] = record.offset + 1
            batch.messages += 1
            if len(buffer) == BUFFERED_RECORDS // 2:
                self._runtime.consumer.resume(partition)
            await self._handle(batch, self._inputs[partition], record)
            if batch.messages % 256 == 0:
                await asyncio.sleep(0)
                self._exhausted.clear()

    def _earliest(self) -> TopicPartition | None:
        """The input whose next record is the oldest; None if an input that has more has nothing at hand."""
        best: TopicPartition | None = None
        best_time = 0
        for partition, buffer in self._buffers.items():
            if buffer:
                time = buffer[0].timestamp
                if best is None or time < best_time:
                    best, best_time = partition, time
            elif partition not in self._exhausted:
                if self._lag(partition) != 0:
                    return None
                self._exhausted.add(partition)
        return best

    async def _handle(self, batch: _Batch, topic: str, record: ConsumerRecord) -> None:
        if not self._runtime.glance.wants(topic, record.headers):
            return
        try:
            message = await read_message(self._bus, topic, record)
        except CodecError as error:
            self._dead_letter(batch, topic, record, error, decoded=False)
            return
        try:
            key = self._processor.key(message)
            if key is None:
                return
            before = self._state.get(key)
            step = advance(self._processor, before, message, self._runtime.tables)
            self._apply(batch, key, before, step, message.traceparent)
        except Exception as error:
            self._dead_letter(batch, topic, record, error, decoded=True)

    def _apply(self, batch: _Batch, key: str, before: S | None, step: Step[S], trace: str | None) -> None:
        """Take over what a step decided; changes nothing if any of it cannot be written."""
        emits = encode(self._bus, self._processor.name, step.out, trace)
        after = step.state
        if after is not before and self._processor.state is not None:
            if self._encodes_at_once:
                self._state.encode(after)
            self._state.put(key, after)
            batch.changes_state = True
        batch.emits += emits

    def _tick(self, batch: _Batch) -> None:
        now = min(now_us(), self._caught_up_at) - TICK_GRACE_US
        for key in self._state.take_due(now):
            out: list[Emit] = []
            before = self._state.get(key)
            try:
                after = ticks_until(self._processor, before, now, self._runtime.tables, out)
                self._apply(batch, key, before, Step(after, tuple(out)), None)
            except Exception:
                # There is no message to put aside: the key keeps its state, and its timer is not set again.
                metrics.DEAD_LETTERS.labels(self._processor.name, "tick", "failed").inc()
                log.exception("tick_failed", processor=self._processor.name, key=key)
                continue
            metrics.TICKS.labels(self._processor.name).inc()

    def _dead_letter(
        self, batch: _Batch, topic: str, record: ConsumerRecord, error: Exception, *, decoded: bool
    ) -> None:
        batch.emits += encode_dead_letter(
            self._bus, self._processor.name, topic, record, error, decoded=decoded
        )

    def _changelog(self) -> list[Encoded]:
        """The changed states. If one cannot be written, the batch is folded again, looking for who is to blame."""
        topic = self._bus.settings.topic(self._processor.state_topic)
        try:
            return self._state.encode_changes(topic, self._number)
        except Exception:
            self._encodes_at_once = True
            raise

    async def _commit(self, batch: _Batch) -> None:
        """Outputs, changed state and offsets of `batch` in the open transaction; then open the next."""
        producer = self._producer
        assert producer is not None
        await asyncio.gather(*await self._writer.send([*batch.emits, *self._changelog()]))
        if batch.offsets:
            # Not at the same time: brokers put off what is written while a transaction is being extended.
            await producer.send_offsets_to_transaction(batch.offsets, self._runtime.group)
        await producer.commit_transaction()
        self._in_transaction = False
        name = self._processor.name
        metrics.PROCESSED.labels(name).inc(batch.messages)
        metrics.EMITTED.labels(name).inc(len(batch.emits))
        metrics.STATE_KEYS.labels(name, self._number).set(len(self._state))
        await producer.begin_transaction()
        self._in_transaction = True
