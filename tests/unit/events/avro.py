"""Random values of the contract's schemas, and fastavro's opinion of them."""

from __future__ import annotations

from io import BytesIO
from types import SimpleNamespace
from typing import Any

from fastavro import parse_schema, schemaless_reader, schemaless_writer
from hypothesis import strategies as st

from libs.events.contract import load_contract

SCHEMAS = load_contract().schemas
LONG = st.integers(-(2**63), 2**63 - 1)
INT = st.integers(-(2**31), 2**31 - 1)
EDGES = st.sampled_from([0, -1, 1, 63, 64, -64, -65, 8191, 8192, -8192, 2**27, 2**31 - 1, -(2**31)])
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def values(schema: Any) -> st.SearchStrategy[Any]:
    if isinstance(schema, list):
        return st.none() | values(schema[1])
    kind = schema["type"] if isinstance(schema, dict) else schema
    match kind:
        case "record":
            return st.fixed_dictionaries({f["name"]: values(f["type"]) for f in schema["fields"]})
        case "enum":
            return st.sampled_from(schema["symbols"])
        case "array":
            return st.lists(values(schema["items"]), max_size=3)
        case "string":
            return TEXT
        case "bytes":
            return st.binary()
        case "boolean":
            return st.booleans()
        case "double":
            return st.floats(allow_nan=False)
        case "int":
            return EDGES | INT
        case "long":
            return EDGES | LONG
    return values(kind)


def plain(schema: Any) -> Any:
    """Without logical types, which fastavro would convert."""
    if isinstance(schema, list):
        return [plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: plain(value) for key, value in schema.items() if key != "logicalType"}


def as_object(value: Any) -> Any:
    if isinstance(value, dict):
        return SimpleNamespace(**{key: as_object(each) for key, each in value.items()})
    return [as_object(each) for each in value] if isinstance(value, list) else value


def by_fastavro(schema: Any, value: Any) -> bytes:
    buffer = BytesIO()
    schemaless_writer(buffer, parse_schema(schema), value)
    return buffer.getvalue()


def read_by_fastavro(schema: Any, data: bytes) -> tuple[Any, int]:
    buffer = BytesIO(data)
    return schemaless_reader(buffer, parse_schema(schema), None), buffer.tell()
