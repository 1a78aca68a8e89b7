"""The contract holds together: topic files, schemas, examples and record classes."""

import json
import types
from enum import StrEnum
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import msgspec
import pytest
import yaml

from libs.events.catalogue import RECORDS
from libs.events.codec import Codec, UnknownRecordError
from libs.events.commands import CommandConcluded, Fate
from libs.events.contract import ROOT, Topic, load_contract
from libs.events.record import Record

CONTRACT = load_contract()
EXAMPLES = sorted((ROOT / "examples").glob("*/*.json"))
TOPIC_FILES = sorted((ROOT / "topics").glob("*.yaml"))
HOME = {name: topic.name for topic in CONTRACT.topics.values() for name in topic.schemas}
HOME["RecordDeadLettered"] = "ocpp.lifecycle.dead"
CODEC = Codec(CONTRACT, {topic: number for number, topic in enumerate(sorted(set(HOME.values())), 1)})


def example_record(path: Path) -> Record:
    return msgspec.json.decode(_with_bytes(path), type=RECORDS[path.parent.name])


def _with_bytes(path: Path) -> bytes:
    """The example's JSON; Avro `bytes` are written as text in examples and as base64 for msgspec."""
    data = json.loads(path.read_text())
    if path.parent.name == "RecordDeadLettered":
        encode = msgspec.to_builtins
        data["key"], data["value"] = encode(data["key"].encode()), encode(data["value"].encode())
        for header in data["headers"]:
            header["value"] = encode(header["value"].encode())
    return json.dumps(data).encode()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_example_survives_the_wire(path: Path) -> None:
    record = example_record(path)
    assert CODEC.decode(CODEC.encode(HOME[path.parent.name], record)) == record


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_example_names_exactly_the_fields_of_its_schema(path: Path) -> None:
    fields = {field["name"] for field in CONTRACT.schemas[path.parent.name]["fields"]}
    assert set(json.loads(path.read_text())) == fields


@pytest.mark.parametrize("name", sorted(CONTRACT.schemas))
def test_every_schema_has_an_example_a_class_and_a_topic(name: str) -> None:
    assert list((ROOT / "examples" / name).glob("*.json"))
    assert name in RECORDS
    assert name in HOME


def test_no_class_or_example_is_without_a_schema() -> None:
    assert set(RECORDS) == set(CONTRACT.schemas) == {path.parent.name for path in EXAMPLES}


@pytest.mark.parametrize("name", sorted(CONTRACT.schemas))
def test_class_matches_its_schema(name: str) -> None:
    assert_matches(RECORDS[name], CONTRACT.schemas[name])


def assert_matches(cls: type[Any], schema: dict[str, Any]) -> None:
    """Same fields; same types; a default where, and only where, the schema has the same one."""
    fields = {field.name: field for field in msgspec.structs.fields(cls)}
    assert set(fields) == {field["name"] for field in schema["fields"]}
    for wanted in schema["fields"]:
        field = fields[wanted["name"]]
        assert wanted["doc"], f"{wanted['name']} is documented"
        assert_type(field.type, wanted["type"])
        if "default" in wanted:
            default = wanted["default"]
            assert field.default == (() if default == [] else default), field.name
        else:
            assert field.required, field.name


def assert_type(python: Any, avro: Any) -> None:
    if isinstance(avro, list):
        assert avro[0] == "null"
        assert get_origin(python) in (Union, types.UnionType)
        inner, none = get_args(python)
        assert none is types.NoneType
        assert_type(inner, avro[1])
    elif isinstance(avro, str):
        scalars = {"string": str, "int": int, "long": int, "boolean": bool, "double": float, "bytes": bytes}
        assert python is scalars[avro]
    elif avro["type"] == "array":
        item, ellipsis = get_args(python)
        assert ellipsis is Ellipsis
        assert_type(item, avro["items"])
    elif avro["type"] == "enum":
        assert issubclass(python, StrEnum)
        assert [str(member) for member in python] == avro["symbols"]
    elif avro["type"] == "record":
        assert_matches(python, avro)
    else:
        assert avro == {"type": "long", "logicalType": "timestamp-micros"}
        assert python is int


@pytest.mark.parametrize("path", TOPIC_FILES, ids=lambda path: path.stem)
def test_topic_file_is_complete(path: Path) -> None:
    topic = CONTRACT.topics[path.stem]
    assert topic.description.strip().endswith(".")
    assert topic.producers
    assert topic.consumers
    assert topic.partitions > 0
    assert (topic.cleanup != "compact") == (topic.retention_ms is not None)
    for name in topic.schemas:
        assert topic.key in {field["name"] for field in CONTRACT.schemas[name]["fields"]}


@pytest.mark.parametrize("path", TOPIC_FILES, ids=lambda path: path.stem)
def test_every_public_topic_goes_to_the_sink_but_latest_states(path: Path) -> None:
    topic = CONTRACT.topics[path.stem]
    assert ("sink" in topic.consumers) == topic.stored


