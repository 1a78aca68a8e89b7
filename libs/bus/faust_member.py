"""One membership of the Faust runtime in its consumer group: takes what Faust hands over, folds, writes, commits."""

import asyncio
from collections.abc import Mapping
from typing import Any, Generic

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import IllegalStateError, KafkaError
from faust.types import TP, EventT

from libs.bus import metrics
from libs.bus.bounded_waits import LEAVE_S, run_bounded
from libs.bus.bus import Bus
from libs.bus.compression import compression_type
from libs.bus.connection import connection
from libs.bus.dead_letters import count_failed_tick, encode_dead_letter
from libs.bus.encoding import declared, encode
from libs.bus.errors import PartitionError, SchemaUnavailableError
from libs.bus.failures import FailureLimit, SchemaWait, Standstill
from libs.bus.faust_app import (
    RecoveryWatch,
    check_gaps,
    in_order,
    make_app,
    make_table,
    place_of,
    source_record,
)
from libs.bus.faust_progress import Progress
from libs.bus.faust_states import Changes, Entry, FaustStates
from libs.bus.header_filter import HeaderFilter
from libs.bus.message import Emit
from libs.bus.processor import Processor, S, Tables, advance, ticks_until
from libs.bus.record_writer import RecordWriter
from libs.bus.settings import DEAD_LETTER_BYTES
from libs.bus.state_codec import StateCodec
from libs.bus.tail import as_message
from libs.bus.timers import TICK_GRACE_US, TICK_INTERVAL_S, TICK_RETRY_US, has_timers
from libs.events.codec import CodecError, UnknownRecordError
from libs.runtime.clock import now_us
from libs.runtime.logging import get_logger

log = get_logger(__name__)

BATCH_RECORDS = 500
QUEUED_EVENTS = 1_000
READY_POLL_S = 0.02
LINGER_POLL_S = 0.05
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 6.0


