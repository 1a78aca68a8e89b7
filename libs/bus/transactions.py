"""One transactional id: records and offsets in one Kafka transaction after the other."""

import asyncio
from collections.abc import Iterable, Mapping

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.structs import RecordMetadata

from libs.bus.bounded_waits import LEAVE_S, run_bounded
from libs.bus.compression import compression_type
from libs.bus.connection import connection
from libs.bus.encoding import EncodedRecord
from libs.bus.record_writer import RecordWriter
from libs.bus.settings import DEAD_LETTER_BYTES, BusSettings
from libs.runtime.logging import get_logger

log = get_logger(__name__)

_RETRY_BACKOFF_MS = 10
"""Brokers ask for a retry while the last transaction is being completed, which takes milliseconds."""

BATCH_RECORDS = 8_000
"""A backlog is worked off in large transactions: a state is written once in each, however often it changed."""
BATCH_BYTES = 16 << 20
"""As `BATCH_RECORDS`, of what is worked off: what it led to lies in memory until the transaction is written."""


class Batch:
    """What one transaction will hold, of so many `messages` of so many `bytes`."""

    def __init__(self) -> None:
        self.emits: list[EncodedRecord] = []
        self.changes_state = False
        self.offsets: dict[TopicPartition, int] = {}
        self.messages = 0
        self.bytes = 0
        self.begun_at = 0.0

    def __bool__(self) -> bool:
        return bool(self.offsets or self.has_effects)

    @property
    def full(self) -> bool:
        """Whether it is time to commit it, whatever else is at hand."""
        return self.messages >= BATCH_RECORDS or self.bytes >= BATCH_BYTES

    @property
    def has_effects(self) -> bool:
        """Whether anything is to be written but offsets."""
        return bool(self.emits) or self.changes_state


class Transactions:
    """The transactions of whoever holds `transactional_id` of consumer group `group`; one is always open.

    `timeout_s`: Kafka aborts a transaction that is open for longer, as after a crash of its holder.
    """

    def __init__(
        self, settings: BusSettings, transactional_id: str, group: str, *, timeout_s: float = 60
    ) -> None:
        self._id = transactional_id
        self._group = group
        self._producer = AIOKafkaProducer(
            **connection(settings),
            transactional_id=transactional_id,
            transaction_timeout_ms=int(timeout_s * 1000),
            acks="all",
            linger_ms=0,
            max_batch_size=1 << 20,
            max_request_size=DEAD_LETTER_BYTES,
            retry_backoff_ms=_RETRY_BACKOFF_MS,
            compression_type=compression_type(settings),
        )
        self._writer = RecordWriter(self._producer)
        self._open = False

    async def start(self) -> None:
        """End the transactions of an earlier holder of this id and fence it; open the first. Raises KafkaError."""
        await self._producer.start()
        # Waits for the producer id, which is what fences.
        await self._producer.begin_transaction()
        self._open = True

    async def commit(
        self, records: Iterable[EncodedRecord], offsets: Mapping[TopicPartition, int]
    ) -> list[RecordMetadata]:
        """Write `records`, commit them with `offsets` of the group, open the next. Raises KafkaError.

        Returns where each batch of records begins.
        """
        written = await asyncio.gather(*await self._writer.send(records))
        if offsets:
            # Not at the same time: brokers put off what is written while a transaction is being extended.
            await self._producer.send_offsets_to_transaction(offsets, self._group)
        await self._producer.commit_transaction()
        self._open = False
        await self._producer.begin_transaction()
        self._open = True
        return written

    async def close(self) -> None:
        """Give up the open transaction and disconnect, as far as Kafka is there."""
        try:
            if self._open and not self._refused():
                self._open = False
                if not await run_bounded(LEAVE_S, self._producer.abort_transaction()):
                    log.warning("abort_unsaid", transactional_id=self._id)
        except Exception as error:
            log.warning("abort_failed", transactional_id=self._id, error=repr(error))
        try:
            if not await run_bounded(LEAVE_S, self._producer.stop()):
                log.warning("producer_stop_unsaid", transactional_id=self._id)
        except Exception as error:
            log.warning("producer_stop_failed", transactional_id=self._id, error=repr(error))

    def _refused(self) -> bool:
        """Whether Kafka ended the open transaction itself, as when another holder of the id has begun."""
        manager = self._producer._txn_manager
        if not manager.is_fatal_error():
            return False
        # Where nobody waited for its end asyncio would complain.
        manager.wait_for_transaction_end().exception()
        return True
