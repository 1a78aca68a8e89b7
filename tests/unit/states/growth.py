"""Whether one shape of a state is another that has grown, so that each is read as the other without harm."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any


def obstacles(old: Any, new: Any, place: str = "state") -> list[str]:
    """Where `new` is more than `old` with added fields (in arrays at the end) and added symbols of enums."""
    if old == new:
        return []
    if not isinstance(old, dict) or not isinstance(new, dict) or old.keys() != new.keys():
        return [f"{place} is of another type"]
    found: list[str] = []
    for kind, before in old.items():
        after = new[kind]
        match kind:
            case "array":
                found += _fields(before, after[: len(before)], place)
            case "map":
                names = [name for name, _ in before]
                found += _fields(before, [field for field in after if field[0] in names], place)
            case "enum":
                found += [] if set(before) <= set(after) else [f"{place} has lost symbols"]
            case "list" | "set" | "type":
                found += obstacles(before, after, place)
            case "dict" | "tuple":
                pairs = zip_longest(before, after)
                found += [each for one, other in pairs for each in obstacles(one, other, place)]
            case "union":
                found += _arms(before, after, place)
            case _:
                found += [] if before == after else [f"{place} has another {kind}"]
    return found


def _fields(before: list[Any], after: list[Any], place: str) -> list[str]:
    if [name for name, _ in before] != [name for name, _ in after]:
        return [f"{place} has other fields, or in another order"]
    pairs = zip(before, after, strict=True)
    return [each for (name, one), (_, other) in pairs for each in obstacles(one, other, f"{place}.{name}")]


def _arms(before: list[Any], after: list[Any], place: str) -> list[str]:
    if len(before) != len(after):
        return [f"{place} may be of other types"]
    lost = [arm for arm in before if all(obstacles(arm, other) for other in after)]
    return [f"{place} may be of other types"] if lost else []
