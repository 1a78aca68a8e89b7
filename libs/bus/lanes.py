"""Records on their way to one partition: a batch is filled while the one before it is under way.

aiokafka's own `send` costs several times what building the batch costs; its batches are used directly instead.
"""

import asyncio
from collections.abc import Callable

from aiokafka import AIOKafkaProducer

from libs.bus.errors import BusUnavailableError
from libs.bus.message import Headers

OnSettled = Callable[[int, BaseException | None], None]
"""Called when a batch is settled: how many records it had, and what failed it."""

Acknowledgement = asyncio.Future[None]


class Lane:
    """The way to one partition. Order is kept, and at most two batches are held."""

    def __init__(self, kafka: AIOKafkaProducer, topic: str, partition: int, on_settled: OnSettled) -> None:
        self._kafka = kafka
        self._topic = topic
        self._partition = partition
        self._on_settled = on_settled
        self._loop = asyncio.get_running_loop()
        self._batch = kafka.create_batch()
        self._waiting: list[Acknowledgement] = []
        self._room: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    def append(self, key: bytes, value: bytes | None, headers: Headers) -> Acknowledgement | None:
        """Add a record; the future resolves when Kafka has it, or raises BusUnavailableError.

        None if the batch is full: wait for `room` and try again.
        """
        if self._batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
            return None
        acknowledged: Acknowledgement = self._loop.create_future()
        self._waiting.append(acknowledged)
        if self._task is None:
            self._task = self._loop.create_task(self._run())
        return acknowledged

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
        waiting: list[Acknowledgement] = []
        try:
            while self._waiting:
                batch, waiting = self._batch, self._waiting
                self._batch, self._waiting = self._kafka.create_batch(), []
                if self._room is not None and not self._room.done():
                    self._room.set_result(None)
                await (await self._kafka.send_batch(batch, self._topic, partition=self._partition))
                for acknowledged in waiting:
                    if not acknowledged.done():
                        acknowledged.set_result(None)
                self._on_settled(len(waiting), None)
        # Whatever it is (most are KafkaErrors): the records are not acknowledged, and those behind them must wait
        # for a new producer.
        except (Exception, asyncio.CancelledError) as error:
            given_up, self._waiting = waiting + self._waiting, []
            self._batch = self._kafka.create_batch()
            _fail(given_up, f"{self._topic}: {error!r}")
            self._on_settled(len(given_up), error)
        finally:
            self._task = None
            if self._room is not None and not self._room.done():
                self._room.set_result(None)


def _fail(given_up: list[Acknowledgement], reason: str) -> None:
    for acknowledged in given_up:
        if not acknowledged.done():
            acknowledged.set_exception(BusUnavailableError(reason))
            # Not everybody waits: asyncio would complain of an exception that nobody looked at.
            acknowledged.exception()
