"""One input partition (of every input topic) in the transactional runtime: restores, processes, commits."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Generic

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from libs.bus import metrics
from libs.bus.bounded_waits import FIRST_WAIT_S, LEAVE_S, LONGEST_WAIT_S
from libs.bus.bus import Bus
from libs.bus.dead_letters import count_failed_tick, encode_dead_letter
from libs.bus.encoding import EncodedRecord, declared, encode
from libs.bus.errors import PartitionError, SchemaUnavailableError, StateShapeError
from libs.bus.failures import FailureLimit, Standstill
from libs.bus.fetching import value_bytes_of
from libs.bus.header_filter import HeaderFilter
from libs.bus.inputs import Inputs
from libs.bus.message import Emit
from libs.bus.processor import Processor, S, Step, Tables, advance, ticks_until
from libs.bus.restoring import Kept, changelog_end, restore
from libs.bus.state_codec import StateCodec
from libs.bus.states import States
from libs.bus.tail import as_message
from libs.bus.timers import TICK_GRACE_US, TICK_INTERVAL_S, TICK_RETRY_US
from libs.bus.transactions import BATCH_RECORDS, Batch, Transactions
from libs.events.codec import CodecError, UnknownRecordError, UnknownSchemaIdError
from libs.runtime.clock import SECOND, now_us
from libs.runtime.logging import get_logger

log = get_logger(__name__)

RUN_RECORDS = 256
"""After so many the other partitions get their turn."""
OFFSETS_LINGER_S = 1.0
"""How long the offsets of messages that led to nothing may wait for a transaction."""
STOP_TIMEOUT_S = 8.0


class PartitionTask(Generic[S]):
    """Runs `processor` over partition `number` of its inputs, which `consumer` fetches for `group`.

    It restores the state after it has fenced whoever had the partition before, and only then takes messages.
    Whatever goes wrong in a transaction, it starts over from what is committed. A schema that cannot be looked up is
    waited for. At a PartitionError it stands still: what came before is committed, and nothing more is read.
    `failures`: how many more of its messages and ticks may fail. A StateShapeError ends it: `failure` says so.
    """

    def __init__(
        self,
        bus: Bus,
        processor: Processor[S],
        codec: StateCodec[S],
        tables: Tables,
        consumer: AIOKafkaConsumer,
        *,
        group: str,
        number: int,
        failures: FailureLimit,
        kept: Kept[S] | None = None,
    ) -> None:
        """`kept`: of the task that had the partition before in this process."""
        self._bus = bus
        self._processor = processor
        self._codec = codec
        self._tables = tables
        self._group = group
        self._number = number
        self._failures = failures
        self._header_filter = HeaderFilter(processor)
        self._inputs = Inputs(bus.settings, consumer, processor.name, processor.inputs, number)
        self._wake = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._transactions: Transactions | None = None
        self._state: States[S] = States(processor, codec)
        self.failure: StateShapeError | None = None
        self._checks_at_once = False
        self._kept = kept
        self._changelog_end: int | None = None
        self._batch = Batch()
        self._clock = asyncio.get_running_loop().time
        self._committed_at = 0.0
        self._retry_s = FIRST_WAIT_S

    @property
    def ready(self) -> bool:
        """Whether it is restored and takes messages."""
        return self._inputs.placed

    def start(self) -> None:
        """Begin to restore."""
        name = f"{self._processor.name}-{self._number}"
        self._task = asyncio.create_task(self._run(), name=name)

    async def stop(self) -> None:
        """Finish the transaction under way, or give it up if that takes too long; then disconnect."""
        self._stopping = True
        self._wake.set()
        if self._task is None:
            return
        await asyncio.wait([self._task], timeout=STOP_TIMEOUT_S)
        self._inputs.leave()
        if not self._task.done():
            log.warning("task_given_up", processor=self._processor.name, partition=self._number)
            self._task.cancel()
            await asyncio.wait([self._task], timeout=LEAVE_S)
            await self._close()

    @property
    def kept(self) -> Kept[S] | None:
        """Its states, once it has stopped with everything committed; None if it has not."""
        return self._kept

    @property
    def needs_fetch(self) -> list[TopicPartition]:
        """Partitions to fetch from for this task."""
        return self._inputs.needs_fetch

    @property
    def filled(self) -> list[TopicPartition]:
        """Partitions of which enough bytes are buffered."""
        return self._inputs.filled

    def add_fetched(self, fetched: Mapping[TopicPartition, list[ConsumerRecord]]) -> None:
        """Buffer our part of what was fetched."""
        if self._inputs.add_fetched(fetched):
            self._wake.set()

    async def observe(self) -> None:
        """Note how far behind this task is. Raises KafkaError."""
        await self._inputs.observe()

    async def _run(self) -> None:
        name, number = self._processor.name, self._number
        while not self._stopping:
            try:
                await self._restore()
                while not self._stopping:
                    await self._work()
                if self._batch:
                    await self._flush()
                if self._changelog_end is not None:
                    self._kept = Kept(self._state, self._changelog_end)
            except StateShapeError as error:
                # Another version can read all of it, and gets the partition once this process is gone.
                metrics.STATE_ERRORS.labels(name).inc()
                log.critical("state_unreadable", processor=name, partition=number, error=str(error))
                self.failure = error
                break
            except SchemaUnavailableError as error:
                with metrics.WAITING_PARTITIONS.labels(name, number).track_inprogress():
                    await self._wait_for_schema(error)
            except PartitionError as error:
                await self._stand_still(error)
            except Exception:
                # Also a fenced producer: if the partition is really elsewhere, the group takes it from us.
                metrics.TASK_RESTARTS.labels(name).inc()
                log.exception("task_restarts", processor=name, partition=number)
                await self._close()
                await self._rest(self._retry_s)
                self._retry_s = min(2 * self._retry_s, LONGEST_WAIT_S)
        await self._close()

    async def _stand_still(self, error: PartitionError) -> None:
        standstill = Standstill(self._processor.name)
        standstill.begin(self._number, error)
        try:
            await self._close()
            while not self._stopping:
                await self._rest(LONGEST_WAIT_S)
        finally:
            standstill.end()

    async def _wait_for_schema(self, error: SchemaUnavailableError) -> None:
        """Return once it can be told what the schema is, or at the stop."""
        await self._close()
        wait_s = FIRST_WAIT_S
        while not self._stopping:
            log.warning(
                "schema_unavailable", processor=self._processor.name, partition=self._number,
                error=str(error), retry_in_s=wait_s,
            )  # fmt: skip
            await self._rest(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            try:
                await self._bus.fetch_schema(error.schema_id)
            except SchemaUnavailableError as again:
                error = again
            except CodecError:
                return  # that is told when its record is taken again
            else:
                return

    async def _rest(self, seconds: float) -> None:
        """Do nothing for a while, but not beyond the stop."""
        until = self._clock() + seconds
        while not self._stopping and (left_s := until - self._clock()) > 0:
            self._wake.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), left_s)

    async def _close(self) -> None:
        self._inputs.hold()
        transactions, self._transactions = self._transactions, None
        if transactions is not None:
            await transactions.close()

    async def _restore(self) -> None:
        """Fence, then read back the state and the committed offsets, then take messages."""
        started = now_us()
        self._batch = Batch()
        self._transactions = Transactions(self._bus.settings, f"{self._group}.{self._number}", self._group)
        await self._transactions.start()
        if self._processor.state is not None:
            kept, self._kept, self._changelog_end = self._kept, None, None
            restored = await restore(
                self._bus,
                self._processor,
                self._codec,
                self._number,
                kept=kept,
                stopping=lambda: self._stopping,
            )
            if restored is None:
                return
            self._state, self._changelog_end = restored
            metrics.STATE_KEYS.labels(self._processor.name, self._number).set(len(self._state))
        await self._inputs.seek_to_committed()
        metrics.RESTORE_SECONDS.labels(self._processor.name).set((now_us() - started) / SECOND)

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

    def _pause(self, batch: Batch) -> float:
        """Seconds that `batch` may still wait for company; 0: commit now."""
        if not batch:
            return TICK_INTERVAL_S
        if batch.full:
            return 0
        now = self._clock()
        if batch.has_effects:
            return min(TICK_INTERVAL_S, self._committed_at + self._processor.linger_s - now)
        # Messages without effects need no transaction of their own; reprocessing them is harmless.
        return min(TICK_INTERVAL_S, batch.begun_at + OFFSETS_LINGER_S - now)

    async def _process(self, batch: Batch) -> None:
        """Process buffered records in order of time, while none is missing from an input that lags."""
        # An exhausted input stays so until other tasks have run.
        self._inputs.reset_exhausted()
        handled = 0
        while not batch.full and not self._stopping:
            taken = self._inputs.take(min(RUN_RECORDS - handled, BATCH_RECORDS - batch.messages))
            if taken is None:
                break
            place, records = taken
            topic = self._inputs.topics[place]
            batch.begun_at = batch.begun_at or self._clock()
            try:
                for record in records:
                    try:
                        self._handle(batch, topic, record)
                    except UnknownSchemaIdError as error:
                        await self._fetch_schema_and_handle(batch, topic, record, error.schema_id)
            except (PartitionError, SchemaUnavailableError):
                # What came before the record takes effect.
                batch.offsets[place] = record.offset
                batch.messages += records.index(record)
                await self._flush()
                raise
            batch.offsets[place] = records[-1].offset + 1
            batch.messages += len(records)
            batch.bytes += value_bytes_of(records)
            handled += len(records)
            if handled == RUN_RECORDS:
                handled = 0
                await asyncio.sleep(0)
                self._inputs.reset_exhausted()

    async def _fetch_schema_and_handle(
        self, batch: Batch, topic: str, record: ConsumerRecord, schema_id: int
    ) -> None:
        try:
            await self._bus.fetch_schema(schema_id)
        except CodecError as error:
            self._dead_letter(batch, topic, record, error, decoded=False)
            return
        self._handle(batch, topic, record)

    def _handle(self, batch: Batch, topic: str, record: ConsumerRecord) -> None:
        """Fold `record`. Raises UnknownSchemaIdError or PartitionError, then nothing has happened."""
        if not self._header_filter.wants(topic, record.headers):
            return
        try:
            value = record.value
            message = as_message(topic, record, None if value is None else self._bus.codec.decode(value))
        except UnknownSchemaIdError:
            raise
        except UnknownRecordError:
            metrics.UNKNOWN_KINDS.labels(self._processor.name, topic).inc()
            return
        except CodecError as error:
            self._dead_letter(batch, topic, record, error, decoded=False)
            return
        try:
            key = self._processor.key(message)
            if key is None:
                return
            before = self._state.get(key)
            step = advance(self._processor, before, message, self._tables)
            self._apply(batch, key, before, step, message.traceparent)
        except PartitionError:
            raise
        except Exception as error:
            self._dead_letter(batch, topic, record, error, decoded=True)

    def _apply(self, batch: Batch, key: str, before: S | None, step: Step[S], trace: str | None) -> None:
        """Take over what a step decided; changes nothing if any of it cannot be written."""
        emits = encode(self._bus, self._processor.name, declared(self._processor, step.out), trace)
        for bound in step.bounded:
            metrics.BOUNDED.labels(self._processor.name, bound).inc()
        after = step.state
        if after is not before and self._processor.state is not None:
            if self._checks_at_once:
                self._state.check(after)
            self._state.put(key, after)
            batch.changes_state = True
        batch.emits += emits

    def _tick(self, batch: Batch) -> None:
        now = min(now_us(), self._inputs.reached) - TICK_GRACE_US
        for key in self._state.take_due(now):
            out: list[Emit] = []
            before = self._state.get(key)
            try:
                after = ticks_until(self._processor, before, now, self._tables, out)
                self._apply(batch, key, before, Step(after, tuple(out)), None)
            except PartitionError:
                raise
            except Exception as error:
                # The key keeps its state, and is asked again later.
                count_failed_tick(self._processor.name, key, error, self._failures)
                self._state.retry(key, now + TICK_RETRY_US)
                continue
            metrics.TICKS.labels(self._processor.name).inc()

    def _dead_letter(
        self, batch: Batch, topic: str, record: ConsumerRecord, error: Exception, *, decoded: bool
    ) -> None:
        batch.emits += encode_dead_letter(
            self._bus, self._processor.name, topic, record, error, decoded=decoded, failures=self._failures
        )

    async def _flush(self) -> None:
        """Commit outputs, changed states and offsets of the batch, and begin another."""
        batch, self._batch = self._batch, Batch()
        assert self._transactions is not None
        name = self._processor.name
        changes = self._changelog()
        with metrics.COMMIT_SECONDS.labels(name).time():
            written = await self._transactions.commit([*batch.emits, *changes], batch.offsets)
        if changes:
            self._changelog_end = changelog_end(changes, written)
        self._committed_at = self._clock()
        self._retry_s = FIRST_WAIT_S
        metrics.PROCESSED.labels(name).inc(batch.messages)
        metrics.EMITTED.labels(name).inc(len(batch.emits))
        metrics.STATE_KEYS.labels(name, self._number).set(len(self._state))

    def _changelog(self) -> list[EncodedRecord]:
        """The changed states. If one cannot be written, the batch is folded again, looking for who is to blame."""
        topic = self._bus.settings.topic(self._processor.state_topic)
        try:
            return self._state.encode_changes(topic, self._number)
        except Exception:
            self._checks_at_once = True
            raise
