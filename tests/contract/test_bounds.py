"""No key grows at anybody's will: hostile events leave a state as declared, no dead letter, and take linear time."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest
from msgspec import msgpack

from libs.bus.message import Emit, Message
from libs.bus.processor import Processor, Tables, advance
from libs.bus.settings import MAX_RECORD_BYTES
from libs.events.avro_encoder import compile_encoder
from libs.events.record import Record
from libs.events.registry import Assignment, SiteRegistered, StationRegistered
from tests.contract.hostile import CONTRACT, Hostile
from tests.contract.test_processors import PROCESSORS

EVENTS = int(os.environ.get("VOLTBUS_HOSTILE_EVENTS", "2000"))
"""For one key; `make fuzz` takes 10,000."""
ENCODE_EVERY = 500
MOST_WRITTEN = 8
"""Of what one message led to."""
ATTEMPTS = 3

# What all messages of a key have in common, where that is not the station.
FIXED = {
    "load": {"site_id": ["depot"], "station_id": [f"cp{number}" for number in range(50)]},
    "bulk": {"bulk_id": ["bulk"]},
    "firmware": {"campaign_id": ["campaign"]},
    "plans": {"group_id": ["group"], "tariff_id": ["tariff"]},
}
ONE_STATION = {"station_id": ["cp1"]}
_RECORD: dict[str, Any] = {"event_id": "given", "occurred_at": 0, "recorded_at": 0, "cause_id": "given"}
REGISTERED: dict[str, dict[str, Record]] = {
    "registry.stations": {
        "cp1": StationRegistered(
            **_RECORD, station_id="cp1", sites=(Assignment(id="depot", valid_from=0),), evses=2
        )
    },
    "registry.sites": {"depot": SiteRegistered(**_RECORD, site_id="depot", limit_ma=100_000)},
}


class Fold:
    """One key's state, as the runtimes fold it; what cannot be written goes to `dead` with its message."""

    def __init__(self, processor: Processor[Any]) -> None:
        self._processor = processor
        self._tables: Tables = {topic: REGISTERED.get(topic, {}) for topic in processor.tables}
        self._writers = {
            name: compile_encoder(CONTRACT.schemas[name])
            for t in processor.outputs
            for name in CONTRACT.topics[t].schemas
        }
        self.state: Any = None
        self.largest = 0
        self.written = 0
        self.dead: list[tuple[Message, Exception]] = []

    def handle(self, message: Message) -> None:
        try:
            step = advance(self._processor, self.state, message, self._tables)
            self.written += len(step.out)
            for emit in step.out[:MOST_WRITTEN]:
                self._write(emit)
        except Exception as error:
            self.dead.append((message, error))
            return
        self.state = step.state

    def encode(self) -> None:
        """As a transaction does: afterwards the state is what was read back."""
        if self.state is None:
            return
        raw = msgpack.encode(self.state)
        self.largest = max(self.largest, len(raw))
        self.state = msgpack.decode(raw, type=self._processor.state)

    def _write(self, emit: Emit) -> None:
        if emit.record is not None:
            size = len(self._writers[type(emit.record).__name__](emit.record)) + len(emit.key.encode())
            assert size <= MAX_RECORD_BYTES


def run(processor: Processor[Any], messages: list[Message]) -> tuple[Fold, float]:
    """The fold, and how much more a message, or a record that one led to, took in its second half than in its first."""
    fold, costs = Fold(processor), []
    for half in (messages[: len(messages) // 2], messages[len(messages) // 2 :]):
        begun, written = time.process_time(), fold.written
        for start in range(0, len(half), ENCODE_EVERY):
            for message in half[start : start + ENCODE_EVERY]:
                fold.handle(message)
            fold.encode()
        costs.append((time.process_time() - begun) / (len(half) + fold.written - written))
    return fold, costs[1] / costs[0]


@pytest.mark.parametrize("processor", PROCESSORS, ids=lambda processor: processor.name)
def test_hostile_events_of_one_key(processor: Processor[Any]) -> None:
    hostile = Hostile(FIXED.get(processor.name, ONE_STATION), seed=11)
    messages = list(hostile.messages(processor, EVENTS))
    fold, slower = run(processor, messages)
    assert not fold.dead, (len(fold.dead), fold.dead[0][1], fold.dead[0][0].record)
    assert fold.largest <= processor.max_state_bytes <= MAX_RECORD_BYTES
    if processor.state is None:
        return
    # Where a message costs as much as there were messages before, the second half takes three times the first. A
    # machine that is busy is asked again.
    attempts = 1
    while slower > 2 and attempts < ATTEMPTS:
        slower, attempts = run(processor, messages)[1], attempts + 1
    assert slower <= 2
