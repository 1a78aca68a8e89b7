"""What operators configured: read from memory, written to the log, and read back before the answer."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, cast
from weakref import WeakValueDictionary

from libs.bus.tables import TableSet
from libs.events.ids import new_id
from libs.events.ocpp_log import StationLocated
from libs.events.record import Record
from libs.events.registry import (
    CredentialsRegistered,
    SiteRegistered,
    StationRegistered,
    TariffRegistered,
    TokenRegistered,
)
from libs.events.stations import CapabilitiesLearned
from libs.runtime.clock import SECOND, now_us
from libs.runtime.logging import get_logger
from services.api.domain.registry import CREDENTIALS, SITES, STATIONS, TARIFFS, TOKENS, Stamp
from services.api.writer import Writer

log = get_logger(__name__)

LOCATIONS = "edge.connections"
CAPABILITIES = "stations.capabilities"
TABLES = (STATIONS, CREDENTIALS, SITES, TOKENS, TARIFFS, LOCATIONS, CAPABILITIES)

_REMOVED: Final = 10_000


class Registry:
    """The registry's tables (by folded id), and changes to them. `tables` holds TABLES.

    `removed_tokens`: the last ones that were removed, and when that was read (microseconds).
    """

    def __init__(self, tables: TableSet, writer: Writer, settle_s: float, read_back_s: float) -> None:
        self.stations = cast(Mapping[str, StationRegistered], tables[STATIONS])
        self.credentials = cast(Mapping[str, CredentialsRegistered], tables[CREDENTIALS])
        self.sites = cast(Mapping[str, SiteRegistered], tables[SITES])
        self.tokens = cast(Mapping[str, TokenRegistered], tables[TOKENS])
        self.tariffs = cast(Mapping[str, TariffRegistered], tables[TARIFFS])
        self.locations = cast(Mapping[str, StationLocated], tables[LOCATIONS])
        self.capabilities = cast(Mapping[str, CapabilitiesLearned], tables[CAPABILITIES])
        self._writer = writer
        self._settle = int(settle_s * SECOND)
        self._read_back_s = read_back_s
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._readers: dict[tuple[str, str], dict[asyncio.Future[None], str | None]] = {}
        self.removed_tokens: dict[str, int] = {}
        tables.on_change(TOKENS, self._note_removal)
        for topic in (STATIONS, CREDENTIALS, SITES, TOKENS, TARIFFS):
            tables.on_change(topic, partial(self._changed, topic))

    def stamp(self) -> Stamp:
        """Identity and moment of a new record."""
        return Stamp(new_id(), now_us(), self._settle)

    @asynccontextmanager
    async def changing(self, topic: str, key: str) -> AsyncIterator[None]:
        """Keeps other requests of this process from changing the same entry between reading and writing it."""
        lock = self._locks.setdefault((topic, key), asyncio.Lock())
        async with lock:
            yield

    async def write(self, topic: str, key: str, record: Record | None) -> None:
        """Write an entry (None removes it), and wait a bounded time until the table shows it.

        Raises BusUnavailableError if Kafka did not acknowledge it.
        """
        wanted = None if record is None else record.event_id
        shown: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        readers = self._readers.setdefault((topic, key), {})
        readers[shown] = wanted
        try:
            await self._writer.write(topic, key, record)
            await asyncio.wait_for(shown, self._read_back_s)
        except TimeoutError:
            log.warning("read_model_late", topic=topic, key=key)
        finally:
            readers.pop(shown, None)
            if not readers:
                self._readers.pop((topic, key), None)

    def _note_removal(self, id_token: str, record: Record | None) -> None:
        self.removed_tokens.pop(id_token, None)
        if record is None:
            self.removed_tokens[id_token] = now_us()
            if len(self.removed_tokens) > _REMOVED:
                del self.removed_tokens[next(iter(self.removed_tokens))]

    def _changed(self, topic: str, key: str, record: Record | None) -> None:
        seen = None if record is None else record.event_id
        for shown, wanted in self._readers.get((topic, key), {}).items():
            if wanted == seen and not shown.done():
                shown.set_result(None)
