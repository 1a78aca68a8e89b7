"""Topics as other programs find them: written by this version, then by one whose schemas have grown.

What grows is what the contract allows: a field with a default at the end of a record, a kind at the end of a union, a
symbol of an enum.
"""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import fastavro

from libs.bus.schemas import SchemaRegistry
from libs.events.catalogue import RECORDS
from libs.events.contract import ROOT, load_contract
from tests.integration.processor_rig import Rig
from tests.unit.projections.given import example

CONTRACT = load_contract()
AS_BEFORE, FIELD, KIND, SYMBOL, REMOVED = "as before", "field added", "kind added", "symbol added", "removed"
KEY = "one partition, so that all is read in its order"
NEW_FIELD = {"name": "added_later", "type": "string", "doc": "New.", "default": ""}


class Written(NamedTuple):
    """A record in a topic: what is new about it, its name, and its event_id."""

    news: str
    record: str
    event_id: str


def example_of(kind: str) -> dict[str, Any]:
    path = min((ROOT / "examples" / kind).glob("*.json"))
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def old_schema(topic: str, folder: Path) -> Path:
    """This version's schema of a topic as a file, for programs that read by a schema of their own."""
    path = folder / f"{topic}.avsc"
    path.write_text(json.dumps(CONTRACT.value_schema(topic)))
    return path


async def write_as_before(rig: Rig, topic: str) -> list[Written]:
    """An example of every kind."""
    written = []
    for kind in CONTRACT.topics[topic].schemas:
        path = min((ROOT / "examples" / kind).glob("*.json"))
        record = example(RECORDS[kind], path.stem)
        await rig.publish(topic, KEY, record)
        written.append(Written(AS_BEFORE, kind, record.event_id))
    return written


async def write_tombstone(rig: Rig, topic: str) -> list[Written]:
    """The end of the key."""
    await rig.publish(topic, KEY, None)
    return [Written(REMOVED, "", KEY)]


async def write_grown(rig: Rig, topic: str, news: str) -> list[Written]:
    """Let the topic's schema grow by `news`, and write a record that has it."""
    schema = copy.deepcopy(CONTRACT.value_schema(topic))
    branches = schema if isinstance(schema, list) else [schema]
    grown = branches[-1] if news == FIELD else branches[0]
    fields = example_of(grown["name"])
    kind = grown["name"]
    if news == FIELD:
        grown["fields"].append(NEW_FIELD)
        fields["added_later"] = "news"
    elif news == KIND:
        assert isinstance(schema, list)
        kind = "AddedLater"
        common = [field for field in grown["fields"] if field["name"] in ("event_id", "station_id")]
        schema.append(
            {"type": "record", "name": kind, "namespace": "voltbus", "doc": "New.", "fields": common}
        )
        fields = {field["name"]: fields[field["name"]] for field in common}
    else:
        enum = next(field for field in grown["fields"] if field["name"] == "fate")
        enum["type"]["symbols"].append("ADDED_LATER")
        fields["fate"] = "ADDED_LATER"
    fields["event_id"] = f"{topic} with its {news}"
    settings = rig.bus.settings
    async with SchemaRegistry(settings) as registry:
        registered = await registry.register(f"{settings.topic(topic)}-value", schema)
    out = io.BytesIO()
    out.write(b"\0" + registered.schema_id.to_bytes(4, "big"))
    value = (f"voltbus.{kind}", fields) if isinstance(schema, list) else fields
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), value)
    await rig.publish_raw(topic, KEY, out.getvalue())
    return [Written(news, kind, fields["event_id"])]
