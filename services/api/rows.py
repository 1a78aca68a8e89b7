"""Rows of ClickHouse as bodies and records."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Any, TypeVar, get_args

import msgspec

from libs.clickhouse.table_mapping import RENAMED
from libs.events.record import NestedRecord, Record
from libs.runtime.clock import micros

Row = dict[str, Any]

R = TypeVar("R", bound=Record)

_Read = Callable[[Mapping[str, Any]], Any]
"""Reads a field out of a row."""


def nested(row: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The entries of a Nested column, which arrives as one list for each of its fields."""
    lists = {key.removeprefix(f"{name}."): value for key, value in row.items() if key.startswith(f"{name}.")}
    return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]


def record_of(kind: type[R], row: Mapping[str, Any]) -> R:
    """The record that was stored as `row` of its topic's table; what the sink leaves out has its default."""
    fields = {}
    for name, required, read in _readers(kind):
        value = read(row)
        if value is not None or required:
            fields[name] = _plain(value)
    return msgspec.convert(fields, kind)


@cache
def _readers(kind: type[msgspec.Struct]) -> tuple[tuple[str, bool, _Read], ...]:
    """Of each field: its name, whether it is needed, and how it is read."""
    return tuple(
        (
            field.name,
            field.required,
            _reader(RENAMED.get((kind.__name__, field.name), field.name), field.type),
        )
        for field in msgspec.structs.fields(kind)
    )


def _reader(column: str, kind: Any) -> _Read:
    if kind is bool:
        # What is mostly false may come as 0.
        return lambda row: None if row[column] is None else bool(row[column])
    inner = _record_in(kind)
    if inner is None:
        return lambda row: row[column]
    if kind is inner or type(None) in get_args(kind):
        parts = [field.name for field in msgspec.structs.fields(inner)]
        return lambda row: _part(row, column, parts)
    texts = [field.name for field in msgspec.structs.fields(inner) if _record_in(field.type) is not None]
    return lambda row: [_with_objects(each, texts) for each in nested(row, column)]


def _part(row: Mapping[str, Any], column: str, names: list[str]) -> Any:
    """A record inside the record: each of its fields has a column."""
    found = {name: value for name in names if (value := row[f"{column}_{name}"]) is not None}
    return found or None


def _with_objects(item: dict[str, Any], texts: list[str]) -> dict[str, Any]:
    """An item of a list: records inside it are JSON text, empty for none."""
    return item | {name: msgspec.json.decode(item[name]) if item[name] else None for name in texts}


def _record_in(kind: Any) -> type[msgspec.Struct] | None:
    """The record that a field is, may be, or has a list of."""
    if isinstance(kind, type) and issubclass(kind, NestedRecord):
        return kind
    return next((found for each in get_args(kind) if (found := _record_in(each)) is not None), None)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return micros(value)
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value
