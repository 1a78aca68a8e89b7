"""The compiled writers beside fastavro, which they must not differ from by a byte."""

from __future__ import annotations

from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_writer
from hypothesis import given
from hypothesis import strategies as st

from libs.events.contract import load_contract
from libs.events.writing import compile_writer

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


@pytest.mark.parametrize("name", sorted(SCHEMAS))
@given(data=st.data())
def test_every_record_is_written_as_fastavro_writes_it(name: str, data: st.DataObject) -> None:
    schema = plain(SCHEMAS[name])
    value = data.draw(values(schema))
    assert compile_writer(schema)(as_object(value)) == by_fastavro(schema, value)


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64, -(2**70)])
def test_what_does_not_fit_into_64_bits_is_refused(number: int) -> None:
    with pytest.raises(OverflowError):
        compile_writer("long")(number)


@pytest.mark.parametrize("number", [2**31, -(2**31) - 1])
def test_what_does_not_fit_into_32_bits_is_refused(number: int) -> None:
    with pytest.raises(OverflowError):
        compile_writer("int")(number)


@pytest.mark.parametrize(
    ("schema", "value"),
    [("string", None), ("string", "\ud800"), ("long", "1"), ("long", 1.5), ("double", "1"), ("bytes", None)],
)
def test_a_value_of_another_type_is_refused(schema: str, value: Any) -> None:
    with pytest.raises(Exception, match=r".") as raised:
        compile_writer(schema)(value)
    assert not isinstance(raised.value, AssertionError)


@pytest.mark.parametrize(
    "schema", ["float", "SomeName", ["null", "string", "long"], {"type": "map", "values": "int"}]
)
def test_what_the_contract_does_not_use_is_not_understood(schema: Any) -> None:
    with pytest.raises(ValueError, match="no writer"):
        compile_writer(schema)


def test_long_texts_and_lists_have_long_lengths() -> None:
    schema = {"type": "array", "items": "string"}
    value = ["x" * 10_000] * 9_000
    assert compile_writer(schema)(value) == by_fastavro(schema, value)
