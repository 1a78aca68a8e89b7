"""Rows of ClickHouse as bodies and records."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from libs.events.record import Record
from libs.runtime.clock import micros

Row = dict[str, Any]

R = TypeVar("R", bound=Record)


def nested(row: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The entries of a Nested column, which arrives as one list for each of its fields."""
    lists = {key.removeprefix(f"{name}."): value for key, value in row.items() if key.startswith(f"{name}.")}
    return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]


def record_of(kind: type[R], row: Mapping[str, Any]) -> R:
    """The record that was stored as `row`."""
    fields = {name: row[name] if name in row else nested(row, name) for name in kind.__struct_fields__}
    return msgspec.convert(_plain(fields), kind)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return micros(value)
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value