class Member(Generic[S]):
    """One Faust app: a member of the group from start to stop, or to the first failure of Kafka.

    `limits`: how many more messages and ticks of a partition may fail. A partition that must not go on stands still
    until the next rebalance; while a schema cannot be looked up, all wait.
    """

    def __init__(
        self,
        bus: Bus,
        processor: Processor[S],
        codec: StateCodec[S],
        tables: Tables,
        *,
        group: str,
        limits: Mapping[int, FailureLimit],
    ) -> None:
        self._bus = bus
        self._processor = processor
        self._tables = tables
        self._header_filter = HeaderFilter(processor)
        self._taken_up: int | None = None
        settings = bus.settings
        self._events: asyncio.Queue[EventT[Any]] = asyncio.Queue(QUEUED_EVENTS)
        self._working = asyncio.Lock()
        self._limits = limits
        self._standstill = Standstill(processor.name)
        self._waiting = SchemaWait(processor.name)
        self._progress = Progress()
        self._next_look = 0.0
        self._clock = asyncio.get_running_loop().time
        self._written_at = float("-inf")
        self._app = make_app(group, settings, processor.inputs, self._events.put, self._drain)
        table: Any = {}
        if processor.state is not None:
            table = make_table(self._app, settings.topic(processor.state_topic))
        self._states = FaustStates(bus, processor, codec, table)

    @property
    def ready(self) -> bool:
        """Whether it is in the group and works on all its partitions."""
        working = self._in_group and self._taken_up == self._app.settled
        return working and not self._standstill and not self._waiting

    @property
    def _in_group(self) -> bool:
        return self._app.started and self._app.settled is not None and not self._app.should_stop

    async def run(self, stop: asyncio.Event) -> None:
        """Take part until `stop`. Raises what made Faust give up, or what the producer raised."""
        settings = self._bus.settings
        self._producer = AIOKafkaProducer(
            **connection(settings),
            acks="all",
            enable_idempotence=True,
            max_batch_size=1 << 18,
            max_request_size=DEAD_LETTER_BYTES,
            compression_type=compression_type(settings),
        )
        self._writer = RecordWriter(self._producer)
        self._checker = AIOKafkaConsumer(
            **connection(settings), isolation_level="read_committed", auto_offset_reset="earliest"
        )
        await self._checker.start()
        await self._producer.start()
        self._app.finalize()
        tasks: list[asyncio.Task[None]] = [
            asyncio.create_task(self._serve(), name=f"{self._processor.name}-faust"),
            asyncio.create_task(self._work(), name=f"{self._processor.name}-work"),
        ]
        stopped: asyncio.Task[Any] = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            self._standstill.end()
            self._waiting.end()
            await run_bounded(STOP_TIMEOUT_S, self._end_between_batches(tasks[1]))
            tasks[1].cancel()
            await self._stop_app()
            for task in (*tasks, stopped):
                task.cancel()
            await asyncio.wait((*tasks, stopped), timeout=LEAVE_S)
            closing = [asyncio.ensure_future(part.stop()) for part in (self._checker, self._producer)]
            await asyncio.wait(closing, timeout=LEAVE_S)

    async def _end_between_batches(self, work: asyncio.Task[None]) -> None:
        async with self._working:
            work.cancel()

    async def _serve(self) -> None:
        await asyncio.wait_for(self._app.start(), START_TIMEOUT_S)
        await self._app.wait_until_stopped()
        raise KafkaError(f"Faust gave up: {self._app.crash_reason!r}")

    async def _stop_app(self) -> None:
        if not self._app.started:
            return
        stopping = asyncio.ensure_future(self._app.stop())
        done, _ = await asyncio.wait([stopping], timeout=STOP_TIMEOUT_S)
        if not done:
            stopping.cancel()
            log.error("faust_stop_hangs", processor=self._processor.name)

    async def _drain(self) -> None:
        async with self._working:
            self._throw_away_events()
            for tp in self._progress.watermarks:
                # From now on that is another process's.
                metrics.LAG.labels(
                    self._processor.name, self._bus.settings.logical(tp.topic), tp.partition
                ).set(0)
            self._progress.clear()
            self._standstill.end()

    def _throw_away_events(self) -> None:
        while not self._events.empty():
            self._events.get_nowait()

    async def _take_up(self) -> None:
        """Begin with the partitions that a rebalance gave."""
        # The next one may begin meanwhile.
        rebalance = self._app.settled
        if self._processor.state is not None:
            await self._restore()
        self._throw_away_events()
        consumer: Any = self._app.consumer
        try:
            await consumer.take_up(self._standstill)
        except IllegalStateError as error:
            log.info("rebalance_again", processor=self._processor.name, error=str(error))
        else:
            self._progress.take_up(consumer.started_at)
            self._taken_up = rebalance

    async def _restore(self) -> None:
        partitions = {tp.partition for tp in self._app.assignor.assigned_actives()}
        for number, error in (await self._states.restore(partitions)).items():
            self._stand_still(number, error)

    def _stand_still(self, number: int, error: PartitionError) -> None:
        """Take nothing more of partition `number`."""
        self._standstill.begin(number, error)
        consumer: Any = self._app.consumer
        consumer.pause_partitions({tp for tp in consumer.assignment() if tp.partition == number})

    async def _work(self) -> None:
        clock = self._clock
        recovery = RecoveryWatch(self._app)
        left: list[EventT[Any]] = []
        while True:
            events = left or await self._next_events()
            while not self._in_group:
                await asyncio.sleep(READY_POLL_S)
                await recovery.look()
            left = []
            async with self._working:
                if not self._in_group:
                    continue
                if self._taken_up != self._app.settled:
                    await self._take_up()
                    continue
                left = await self._process(events)
                if clock() >= self._next_look:
                    self._next_look = clock() + TICK_INTERVAL_S
                    self._observe_lag()
                    await self._tick()
                    consumer: Any = self._app.consumer
                    await self._states.write_tombstones(self._writer, consumer._committed_offset)
            # Not while `_working` is held: partitions may have to go meanwhile.
            if left:
                await self._waiting.pause({tp.partition for tp in self._app.consumer.assignment()})
            else:
                self._waiting.end()

    async def _next_events(self) -> list[EventT[Any]]:
        try:
            events = [await asyncio.wait_for(self._events.get(), TICK_INTERVAL_S)]
        except TimeoutError:
            return []
        # As in the other runtime: the first news after a pause goes through at once.
        due = self._written_at + self._processor.linger_s
        while self._clock() < due and self._events.qsize() < BATCH_RECORDS:  # noqa: ASYNC110
            await asyncio.sleep(LINGER_POLL_S)
        while len(events) < BATCH_RECORDS and not self._events.empty():
            events.append(self._events.get_nowait())
        return events

    def _of_this_generation(self, events: list[EventT[Any]]) -> dict[TP, list[EventT[Any]]]:
        """Events by partition, without those that were handed over for an earlier assignment."""
        runs: dict[TP, list[EventT[Any]]] = {}
        for event in events:
            message = event.message
            if message.partition in self._standstill:
                continue
            if message.generation_id == self._app.consumer_generation_id:
                runs.setdefault(message.tp, []).append(event)
        return runs

    async def _process(self, events: list[EventT[Any]]) -> list[EventT[Any]]:
        """Fold, write and acknowledge `events`, without those of before a rebalance: they come again.

        Returns those that are left over because a schema cannot be looked up.
        """
        consumer: Any = self._app.consumer
        runs = self._of_this_generation(events)
        for tp, run in runs.items():
            await check_gaps(
                self._checker, tp, self._progress.expected(tp), [event.message.offset for event in run]
            )
        changes: Changes[S] = Changes()
        handled: list[EventT[Any]] = []
        topics = [self._bus.settings.topic(topic) for topic in self._processor.inputs]
        ordered = list(in_order(runs, topics))
        left: list[EventT[Any]] = []
        for index, event in enumerate(ordered):
            message = event.message
            if message.partition in self._standstill:
                continue
            try:
                # Faust may hand over the first ones after a rebalance twice.
                if message.offset >= self._progress.expected(message.tp):
                    await self._handle(changes, message)
            except SchemaUnavailableError as error:
                log.warning("schema_unavailable", processor=self._processor.name, error=str(error))
                left = ordered[index:]
                break
            except PartitionError as error:
                self._stand_still(message.partition, error)
                continue
            handled.append(event)
        await self._write(changes)
        if handled:
            self._written_at = self._clock()
        # Without awaiting: Faust may commit at any moment, and it commits past a gap.
        for event in handled:
            consumer.processed(event.message)
            self._progress.handled(event.message.tp, event.message.offset)
        metrics.PROCESSED.labels(self._processor.name).inc(len(handled))
        return left

    async def _handle(self, changes: Changes[S], message: Any) -> None:
        topic = self._bus.settings.logical(message.topic)
        record = source_record(message)
        if not self._header_filter.wants(topic, record.headers):
            return
        try:
            value = record.value
            decoded = as_message(topic, record, None if value is None else await self._bus.decode(value))
        except UnknownRecordError:
            metrics.UNKNOWN_KINDS.labels(self._processor.name, topic).inc()
            return
        except CodecError as error:
            self._dead_letter(changes, topic, record, error, decoded=False)
            return
        try:
            key = self._processor.key(decoded)
            if key is None:
                return
            offsets, state = self._states.current(changes, key)
            if decoded.offset <= offsets.get(topic, -1):
                return
            step = advance(self._processor, state, decoded, self._tables)
            emits = encode(
                self._bus, self._processor.name, declared(self._processor, step.out), decoded.traceparent
            )
            raw = self._states.raw(step.state)
            if step.state is not None:
                self._processor.due(step.state)
        except PartitionError:
            raise
        except Exception as error:
            self._dead_letter(changes, topic, record, error, decoded=True)
            return
        for bound in step.bounded:
            metrics.BOUNDED.labels(self._processor.name, bound).inc()
        changes.emits += emits
        if step.state is not state:
            entry = Entry(message.partition, {**offsets, topic: decoded.offset}, raw)
            changes.put(key, entry, step.state)

    def _dead_letter(
        self, changes: Changes[S], topic: str, record: ConsumerRecord, error: Exception, *, decoded: bool
    ) -> None:
        failures = self._limits[record.partition]
        changes.emits += encode_dead_letter(
            self._bus, self._processor.name, topic, record, error, decoded=decoded, failures=failures
        )

    async def _write(self, changes: Changes[S]) -> None:
        await self._states.write(self._writer, changes)
        metrics.EMITTED.labels(self._processor.name).inc(len(changes.emits))

    async def _tick(self) -> None:
        """Run the timers that are due by the moments that their partitions have reached."""
        if not has_timers(self._processor):
            return
        wall = now_us() - TICK_GRACE_US
        reached: dict[int, int] = {}
        for tp, watermark in self._progress.watermarks.items():
            reached[tp.partition] = min(reached.get(tp.partition, wall), watermark.reached - TICK_GRACE_US)
        changes: Changes[S] = Changes()
        for key in self._states.take_due(wall):
            entry = self._states.entry(key)
            if entry.partition in self._standstill:
                continue
            out: list[Emit] = []
            try:
                now = reached.get(entry.partition, 0)
                before = self._states.state_of(key, entry)
                state = ticks_until(self._processor, before, now, self._tables, out)
                emits = encode(self._bus, self._processor.name, declared(self._processor, out), None)
                value = self._states.raw(state)
                if state is not None:
                    self._processor.due(state)
            except PartitionError as error:
                self._stand_still(entry.partition, error)
                continue
            except Exception as error:
                self._tick_failed(key, entry.partition, error)
                continue
            if state is before:
                self._states.arm(key)
                continue
            metrics.TICKS.labels(self._processor.name).inc()
            changes.emits += emits
            changes.put(key, Entry(entry.partition, entry.offsets, value), state)
        await self._write(changes)

    def _tick_failed(self, key: str, number: int, error: Exception) -> None:
        """The key keeps its state, and is asked again later."""
        try:
            count_failed_tick(self._processor.name, key, error, self._limits[number])
        except PartitionError as stop:
            self._stand_still(number, stop)
            return
        self._states.retry(key, now_us() + TICK_RETRY_US)

    def _observe_lag(self) -> None:
        """Note how far behind each partition is."""
        consumer: Any = self._app.consumer
        kafka = consumer._thread._ensure_consumer()
        inputs = {self._bus.settings.topic(topic): topic for topic in self._processor.inputs}
        for tp in consumer.assignment():
            if tp.topic not in inputs:
                continue
            lag = self._progress.lag(tp, place_of(kafka, tp), idle=self._events.empty())
            if lag is not None:
                metrics.LAG.labels(self._processor.name, inputs[tp.topic], tp.partition).set(lag)
