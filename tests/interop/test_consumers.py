"""The platform's topics, read by programs on Kafka and Avro clients that we did not write; see docs/consumers.md."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from libs.devstack import Endpoints
from tests.integration.processor_rig import Rig, open_rig
from tests.interop.growth import (
    AS_BEFORE,
    CONTRACT,
    FIELD,
    KIND,
    REMOVED,
    SYMBOL,
    Written,
    old_schema,
    write_as_before,
    write_grown,
    write_tombstone,
)
from tests.interop.programs import built, skip_unless_possible

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.interop]

GROWTH = {
    "sessions.events": (FIELD, KIND),
    "commands.outcomes": (SYMBOL,),
    "sessions.latest": (FIELD,),
    "billing.cdrs.latest": (FIELD,),
    "stations.latest": (FIELD,),
}
"""What grows in which topic: unions, an enum, latest states."""
ANY_SCHEMA, OWN_SCHEMA = "by the writer's schema", "by a schema of its own"
DEADLINE_S = 60
CLIENTS = ("python", "node", "go", "java", "rust")

FATE = next(field for field in CONTRACT.schemas["CommandConcluded"]["fields"] if field["name"] == "fate")
NEW_SYMBOLS = {} if "default" in FATE["type"] else {"commands.outcomes": {SYMBOL}}
UNREADABLE: dict[tuple[str, str], dict[str, set[str]]] = {
    **{(client, OWN_SCHEMA): {"sessions.events": {KIND}, **NEW_SYMBOLS} for client in CLIENTS},
    # It takes the first branch of a reader's union whose fields are there, whatever its name.
    ("rust", OWN_SCHEMA): {"sessions.events": {AS_BEFORE, FIELD, KIND}, **NEW_SYMBOLS},
}
"""By client and way: what it cannot read, or takes for another kind, by topic. All else it reads."""


class Log(NamedTuple):
    rig: Rig
    written: Mapping[str, list[Written]]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def log(stack: Endpoints) -> AsyncIterator[Log]:
    async with open_rig(stack, "consumers") as rig:
        written = {}
        for topic, growth in GROWTH.items():
            written[topic] = await write_as_before(rig, topic)
            for news in growth:
                written[topic] += await write_grown(rig, topic, news)
        written["stations.latest"] += await write_tombstone(rig, "stations.latest")
        yield Log(rig, written)


@pytest.mark.parametrize("way", [ANY_SCHEMA, OWN_SCHEMA])
@pytest.mark.parametrize("client", [pytest.param(c, marks=skip_unless_possible(c)) for c in CLIENTS])
async def test_a_client_reads_what_the_table_says(client: str, way: str, log: Log, tmp_path: Path) -> None:
    program = await asyncio.to_thread(built, client, "consumer")
    settings = log.rig.bus.settings
    unreadable: dict[str, set[str]] = {}
    for topic, written in log.written.items():
        own = [str(old_schema(topic, tmp_path))] if way == OWN_SCHEMA else []
        told = await told_by(
            *program, settings.kafka, settings.registry_url, settings.topic(topic), str(len(written)), *own
        )
        for wanted, found in zip(written, told, strict=True):
            if "failed" in found:
                unreadable.setdefault(topic, set()).add(wanted.news)
                print(client, topic, wanted.news, found["failed"][:300])
            elif wanted.news == REMOVED:
                assert found == {"removed": wanted.event_id}
            elif found["record"] not in ("", wanted.record, f"voltbus.{wanted.record}"):
                unreadable.setdefault(topic, set()).add(wanted.news)
                print(client, topic, wanted, "is taken for", found["record"])
            else:
                assert found["value"]["event_id"] == wanted.event_id
    assert unreadable == UNREADABLE.get((client, way), {})


async def told_by(*command: str) -> list[dict[str, Any]]:
    made = await asyncio.to_thread(
        subprocess.run, command, stdout=subprocess.PIPE, timeout=DEADLINE_S, check=True, text=True
    )
    return [json.loads(line) for line in made.stdout.splitlines() if line.startswith("{")]
