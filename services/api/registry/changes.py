"""Changes of the registry: decided on all that was ever written, whichever process wrote it, or decided anew."""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from libs.bus.encoding import RecordTooLargeError
from libs.bus.errors import BusError, BusUnavailableError, ClaimLostError
from libs.bus.message import Emit
from libs.bus.sole_writer import SoleWriter
from libs.bus.tables import TableSet
from libs.events.codec import CodecError
from libs.events.record import Record
from libs.events.topics import (
    ACCESS_ACCOUNTS,
    ACCESS_KEYS,
    REGISTRY_CREDENTIALS,
    REGISTRY_ORGANISATIONS,
    REGISTRY_SITES,
    REGISTRY_STATIONS,
    REGISTRY_TARIFFS,
    REGISTRY_TOKENS,
)
from libs.runtime.logging import get_logger
from services.api.domain.errors import Conflict
from services.api.domain.renewal import TOPICS, Removal
from services.api.http import metrics
from services.api.http.audit_entry import before_write

log = get_logger(__name__)

Written = Mapping[str, Record | Removal | None]
"""The new records of one key by topic; a Removal, or None, removes the entry there."""
Decide = Callable[[], Written]
"""Makes of what the tables hold what is to be written, {} for nothing; raises a Refusal. May be called again."""

_SUBJECTS: Final = {
    ACCESS_ACCOUNTS: "account",
    ACCESS_KEYS: "key",
    REGISTRY_CREDENTIALS: "station",
    REGISTRY_ORGANISATIONS: "organisation",
    REGISTRY_SITES: "site",
    REGISTRY_STATIONS: "station",
    REGISTRY_TARIFFS: "tariff",
    REGISTRY_TOKENS: "token",
}
"""What a change is about, as the audit trail says it."""

_TOGETHER: Final = 100
_PAUSE_S: Final = 0.02
_LONGEST_PAUSE_S: Final = 1.0


class _Change:
    """One request's change of the entry `key` of `topic`."""

    def __init__(self, topic: str, key: str, decide: Decide) -> None:
        self.topic = topic
        self.key = key
        self.decide = decide
        self.written: Written = {}
        self.refusal: Exception | None = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)

    def is_in(self, tables: Mapping[str, Mapping[str, Record]]) -> bool:
        """Whether what was decided is what the tables hold."""
        return bool(self.written) and all(
            _id_of(tables[topic].get(self.key)) == _id_of(record) for topic, record in self.written.items()
        )


