"""One membership of the Faust runtime in its consumer group: takes what Faust hands over, folds, writes, commits."""

import asyncio
import heapq
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from faust.types import TP, EventT

from libs.bus import metrics
from libs.bus.bounds import LEAVE_S, within
from libs.bus.bus import Bus
from libs.bus.compression import compression_type
from libs.bus.effects import (
    TICK_GRACE_US,
    TICK_INTERVAL_S,
    Glance,
    RecordWriter,
    encode,
    encode_dead_letter,
    has_timers,
)
from libs.bus.faust_app import RecoveryWatch, make_app, make_table, place_of, source_record
from libs.bus.faust_states import Changes, Entry, FaustStates
from libs.bus.message import Emit
from libs.bus.processor import Processor, S, Tables, advance, ticks_until
from libs.bus.settings import DEAD_LETTER_BYTES
from libs.bus.tail import read_message
from libs.bus.watermark import Watermark
from libs.events.codec import CodecError, UnknownRecordError
from libs.runtime.clock import now_us
from libs.runtime.logging import get_logger

log = get_logger(__name__)

BATCH_RECORDS = 500
QUEUED_EVENTS = 1_000
READY_POLL_S = 0.02
LINGER_POLL_S = 0.05
CHECK_TIMEOUT_MS = 10_000
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 6.0


class RecordsMissedError(RuntimeError):
    """Faust passed over records in a rebalance; they are read again."""


def in_order(runs: Mapping[TP, Sequence[EventT[Any]]], topics: Sequence[str]) -> Iterable[EventT[Any]]:
    """The events of `runs` by time, of equal times by the order of `topics`; that within each run is not disturbed."""
    ranked = sorted(runs, key=lambda tp: topics.index(tp.topic))
    return heapq.merge(*(runs[tp] for tp in ranked), key=lambda event: event.message.timestamp)


