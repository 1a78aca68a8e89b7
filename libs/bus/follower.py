"""Following topics without a consumer group."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from time import monotonic, time
from types import TracebackType
from typing import Final, Literal, Self

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from libs.bus import metrics
from libs.bus.bounded_waits import stop_consumer
from libs.bus.bus import Bus
from libs.bus.connection import connection
from libs.bus.errors import BusError, BusUnavailableError, ContractMismatchError
from libs.bus.fetching import steps
from libs.bus.message import Message
from libs.bus.reading import partitions_of
from libs.bus.tail import as_message
from libs.events.codec import CodecError, UnknownRecordError
from libs.runtime.logging import get_logger

log = get_logger(__name__)

STALE_S: Final = 15.0
"""A follower is healthy while all that was in its topics this long ago has been handed on."""
_SILENT_S: Final = 30.0
"""A consumer that got no answer for so long is given up for a new one."""
_LOOK_S: Final = 1.0
_FETCHED_RECORDS: Final = 500
"""At most between two moments at which others of the process have their turn."""
_FIRST_RETRY_S: Final = 0.2
_LONGEST_RETRY_S: Final = 5.0

Take = Callable[[Message], None]


class FollowerEndedError(BusError):
    """A follower ended that was not told to."""


class _Place(msgspec.Struct):
    """How far a partition is handed on.

    `position`: offset of the next record. `current_at`: when all that was there had been handed on, last (Unix time).
    `end`: what is to be reached to have caught up, None once it is. `retry_at`: when a record that could not be read
    for want of the registry is tried again, after `failures` attempts (monotonic time).
    """

    position: int
    current_at: float
    end: int | None = None
    retry_at: float | None = None
    failures: int = 0


class Follower:
    """Hands every record of `topics` (named as in the contract) to each of `takes`, in the order of its partition.

    From the beginning, or from what is written after entering; of all partitions, or some. Committed records only.
    Use as an async context manager: entering returns when everything that was there has been handed on. Raises
    ContractMismatchError if a topic is not there. If following ends by itself, the task that entered is cancelled and
    leaving raises why, so that it ends the service.

    Errors of Kafka are tried again, from its own positions. A record that cannot be read for want of the schema
    registry holds up its partition until it can be; one that cannot be read at all, or is of a kind that its topic
    does not have, is logged, counted and passed over. What a callback raises is logged and counted, and holds up
    nothing. Callbacks are not to wait.

    A log that is not what it was (its topic was made anew, a broker lost its end, records expired unread) is an error
    in log and metrics. Who follows from the beginning is then told by `on_rewind`, handed the whole topic again, and
    told by `on_reached` when that is done. Others go on at the nearest offset that is there.

    `gap_s`: least time between two reads, so that a busy topic is read in few requests; news after a pause comes at
    once.
    """

    def __init__(
        self,
        bus: Bus,
        name: str,
        topics: Sequence[str],
        *takes: Take,
        partitions: Sequence[int] | None = None,
        start: Literal["beginning", "end"] = "beginning",
        gap_s: float = 0.0,
        on_rewind: Callable[[str], None] = lambda topic: None,
        on_reached: Callable[[str], None] = lambda topic: None,
    ) -> None:
        self._bus = bus
        self._name = name
        self._topics = topics
        self._takes = takes
        self._partitions = partitions
        self._start = start
        self._gap_s = gap_s
        self._on_rewind = on_rewind
        self._on_reached = on_reached
        self._kinds = {topic: frozenset(bus.contract.record_names(topic)) for topic in topics}
        self._places: dict[TopicPartition, _Place] = {}
        self._placed = asyncio.Event()
        self._looked_at = 0.0
        self._heard_at = 0.0
        self._stopping = False
        self._current: AIOKafkaConsumer | None = None
        self._handing_on = False
        self._awaited: list[tuple[dict[TopicPartition, int], asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None
        self._context: AbstractAsyncContextManager[None] | None = None

    @property
    def caught_up(self) -> bool:
        """Whether everything has been handed on that was there at the start, or when a topic had to be read again."""
        return bool(self._places) and all(place.end is None for place in self._places.values())

    @property
    def healthy(self) -> bool:
        """Whether everything has been handed on that was there `STALE_S` ago, and following goes on."""
        return (
            self._task is not None
            and not self._task.done()
            and bool(self._places)
            and time() - min(place.current_at for place in self._places.values()) < STALE_S
        )

    @property
    def ready(self) -> bool:
        """Whether it has caught up and is healthy."""
        return self.caught_up and self.healthy

    async def catch_up(self) -> None:
        """Return once everything that was committed before this call has been handed on.

        Raises BusUnavailableError if that cannot be told; waits while records cannot be read.
        """
        consumer = self._current
        if consumer is None:
            raise BusUnavailableError(f"{self._name} is not connected")
        try:
            ends = await consumer.end_offsets(list(self._places))
            if not self._handing_on and await _is_at(consumer, ends) and not self._handing_on:
                return
        except KafkaError as error:
            raise BusUnavailableError(f"the ends of topics are not known: {error!r}") from error
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited.append((ends, reached))
        await reached

    async def __aenter__(self) -> Self:
        self._context = self._follow()
        await self._context.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._context is not None
        await self._context.__aexit__(kind, error, trace)

    @asynccontextmanager
    async def _follow(self) -> AsyncIterator[None]:
        self._stopping = False
        try:
            async with asyncio.TaskGroup() as tasks:
                self._task = tasks.create_task(self._supervised(), name=f"follow {self._name}")
                try:
                    await self._placed.wait()
                    yield
                finally:
                    self._stopping = True
                    self._task.cancel()
                    self._disappoint()
        except BaseExceptionGroup as errors:
            if len(errors.exceptions) > 1:
                raise
            raise errors.exceptions[0] from None

    async def _supervised(self) -> None:
        try:
            await self._run()
        except BaseException as error:
            if self._stopping:
                raise
            log.exception("follower_ended", follower=self._name, error=repr(error))
            if isinstance(error, asyncio.CancelledError):
                # A cancelled task is no error to those who wait for it.
                raise FollowerEndedError(f"{self._name} was cancelled") from error
            raise

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                async with self._consumer() as consumer:
                    await self._take_places(consumer)
                    while True:
                        await self._read(consumer)
                        failures = 0
            except ContractMismatchError:
                raise
            except (Exception, asyncio.CancelledError) as error:
                task = asyncio.current_task()
                # While a broker is away aiokafka lets the cancellation of its own fetches through.
                if isinstance(error, asyncio.CancelledError) and (task is None or task.cancelling()):
                    raise
                failures += 1
                metrics.FOLLOWER_RETRIES.labels(self._name).inc()
                expected = isinstance(error, KafkaError | OSError)
                log.warning(
                    "follower_retries", follower=self._name, error=repr(error), exc_info=not expected or None
                )
            await asyncio.sleep(_backoff_s(failures))

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            **connection(self._bus.settings),
            auto_offset_reset="none",
            isolation_level="read_committed",
            fetch_max_wait_ms=100,
        )
        try:
            await consumer.start()
            yield consumer
        finally:
            self._current = None
            await stop_consumer(consumer)

    async def _take_places(self, consumer: AIOKafkaConsumer) -> None:
        """Assign the partitions; the first time also find out where they begin and end."""
        if not self._places:
            settings, wanted = self._bus.settings, self._partitions
            found = [
                each for topic in self._topics for each in await partitions_of(settings, topic, consumer)
            ]
            numbered = [each for each in found if wanted is None or each.partition in wanted]
            ends = await consumer.end_offsets(numbered)
            first = ends if self._start == "end" else await consumer.beginning_offsets(numbered)
            self._places = {each: _Place(first[each], time(), ends[each]) for each in numbered}
        consumer.assign(list(self._places))
        for each, place in self._places.items():
            consumer.seek(each, place.position)
            place.retry_at = None
        self._heard_at = time()
        self._current = consumer
        await self._look(consumer)

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        for each, place in self._places.items():
            if place.retry_at is not None and place.retry_at <= monotonic():
                place.retry_at = None
                consumer.resume(each)
        found = False
        try:
            async for fetched in steps(consumer, timeout_ms=200, max_records=_FETCHED_RECORDS):
                found = True
                # The consumer's positions are those of what was fetched, which is not handed on yet.
                self._handing_on = True
                for each, records in fetched.items():
                    await self._take_all(consumer, each, records)
                self._handing_on = False
        except OffsetOutOfRangeError as error:
            await self._find_places(consumer, error.args[0])
            return
        if not self.caught_up or self._awaited or monotonic() - self._looked_at >= _LOOK_S:
            await self._look(consumer)
        if found:
            await asyncio.sleep(self._gap_s)

    async def _take_all(
        self, consumer: AIOKafkaConsumer, each: TopicPartition, records: Sequence[ConsumerRecord]
    ) -> None:
        place = self._places[each]
        topic = self._bus.settings.logical(each.topic)
        for record in records:
            try:
                message = await self._message(topic, record)
            except Exception as error:
                # Not the record's fault: whoever knows what it says is away.
                place.failures += 1
                wait_s = _backoff_s(place.failures)
                place.retry_at = monotonic() + wait_s
                metrics.FOLLOWER_RETRIES.labels(self._name).inc()
                log.warning(
                    "follower_waits", follower=self._name, topic=topic, partition=each.partition,
                    offset=record.offset, error=repr(error), retry_in_s=wait_s,
                )  # fmt: skip
                consumer.seek(each, place.position)
                consumer.pause(each)
                return
            place.failures = 0
            if message is not None:
                self._hand_on(message)
            place.position = record.offset + 1

    async def _message(self, topic: str, record: ConsumerRecord) -> Message | None:
        if record.value is None:
            return as_message(topic, record, None)
        try:
            decoded = await self._bus.decode(record.value)
        except UnknownRecordError:
            metrics.UNKNOWN_KINDS.labels(self._name, topic).inc()
            return None
        except CodecError as error:
            pass_over(self._name, topic, record, "undecodable", str(error))
            return None
        kind = type(decoded).__name__
        if kind not in self._kinds[topic]:
            pass_over(self._name, topic, record, "foreign", f"{kind} is no record of this topic")
            return None
        return as_message(topic, record, decoded)

    def _hand_on(self, message: Message) -> None:
        for take in self._takes:
            try:
                take(message)
            except Exception:
                metrics.FOLLOWER_CALLBACK_ERRORS.labels(self._name, message.topic).inc()
                log.exception(
                    "follower_callback_failed", follower=self._name, topic=message.topic,
                    partition=message.partition, offset=message.offset,
                )  # fmt: skip

    async def _look(self, consumer: AIOKafkaConsumer) -> None:
        """Note how far everything is. Raises KafkaError if the consumer is not answered any more."""
        self._looked_at = monotonic()
        behind = dict.fromkeys(self._topics, 0)
        for each, place in self._places.items():
            # Also past transaction markers.
            place.position = await consumer.position(each)
            if place.end is not None and place.position >= place.end:
                place.end = None
                self._reached(each.topic)
            end, answered_ms = consumer.last_stable_offset(each), consumer.last_poll_timestamp(each)
            if end is None or answered_ms is None:
                continue
            self._heard_at = max(self._heard_at, answered_ms / 1000)
            behind[self._bus.settings.logical(each.topic)] += max(0, end - place.position)
            if place.position >= end:
                place.current_at = answered_ms / 1000
        if self.caught_up:
            self._placed.set()
        for awaited in list(self._awaited):
            ends, reached = awaited
            if reached.done() or all(self._places[each].position >= end for each, end in ends.items()):
                self._awaited.remove(awaited)
                if not reached.done():
                    reached.set_result(None)
        for topic, records in behind.items():
            name = self._bus.settings.topic(topic)
            current = min(place.current_at for each, place in self._places.items() if each.topic == name)
            metrics.FOLLOWER_BEHIND.labels(self._name, topic).set(records)
            metrics.FOLLOWER_CURRENT.labels(self._name, topic).set(current)
        if time() - self._heard_at > _SILENT_S and any(p.retry_at is None for p in self._places.values()):
            raise KafkaError(f"no answer for {_SILENT_S} s")

    def _disappoint(self) -> None:
        """Tell those who wait for an end that it will not be reached."""
        for _, reached in self._awaited:
            if not reached.done():
                reached.set_exception(BusUnavailableError(f"{self._name} does not get there"))
        self._awaited.clear()

    def _reached(self, name: str) -> None:
        if all(place.end is None for each, place in self._places.items() if each.topic == name):
            self._on_reached(self._bus.settings.logical(name))

    async def _find_places(self, consumer: AIOKafkaConsumer, lost: Mapping[TopicPartition, int]) -> None:
        """Go on where offsets are not there that the log had."""
        for each, offset in lost.items():
            if self._places[each].position != offset:
                continue  # found meanwhile
            partitions = [each]
            if self._start == "beginning":
                partitions = [known for known in self._places if known.topic == each.topic]
            first = await consumer.beginning_offsets(partitions)
            ends = await consumer.end_offsets(partitions)
            if first[each] <= offset <= ends[each]:
                raise KafkaError(f"{each} is said not to have {offset} of {first[each]} to {ends[each]}")
            topic = self._bus.settings.logical(each.topic)
            metrics.FOLLOWER_PLACES_LOST.labels(self._name, topic).inc()
            log.error(
                "follower_lost_its_place", follower=self._name, topic=topic, partition=each.partition,
                position=offset, first=first[each], end=ends[each], goes_on_from=self._start,
            )  # fmt: skip
            if self._start == "beginning":
                self._on_rewind(topic)
            self._disappoint()
            for known in partitions:
                place = self._places[known]
                if self._start == "beginning":
                    place.position, place.end = first[known], ends[known]
                else:
                    place.position = first[known] if offset < first[known] else ends[known]
                consumer.seek(known, place.position)


def pass_over(reader: str, topic: str, record: ConsumerRecord | Message, reason: str, error: str) -> None:
    """Count and log a record of the contract's `topic` that `reader` makes nothing of."""
    metrics.DEAD_LETTERS.labels(reader, topic, reason).inc()
    log.error(
        "follower_passes_over", follower=reader, topic=topic, partition=record.partition,
        offset=record.offset, reason=reason, error=error,
    )  # fmt: skip


async def _is_at(consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> bool:
    for place, end in ends.items():
        if await consumer.position(place) < end:
            return False
    return True


def _backoff_s(failures: int) -> float:
    return min(_LONGEST_RETRY_S, _FIRST_RETRY_S * (1 << min(failures - 1, 10)))
