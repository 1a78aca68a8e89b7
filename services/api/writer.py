"""Writing to the log."""

import asyncio

from libs.bus.producer import Producer
from libs.events.record import Record
from services.api.http.audit_entry import before_write


class Writer:
    """Writes records and waits until Kafka has acknowledged them; after a failure with a new producer."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._restarting = asyncio.Lock()

    @property
    def healthy(self) -> bool:
        """Whether the last write went well."""
        return not self._producer.failed

    async def write(
        self, topic: str, key: str, record: Record | None, traceparent: str | None = None
    ) -> None:
        """Write one record (None: a tombstone), after the audit event of the request that asks for it.

        Raises BusUnavailableError if it was not acknowledged in time: whether it was written is not known.
        """
        await before_write()
        if self._producer.failed:
            async with self._restarting:
                if self._producer.failed:
                    await self._producer.restart()
        await self._producer.send_and_wait(topic, key, record, traceparent=traceparent)
