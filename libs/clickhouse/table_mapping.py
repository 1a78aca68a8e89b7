"""How the records of a topic map to the rows of its table, derived from their Avro schemas.

The columns themselves are declared in `migrations/`; a test compares them with this. A record becomes one row:
its fields are columns, a record inside it is flattened to `field_subfield`, a list of records to a Nested. A record
inside a record of a list is JSON text, empty for null.
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from libs.events.contract import DEAD_LETTER, Contract, Schema

DEAD_LETTERS_TABLE = "dead_letters"

POSITION_COLUMNS = {
    "_topic": "LowCardinality(String)",
    "_partition": "UInt16",
    "_offset": "Int64",
    "_timestamp": "DateTime64(3, 'UTC')",
    "_key": "String",
    "_type": "LowCardinality(String)",
    "_deleted": "Bool",
}
"""Columns that every table begins with. `_type` is the record's name; empty for a tombstone (`_deleted`)."""

UNDECODABLE = "undecodable"
"""`_type` of a row that only marks the place of a record which could not be read; it is in the dead letters."""

RENAMED = {
    # An OCPP version here, the number of the correction there.
    ("SessionStarted", "version"): "ocpp_version",
    ("SessionCorrected", "version"): "correction",
}
"""Fields whose column is named otherwise, since records of one topic mean different things by the name."""

DERIVED = {
    "sessions_events": ("sessions_latest", "sessions_by_start", "sessions_late_tokens"),
    "billing_cdrs": ("cdrs_latest", "cdrs_by_end"),
    "telemetry_health": ("station_state_latest",),
    "commands_requested": ("commands_latest",),
    "commands_outcomes": ("commands_latest",),
}
"""Tables with a `<table>_feed` of engine Null, and what its materialised views fill: tables of latest states.

Rows go to the feed before they go to the table. A row in the table has therefore reached every derived table,
whatever is killed in between; the derived tables give the same result however often they see a row.
"""

_BASE_TYPES = {
    "string": "String",
    "bytes": "String",
    "int": "Int32",
    "long": "Int64",
    "float": "Float32",
    "double": "Float64",
    "boolean": "Bool",
}
_DEFAULTS: dict[str, Any] = {"String": "", "Bool": False, "Float32": 0.0, "Float64": 0.0}


class Column(msgspec.Struct, frozen=True):
    """A column and where its value comes from.

    `field`: of the record. `part`: field of the record inside it, or of each record in its list.
    `type`: ClickHouse's, without Nullable, Array and LowCardinality. `default`: for a row that lacks the field.
    `as_json`: the value is to be written as JSON text.
    """

    name: str
    field: str
    part: str | None
    type: str
    nullable: bool
    many: bool
    default: Any
    as_json: bool = False


class TableLayout(msgspec.Struct, frozen=True):
    """The table of some topics: columns after the POSITION_COLUMNS, and the column that repeats the Kafka key.

    `records`: names of those that lie in it. `renamed`: by record name, field to column, for fields that RENAMED names.
    """

    table: str
    topics: tuple[str, ...]
    records: frozenset[str]
    columns: tuple[Column, ...]
    key_column: str
    renamed: Mapping[str, Mapping[str, str]]

    @property
    def column_names(self) -> list[str]:
        """Every column in the order of a row."""
        return [*POSITION_COLUMNS, *(column.name for column in self.columns)]


def table_name(topic: str) -> str:
    """The table that `topic` (named as in the contract) is stored in."""
    return DEAD_LETTERS_TABLE if topic.endswith(".dead") else topic.replace(".", "_").replace("-", "_")


def layouts(contract: Contract) -> dict[str, TableLayout]:
    """Every table by name: one per topic that the sink stores, and one for all dead letters.

    Raises ValueError for a contract whose records cannot lie in one table.
    """
    found: dict[str, TableLayout] = {}
    dead: list[str] = []
    for topic in contract.topics.values():
        if not topic.stored:
            continue
        schemas = [contract.schemas[name] for name in topic.schemas]
        table = table_name(topic.name)
        found[table] = _layout(table, (topic.name,), schemas, topic.key)
        if topic.dead_letters:
            dead.append(f"{topic.name}.dead")
    found[DEAD_LETTERS_TABLE] = _layout(
        DEAD_LETTERS_TABLE, tuple(dead), [contract.schemas[DEAD_LETTER]], "record_key"
    )
    return found


