"""Batching of records per partition: a batch is filled while the one before it is being sent.

aiokafka's own `send` costs several times what building the batch costs; its batches are used directly instead.
"""

import asyncio
from collections.abc import Callable

from aiokafka import AIOKafkaProducer

from libs.bus.errors import BusUnavailableError
from libs.bus.message import Headers
from libs.runtime.logging import get_logger

log = get_logger(__name__)

OnSettled = Callable[[int, BaseException | None], None]
"""Called when a batch is settled: how many records it had, and what failed it."""

OnAcknowledged = Callable[[BusUnavailableError | None], None]
"""Called once for a record: with None when Kafka has it, with the error when nobody knows whether it has."""


_SAME_SEND_S = 0.001
"""Records that arrive this soon after a send do not wait for the next one."""


class SendPacer:
    """Lets many batchers send together: at once after a pause, otherwise once every `gap_s`.

    A request with a few full batches costs client and broker a fraction of many requests with a record each.
    """

    def __init__(self, gap_s: float, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._gap_s = gap_s
        self._loop = loop or asyncio.get_running_loop()
        self._sent_at = -gap_s
        self._waiting: list[asyncio.Future[None]] = []

    async def wait(self) -> None:
        """Wait until a batch may be sent."""
        now = self._loop.time()
        since = now - self._sent_at
        if since >= self._gap_s:
            self._sent_at = now
            return
        if not self._waiting:
            if since <= _SAME_SEND_S:
                return
            self._loop.call_at(self._sent_at + self._gap_s, self._release_waiting)
        turn: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(turn)
        await turn

    def _release_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._sent_at = self._loop.time()
        for turn in waiting:
            if not turn.done():
                turn.set_result(None)


class PartitionBatcher:
    """Sends records to one partition, in order. Holds at most two batches."""

    def __init__(
        self, kafka: AIOKafkaProducer, topic: str, partition: int, pacer: SendPacer, on_settled: OnSettled
    ) -> None:
        self._kafka = kafka
        self._topic = topic
        self._partition = partition
        self._pacer = pacer
        self._on_settled = on_settled
        self._loop = asyncio.get_running_loop()
        self._batch = kafka.create_batch()
        self._waiting: list[OnAcknowledged] = []
        self._room: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    def append(
        self,
        key: bytes,
        value: bytes | None,
        headers: Headers,
        timestamp_ms: int | None,
        on_acknowledged: OnAcknowledged,
    ) -> bool:
        """Add a record, of now if `timestamp_ms` is None.

        False if the batch is full: wait for `room` and try again.
        """
        if self._batch.append(key=key, value=value, timestamp=timestamp_ms, headers=headers) is None:
            return False
        self._waiting.append(on_acknowledged)
        if self._task is None:
            self._task = self._loop.create_task(self._run())
        return True

    async def room(self) -> None:
        """Wait until a new batch can be filled."""
        if self._room is None or self._room.done():
            self._room = self._loop.create_future()
        await asyncio.shield(self._room)

    async def flushed(self) -> None:
        """Wait until every record is sent and settled."""
        while self._task is not None:
            await asyncio.shield(self._task)

    def abandon(self) -> None:
        """Give up unsettled records; nobody knows whether Kafka has them."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        waiting: list[OnAcknowledged] = []
        try:
            while self._waiting:
                await self._pacer.wait()
                batch, waiting = self._batch, self._waiting
                self._batch, self._waiting = self._kafka.create_batch(), []
                if self._room is not None and not self._room.done():
                    self._room.set_result(None)
                await (await self._kafka.send_batch(batch, self._topic, partition=self._partition))
                acknowledged, waiting = waiting, []
                _tell(acknowledged, None)
                self._on_settled(len(acknowledged), None)
        # Whatever it is (most are KafkaErrors): the records are not acknowledged, and those behind them must wait
        # for a new producer.
        except (Exception, asyncio.CancelledError) as error:
            given_up, self._waiting = waiting + self._waiting, []
            self._batch = self._kafka.create_batch()
            # First, so that whoever is told finds that nothing more is taken.
            self._on_settled(len(given_up), error)
            _tell(given_up, BusUnavailableError(f"{self._topic}: {error!r}"))
        finally:
            self._task = None
            if self._room is not None and not self._room.done():
                self._room.set_result(None)


def _tell(waiting: list[OnAcknowledged], error: BusUnavailableError | None) -> None:
    for on_acknowledged in waiting:
        try:
            on_acknowledged(error)
        except Exception:
            # One who stumbles must not keep the news from the others.
            log.exception("acknowledgement_not_taken")
