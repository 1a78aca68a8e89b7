"""The states of the Faust runtime, as its table and the state topic hold them: with the offsets they include."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, Final, Generic

import msgspec
from faust.types import TP

from libs.bus.bus import Bus
from libs.bus.encoding import EncodedRecord
from libs.bus.errors import StateError
from libs.bus.message import Headers
from libs.bus.processor import Processor, S
from libs.bus.reading import read_to_end
from libs.bus.record_writer import RecordWriter
from libs.bus.restoring import state_key
from libs.bus.state_codec import SHAPE_HEADER, StateCodec
from libs.bus.state_sizes import StateSizes
from libs.bus.timers import Timers, due_of, has_timers
from libs.runtime.logging import get_logger

log = get_logger(__name__)


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """A value of the state topic: the key's state, and the last offset of each input topic that it includes.

    A key that was forgotten keeps its offsets (`state` None) until they are committed; then it gets a tombstone.
    """

    partition: int
    offsets: dict[str, int]
    state: bytes | None


FORM: Final = "entry-1/"
"""Precedes fingerprints in this runtime's state topics: values are an `Entry` around the state."""

_decode_entry = msgspec.msgpack.Decoder(Entry).decode


class Changes(Generic[S]):
    """What a batch changed, on top of what the table holds, and what it emits."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.states: dict[str, S | None] = {}
        self.emits: list[EncodedRecord] = []

    def put(self, key: str, entry: Entry, state: S | None) -> None:
        """Replace what is known of `key`; `state` is that of the entry."""
        self.entries[key] = entry
        self.states[key] = state


class FaustStates(Generic[S]):
    """Entries and timers of `processor`'s keys. `table`: what Faust restores, changed here and nowhere else."""

    def __init__(self, bus: Bus, processor: Processor[S], codec: StateCodec[S], table: Any) -> None:
        self._bus = bus
        self._processor = processor
        self._codec = codec
        self._table = table
        self._timers = Timers(self._due)
        self._sizes = StateSizes(processor)
        self._pending_tombstones: set[str] = set()
        self._other_shapes: dict[bytes, bytes] = {}

    async def restore(self, partitions: Collection[int]) -> dict[int, StateError]:
        """Make the table hold what the state topic holds for `partitions`, no more, and set the timers.

        Returns the partitions with a state that cannot be read, as far as that was to be seen. Raises StateShapeError.

        Faust has just restored it; but in a rebalance it may throw away records of the state topic that it has
        read, and then count on from an older state.
        """
        stored: dict[bytes, bytes] = {}
        homes: dict[bytes, int] = {}
        self._other_shapes = {}
        for partition in partitions:
            found = await self._read(partition)
            stored |= found
            homes |= dict.fromkeys(found, partition)
        for key in [key for key in self._table if key not in stored]:
            del self._table[key]
        self._timers = Timers(self._due)
        self._pending_tombstones.clear()
        unreadable: dict[int, StateError] = {}
        for raw_key, raw in stored.items():
            self._table[raw_key] = raw
            key = raw_key.decode()
            try:
                if self.entry(key).state is None:
                    self._pending_tombstones.add(key)
                elif has_timers(self._processor):
                    self._timers.arm(key, self._due(key))
            except StateError as error:
                unreadable[homes[raw_key]] = error
        log.info(
            "partitions_assigned", processor=self._processor.name, partitions=sorted(partitions),
            keys=len(self._table),
        )  # fmt: skip
        return unreadable

    async def _read(self, partition: int) -> dict[bytes, bytes]:
        """What the state topic holds of one partition; notes the shapes."""
        stored: dict[bytes, bytes] = {}
        shapes: dict[bytes, bytes | None] = {}
        topic = self._processor.state_topic
        async for record in read_to_end(self._bus.settings, topic, (partition,)):
            if state_key(self._processor.name, topic, record) is None:
                continue
            if record.value is None:
                stored.pop(record.key, None)
                shapes.pop(record.key, None)
            else:
                stored[record.key] = record.value
                shapes[record.key] = self._codec.shape_in(dict(record.headers).get(SHAPE_HEADER))
        self._codec.check(topic, partition, shapes.values())
        own = self._codec.shape
        self._other_shapes |= {key: shape for key, shape in shapes.items() if shape and shape != own}
        return stored

    def current(self, changes: Changes[S], key: str) -> tuple[Mapping[str, int], S | None]:
        """Offsets and state of `key` with `changes`. Raises StateError."""
        if key in changes.states:
            return changes.entries[key].offsets, changes.states[key]
        if key.encode() not in self._table:
            return {}, None
        entry = self.entry(key)
        return entry.offsets, self.state_of(key, entry)

    def entry(self, key: str) -> Entry:
        """What the table holds of `key`. Raises KeyError if that is nothing, StateError if it cannot be read."""
        raw = self._table[key.encode()]
        try:
            return _decode_entry(raw)
        except msgspec.MsgspecError as error:
            raise StateError(f"{self._processor.name}: the state of {key!r}: {error!r}") from error

    def state_of(self, key: str, entry: Entry) -> S | None:
        """The state in the `entry` that the table holds of `key`. Raises StateError."""
        if entry.state is None:
            return None
        shape = self._other_shapes.get(key.encode(), self._codec.shape)
        return self._codec.decode(key, entry.state, shape)

    def raw(self, state: S | None) -> bytes | None:
        """The bytes of a state. Raises what msgspec raises, or RecordTooLargeError."""
        return None if state is None else self._codec.encode(state)

    def take_due(self, now: int) -> list[str]:
        """Keys that are due at or before `now`, earliest first, each once."""
        return self._timers.take_due(now)

    def arm(self, key: str) -> None:
        """Set the timer of `key` by what the table holds."""
        self._timers.arm(key, self._due(key))

    def retry(self, key: str, at: int) -> None:
        """Let `key` be due again at `at`."""
        self._timers.arm(key, at)

    async def write(self, writer: RecordWriter, changes: Changes[S]) -> None:
        """Outputs, and only when Kafka has them the states; the table changes last. Raises KafkaError."""
        await asyncio.gather(*await writer.send(changes.emits))
        for key, entry in changes.entries.items():
            if entry.state is not None:
                self._sizes.measure(key, len(self._table.get(key.encode(), b"")), len(entry.state))
        await self._store(
            writer,
            {key: (entry.partition, msgspec.msgpack.encode(entry)) for key, entry in changes.entries.items()},
        )
        for key, state in changes.states.items():
            if state is None:
                self._pending_tombstones.add(key)
            else:
                self._pending_tombstones.discard(key)
                if has_timers(self._processor):
                    self._timers.arm(key, due_of(self._processor, state))

    async def write_tombstones(self, writer: RecordWriter, committed: Mapping[TP, int | None]) -> None:
        """Write tombstones of forgotten keys whose last messages are committed and cannot come again."""
        done: dict[str, tuple[int, None]] = {}
        for key in self._pending_tombstones:
            entry = self.entry(key)
            ends = {
                TP(self._bus.settings.topic(topic), entry.partition): offset + 1
                for topic, offset in entry.offsets.items()
            }
            if all((committed.get(tp) or 0) >= end for tp, end in ends.items()):
                done[key] = (entry.partition, None)
        await self._store(writer, done)
        self._pending_tombstones.difference_update(done)

    async def _store(self, writer: RecordWriter, values: Mapping[str, tuple[int, bytes | None]]) -> None:
        """Write `values` (partition and value, None for a tombstone, by key) to the state topic and the table."""
        topic = self._bus.settings.topic(self._processor.state_topic)
        marked: Headers = [(SHAPE_HEADER, self._codec.shape)]
        records = [
            EncodedRecord(topic, key.encode(), value, partition, [] if value is None else marked)
            for key, (partition, value) in values.items()
        ]
        await asyncio.gather(*await writer.send(records))
        for key, (_, value) in values.items():
            self._other_shapes.pop(key.encode(), None)
            if value is None:
                self._table.pop(key.encode(), None)
            else:
                self._table[key.encode()] = value

    def _due(self, key: str) -> int | None:
        if key.encode() not in self._table:
            return None
        state = self.state_of(key, self.entry(key))
        return None if state is None else due_of(self._processor, state)
