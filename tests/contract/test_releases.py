"""Today's contract keeps what every release promised, and the check that says so can fail."""

import json
import shutil
from base64 import b64decode
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from fastavro import parse_schema, schemaless_reader, schemaless_writer

from deploy.release import keep
from libs.events.catalogue import RECORDS
from libs.events.codec import HEADER_BYTES, Codec
from libs.events.contract import (
    DIGEST,
    RELEASED,
    ROOT,
    Contract,
    load_contract,
    load_exceptions,
    load_releases,
)
from libs.events.evolution import breaches, faults
from libs.events.record import Record

TODAY = load_contract()
RELEASES = load_releases()
# A topic of each record, and examples of it as both versions write them.
HOMES = [
    (version, topic.name, record)
    for version, released in RELEASES.items()
    for topic in released.topics.values()
    for record in topic.schemas
]


def test_there_is_a_release_to_compare_with() -> None:
    assert "0.1.0" in RELEASES
    assert len(HOMES) > 40


def test_every_released_version_of_the_changelog_is_kept() -> None:
    headings = [line.split()[1].strip("[]") for line in _changelog() if line.startswith("## ")]
    assert {version for version in headings if version != "Unreleased"} <= set(RELEASES)


def _changelog() -> list[str]:
    return (ROOT.parent / "CHANGELOG.md").read_text().splitlines()


def test_today_s_contract_breaks_no_release_but_where_it_is_said_why() -> None:
    found = [breach for released in RELEASES.values() for breach in breaches(released, TODAY)]
    exceptions = load_exceptions()
    assert [breach for breach in found if breach not in exceptions] == []
    assert set(exceptions) <= set(found), "an exception that nothing needs"
    assert all(reason.strip() for reason in exceptions.values())


def test_today_s_contract_has_no_fault_of_its_own() -> None:
    assert faults(TODAY) == []


# What Avro itself makes of it: both ways, as processes of two versions run side by side while one is rolled out.


@pytest.mark.parametrize(("version", "topic", "record"), HOMES)
def test_what_a_release_wrote_is_read_today(version: str, topic: str, record: str) -> None:
    released = RELEASES[version]
    codec = Codec(TODAY, {topic: 1}, {2: released.value_schema(topic)})
    for fields in _examples(ROOT / RELEASED / version, record):
        body = _written(released.value_schema(topic), record, fields)
        read = codec.decode(b"\0\0\0\0\x02" + body)
        assert type(read) is RECORDS[record]
        assert _subset(fields, _fields_of(read))


@pytest.mark.parametrize(("version", "topic", "record"), HOMES)
def test_what_is_written_today_is_read_by_a_release(version: str, topic: str, record: str) -> None:
    codec = Codec(TODAY, {topic: 1})
    writers, readers = (
        parse_schema(_integers(contract.schemas[record])) for contract in (TODAY, RELEASES[version])
    )
    for fields in _examples(ROOT, record):
        written = msgspec.convert(fields, RECORDS[record])
        value = codec.encode(topic, written)
        index = HEADER_BYTES + (len(TODAY.topics[topic].schemas) > 1)
        read: Any = schemaless_reader(BytesIO(value[index:]), writers, readers)
        assert _subset(read, _fields_of(written))


def _integers(schema: Any) -> Any:
    """`schema` with moments as the integers that they are written as."""
    if isinstance(schema, list):
        return [_integers(branch) for branch in schema]
    if isinstance(schema, dict):
        return {key: _integers(value) for key, value in schema.items() if key != "logicalType"}
    return schema


def _examples(root: Path, record: str) -> list[dict[str, Any]]:
    contract = load_contract(root)
    examples = [json.loads(path.read_text()) for path in sorted((root / "examples" / record).glob("*.json"))]
    for each in contract.schemas[record]["fields"]:
        if each["type"] == "bytes":
            examples = [{**example, each["name"]: b64decode(example[each["name"]])} for example in examples]
    return examples


def _written(schema: Any, record: str, fields: dict[str, Any]) -> bytes:
    buffer = BytesIO()
    union = isinstance(schema, list)
    schemaless_writer(buffer, parse_schema(schema), (f"voltbus.{record}", fields) if union else fields)
    return buffer.getvalue()


def _fields_of(record: Record) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(record, builtin_types=(bytes,))
    return fields


def _subset(part: Any, whole: Any) -> bool:
    """Whether everything in `part` is in `whole`, which may know more."""
    if isinstance(part, dict):
        return all(key in whole and _subset(value, whole[key]) for key, value in part.items())
    if isinstance(part, list | tuple):
        return len(part) == len(whole) and all(map(_subset, part, whole))
    return bool(part == whole)


# The gate can fail: each rule on a changed copy of today's contract.


