"""The compiled decoders beside fastavro: the same values, and nothing but clean refusals for garbage."""

from __future__ import annotations

import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.events.avro_decoder import compile_decoder
from libs.events.catalogue import RECORDS
from tests.unit.events.avro import SCHEMAS, by_fastavro, plain, read_by_fastavro, values
from tests.unit.ocpp.payloads import examples

REFUSALS = (IndexError, KeyError, ValueError, struct.error)


@pytest.mark.parametrize("name", sorted(SCHEMAS))
@settings(max_examples=examples(8))
@given(data=st.data())
def test_every_record_is_read_as_fastavro_reads_it(name: str, data: st.DataObject) -> None:
    schema = plain(SCHEMAS[name])
    value = data.draw(values(schema))
    encoded = by_fastavro(schema, value)
    assert compile_decoder(schema)(b"head" + encoded, 4) == (value, 4 + len(encoded))
    if name in RECORDS:
        record = compile_decoder(schema, RECORDS[name])(encoded, 0)[0]
        assert type(record) is RECORDS[name]
        assert record == msgspec.convert(value, RECORDS[name])


@pytest.mark.parametrize("name", ["OcppCallReceived", "MeasurementsTaken", "StationRegistered"])
@settings(max_examples=examples(8))
@given(data=st.data())
def test_garbage_is_refused_or_read_as_fastavro_reads_it(name: str, data: st.DataObject) -> None:
    schema = plain(SCHEMAS[name])
    encoded = bytearray(by_fastavro(schema, data.draw(values(schema))))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(encoded) - 1))
        encoded[at : at + 1] = data.draw(st.binary(max_size=2))
        if not encoded:
            return
    garbage = bytes(encoded)
    try:
        value, end = compile_decoder(schema)(garbage, 0)
    except REFUSALS:
        return
    if end == len(garbage):
        assert read_by_fastavro(schema, garbage) == (value, end)


@pytest.mark.parametrize(
    ("schema", "data"),
    [
        ("string", b"\x01"),
        ("bytes", b"\x01"),
        ("long", b""),
        ("long", b"\xff" * 11),
        ("long", b"\x80" * 100_000),
        ("long", b"\xff" * 9 + b"\x02"),
        ("int", b"\x80\x80\x80\x80\x10"),
        ({"type": "record", "name": "R", "fields": [{"name": "i", "type": "int"}]}, b"\xff\xff\xff\xff\x1f"),
        ("boolean", b"\x02"),
        ({"type": "record", "name": "R", "fields": [{"name": "b", "type": "boolean"}]}, b"\xff"),
        (["null", "string"], b"\x01"),
        (["null", "string"], b"\x03\x02a"),
        (["null", "string"], b"\x82\x00\x02a"),
        ({"type": "array", "items": "long"}, b"\x03\x06\x02\x04\x00"),
        ("string", b"\x04\xff\xff"),
        (["null", "string"], b"\x04"),
        ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, b"\x04"),
        ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, b"\x01"),
        ({"type": "record", "name": "R", "fields": [{"name": "s", "type": "string"}]}, b"\x03ab"),
        ({"type": "array", "items": "string"}, b"\xfe\xff\xff\xff\xff\x01\x00"),
    ],
)
def test_what_cannot_be_read_is_refused(schema: Any, data: bytes) -> None:
    with pytest.raises(REFUSALS):
        compile_decoder(schema)(data, 0)


@pytest.mark.parametrize("schema", ["string", "bytes"])
def test_missing_bytes_show_in_the_position(schema: str) -> None:
    assert compile_decoder(schema)(b"\x08ab", 0)[1] > 3


def test_blocks_with_their_size_are_read() -> None:
    schema = {"type": "array", "items": "long"}
    # Two blocks, the first with its size in bytes (a negative count).
    assert compile_decoder(schema)(b"\x03\x04\x02\x04\x02\x06\x00", 0) == ([1, 2, 3], 7)


@pytest.mark.parametrize(
    "schema", ["float", "SomeName", ["null", "string", "long"], {"type": "map", "values": "int"}]
)
def test_what_the_contract_does_not_use_is_not_understood(schema: Any) -> None:
    with pytest.raises(ValueError, match="no decoder"):
        compile_decoder(schema)
