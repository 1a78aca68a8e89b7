"""Compacted topics as dictionaries in memory, kept up to date."""

from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Self

from libs.bus import metrics
from libs.bus.bus import Bus
from libs.bus.follower import Follower, pass_over
from libs.bus.message import Message
from libs.events.record import Record
from libs.runtime.logging import get_logger

log = get_logger(__name__)

OnChange = Callable[[str, Record | None], None]


class TableSet(Mapping[str, Mapping[str, Record]]):
    """The latest record of every key of some compacted topics (named as in the contract), for `name`.

    Use as an async context manager: entering returns when everything written before has been read; for errors, and
    what happens to records that are no use, see Follower. A record under another key than the one that it names is
    no use either. The last record by offset counts. What is passed over leaves the key what it had. While a topic has
    to be read again the table has what it had; then keys go that are no longer there. The tables stay as they are
    when the context is left.

    `ready` is False while they are not up to date; they stay usable.
    """

    def __init__(self, bus: Bus, name: str, topics: tuple[str, ...]) -> None:
        self._tables: dict[str, dict[str, Record]] = {topic: {} for topic in topics}
        self._callbacks: dict[str, list[OnChange]] = {topic: [] for topic in topics}
        self._name = name
        self._key_fields = {topic: bus.contract.topics[topic].key for topic in topics}
        self._unconfirmed: dict[str, set[str]] = {}
        self._follower = Follower(
            bus, name, topics, self._take, on_rewind=self._rewind, on_reached=self._confirmed
        )

    def __getitem__(self, topic: str) -> Mapping[str, Record]:
        return self._tables[topic]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)

    @property
    def ready(self) -> bool:
        """Whether the tables are as their topics are, but for what was written a moment ago."""
        return not self._tables or self._follower.ready

    def on_change(self, topic: str, callback: OnChange) -> None:
        """Call `callback(key, record or None)` after every change of `topic`, those of the start included.

        What it raises is logged and counted, and holds up nothing.
        """
        self._callbacks[topic].append(callback)

    async def catch_up(self) -> None:
        """Return once everything that was committed before this call is in the tables.

        Raises BusUnavailableError if that cannot be told; waits while the tables cannot be read.
        """
        await self._follower.catch_up()

    async def __aenter__(self) -> Self:
        if self._tables:
            await self._follower.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tables:
            await self._follower.__aexit__(kind, error, trace)

    def _take(self, message: Message) -> None:
        if message.record is not None:
            named = str(getattr(message.record, self._key_fields[message.topic]))
            if named.casefold() != message.key.casefold():
                pass_over(self._name, message.topic, message, "foreign", f"{named!r} under {message.key!r}")
                return
        if message.topic in self._unconfirmed:
            self._unconfirmed[message.topic].discard(message.key)
        self._set(message.topic, message.key, message.record)

    def _set(self, topic: str, key: str, record: Record | None) -> None:
        table = self._tables[topic]
        if record is None:
            table.pop(key, None)
        else:
            table[key] = record
        metrics.TABLE_KEYS.labels(topic).set(len(table))
        for callback in self._callbacks[topic]:
            try:
                callback(key, record)
            except Exception:
                metrics.FOLLOWER_CALLBACK_ERRORS.labels(self._name, topic).inc()
                log.exception("table_callback_failed", follower=self._name, topic=topic, key=key)

    def _rewind(self, topic: str) -> None:
        self._unconfirmed[topic] = set(self._tables[topic])

    def _confirmed(self, topic: str) -> None:
        for key in self._unconfirmed.pop(topic, ()):
            self._set(topic, key, None)
