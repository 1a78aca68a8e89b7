"""The edge's way to Kafka: a producer that is replaced when it fails, and an outbox for what must not be lost."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec

from libs.bus.batching import OnAcknowledged
from libs.bus.errors import BusUnavailableError
from libs.bus.producer import Producer
from libs.events.codec import CodecError
from libs.events.ids import new_trace
from libs.events.record import Record
from libs.runtime.logging import get_logger
from services.edge import metrics

log = get_logger(__name__)

_RETRY_S: Final = 0.5
_CHECK_S: Final = 0.1
_BATCH: Final = 500


class _Letter(msgspec.Struct, frozen=True):
    topic: str
    key: str
    record: Record


class Publisher:
    """Publishes records of this edge process.

    `send` is for what somebody waits for: it fails rather than wait for Kafka to come back. `post` is for what
    has happened whether Kafka is there or not: it is tried until acknowledged, in the order of posting.
    """

    def __init__(self, make_producer: Callable[[], Producer]) -> None:
        self._make_producer = make_producer
        self._producer = make_producer()
        self._outbox: deque[_Letter] = deque()
        self._unsettled = 0
        self._posted = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._stalled = False
        self._abandoned = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._discarded: set[asyncio.Task[None]] = set()

    @property
    def healthy(self) -> bool:
        """Whether what is sent now has a chance."""
        return not self._producer.failed and not self._stalled

    @property
    def working(self) -> bool:
        """Whether what is posted is delivered, and a failed producer renewed, sooner or later."""
        return bool(self._tasks) and not any(task.done() for task in self._tasks)

    def stall(self) -> None:
        """Take note that something was not acknowledged in time: unhealthy until something posted is."""
        self._stalled = True

    async def start(self) -> None:
        """Connect to Kafka. Raises what the producer raises."""
        await self._producer.start()
        self._tasks = [
            asyncio.create_task(self._watch(), name="producer-watch"),
            asyncio.create_task(self._work(), name="outbox"),
        ]

    async def stop(self, timeout_s: float) -> None:
        """Flush, bounded by `timeout_s`, and disconnect; logs how many posted records are lost if any."""
        try:
            await asyncio.wait_for(self._empty.wait(), timeout_s)
        except TimeoutError:
            log.error("outbox_not_empty", records=self._unsettled)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._producer.stop()

    def send(self, topic: str, key: str, record: Record) -> "Coroutine[Any, Any, asyncio.Future[Any]]":
        """Queue a record: to be awaited for a future that resolves when Kafka has it, or raises.

        Raises BusUnavailableError if it cannot be queued, CodecError if it does not fit its schema.
        """
        return self._producer.send(topic, key, record, traceparent=new_trace())

    def try_send(self, topic: str, key: str, record: Record, on_acknowledged: OnAcknowledged) -> bool:
        """`send` where that needs no waiting; False if it does. Raises like `send`."""
        return self._producer.try_send(topic, key, record, on_acknowledged, traceparent=new_trace())

    def post(self, topic: str, key: str, record: Record) -> None:
        """Deliver a record sooner or later."""
        self._outbox.append(_Letter(topic, key, record))
        self._unsettled += 1
        metrics.OUTBOX.set(self._unsettled)
        self._empty.clear()
        self._posted.set()

    async def _work(self) -> None:
        while True:
            await self._posted.wait()
            self._posted.clear()
            while self._outbox:
                batch = [self._outbox.popleft() for _ in range(min(_BATCH, len(self._outbox)))]
                while batch:
                    batch = await self._deliver(batch)
                    await asyncio.sleep(_RETRY_S if batch else 0)

    async def _deliver(self, batch: list[_Letter]) -> list[_Letter]:
        """Send a batch; returns what has to be sent again."""
        abandoned = self._abandoned
        acks: list[tuple[_Letter, asyncio.Future[Any]]] = []
        again: list[_Letter] = []
        for index, letter in enumerate(batch):
            try:
                acks.append((letter, await self.send(letter.topic, letter.key, letter.record)))
            except CodecError:
                log.exception("record_does_not_fit", topic=letter.topic, event_id=letter.record.event_id)
                self._settle()
            except BusUnavailableError:
                again = batch[index:]
                break
        if acks:
            await _wait_unless([ack for _, ack in acks], abandoned)
        failed = []
        for letter, ack in acks:
            if ack.done() and not ack.cancelled() and ack.exception() is None:
                self._stalled = False
                self._settle()
            else:
                failed.append(letter)
        return failed + again

    def _settle(self) -> None:
        self._unsettled -= 1
        metrics.OUTBOX.set(self._unsettled)
        if not self._unsettled:
            self._empty.set()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_S)
            if self._producer.failed:
                await self._renew()

    async def _renew(self) -> None:
        """Put a new producer in the place of one that failed: it must not skip a sequence number."""
        fresh = self._make_producer()
        try:
            await fresh.start()
        # Whatever keeps it from starting, it is tried again.
        except Exception as error:
            log.warning("producer_not_renewed", error=repr(error))
            await fresh.stop()
            await asyncio.sleep(_RETRY_S)
            return
        failed, self._producer = self._producer, fresh
        self._abandoned.set()
        self._abandoned = asyncio.Event()
        metrics.PRODUCER_RENEWALS.inc()
        log.info("producer_renewed")
        stopping = asyncio.create_task(failed.stop())
        self._discarded.add(stopping)
        stopping.add_done_callback(self._discarded.discard)


async def _wait_unless(acks: "list[asyncio.Future[Any]]", abandoned: asyncio.Event) -> None:
    """Wait for all acknowledgements, or until their producer is given up: it may never resolve them."""
    given_up = asyncio.create_task(abandoned.wait())
    everything = asyncio.gather(*acks, return_exceptions=True)
    either: list[asyncio.Future[Any]] = [everything, given_up]
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    given_up.cancel()
    everything.cancel()
