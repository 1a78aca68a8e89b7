"""Values of a type in which every field holds something of its own, of the magnitude that its name lets expect."""

from __future__ import annotations

import struct
from itertools import count
from typing import Any, Final
from uuid import UUID

from msgspec import inspect

from libs.events.ids import derive_id

_MOMENT: Final = 1_790_000_000_000_000
_MOMENTS: Final = ("at", "until", "since", "deadline", "epoch", "due", "start")
_WORDS: Final = {"currency": "SEK", "timezone": "Europe/Stockholm", "version": "2.0.1", "vendor": "Åkerström"}


class Filling:
    """Makes values; no two leaves are the same, so that fields that are exchanged show."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def value(self, kind: Any) -> Any:
        """A value of type `kind`."""
        return self._value(inspect.type_info(kind), "state")

    def _value(self, kind: inspect.Type, name: str) -> Any:
        value: Any
        match kind:
            case inspect.Metadata(type=inner):
                value = self._value(inner, name)
            case inspect.StructType(cls=cls, fields=fields):
                value = cls(**{each.name: self._value(each.type, each.name) for each in fields})
            case inspect.EnumType(cls=cls):
                members = list(cls)
                value = members[next(self._numbers) % len(members)]
            case inspect.LiteralType(values=values):
                value = values[next(self._numbers) % len(values)]
            case inspect.UnionType():
                arms = _arms(kind)
                value = self._value(arms[next(self._numbers) % len(arms)], name)
            case inspect.TupleType(item_types=items):
                value = tuple(self._value(each, name) for each in items)
            case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
                value = tuple(self._items(item, name))
            case inspect.SetType(item_type=item) | inspect.FrozenSetType(item_type=item):
                value = frozenset(self._items(item, name))
            case inspect.DictType(key_type=key, value_type=each):
                value = {self._value(key, "key"): self._value(each, name) for _ in range(2)}
            case _:
                value = self._leaf(kind, name)
        return value

    def _items(self, kind: inspect.Type, name: str) -> list[Any]:
        arms = _arms(kind) if isinstance(kind, inspect.UnionType) else (kind,)
        return [self._value(arm, name) for arm in arms * (2 // len(arms) or 1)]

    def _leaf(self, kind: inspect.Type, name: str) -> Any:
        number = next(self._numbers)
        value: Any
        match kind:
            case inspect.IntType() if name.rpartition("_")[2] in _MOMENTS:
                value = _MOMENT + 1_000_003 * number
            case inspect.IntType():
                value = (7_001 if name.rpartition("_")[2] in {"wh", "ma", "minor"} else 10) + number
            case inspect.FloatType():
                value = number + 0.25
            case inspect.BoolType():
                value = True
            case inspect.BytesType() if name == "points":
                value = struct.pack(
                    "<qqqq", _MOMENT + number, number, _MOMENT + number + 60_000_000, 900 + number
                )
            case inspect.BytesType():
                value = UUID(derive_id("filling", str(number))).bytes
            case inspect.StrType() if name.endswith("_id"):
                value = derive_id("filling", str(number))
            case inspect.StrType():
                value = _WORDS.get(name, f"{name} {number}")
            case _:
                raise TypeError(f"cannot fill {kind!r}")
        return value


def _arms(kind: inspect.UnionType) -> tuple[inspect.Type, ...]:
    return tuple(each for each in kind.types if not isinstance(each, inspect.NoneType))
