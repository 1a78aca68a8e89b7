"""The compiled encoders beside fastavro, which they must not differ from by a byte."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.events.avro_encoder import compile_encoder
from tests.unit.events.avro import SCHEMAS, as_object, by_fastavro, plain, values
from tests.unit.ocpp.payloads import examples


@pytest.mark.parametrize("name", sorted(SCHEMAS))
@settings(max_examples=examples(8))
@given(data=st.data())
def test_every_record_is_written_as_fastavro_writes_it(name: str, data: st.DataObject) -> None:
    schema = plain(SCHEMAS[name])
    value = data.draw(values(schema))
    assert compile_encoder(schema)(as_object(value)) == by_fastavro(schema, value)


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64, -(2**70)])
def test_what_does_not_fit_into_64_bits_is_refused(number: int) -> None:
    with pytest.raises(OverflowError):
        compile_encoder("long")(number)


@pytest.mark.parametrize("number", [2**31, -(2**31) - 1])
def test_what_does_not_fit_into_32_bits_is_refused(number: int) -> None:
    with pytest.raises(OverflowError):
        compile_encoder("int")(number)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ("string", None),
        ("string", "\ud800"),
        ("long", "1"),
        ("long", 1.5),
        ("double", "1"),
        ("bytes", None),
        ("boolean", "no"),
        ("boolean", None),
        ({"type": "array", "items": "string"}, "text"),
        ({"type": "array", "items": "string"}, None),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, "B"),
    ],
)
def test_a_value_of_another_type_is_refused(schema: Any, value: Any) -> None:
    with pytest.raises((TypeError, ValueError, LookupError, AttributeError, OverflowError, struct.error)):
        compile_encoder(schema)(value)


@pytest.mark.parametrize(
    "schema", ["float", "SomeName", ["null", "string", "long"], {"type": "map", "values": "int"}]
)
def test_what_the_contract_does_not_use_is_not_understood(schema: Any) -> None:
    with pytest.raises(ValueError, match="no encoder"):
        compile_encoder(schema)


def test_long_texts_and_lists_have_long_lengths() -> None:
    schema = {"type": "array", "items": "string"}
    value = ["x" * 10_000] * 9_000
    assert compile_encoder(schema)(value) == by_fastavro(schema, value)