class Member(Generic[S]):
    """One Faust app: a member of the group from start to stop, or to the first failure of Kafka."""

    def __init__(self, bus: Bus, processor: Processor[S], tables: Tables, group: str) -> None:
        self._bus = bus
        self._processor = processor
        self._tables = tables
        self._glance = Glance(processor)
        self._restored = True
        settings = bus.settings
        self._events: asyncio.Queue[EventT[Any]] = asyncio.Queue(QUEUED_EVENTS)
        self._working = asyncio.Lock()
        self._processed: dict[TP, int] = {}
        self._positions: dict[TP, int] = {}
        self._watermarks: dict[TP, Watermark] = {}
        self._next_look = 0.0
        self._clock = asyncio.get_running_loop().time
        self._written_at = float("-inf")
        self._app = make_app(group, settings, processor.inputs, self._events.put, self._drain)
        table: Any = {}
        if processor.state is not None:
            table = make_table(self._app, settings.topic(processor.state_topic), self._recovered)
        self._states = FaustStates(bus, processor, table)

    @property
    def ready(self) -> bool:
        """Whether it is in the group and its partitions are restored."""
        return bool(
            self._app.started
            and not self._app.rebalancing
            and self._app.tables.actives_ready
            and not self._app.should_stop
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Take part until `stop`. Raises what made Faust give up, or what the producer raised."""
        settings = self._bus.settings
        self._producer = AIOKafkaProducer(
            bootstrap_servers=settings.kafka,
            acks="all",
            enable_idempotence=True,
            max_batch_size=1 << 18,
            max_request_size=DEAD_LETTER_BYTES,
            compression_type=compression_type(settings),
        )
        self._writer = RecordWriter(self._producer)
        self._checker = AIOKafkaConsumer(
            bootstrap_servers=settings.kafka, isolation_level="read_committed", auto_offset_reset="earliest"
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
            await within(STOP_TIMEOUT_S, self._end_between_batches(tasks[1]))
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
            while not self._events.empty():
                self._events.get_nowait()
            self._processed.clear()
            self._positions.clear()
            self._watermarks.clear()

    async def _recovered(self) -> None:
        """Faust has assigned partitions and restored the table; it must not wait here for more than that."""
        self._restored = False

    async def _restore(self) -> None:
        # At the beginning: the next assignment may come while we read.
        self._restored = True
        await self._states.restore({tp.partition for tp in self._app.assignor.assigned_actives()})

    async def _work(self) -> None:
        clock = self._clock
        recovery = RecoveryWatch(self._app)
        while True:
            events = await self._next_events()
            # Faust hands over the first events a moment before it says that it is ready: they are kept for then.
            while not self.ready:
                await asyncio.sleep(READY_POLL_S)
                await recovery.look()
            async with self._working:
                if not self.ready:
                    continue
                if not self._restored:
                    await self._restore()
                await self._process(events)
                if clock() >= self._next_look:
                    self._next_look = clock() + TICK_INTERVAL_S
                    self._observe_lag()
                    await self._tick()
                    consumer: Any = self._app.consumer
                    await self._states.bury(self._writer, consumer._committed_offset)

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

    async def _process(self, events: list[EventT[Any]]) -> None:
        """Fold, write and acknowledge `events`, without those of before a rebalance: they come again."""
        consumer: Any = self._app.consumer
        generation = self._app.consumer_generation_id
        runs: dict[TP, list[EventT[Any]]] = {}
        for event in events:
            if event.message.generation_id == generation:
                runs.setdefault(event.message.tp, []).append(event)
        for tp, run in runs.items():
            await self._check_gaps(tp, self._processed.get(tp, consumer.started_at.get(tp, 0)), run)
        changes: Changes[S] = Changes()
        for event in in_order(runs, [self._bus.settings.topic(topic) for topic in self._processor.inputs]):
            # Faust may hand over the first ones after a rebalance twice.
            if event.message.offset >= self._processed.get(event.message.tp, 0):
                await self._handle(changes, event.message)
        await self._write(changes)
        if events:
            self._written_at = self._clock()
        # Without awaiting: Faust may commit at any moment, and it commits past a gap.
        for tp, run in runs.items():
            for event in run:
                consumer.processed(event.message)
            self._processed[tp] = max(self._processed.get(tp, 0), run[-1].message.offset + 1)
            metrics.PROCESSED.labels(self._processor.name).inc(len(run))

    async def _check_gaps(self, tp: TP, expected: int, run: list[EventT[Any]]) -> None:
        """Raise RecordsMissedError if Faust has left out records of `tp` from `expected` on.

        Where offsets jump there may be transaction markers or expired records; the log itself tells.
        """
        for event in run:
            offset = event.message.offset
            if offset > expected:
                self._checker.assign([TopicPartition(*tp)])
                self._checker.seek(TopicPartition(*tp), expected)
                found = await self._checker.getmany(timeout_ms=CHECK_TIMEOUT_MS, max_records=1)
                first = [record.offset for records in found.values() for record in records]
                if first != [offset]:
                    raise RecordsMissedError(
                        f"{tp}: {first} comes after {expected}, Faust goes on at {offset}"
                    )
            expected = max(expected, offset + 1)

    async def _handle(self, changes: Changes[S], message: Any) -> None:
        topic = self._bus.settings.logical(message.topic)
        record = source_record(message)
        if not self._glance.wants(topic, record.headers):
            return
        try:
            decoded = await read_message(self._bus, topic, record)
        except UnknownRecordError:
            metrics.UNKNOWN_KINDS.labels(self._processor.name, topic).inc()
            return
        except CodecError as error:
            changes.emits += encode_dead_letter(
                self._bus, self._processor.name, topic, record, error, decoded=False
            )
            return
        try:
            key = self._processor.key(decoded)
            if key is None:
                return
            offsets, state = self._states.current(changes, key)
            if decoded.offset <= offsets.get(topic, -1):
                return
            step = advance(self._processor, state, decoded, self._tables)
            emits = encode(self._bus, self._processor.name, step.out, decoded.traceparent)
            value = self._states.raw(step.state)
        except Exception as error:
            changes.emits += encode_dead_letter(
                self._bus, self._processor.name, topic, record, error, decoded=True
            )
            return
        changes.emits += emits
        if step.state is not state:
            entry = Entry(message.partition, {**offsets, topic: decoded.offset}, value)
            changes.put(key, entry, step.state)

    async def _write(self, changes: Changes[S]) -> None:
        await self._states.write(self._writer, changes)
        metrics.EMITTED.labels(self._processor.name).inc(len(changes.emits))

    async def _tick(self) -> None:
        """Run the timers that are due by the moments that their partitions have reached."""
        if not has_timers(self._processor):
            return
        wall = now_us() - TICK_GRACE_US
        reached: dict[int, int] = {}
        for tp, watermark in self._watermarks.items():
            reached[tp.partition] = min(reached.get(tp.partition, wall), watermark.reached - TICK_GRACE_US)
        changes: Changes[S] = Changes()
        for key in self._states.take_due(wall):
            entry = self._states.entry(key)
            before = self._states.state_of(entry)
            out: list[Emit] = []
            try:
                now = reached.get(entry.partition, 0)
                state = ticks_until(self._processor, before, now, self._tables, out)
                emits = encode(self._bus, self._processor.name, out, None)
                value = self._states.raw(state)
            except Exception:
                # There is no message to put aside: the key keeps its state, and its timer is not set again.
                metrics.DEAD_LETTERS.labels(self._processor.name, "tick", "failed").inc()
                log.exception("tick_failed", processor=self._processor.name, key=key)
                continue
            if state is before:
                self._states.arm(key)
                continue
            metrics.TICKS.labels(self._processor.name).inc()
            changes.emits += emits
            changes.put(key, Entry(entry.partition, entry.offsets, value), state)
        await self._write(changes)

    def _observe_lag(self) -> None:
        """Note how far behind each partition is."""
        consumer: Any = self._app.consumer
        kafka = consumer._thread._ensure_consumer()
        inputs = {self._bus.settings.topic(topic): topic for topic in self._processor.inputs}
        for tp in consumer.assignment():
            if tp.topic not in inputs:
                continue
            watermark = self._watermarks.setdefault(tp, Watermark())
            place = place_of(kafka, tp)
            if place is None:
                continue
            # What the position has passed may still be on its way from there to here, unless it has not moved since the
            # last look. It also passes transaction markers, which are never handed over.
            unmoved = self._positions.get(tp) == place.position and self._events.empty()
            self._positions[tp] = place.position
            handled = place.position if unmoved else self._processed.get(tp, 0)
            watermark.observe(place.answered_at, place.end, handled)
            metrics.LAG.labels(self._processor.name, inputs[tp.topic], tp.partition).set(
                max(0, place.end - handled)
            )
