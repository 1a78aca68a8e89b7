"""The latest records in memory: as many as fit into so many bytes."""

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final, Generic, Self, TypeVar

import msgspec

from libs.events.record import Record

R = TypeVar("R", bound=Record)

ENTRY_BYTES: Final = 300
"""What an entry takes beside its bytes: two objects and a place in a table."""


def packed(record: Record) -> bytes:
    """The record in as few bytes as it needs; as an object it takes several times that."""
    # A copy: the encoder's own bytes keep the room that they were given to grow.
    return bytes(memoryview(msgspec.msgpack.encode(record)))


class RecentRecords(Generic[R]):
    """The latest records of one kind by id, at most `most_bytes` of them; one that is larger is not kept."""

    def __init__(self, kind: type[R], most_bytes: int) -> None:
        self._decoder = msgspec.msgpack.Decoder(kind)
        self._most_bytes = most_bytes
        self._packed: OrderedDict[str, bytes] = OrderedDict()
        self.bytes = 0
        """What they take."""
        self._sees: Callable[[R], bool] | None = None
        self._whole: RecentRecords[R] = self

    def __contains__(self, key: object) -> bool:
        return key in self._packed

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._packed))

    def within(self, sees: Callable[[R], bool]) -> Self:
        """The same memory, of which only those are got that `sees` tells so of."""
        part = copy.copy(self)
        part._sees = sees
        return part

    def get(self, key: str) -> R | None:
        """The record, if it is remembered."""
        found = self._packed.get(key)
        if found is None:
            return None
        record = self._decoder.decode(found)
        return record if self._sees is None or self._sees(record) else None

    def put(self, key: str, record: R) -> None:
        """Remember the record, and forget the oldest that there is no room for."""
        whole = self._whole
        if (before := self._packed.pop(key, None)) is not None:
            whole.bytes -= _size(key, before)
        new = packed(record)
        self._packed[key] = new
        whole.bytes += _size(key, new)
        while whole.bytes > self._most_bytes:
            oldest, gone = self._packed.popitem(last=False)
            whole.bytes -= _size(oldest, gone)


def _size(key: str, value: bytes) -> int:
    return ENTRY_BYTES + len(key) + len(value)
