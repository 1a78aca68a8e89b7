"""Writing as the only one: of several processes that may write the same topics, one at a time can."""

import asyncio
from collections.abc import Iterable

from aiokafka.errors import KafkaError

from libs.bus.bus import Bus
from libs.bus.encoding import encode
from libs.bus.errors import BusUnavailableError, ClaimLostError
from libs.bus.message import Emit
from libs.bus.transactions import Transactions
from libs.runtime.logging import get_logger

log = get_logger(__name__)


class SoleWriter:
    """Writes records in transactions of the transactional id `name`, which one process at a time can hold.

    After `claim` nothing more of earlier holders can be committed: what a reader of committed records finds at the
    topics' ends after it is all that they ever wrote. A `write` that succeeds proves that nobody else has claimed the
    id in between. So what was decided on all that was there holds: decide after `claim` and after reading to the end,
    then `write`; after a success decide on that and what was written, without reading anew.

    Several records of one `write` are committed together or not at all. Not for concurrent use.
    """

    def __init__(self, bus: Bus, name: str, source: str, *, timeout_s: float) -> None:
        self._bus = bus
        self._id = bus.settings.group(name)
        self._source = source
        self._timeout_s = timeout_s
        self._transactions: Transactions | None = None

    @property
    def holds(self) -> bool:
        """Whether the id was claimed and nothing has failed since; another process may have claimed it all the same."""
        return self._transactions is not None

    async def claim(self) -> None:
        """Take the id from whoever has it; a transaction of theirs is aborted. Raises BusUnavailableError."""
        await self.release()
        transactions = Transactions(self._bus.settings, self._id, "", timeout_s=self._timeout_s)
        try:
            async with asyncio.timeout(self._timeout_s):
                await transactions.start()
        except (KafkaError, TimeoutError) as error:
            await transactions.close()
            raise BusUnavailableError(f"{self._id} cannot be claimed: {error!r}") from error
        except BaseException:
            await transactions.close()
            raise
        self._transactions = transactions

    async def write(self, records: Iterable[Emit], traceparent: str | None = None) -> None:
        """Commit `records` together. Raises CodecError or RecordTooLargeError for one that cannot be written.

        Raises ClaimLostError if Kafka refused, as when another process has claimed the id; BusUnavailableError if it
        did not answer in time. After either it may or may not be committed: claim again, read to the end, and look.
        """
        if self._transactions is None:
            raise ClaimLostError(f"{self._id} is not claimed")
        encoded = encode(self._bus, self._source, records, traceparent)
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._transactions.commit(encoded, {})
        except KafkaError as error:
            await self.release()
            raise ClaimLostError(f"{self._id}: {error!r}") from error
        except TimeoutError as error:
            await self.release()
            raise BusUnavailableError(f"{self._id}: no answer in {self._timeout_s} s") from error
        except BaseException:
            await self.release()
            raise

    async def release(self) -> None:
        """Disconnect; the next one need not wait. Does nothing if the id is not claimed."""
        transactions, self._transactions = self._transactions, None
        if transactions is not None:
            await transactions.close()