class Changes:
    """Makes changes one after the other, those to different entries of one topic together.

    A decision depends on its own entry and on other topics; on other entries of its topic only if changes are made one
    by one. `read_back_s`: how
    long after a write the tables may take to show it before the change is answered without. `topics`: all that is
    changed. `together`: how many are made in one transaction; 1 if a decision depends on other entries of its topic.
    """

    def __init__(
        self,
        tables: TableSet,
        writer: SoleWriter,
        *,
        timeout_s: float,
        read_back_s: float,
        topics: Iterable[str] = TOPICS,
        together: int = _TOGETHER,
    ) -> None:
        self._tables = tables
        self._writer = writer
        self._timeout_s = timeout_s
        self._read_back_s = read_back_s
        self._waiting: deque[_Change] = deque()
        self._some = asyncio.Event()
        self._current = False
        self._news = asyncio.Event()
        self._together = together
        for topic in topics:
            tables.on_change(topic, lambda _key, _record: self._news.set())

    async def make(self, topic: str, key: str, decide: Decide) -> None:
        """Write what `decide` makes of the entry, so that nobody wrote anything between that and its reading.

        Returns once the tables show it, or should. Raises what `decide` raises, and BusUnavailableError if Kafka did
        not acknowledge it in time: whether it was written is not known.
        """
        await before_write(subject_kind=_SUBJECTS.get(topic, topic), subject_id=key)
        change = _Change(topic, key, decide)
        self._waiting.append(change)
        self._some.set()
        try:
            async with asyncio.timeout(self._timeout_s + self._read_back_s):
                await change.done
        except TimeoutError as error:
            raise BusUnavailableError(f"{topic}: not acknowledged in {self._timeout_s} s") from error

    async def run(self) -> None:
        """Make changes until cancelled."""
        try:
            while True:
                await self._some.wait()
                if batch := self._next():
                    await self._make_in_time(batch)
                elif not self._waiting:
                    self._some.clear()
        finally:
            await self._writer.release()

    def _next(self) -> list[_Change]:
        """The longest waiting, and those after it that can be made with it. Of whom nobody waits for none is made."""
        batch: dict[str, _Change] = {}
        while self._waiting and len(batch) < self._together:
            change = self._waiting[0]
            if not change.done.done():
                if batch and (change.key in batch or change.topic != next(iter(batch.values())).topic):
                    break
                batch[change.key] = change
            self._waiting.popleft()
        return list(batch.values())

    async def _make_in_time(self, batch: list[_Change]) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._make(batch)
        except (BusError, TimeoutError) as error:
            self._current = False
            log.warning("changes_not_written", topic=batch[0].topic, changes=len(batch), error=repr(error))
            for change in batch:
                change.fail(BusUnavailableError(f"{change.topic}: {error!r}"))
        except (CodecError, RecordTooLargeError) as error:
            # Nothing was written; only whose record it is is to blame.
            if len(batch) == 1:
                batch[0].fail(Conflict(f"the entry would be too large or unreadable: {error}"))
                return
            for change in batch:
                await self._make_in_time([change])

    async def _make(self, batch: list[_Change]) -> None:
        pause_s = _PAUSE_S
        while True:
            claimed = await self._be_current()
            # What was committed though its writer could not know is not decided on again.
            left = [change for change in batch if not change.is_in(self._tables)]
            _decide(left)
            if not claimed and not all(change.written for change in left):
                # No write proves that they were decided on all there is.
                await self._tables.catch_up()
                _decide(change for change in left if not change.written)
            _end([change for change in left if not change.written])
            emits = [
                emit
                for change in left
                if not change.done.done()
                for topic, record in change.written.items()
                for emit in _emits(topic, change.key, record)
            ]
            try:
                if emits:
                    await self._writer.write(emits)
            except ClaimLostError:
                self._current = False
                # Of those who take it from each other one is quicker the next time.
                await asyncio.sleep(random.uniform(0, pause_s))  # noqa: S311
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                continue
            break
        await self._read_back([change for change in batch if not change.done.done()])
        _end(batch)

    async def _be_current(self) -> bool:
        """Hold the claim, with all that was ever written in the tables; whether that had to be read just now."""
        if self._current and self._writer.holds:
            return False
        if not self._writer.holds:
            await self._writer.claim()
            metrics.CLAIMS.inc()
        await self._tables.catch_up()
        self._current = True
        return True

    async def _read_back(self, changes: list[_Change]) -> None:
        try:
            async with asyncio.timeout(self._read_back_s):
                while not all(change.is_in(self._tables) for change in changes if change.written):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            self._current = False
            log.warning("read_model_late", topic=changes[0].topic, key=changes[0].key)


def _decide(changes: Iterable[_Change]) -> None:
    for change in changes:
        change.written, change.refusal = {}, None
        if not change.done.done():
            try:
                change.written = change.decide()
            except Exception as error:
                change.refusal = error


def _end(changes: Iterable[_Change]) -> None:
    for change in changes:
        if change.done.done():
            continue
        if change.refusal is None:
            change.done.set_result(None)
        else:
            change.done.set_exception(change.refusal)


def _emits(topic: str, key: str, record: Record | Removal | None) -> list[Emit]:
    if isinstance(record, Removal):
        return [Emit(topic, key, record.last), Emit(topic, key, None)]
    return [Emit(topic, key, record)]


def _id_of(record: Record | Removal | None) -> str | None:
    return None if record is None or isinstance(record, Removal) else record.event_id