def _layout(table: str, topics: tuple[str, ...], schemas: list[Schema], key: str) -> TableLayout:
    columns: dict[str, Column] = {}
    seen: dict[str, int] = {}
    renamed: dict[str, dict[str, str]] = {}
    for schema in schemas:
        record = schema["name"]
        for field in schema["fields"]:
            if new_name := RENAMED.get((record, field["name"])):
                renamed.setdefault(record, {})[field["name"]] = new_name
            for column in _columns(new_name or field["name"], field["type"]):
                earlier = columns.get(column.name, column)
                if (earlier.type, earlier.many) != (column.type, column.many):
                    raise ValueError(f"{table}.{column.name}: {record} has another type; add it to RENAMED")
                columns[column.name] = column if column.nullable else earlier
                seen[column.name] = seen.get(column.name, 0) + 1
    # What some records of the topic lack is NULL for them, not a zero that means something.
    partial = {name for name, count in seen.items() if count < len(schemas) and not columns[name].many}
    return TableLayout(
        table,
        topics,
        frozenset(schema["name"] for schema in schemas),
        tuple(_nullable(column) if name in partial else column for name, column in columns.items()),
        key,
        renamed,
    )


def _nullable(column: Column) -> Column:
    return msgspec.structs.replace(column, nullable=True, default=None)


def _columns(name: str, avro: Any) -> list[Column]:
    avro, nullable = _strip_null(avro)
    if isinstance(avro, dict) and avro["type"] == "array":
        items = avro["items"]
        if isinstance(items, dict) and items["type"] == "record":
            return [_part(name, field, "many", True) for field in items["fields"]]
        return [_scalar(name, name, None, items, many=True)]
    if isinstance(avro, dict) and avro["type"] == "record":
        return [_part(name, field, "one", nullable) for field in avro["fields"]]
    return [_scalar(name, name, None, avro, nullable=nullable)]


def _part(name: str, field: Any, count: Literal["one", "many"], nullable: bool) -> Column:
    avro, own_null = _strip_null(field["type"])
    many = count == "many"
    if many and isinstance(avro, dict) and avro["type"] == "record":
        return Column(f"{name}.{field['name']}", name, field["name"], "String", False, True, (), as_json=True)
    if isinstance(avro, dict) and avro["type"] == "array":
        if not many:
            raise ValueError(f"{name}.{field['name']}: a list inside a record has no column")
        inner = _scalar(f"{name}.{field['name']}", name, field["name"], avro["items"], many=True)
        return msgspec.structs.replace(inner, type=f"Array({inner.type})")
    column_name = f"{name}.{field['name']}" if many else f"{name}_{field['name']}"
    missing = own_null or (nullable and not many)
    return _scalar(column_name, name, field["name"], avro, nullable=missing, many=many)


def _scalar(
    name: str, field: str, part: str | None, avro: Any, *, nullable: bool = False, many: bool = False
) -> Column:
    kind = _clickhouse_type(avro)
    default = () if many else None if nullable else _DEFAULTS.get(kind, 0)
    return Column(name, field, part, kind, nullable, many, default)


def _clickhouse_type(avro: Any) -> str:
    if isinstance(avro, dict):
        if avro.get("logicalType") == "timestamp-micros":
            return "DateTime64(6, 'UTC')"
        if avro["type"] == "enum":
            return "String"
        return _clickhouse_type(avro["type"])
    if avro not in _BASE_TYPES:
        raise ValueError(f"Avro type {avro!r} has no column type")
    return _BASE_TYPES[avro]


def _strip_null(avro: Any) -> tuple[Any, bool]:
    if isinstance(avro, list):
        others = [branch for branch in avro if branch != "null"]
        if len(others) != 1:
            raise ValueError(f"a union of {len(others)} types has no column")
        return others[0], "null" in avro
    return avro, False
