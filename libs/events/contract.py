"""The topic files and Avro schemas under `proto_schemas/`, loaded and checked.

A topic's value schema is its one record, or the union of its records in the order of the topic file.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

ROOT = Path(__file__).resolve().parents[2] / "proto_schemas"

PARTS: Final = ("topics", "events", "commands", "examples")
RELEASED: Final = "released"
DIGEST: Final = "sha256"

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

        It has no documentation: a better text is no new schema for the registry. Raises KeyError for a topic that
        is not in the contract. `<name>.dead` is the dead-letter schema.
        """
        names = self.record_names(topic)
        defined: set[str] = set()
        branches = [name_repeats(without_docs(self.schemas[name]), defined) for name in names]
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
            topic = msgspec.yaml.decode(path.read_bytes(), type=Topic)
        except msgspec.DecodeError as error:
            raise ValueError(f"{path.name}: {error}") from error
        if topic.name != path.stem:
            raise ValueError(f"{path.name}: names topic {topic.name!r}")
        if missing := [name for name in topic.schemas if name not in schemas]:
            raise ValueError(f"{path.name}: no schema file for {', '.join(missing)}")
        topics[topic.name] = topic
    return Contract(topics, schemas)


def without_docs(schema: Any) -> Any:
    """`schema` without the texts that explain it: what readers and writers go by."""
    if isinstance(schema, list):
        return [without_docs(branch) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: without_docs(value) if key in ("type", "fields", "items") else value
        for key, value in schema.items()
        if key != "doc"
    }


def load_releases(root: Path = ROOT) -> dict[str, Contract]:
    """The contract of every release, by its version. `python -m deploy.release` keeps them.

    Raises ValueError for a release that was changed since.
    """
    found = {}
    for folder in sorted((root / RELEASED).glob("*/")):
        if (folder / DIGEST).read_text().strip() != contract_digest(folder):
            raise ValueError(f"{folder}: a released contract was changed")
        found[folder.name] = load_contract(folder)
    return found


def load_exceptions(root: Path = ROOT) -> dict[str, str]:
    """What was broken on purpose: each breach as `evolution` names it, and why."""
    found: dict[str, str] = msgspec.yaml.decode(
        (root / RELEASED / "exceptions.yaml").read_bytes(), type=dict[str, str]
    )
    return found


def contract_digest(root: Path) -> str:
    """SHA-256 of the names and texts of the contract's files below `root`."""
    digest = sha256()
    for part in PARTS:
        for path in sorted(file for file in (root / part).rglob("*") if file.is_file()):
            text = path.read_bytes()
            digest.update(f"{path.relative_to(root).as_posix()} {len(text)}\n".encode() + text)
    return digest.hexdigest()


def _schema_files(root: Path) -> Iterator[Path]:
    for folder in ("events", "commands"):
        yield from sorted((root / folder).glob("*.avsc"))


def _read_schema(path: Path) -> Schema:
    schema: Schema = json.loads(path.read_text())
    if schema.get("name") != path.stem:
        raise ValueError(f"{path.name}: defines record {schema.get('name')!r}")
    return schema


def name_repeats(schema: Any, defined: set[str]) -> Any:
    """`schema` with every named type after its first definition replaced by its name, as Avro demands."""
    if isinstance(schema, list):
        return [name_repeats(branch, defined) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    if schema["type"] in ("record", "enum", "fixed"):
        if schema["name"] in defined:
            return schema["name"]
        defined.add(schema["name"])
    copy = dict(schema)
    if "fields" in copy:
        copy["fields"] = [{**f, "type": name_repeats(f["type"], defined)} for f in copy["fields"]]
    if "items" in copy:
        copy["items"] = name_repeats(copy["items"], defined)
    return copy
