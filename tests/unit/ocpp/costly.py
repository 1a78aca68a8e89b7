"""Payloads that are made to cost: for every list, object and text of a message's schema, as many faults as fit.

Each kind of fault that the schema knows is repeated at each place, in frames of one size. What is right about them is
as in the largest payload of the message.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from libs.ocpp.schemas import Kind
from libs.ocpp.versions import Version
from tests.unit.ocpp.minimal import minimal, schema_of
from tests.unit.ocpp.payloads import Path, Payload, Schema, largest

ODD: list[Any] = [None, 0, 0.5, True, "", "x", "1", "1,5", {}, [], [[]], {"a": 0}]


class Costly(NamedTuple):
    """A payload, and what there is much of in it."""

    what: str
    payload: Payload


def good(version: Version, action: str, kind: Kind, size: int) -> Payload:
    """A conforming payload of about `size` bytes, as far as the schema lets one grow: its lists, else its texts."""
    payload = minimal(version, action, kind)
    for path, schema, root in _places(version, action, kind):
        if schema["type"] == "array" and "maxItems" not in schema:
            grown = largest(version, action, kind)
            item = _least(schema["items"], root)
            _put(grown, path, _filled(item, size))
            return grown
    return payload


def costly(version: Version, action: str, kind: Kind, size: int) -> Iterator[Costly]:
    """Return payloads of about `size` bytes each."""
    base = largest(version, action, kind)
    yield Costly("surplus names", base | {f"n{number}": 0 for number in range(size // 9)})
    for path, schema, root in _places(version, action, kind):
        shown = "/".join(map(str, path))
        if schema["type"] == "array":
            for odd in (*ODD, *_bad_items(schema["items"], root)):
                yield Costly(f"{shown}: {orjson.dumps(odd)[:60]!r}", _with(base, path, _filled(odd, size)))
        elif schema["type"] == "object":
            yield Costly(
                f"{shown}: surplus names",
                _with(base, path, {f"n{number}": number for number in range(size // 9)}),
            )
        elif schema["type"] == "string":
            yield Costly(f"{shown}: a long text", _with(base, path, "x" * size))
            yield Costly(f"{shown}: a list", _with(base, path, _filled(0, size)))


def _bad_items(schema: Schema, root: Schema) -> Iterator[Any]:
    """Items with one fault each: every property of another type, unlisted, null or beside one that is not known."""
    schema = _resolved(schema, root)
    if schema.get("type") != "object":
        return
    item = _least(schema, root)
    yield item
    yield item | {"n": 0}
    for name, reference in schema.get("properties", {}).items():
        inner = _resolved(reference, root)
        odd: list[Any] = [None]
        match inner.get("type"):
            case "string":
                odd += [0, "?"] if "enum" in inner or "format" in inner else [0]
            case "integer" | "number" | "boolean":
                odd += ["1", "1,5"]
            case "array":
                odd += [{}, [], [{}] * 8]
            case "object":
                odd += [{}]
        for value in odd:
            yield item | {name: value}


def _least(schema: Schema, root: Schema) -> Any:
    schema = _resolved(schema, root)
    match schema.get("type"):
        case "object":
            return {name: _least(schema["properties"][name], root) for name in schema.get("required", ())}
        case "array":
            return [_least(schema["items"], root)] * schema.get("minItems", 0)
        case "integer":
            return int(schema.get("minimum", 1))
        case "number":
            return 1.0
        case "boolean":
            return True
    if "enum" in schema:
        return schema["enum"][0]
    return {"date-time": "2026-01-01T00:00:00Z", "uri": "https://example.org/"}.get(
        schema.get("format", ""), "1"
    )


def _filled(item: Any, size: int) -> list[Any]:
    return [item] * (size // (len(orjson.dumps(item)) + 1))


def _places(version: Version, action: str, kind: Kind) -> list[tuple[Path, Schema, Schema]]:
    schema = schema_of(version, action, kind)
    return [(path, inner, schema) for path, inner in _inner(schema, schema, ()) if path]


def _inner(schema: Schema, root: Schema, path: Path) -> Iterator[tuple[Path, Schema]]:
    schema = _resolved(schema, root)
    if "type" not in schema:
        return
    yield path, schema
    if schema["type"] == "object":
        for name, each in schema.get("properties", {}).items():
            yield from _inner(each, root, (*path, name))
    elif schema["type"] == "array":
        yield from _inner(schema["items"], root, (*path, 0))


def _with(base: Payload, path: Path, value: Any) -> Payload:
    payload = copy.deepcopy(base)
    _put(payload, path, value)
    return payload


def _put(payload: Any, path: Path, value: Any) -> None:
    for part in path[:-1]:
        payload = payload[part]
    payload[path[-1]] = value


def _resolved(schema: Schema, root: Schema) -> Schema:
    while "$ref" in schema:
        schema = root["definitions"][schema["$ref"].rpartition("/")[2]]
    return schema
