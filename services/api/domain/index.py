"""Keys in order, and by what they refer to; kept up with every change, so that no request sorts or searches all."""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator
from typing import Final

_BLOCK: Final = 512


class SortedKeys:
    """A set of texts in order. A change moves at most one block of them; a place is found by bisection."""

    def __init__(self) -> None:
        self._blocks: list[list[str]] = []
        self._lasts: list[str] = []
        """The last key of each block, so that a place is found without looking into them."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        return (key for block in self._blocks for key in block)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._find(key) is not None

    def add(self, key: str) -> None:
        """Have `key` among them."""
        if not self._blocks:
            self._blocks, self._lasts, self._count = [[key]], [key], 1
            return
        number = min(bisect_left(self._lasts, key), len(self._blocks) - 1)
        block = self._blocks[number]
        place = bisect_left(block, key)
        if place < len(block) and block[place] == key:
            return
        block.insert(place, key)
        self._count += 1
        if len(block) > 2 * _BLOCK:
            self._blocks[number : number + 1] = [block[:_BLOCK], block[_BLOCK:]]
            self._lasts[number : number + 1] = [block[_BLOCK - 1], block[-1]]
        else:
            self._lasts[number] = block[-1]

    def discard(self, key: str) -> None:
        """Not have `key` among them."""
        if (found := self._find(key)) is None:
            return
        number, place = found
        block = self._blocks[number]
        del block[place]
        self._count -= 1
        if block:
            self._lasts[number] = block[-1]
        else:
            del self._blocks[number], self._lasts[number]

    def after(self, key: str | None, most: int) -> list[str]:
        """The first `most` of them that come after `key`; None: from the beginning."""
        if not self._blocks:
            return []
        number = 0 if key is None else bisect_right(self._lasts, key)
        if number == len(self._blocks):
            return []
        place = 0 if key is None else bisect_right(self._blocks[number], key)
        found = self._blocks[number][place : place + most]
        while len(found) < most and (number := number + 1) < len(self._blocks):
            found += self._blocks[number][: most - len(found)]
        return found

    def _find(self, key: str) -> tuple[int, int] | None:
        number = bisect_left(self._lasts, key)
        if number == len(self._blocks):
            return None
        block = self._blocks[number]
        place = bisect_left(block, key)
        return (number, place) if block[place] == key else None


_NONE: Final = SortedKeys()


class References:
    """Keys by the ids that each refers to."""

    def __init__(self) -> None:
        self._ids: dict[str, frozenset[str]] = {}
        self._keys: dict[str, SortedKeys] = {}

    def put(self, key: str, ids: Collection[str]) -> None:
        """`key` refers to these ids and no others; none: it is forgotten."""
        before, now = self._ids.get(key, frozenset()), frozenset(ids)
        for gone in before - now:
            self._keys[gone].discard(key)
            if not self._keys[gone]:
                del self._keys[gone]
        for new in now - before:
            self._keys.setdefault(new, SortedKeys()).add(key)
        if now:
            self._ids[key] = now
        else:
            self._ids.pop(key, None)

    def targets(self) -> Collection[str]:
        """The ids that any key refers to."""
        return self._keys.keys()

    def to(self, target: str) -> SortedKeys:
        """The keys that refer to `target`; to be read only."""
        return self._keys.get(target, _NONE)
