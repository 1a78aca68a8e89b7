"""Records on their way to one partition: a batch is filled while the one before it is under way.

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


_TOGETHER_S = 0.001
"""Who comes so soon after a departure goes along."""


class Pace:
    """Lets the batches of many lanes go together: at once after a pause, otherwise one departure every `gap_s`.

    A request with a few full batches costs client and broker a fraction of many requests with a record each.
    """

    def __init__(self, gap_s: float, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._gap_s = gap_s
        self._loop = loop or asyncio.get_running_loop()
        self._departed_at = -gap_s
        self._waiting: list[asyncio.Future[None]] = []

    async def departure(self) -> None:
        """Wait for the next departure."""
        now = self._loop.time()
        since = now - self._departed_at
        if since >= self._gap_s:
            self._departed_at = now
            return
        if not self._waiting:
            if since <= _TOGETHER_S:
                return
            self._loop.call_at(self._departed_at + self._gap_s, self._depart)
        turn: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(turn)
        await turn

    def _depart(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._departed_at = self._loop.time()
        for turn in waiting:
            if not turn.done():
                turn.set_result(None)


class Lane:
    """The way to one partition. Order is kept, and at most two batches are held."""

    def __init__(
        self, kafka: AIOKafkaProducer, topic: str, partition: int, pace: Pace, on_settled: OnSettled
    ) -> None:
        self._kafka = kafka
        self._topic = topic
        self._partition = partition
        self._pace = pace
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
        """Wait until the batch that is being filled has been taken."""
        if self._room is None or self._room.done():
            self._room = self._loop.create_future()
        await asyncio.shield(self._room)

    async def flushed(self) -> None:
        """Wait until nothing is under way."""
        while self._task is not None:
            await asyncio.shield(self._task)

    def abandon(self) -> None:
        """Give up what is under way; nobody knows whether Kafka has it."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        waiting: list[OnAcknowledged] = []
        try:
            while self._waiting:
                await self._pace.departure()
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
