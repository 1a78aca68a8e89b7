"""The topic files and Avro schemas under `proto_schemas/`, loaded and checked.

A topic's value schema is its one record, or the union of its records in the order of the topic file.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

ROOT = Path(__file__).resolve().parents[2] / "proto_schemas"

Schema = dict[str, Any]


class Topic(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One reviewed topic file.

    `key`: name of the field that the Kafka key repeats. `scaling`: which setting overrides `partitions`.
    `retention_ms`: -1 keeps records for ever. `dead_letters`: whether `<name>.dead` is created beside it.
    `confidential`: stays in Kafka, not for analysts. `latest_of`: topics that this one tells the latest state of, one
    record per key; it holds nothing that they do not say, and analysts have tables of their own for it.
    """

    name: str
    description: str
    key: str
    partitions: int
    cleanup: Literal["delete", "compact", "compact,delete"]
    schemas: tuple[str, ...]
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    dead_letters: bool
    scaling: Literal["partitions", "slots"] = "partitions"
    retention_ms: int | None = None
    confidential: bool = False
    latest_of: tuple[str, ...] = ()

    @property
    def stored(self) -> bool:
        """Whether the sink copies it to a table of its own."""
        return bool(self.schemas) and not self.confidential and not self.latest_of


class Contract(msgspec.Struct, frozen=True):
    """All topics by name and all record schemas by record name."""

    topics: Mapping[str, Topic]
    schemas: Mapping[str, Schema]

    def value_schema(self, topic: str) -> Schema | list[Any]:
        """The Avro schema of `topic`'s values, complete in itself: a record, or a union of records.

        Raises KeyError for a topic that is not in the contract. `<name>.dead` is the dead-letter schema.
        """
        if topic.endswith(".dead"):
            return self.schemas[DEAD_LETTER]
        names = self.topics[topic].schemas
        defined: set[str] = set()
        branches = [_name_repeats(self.schemas[name], defined) for name in names]
        return branches[0] if len(branches) == 1 else branches

    def record_names(self, topic: str) -> tuple[str, ...]:
        """Names of the records that `topic` holds, in the order of its union."""
        return (DEAD_LETTER,) if topic.endswith(".dead") else self.topics[topic].schemas


DEAD_LETTER = "RecordDeadLettered"


def dead_letter_topic(topic: str) -> str:
    """Where a record of `topic` goes that a processor could not handle."""
    return f"{topic}.dead"


@cache
def load_contract(root: Path = ROOT) -> Contract:
    """Read every topic file and schema below `root`.

    Raises ValueError that names the file for anything misspelt, missing or inconsistent: an unknown key,
    a topic file named otherwise than its topic, a schema that no file defines.
    """
    schemas = {path.stem: _read_schema(path) for path in _schema_files(root)}
    topics = {}
    for path in sorted((root / "topics").glob("*.yaml")):
        try:
            topic = msgspec.convert(yaml.safe_load(path.read_text()), Topic)
        except msgspec.ValidationError as error:
            raise ValueError(f"{path.name}: {error}") from error
        if topic.name != path.stem:
            raise ValueError(f"{path.name}: names topic {topic.name!r}")
        if missing := [name for name in topic.schemas if name not in schemas]:
            raise ValueError(f"{path.name}: no schema file for {', '.join(missing)}")
        topics[topic.name] = topic
    return Contract(topics, schemas)


def _schema_files(root: Path) -> Iterator[Path]:
    for folder in ("events", "commands"):
        yield from sorted((root / folder).glob("*.avsc"))


def _read_schema(path: Path) -> Schema:
    schema: Schema = json.loads(path.read_text())
    if schema.get("name") != path.stem:
        raise ValueError(f"{path.name}: defines record {schema.get('name')!r}")
    return schema


def _name_repeats(schema: Any, defined: set[str]) -> Any:
    """`schema` with every named type after its first definition replaced by its name, as Avro demands."""
    if isinstance(schema, list):
        return [_name_repeats(branch, defined) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    if schema["type"] in ("record", "enum", "fixed"):
        if schema["name"] in defined:
            return schema["name"]
        defined.add(schema["name"])
    copy = dict(schema)
    if "fields" in copy:
        copy["fields"] = [{**f, "type": _name_repeats(f["type"], defined)} for f in copy["fields"]]
    if "items" in copy:
        copy["items"] = _name_repeats(copy["items"], defined)
    return copy
