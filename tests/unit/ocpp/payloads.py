"""Payloads made from the JSON schemas of OCPP: conforming ones, and ones with exactly one known fault.

`valid(...)` and `broken(...)` are hypothesis strategies over what the schema of one message allows; `largest(...)` is
the payload that has everything at once. Timestamps lie between 2010 and 2026, integers in 32 bits, as OCPP has them.

With `VOLTBUS_FUZZ_SECONDS` set (`make fuzz`), property tests take many more examples.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from libs.ocpp.errors import ErrorCode
from libs.ocpp.schemas import Kind
from libs.ocpp.versions import Version
from tests.unit.ocpp.minimal import schema_of

Payload = dict[str, Any]
Path = tuple[str | int, ...]
Schema = dict[str, Any]

INT32 = 2**31
FUZZ_SECONDS = float(os.environ.get("VOLTBUS_FUZZ_SECONDS") or 0)
UNLISTED = "unlistedProperty"

_SHORT_TEXT = 12
_LONG_TEXT = 2500
_MORE_ITEMS = 2
_TEXT = st.text(st.characters(codec="utf-8"), max_size=_SHORT_TEXT)
_SCALAR = st.none() | st.booleans() | st.integers(-INT32, INT32 - 1) | st.just(0.5) | _TEXT
_ANY = st.recursive(
    _SCALAR,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_TEXT, inner, max_size=2),
    max_leaves=4,
)
_OF_TYPE = {
    "string": "text",
    "integer": 7,
    "number": 7,
    "boolean": True,
    "array": [],
    "object": {},
    "null": None,
}
_FORMATS = {"date-time": "yesterday", "uri": "no uri at all"}


class Fault(NamedTuple):
    """What is wrong with a payload: `what` at `path`, which OCPP calls `code` (in its canonical spelling)."""

    payload: Payload
    what: str
    path: Path
    code: ErrorCode


class _Site(NamedTuple):
    """One way to break a payload: put `value` at `path`, or delete what is there."""

    what: str
    path: Path
    code: ErrorCode
    value: Any = None
    delete: bool = False


def examples(number: int) -> int:
    """Return how many examples to take: `number` of them, twenty times as many in a long run."""
    return number * 20 if FUZZ_SECONDS else number


@cache
def valid(version: Version, action: str, kind: Kind) -> SearchStrategy[Payload]:
    """Conforming payloads of one message; now and then everything optional at once is there, or nothing."""
    schema = schema_of(version, action, kind)
    return _strategy(schema, schema)


def broken(version: Version, action: str, kind: Kind) -> SearchStrategy[Fault]:
    """Payloads that break their schema in exactly one place."""
    schema = schema_of(version, action, kind)
    return valid(version, action, kind).flatmap(
        lambda payload: st.sampled_from(list(_sites(schema, schema, payload, ()))).map(
            lambda site: _broken(payload, site)
        )
    )


def every_fault(version: Version, action: str, kind: Kind) -> Iterator[Fault]:
    """Return each fault that the largest payload of the message can have; of wrong types one for each value."""
    schema, payload = schema_of(version, action, kind), largest(version, action, kind)
    wrong_types: dict[Path, list[_Site]] = {}
    for site in _sites(schema, schema, payload, ()):
        if site.code is ErrorCode.TYPE_CONSTRAINT_VIOLATION:
            wrong_types.setdefault(site.path, []).append(site)
        else:
            yield _broken(payload, site)
    for number, sites in enumerate(wrong_types.values()):
        yield _broken(payload, sites[number % len(sites)])


def largest(version: Version, action: str, kind: Kind) -> Payload:
    """Return the payload with every property and the longest texts, but no more items in a list than there must be.

    There is one in a list that may be empty.
    """
    schema = schema_of(version, action, kind)
    payload = _largest(schema, schema)
    assert isinstance(payload, dict)
    return payload


def _strategy(schema: Schema, root: Schema) -> SearchStrategy[Any]:
    if "$ref" in schema:
        return _strategy(_resolve(schema, root), root)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "object":
            return _objects(schema, root)
        case "array":
            least = schema.get("minItems", 0)
            most = min(schema.get("maxItems", INT32), least + _MORE_ITEMS)
            return st.lists(_strategy(schema["items"], root), min_size=least, max_size=most)
        case "string":
            return _texts(schema)
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(int(schema.get("minimum", -INT32)), int(schema.get("maximum", INT32 - 1)))
        case "number":
            return _numbers(schema)
    return _ANY


def _objects(schema: Schema, root: Schema) -> SearchStrategy[Payload]:
    required = set(schema.get("required", ()))
    properties = {name: _strategy(inner, root) for name, inner in schema.get("properties", {}).items()}
    known = st.fixed_dictionaries(
        {name: inner for name, inner in properties.items() if name in required},
        optional={name: inner for name, inner in properties.items() if name not in required},
    )
    if schema.get("additionalProperties", True) is False:
        return known
    return st.builds(lambda more, listed: {**more, **listed}, st.dictionaries(_TEXT, _ANY, max_size=2), known)


def _texts(schema: Schema) -> SearchStrategy[str]:
    match schema.get("format"):
        case "date-time":
            return timestamps()
        case "uri":
            return st.sampled_from(
                ["https://example.org/", "ftp://user@files.example:21/a%20b?c=d#e", "urn:a:b"]
            )
    most = min(schema.get("maxLength", _LONG_TEXT), _LONG_TEXT)
    return st.text(st.characters(codec="utf-8"), max_size=min(most, _SHORT_TEXT)) | st.sampled_from(
        ["x" * most, "é" * most, ""]
    )


@cache
def timestamps() -> SearchStrategy[str]:
    """RFC 3339 moments from 2026-02 to 2027-12, with any zone and any number of decimals."""
    zones = st.sampled_from(["Z", "+00:00", "-00:30", "+05:45", "-11:00", "+14:00"])
    moments = st.integers(1_770_000_000, 1_830_000_000).map(
        lambda at: datetime(1970, 1, 1) + timedelta(seconds=at)
    )
    decimals = st.sampled_from(["", ".5", ".123", ".999999"])
    return st.builds(lambda at, part, zone: f"{at.isoformat()}{part}{zone}", moments, decimals, zones)


def _numbers(schema: Schema) -> SearchStrategy[float]:
    least, most = schema.get("minimum", -1e6), schema.get("maximum", 1e6)
    if "multipleOf" in schema:
        assert schema["multipleOf"] == 0.1
        return st.integers(int(least * 10), int(most * 10)).map(lambda tenths: tenths / 10)
    return st.floats(least, most, allow_subnormal=False) | st.integers(int(least), int(most))


def _largest(schema: Schema, root: Schema) -> Any:
    if "$ref" in schema:
        return _largest(_resolve(schema, root), root)
    if "enum" in schema:
        return schema["enum"][-1]
    match schema.get("type"):
        case "object":
            listed = {name: _largest(inner, root) for name, inner in schema.get("properties", {}).items()}
            return (
                listed if schema.get("additionalProperties", True) is False else {**listed, "anything": [{}]}
            )
        case "array":
            return [_largest(schema["items"], root) for _ in range(schema.get("minItems", 0) or 1)]
        case "string":
            special = {"date-time": "2027-01-01T00:00:00.000+01:00", "uri": "https://example.org/a?b=c"}
            return special.get(schema.get("format", ""), "w" * schema.get("maxLength", _LONG_TEXT))
        case "boolean":
            return False
        case "integer":
            return int(schema.get("maximum", INT32 - 1))
        case "number":
            return schema.get("maximum", 8.1)
    return {"any": ["thing", 1, None]}


def _sites(schema: Schema, root: Schema, value: Any, path: Path) -> Iterator[_Site]:
    """Find each way to break `value`, which conforms to `schema`, in one place."""
    if "$ref" in schema:
        schema = _resolve(schema, root)
    if "type" not in schema:
        return
    for name, wrong in _OF_TYPE.items():
        if path and not _fits(wrong, schema["type"]):
            yield _Site(f"{name} for {schema['type']}", path, ErrorCode.TYPE_CONSTRAINT_VIOLATION, wrong)
    match schema["type"]:
        case "object":
            yield from _object_sites(schema, root, value, path)
        case "array":
            for index, item in enumerate(value):
                yield from _sites(schema["items"], root, item, (*path, index))
            if schema.get("minItems", 0) > 0:
                yield _Site("too few items", path, ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION, [])
            if value and "maxItems" in schema:
                many = [value[0]] * (schema["maxItems"] + 1)
                yield _Site("too many items", path, ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION, many)
        case _:
            for what, wrong in _wrong_values(schema):
                yield _Site(what, path, ErrorCode.PROPERTY_CONSTRAINT_VIOLATION, wrong)


def _object_sites(schema: Schema, root: Schema, value: Payload, path: Path) -> Iterator[_Site]:
    properties = schema.get("properties", {})
    for name, child in value.items():
        if name in properties:
            yield from _sites(properties[name], root, child, (*path, name))
    for name in schema.get("required", ()):
        yield _Site("missing", (*path, name), ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION, delete=True)
    if schema.get("additionalProperties", True) is False:
        # The payload "is not conform the PDU structure" (OCPP-J 1.6 §4.2.3); 2.x part 4 §4.3 says no more.
        yield _Site("not listed", (*path, UNLISTED), ErrorCode.FORMAT_VIOLATION, 1)


def _wrong_values(schema: Schema) -> Iterator[tuple[str, Any]]:
    """Values of the right type that the other keywords of `schema` forbid."""
    if "enum" in schema:
        yield "not in the enumeration", "NoSuchValue"
    elif schema["type"] == "string":
        if "format" in schema:
            yield f"no {schema['format']}", _FORMATS[schema["format"]]
        elif "maxLength" in schema:
            yield "too long", "x" * (schema["maxLength"] + 1)
    else:
        # The bounds of integers are written as 0.0 in 2.x.
        number = int if schema["type"] == "integer" else float
        if "minimum" in schema:
            yield "too small", number(schema["minimum"] - 1)
        if "maximum" in schema:
            yield "too large", number(schema["maximum"] + 1)
        if "multipleOf" in schema:
            yield "no multiple", 8.15


def _fits(value: Any, kind: str) -> bool:
    if value is None or isinstance(value, bool):
        return kind == {True: "boolean", False: "null"}[isinstance(value, bool)]
    wanted = {"string": str, "integer": int, "number": int, "array": list, "object": dict}
    return kind in wanted and isinstance(value, wanted[kind])


def _broken(payload: Payload, site: _Site) -> Fault:
    payload = copy.deepcopy(payload)
    parent: Any = payload
    for key in site.path[:-1]:
        parent = parent[key]
    if site.delete:
        del parent[site.path[-1]]
    else:
        parent[site.path[-1]] = copy.deepcopy(site.value)
    return Fault(payload, site.what, site.path, site.code)


def _resolve(schema: Schema, root: Schema) -> Schema:
    definition: Schema = root["definitions"][schema["$ref"].rpartition("/")[2]]
    return definition
