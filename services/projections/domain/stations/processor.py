"""The latest state of every station."""

from __future__ import annotations

from typing import Final

import msgspec

from libs.bus.message import Emit, Message
from libs.bus.processor import Processor, Step, Tables, Tick
from libs.events.ids import derive_id
from libs.events.latest import StationLatest
from libs.events.registry import StationRegistered
from libs.events.telemetry import StationStateChanged
from libs.events.topics import REGISTRY_STATIONS, STATIONS_LATEST, TELEMETRY_HEALTH

_KINDS: Final = frozenset({StationStateChanged.__name__, StationRegistered.__name__})


class Removed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A station that operators removed, at this moment."""

    at: int


class StationsLatest(Processor[Removed]):
    """StationLatest whenever something of a station changed; a tombstone when an operator removed it.

    One that was removed is told of while it is connected nevertheless, as unknown stations may be.
    """

    name = "stations-latest"
    inputs = (TELEMETRY_HEALTH, REGISTRY_STATIONS)
    outputs = (STATIONS_LATEST,)
    state = Removed
    linger_s = 0.5

    def wants(self, topic: str, kind: str, subject: str | None) -> bool:
        """Changes of state, and what operators did; not the health windows."""
        return kind in _KINDS

    def key(self, message: Message) -> str | None:
        """The station."""
        removed = message.topic == REGISTRY_STATIONS and message.record is None
        return message.key if removed or type(message.record).__name__ in _KINDS else None

    def step(self, state: Removed | None, event: Message | Tick, tables: Tables) -> Step[Removed]:
        """Fold one change."""
        assert isinstance(event, Message)
        record = event.record
        if isinstance(record, StationRegistered):
            return Step(None)
        gone = Emit(STATIONS_LATEST, event.key, None, event.partition)
        if not isinstance(record, StationStateChanged):
            return Step(Removed(event.timestamp_us), (gone,))
        if state is not None and not record.connected:
            return Step(state, (gone,))
        return Step(state, (Emit(STATIONS_LATEST, event.key, _latest(record), event.partition),))


def _latest(record: StationStateChanged) -> StationLatest:
    told = msgspec.structs.asdict(record)
    told |= {"event_id": derive_id(record.event_id, "station-latest"), "cause_id": record.event_id}
    return StationLatest(**told)
