"""How two JSON-like values differ, by JSON pointer. Pure."""

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import msgspec

ABSENT: Final = ""
"""Stands for what is on one side alone."""
MOST: Final = 200


class Difference(msgspec.Struct, frozen=True):
    """One place in which they differ, as JSON text; ABSENT where there is nothing."""

    pointer: str
    before: str
    after: str


def differences(before: Any, after: Any, most: int = MOST) -> list[Difference]:
    """The first `most` places in which the values differ, in the order of their names."""
    return list(islice(_differences("", before, after), most))


def pointer(path: str, name: str | int) -> str:
    """The JSON pointer (RFC 6901) of a member or item of what `path` points to."""
    return f"{path}/{str(name).replace('~', '~0').replace('/', '~1')}"


_Nothing = object()


def _differences(path: str, before: Any, after: Any) -> Iterator[Difference]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted(before.keys() | after.keys()):
            yield from _differences(
                pointer(path, name), before.get(name, _Nothing), after.get(name, _Nothing)
            )
    elif isinstance(before, list) and isinstance(after, list):
        for number in range(max(len(before), len(after))):
            one = before[number] if number < len(before) else _Nothing
            two = after[number] if number < len(after) else _Nothing
            yield from _differences(pointer(path, number), one, two)
    elif type(before) is not type(after) or before != after:
        yield Difference(path, _shown(before), _shown(after))


def _shown(value: Any) -> str:
    return ABSENT if value is _Nothing else msgspec.json.encode(value).decode()
