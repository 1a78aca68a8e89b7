"""The states of released versions, as bytes: `python -m tests.unit.states.golden` keeps those of this version.

`released/<version>/<processor>.json` holds the fingerprint and the shape of a processor's state, one state with every
field filled, in bytes as that version stored it, and its content by the names of then. What is kept never changes.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
import tomllib
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

import services
from libs.bus.processor import Processor
from libs.bus.shapes import FormerState, fingerprint, shape_of
from services.sessions.domain.decisions import FORMER_EVIDENCE
from services.sessions.domain.session import Session
from tests.unit.states.filling import Filling

RELEASED: Final = Path(__file__).parent / "released"
_PROJECT: Final = Path(__file__).parents[3] / "pyproject.toml"


class Kept(NamedTuple):
    """Something that is stored in the shape of its type, and how earlier releases stored it."""

    type: Any
    former: tuple[FormerState[Any], ...]


class Golden(msgspec.Struct, frozen=True):
    """A state of a release. `expected`: its content as it is read today, if an upcast is meant to change some of it."""

    fingerprint: str
    shape: Any
    value: bytes
    content: dict[str, Any]
    expected: dict[str, Any] | None = None


def processors() -> dict[str, Processor[Any]]:
    """Every processor of the platform that keeps states, by name."""
    for module in pkgutil.walk_packages(services.__path__, "services."):
        if ".domain" in module.name:
            importlib.import_module(module.name)
    kinds = [kind for kind in _below(Processor) if kind.__module__.startswith("services.")]
    return {kind.name: kind() for kind in kinds if kind.state is not None}


def _below(kind: type[Processor[Any]]) -> Iterator[type[Processor[Any]]]:
    for each in kind.__subclasses__():
        yield each
        yield from _below(each)


def kept() -> dict[str, Kept]:
    """Everything that is stored so: the processors' states, and what is recalled of sessions."""
    states = {name: Kept(each.state, each.former_states) for name, each in processors().items()}
    return {**states, "session-evidence": Kept(Session, FORMER_EVIDENCE)}


def golden_of(kind: Any) -> Golden:
    """A value of today's type `kind`."""
    value = Filling().value(kind)
    return Golden(fingerprint(kind), shape_of(kind), msgspec.msgpack.encode(value), named(value))


def named(value: Any) -> Any:
    """`value` as JSON has it, with fields by their names however they are stored."""
    match value:
        case msgspec.Struct():
            return {name: named(getattr(value, name)) for name in value.__struct_fields__}
        case Enum():
            return value.value
        case bytes():
            return value.hex()
        case dict():
            return sorted([named(key), named(each)] for key, each in value.items())
        case frozenset() | set():
            return sorted(map(named, value))
        case tuple() | list():
            return [named(each) for each in value]
        case _:
            return value


def released() -> dict[tuple[str, str], Golden]:
    """What is stored here, by version and processor."""
    return {
        (path.parent.name, path.stem): msgspec.json.decode(path.read_bytes(), type=Golden)
        for path in sorted(RELEASED.glob("*/*.json"))
    }


def keep(folder: Path) -> None:
    """Write the states of this version to `folder`. Raises FileExistsError if it is there."""
    folder.mkdir(parents=True)
    for name, each in kept().items():
        golden = msgspec.to_builtins(golden_of(each.type))
        lines = [f'"{key}": {json.dumps(golden[key])}' for key in golden if golden[key] is not None]
        (folder / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    version = tomllib.loads(_PROJECT.read_text())["project"]["version"]
    try:
        keep(RELEASED / version)
    except FileExistsError:
        sys.exit(f"the states of {version} are kept already: raise the version")
