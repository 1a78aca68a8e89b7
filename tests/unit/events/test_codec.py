"""Values as they are on the bus: which branch they take, and by which way they are read."""

import json
from typing import Any

import msgspec
import pytest

from libs.events import codec as module
from libs.events.avro_encoder import compile_encoder
from libs.events.codec import BadValueError, Codec
from libs.events.contract import load_contract, name_repeats
from tests.contract.test_contract import EXAMPLES, example_record

CONTRACT = load_contract()
TOPICS = {name: number for number, name in enumerate(CONTRACT.topics, 1) if CONTRACT.topics[name].schemas}
KINDS = [(topic, kind) for topic in TOPICS for kind in CONTRACT.topics[topic].schemas]


@pytest.fixture
def no_fastavro(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("resolved, which takes ten times as long")

    monkeypatch.setattr(module, "schemaless_reader", refuse)


@pytest.mark.usefixtures("no_fastavro")
@pytest.mark.parametrize(("topic", "kind"), KINDS)
def test_what_is_written_with_our_schema_is_never_resolved(topic: str, kind: str) -> None:
    """Also where a type was defined by an earlier record of the union, as in OcppCallAnswered."""
    codec = Codec(CONTRACT, TOPICS)
    record = next(example_record(path) for path in EXAMPLES if path.parent.name == kind)
    assert codec.decode(codec.encode(topic, record)) == record


@pytest.mark.usefixtures("no_fastavro")
def test_fewer_symbols_and_other_defaults_are_no_other_bytes() -> None:
    older = json.loads(json.dumps(CONTRACT.value_schema("ocpp.commands")))
    (outcome,) = (field["type"] for field in older[0]["fields"] if field["name"] == "outcome")
    outcome["symbols"].pop()
    del outcome["default"]
    codec = Codec(CONTRACT, {"ocpp.commands": 1}, {2: older})
    record = next(example_record(path) for path in EXAMPLES if path.parent.name == "OcppCallSent")
    value = codec.encode("ocpp.commands", record)
    assert codec.decode(value[:4] + b"\x02" + value[5:]) == record


@pytest.mark.parametrize(
    "index", [b"\x01", b"\x03", b"\x04", b"\x80\x00", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b""]
)
def test_a_branch_that_the_union_lacks_is_refused(index: bytes) -> None:
    """-1, -2, one too many, 0 in two bytes, the least number, nothing."""
    codec = Codec(CONTRACT, {"ocpp.commands": 1})
    record = next(example_record(path) for path in EXAMPLES if path.parent.name == "OcppCallSent")
    value = codec.encode("ocpp.commands", record)
    with pytest.raises(BadValueError):
        codec.decode(value[:5] + index + value[6:])


@pytest.mark.parametrize("topic", ["ocpp.commands", "load.plans"])
@pytest.mark.parametrize("more", [b"\0", b"more"])
def test_bytes_behind_the_record_and_bytes_that_are_missing_are_refused(topic: str, more: bytes) -> None:
    """In a union and alone; by the schema that is ours and by one that is resolved."""
    kind = CONTRACT.topics[topic].schemas[0]
    newer = json.loads(json.dumps(CONTRACT.schemas[kind]))
    newer["fields"].append({"name": "added_later", "type": "string"})
    codec = Codec(CONTRACT, {topic: 1}, {2: newer})
    record = next(example_record(path) for path in EXAMPLES if path.parent.name == kind)
    ours = codec.encode(topic, record)
    fields = ours[5:] if len(CONTRACT.topics[topic].schemas) == 1 else ours[6:]
    for value in (ours, b"\0\0\0\0\x02" + fields + b"\x02x"):
        assert codec.decode(value) == record
        with pytest.raises(BadValueError, match="does not end where its value does"):
            codec.decode(value + more)
        # fastavro takes what there is of the last text.
        with pytest.raises(BadValueError):
            codec.decode(value[:-1])


def test_a_last_text_that_is_cut_off_is_refused() -> None:
    codec = Codec(CONTRACT, TOPICS)
    record = next(example_record(path) for path in EXAMPLES if path.parent.name == "DispatchRefused")
    value = codec.encode("ocpp.commands", msgspec.structs.replace(record, detail="send_by has passed"))
    assert value.endswith(b"has passed")
    with pytest.raises(BadValueError):
        codec.decode(value[:-1])


def test_a_named_type_is_defined_once_and_named_after_that() -> None:
    colour = {"type": "enum", "name": "Colour", "symbols": ["RED"]}
    inner = {"type": "record", "name": "Inner", "fields": [{"name": "colour", "type": colour}]}
    schema = {
        "type": "record",
        "name": "Outer",
        "fields": [
            {"name": "one", "type": inner},
            {"name": "two", "type": ["null", inner]},
            {"name": "many", "type": {"type": "array", "items": colour}},
            {"name": "text", "type": "string"},
        ],
    }
    defined: set[str] = set()
    named = name_repeats(schema, defined)
    assert [field["type"] for field in named["fields"]] == [
        inner,
        ["null", "Inner"],
        {"type": "array", "items": "Colour"},
        "string",
    ]
    assert name_repeats([inner, colour], defined) == ["Inner", "Colour"]
    assert schema["fields"][1] == {"name": "two", "type": ["null", inner]}, "what was given stays as it was"


@pytest.mark.parametrize("byte", [b"\x01", b"\x03"])
@pytest.mark.parametrize("name", ["outcome", "result"])
def test_what_has_to_be_resolved_is_read_as_strictly(name: str, byte: bytes) -> None:
    """fastavro takes -1 for the last symbol, and -2 for null."""
    newer = json.loads(json.dumps(CONTRACT.schemas["OcppCallSent"]))
    newer["fields"] = [field for field in newer["fields"] if field["name"] != name] + [
        field for field in newer["fields"] if field["name"] == name
    ]
    newer["fields"].append({"name": "added_later", "type": "string"})
    codec = Codec(CONTRACT, {"ocpp.commands": 1}, {2: newer})
    record = next(example_record(path) for path in EXAMPLES if path.parent.name == "OcppCallSent")

    known = [{**field} for field in newer["fields"] if field["name"] not in (name, "added_later")]
    head = compile_encoder({"type": "record", "name": "Head", "fields": known})(record)
    good = b"\0\0\0\0\x02" + head + b"\0" + b"\x02x"
    assert codec.decode(good) is not None
    bad = b"\0\0\0\0\x02" + head + byte + b"\x02x"
    with pytest.raises(BadValueError):
        codec.decode(bad)