WITHOUT_LATEST_STATE = {
    "ocpp.transactions": "what was said, not a state; what it amounts to is in sessions.latest",
    "ocpp.lifecycle": "what was said, not a state; what it amounts to is in stations.latest",
    "ocpp.commands": "what was said, not a state; the fate of a command is in commands.outcomes, of one kind",
    "ocpp.rejected": "what was said, not a state",
    "commands.bulk": "an inbox; what became of it is in commands.bulk-progress, whole each time",
    "commands.dispatch": "an inbox of edges",
    "billing.decisions": "an inbox of sessions; what holds is in sessions.latest and billing.cdrs.latest",
    "firmware.campaigns": "an inbox and its answers; CampaignProgressed is whole each time",
}


def test_a_topic_with_several_kinds_has_one_of_latest_states_unless_it_has_none() -> None:
    told = {name for topic in CONTRACT.topics.values() for name in topic.latest_of}
    several = {name for name, topic in CONTRACT.topics.items() if len(topic.schemas) > 1}
    assert several - told == set(WITHOUT_LATEST_STATE)
    assert not told & set(WITHOUT_LATEST_STATE)


@pytest.mark.parametrize(
    "topic", [topic for topic in CONTRACT.topics.values() if topic.latest_of], ids=lambda topic: topic.name
)
def test_a_latest_state_is_one_record_per_key_that_any_client_reads(topic: Topic) -> None:
    """No union but with null, no enum: what many readers cannot let grow."""
    assert topic.cleanup.startswith("compact")
    (name,) = topic.schemas
    assert_plain(CONTRACT.schemas[name])


def assert_plain(avro: Any) -> None:
    if isinstance(avro, list):
        null, inner = avro
        assert null == "null"
        assert_plain(inner)
    elif isinstance(avro, dict):
        assert avro["type"] in ("record", "array", "long")
        for part in (*(field["type"] for field in avro.get("fields", ())), avro.get("items", "null")):
            assert_plain(part)


def test_a_misspelt_key_in_a_topic_file_is_refused(tmp_path: Path) -> None:
    data = yaml.safe_load(TOPIC_FILES[0].read_text()) | {"retension_ms": 1}
    (tmp_path / "topics").mkdir()
    (tmp_path / "topics" / TOPIC_FILES[0].name).write_text(yaml.safe_dump(data))
    with pytest.raises(ValueError, match="retension_ms"):
        load_contract(tmp_path)


def test_a_topic_file_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "topics").mkdir()
    (tmp_path / "topics" / "meters.yaml").write_text("name: [meters\n")
    with pytest.raises(ValueError, match=r"^meters\.yaml: "):
        load_contract(tmp_path)


def test_a_symbol_of_a_newer_schema_is_read_as_the_enum_s_default() -> None:
    newer = json.loads(json.dumps(CONTRACT.schemas["CommandConcluded"]))
    (fate,) = (field["type"] for field in newer["fields"] if field["name"] == "fate")
    fate["symbols"].append("POSTPONED")
    codec = Codec(CONTRACT, {"commands.outcomes": 1}, {2: newer})
    value = codec.encode(
        "commands.outcomes", example_record(ROOT / "examples" / "CommandConcluded" / "accepted.json")
    )
    record = codec.decode(value)
    assert isinstance(record, CommandConcluded)
    at = value.index(_text(record.action)) + len(_text(record.action)) + 1
    assert value[at] == 0, "the fate: ACCEPTED"
    postponed = value[:4] + b"\2" + value[5:at] + bytes([2 * 5]) + value[at + 1 :]
    assert codec.decode(postponed) == msgspec.structs.replace(record, fate=Fate.UNKNOWN)
    assert codec.decode_fields(postponed)[1]["fate"] == "UNKNOWN"


def _text(text: str) -> bytes:
    return bytes([2 * len(text)]) + text.encode()


def test_a_writer_s_newer_schema_is_read_with_ours() -> None:
    """A field added by a newer producer is passed over; a record kind that is new is named as unknown."""
    newer = json.loads(json.dumps(CONTRACT.value_schema("ocpp.commands")))
    newer[1]["fields"].append({"name": "added_later", "type": "string"})
    newer.append({"type": "record", "name": "AddedLater", "fields": [{"name": "event_id", "type": "string"}]})
    codec = Codec(CONTRACT, {"ocpp.commands": 1}, {2: newer})
    record = example_record(ROOT / "examples" / "DispatchRefused" / "moved-away.json")
    value = codec.encode("ocpp.commands", record)
    assert codec.decode(value[:4] + b"\x02" + value[5:] + b"\x06new") == record
    with pytest.raises(UnknownRecordError, match="AddedLater"):
        codec.decode(b"\0\0\0\0\x02\x04\x02x")
