"""Values as they are on the bus: which branch they take, and by which way they are read."""

import json
from typing import Any

import pytest

from libs.events import codec as module
from libs.events.avro_encoder import compile_encoder
from libs.events.codec import BadValueError, Codec
from libs.events.contract import load_contract
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