def changed(change: Callable[[dict[str, Any]], None], record: str = "CdrIssued") -> Contract:
    """Today's contract with one record's schema changed."""
    schema = json.loads(json.dumps(TODAY.schemas[record]))
    change(schema)
    return msgspec.structs.replace(TODAY, schemas={**TODAY.schemas, record: schema})


def with_topic(name: str, **facts: Any) -> Contract:
    topic = msgspec.structs.replace(TODAY.topics[name], **facts)
    return msgspec.structs.replace(TODAY, topics={**TODAY.topics, name: topic})


def field(schema: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in schema["fields"] if each["name"] == name)


def enum_of(schema: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = field(schema, name)["type"]
    return found


NOTE = {"name": "note", "type": "string", "doc": "A note.", "default": ""}


@pytest.mark.parametrize(
    ("record", "change", "said"),
    [
        (
            "CdrIssued",
            lambda s: field(s, "energy_wh").update(name="delivered_wh"),
            "CdrIssued.energy_wh: the field is removed or renamed",
        ),
        ("CdrIssued", lambda s: s["fields"].pop(3), "the field is removed or renamed"),
        (
            "CdrIssued",
            lambda s: field(s, "taxes")["type"]["items"]["fields"].pop(),
            "CdrIssued.taxes[].tax_minor: the field is removed or renamed",
        ),
        (
            "CdrIssued",
            lambda s: s["fields"].insert(5, NOTE),
            "CdrIssued: fields are not in their old order with new ones at the end",
        ),
        (
            "CdrIssued",
            lambda s: s["fields"].append({"name": "note", "type": "string"}),
            "CdrIssued.note: a new field has no default",
        ),
        ("CdrIssued", lambda s: field(s, "energy_wh").update(type="int"), "energy_wh: the type was long, is int"),
        ("CdrIssued", lambda s: field(s, "version").update(type="long"), "version: the type was int, is long"),
        (
            "CdrIssued",
            lambda s: field(s, "started_at").update(type="long"),
            "started_at: the type was timestamp-micros, is long",
        ),
        (
            "CdrIssued",
            lambda s: field(s, "currency").update(type="string"),
            "currency: the type was null or string, is string",
        ),
        ("CdrIssued", lambda s: field(s, "billed_wh").update(default=1), "billed_wh: the default changed"),
        ("CdrIssued", lambda s: field(s, "billed_wh").pop("default"), "billed_wh: the default changed"),
        ("CdrIssued", lambda s: s.update(namespace="other"), "the type's namespace was voltbus, is other"),
        (
            "OcppCallSent",
            lambda s: enum_of(s, "outcome").update(name="Outcome"),
            "the type's name was CallOutcome, is Outcome",
        ),
        ("OcppCallSent", lambda s: enum_of(s, "outcome")["symbols"].pop(0), "symbols are removed or reordered"),
        ("OcppCallSent", lambda s: enum_of(s, "outcome")["symbols"].insert(0, "X"), "symbols are removed or reordered"),
    ],
)  # fmt: skip
def test_a_schema_that_breaks_a_release_is_found(
    record: str, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    found = breaches(RELEASES["0.1.0"], changed(change, record))
    assert any(said in breach for breach in found)
    assert all(breach.startswith(record) for breach in found)


def test_a_record_that_is_gone_is_found() -> None:
    schemas = {name: schema for name, schema in TODAY.schemas.items() if name != "CdrCredited"}
    found = breaches(RELEASES["0.1.0"], msgspec.structs.replace(TODAY, schemas=schemas))
    assert found == ["CdrCredited: the record is removed"]


def test_an_enum_keeps_its_default() -> None:
    (found,) = breaches(
        TODAY, changed(lambda s: enum_of(s, "outcome").update(default="TIMEOUT"), "OcppCallSent")
    )
    assert found == "OcppCallSent.outcome: the enum's default changed"


@pytest.mark.parametrize(
    ("topic", "facts", "said"),
    [
        ("commands.outcomes", {"schemas": ("CommandConcluded", "SessionEnded")}, "becomes a union"),
        ("billing.cdrs", {"schemas": ("CdrIssued",)}, "a union becomes a topic of one record"),
        ("billing.cdrs", {"schemas": ("CdrCredited", "CdrIssued")}, "removed or reordered"),
        ("billing.cdrs", {"schemas": ("SessionEnded", "CdrIssued", "CdrCredited")}, "removed or reordered"),
        ("billing.cdrs", {"key": "session_id"}, "key was station_id, is session_id"),
        ("billing.cdrs", {"partitions": 24}, "partitions was 12, is 24"),
        ("billing.cdrs", {"scaling": "slots"}, "scaling was partitions, is slots"),
        ("billing.cdrs", {"cleanup": "compact"}, "cleanup was delete, is compact"),
        ("billing.cdrs", {"retention_ms": 1}, "retention_ms was -1, is 1"),
        ("billing.cdrs", {"dead_letters": False}, "dead_letters was True, is False"),
        ("registry.credentials", {"confidential": False}, "confidential was True, is False"),
    ],
)
def test_a_topic_that_breaks_a_release_is_found(topic: str, facts: dict[str, Any], said: str) -> None:
    (found,) = breaches(RELEASES["0.1.0"], with_topic(topic, **facts))
    assert found.startswith(f"topic {topic}: ")
    assert said in found


def test_a_topic_that_is_gone_is_found() -> None:
    topics = {name: topic for name, topic in TODAY.topics.items() if name != "billing.cdrs"}
    found = breaches(RELEASES["0.1.0"], msgspec.structs.replace(TODAY, topics=topics))
    assert found == ["topic billing.cdrs: the topic is removed"]


def test_an_enum_without_a_default_is_found() -> None:
    for change in (lambda e: e.pop("default"), lambda e: e.update(default="NONE")):
        contract = changed(lambda s, change=change: change(enum_of(s, "outcome")), "OcppCallSent")  # type: ignore[misc]
        assert faults(contract) == ["OcppCallSent.outcome: enum CallOutcome has no default among its symbols"]


def test_one_name_for_two_types_is_found() -> None:
    contract = changed(lambda s: enum_of(s, "dialect")["symbols"].append("MORE"), "RequestCommand")
    assert faults(contract) == ["RequestCommand.dialect: CommandDialect is defined otherwise elsewhere"]


def test_what_grows_at_the_end_with_defaults_is_allowed() -> None:
    grown = changed(lambda s: s["fields"].append(NOTE))
    more = changed(lambda s: enum_of(s, "outcome")["symbols"].append("NEWER"), "OcppCallSent")
    longer = with_topic("billing.cdrs", schemas=(*TODAY.topics["billing.cdrs"].schemas, "SessionEnded"))
    for contract in (grown, more, longer):
        assert breaches(TODAY, contract) == []


def test_a_text_is_no_new_schema() -> None:
    def reworded(schema: dict[str, Any]) -> None:
        schema["doc"] = field(schema, "taxes")["doc"] = "Said better."
        field(schema, "taxes")["type"]["items"]["fields"][0]["doc"] = "Said better."

    other = changed(reworded)
    assert other.value_schema("billing.cdrs") == TODAY.value_schema("billing.cdrs")
    assert breaches(TODAY, other) == []
    assert faults(changed(lambda s: enum_of(s, "dialect").update(doc="x"), "RequestCommand")) == []


# The command that keeps a release, and that nobody edits one.


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    root = tmp_path / "contract"
    shutil.copytree(ROOT, root)
    return root


def test_a_field_renamed_in_schema_class_and_example_is_found(copy: Path) -> None:
    """As a careless replacement in all files would do it: everything fits together, but not to the release."""
    for path in (*copy.glob("events/CdrIssued.avsc"), *copy.glob("examples/CdrIssued/*.json")):
        path.write_text(path.read_text().replace('"energy_wh"', '"delivered_wh"'))
    renamed = load_contract(copy)
    fields = {each["name"] for each in renamed.schemas["CdrIssued"]["fields"]}
    assert all(set(example) == fields for example in _examples(copy, "CdrIssued"))
    found = breaches(RELEASES["0.1.0"], renamed)
    assert "CdrIssued.energy_wh: the field is removed or renamed" in found
    with pytest.raises(ValueError, match=r"CdrIssued\.energy_wh: the field is removed or renamed"):
        keep(copy, "99.0.0")


def test_a_release_is_kept_whole_and_once(copy: Path) -> None:
    kept = keep(copy, "99.0.0")
    assert kept == copy / RELEASED / "99.0.0"
    assert load_releases(copy)["99.0.0"].topics == TODAY.topics
    assert keep(copy, "99.0.0") == kept
    path = copy / "topics" / "billing.cdrs.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"consumers": ["sink"]}))
    load_contract.cache_clear()
    with pytest.raises(ValueError, match=r"99\.0\.0 is released already"):
        keep(copy, "99.0.0")


def test_a_release_that_was_edited_is_refused(copy: Path) -> None:
    path = copy / RELEASED / "0.1.0" / "events" / "CdrIssued.avsc"
    path.write_text(path.read_text().replace('"energy_wh"', '"delivered_wh"'))
    with pytest.raises(ValueError, match=r"0\.1\.0: a released contract was changed"):
        load_releases(copy)
    assert (copy / RELEASED / "0.1.0" / DIGEST).exists()
