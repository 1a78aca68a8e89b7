"""Release 2.0 of the slice: more fields, a symbol, a kind of record, and states with their neighbours exchanged."""

from enum import StrEnum

import msgspec

from libs.bus.message import Emit, Message
from libs.bus.processor import Processor, Step, Tables, Tick
from libs.bus.shapes import FormerState
from libs.events.ids import derive_id
from libs.events.record import Record
from tests.integration.rolling import first
from tests.integration.rolling.common import READINGS, STATE, TOTALS, contract, enum, record


class ReadingKind(StrEnum):
    SAMPLE = "SAMPLE"
    FINAL = "FINAL"
    UNKNOWN = "UNKNOWN"
    ESTIMATED = "ESTIMATED"


class ReadingTaken(Record, frozen=True, kw_only=True):
    station_id: str
    wh: int
    kind: ReadingKind
    phase: str = ""


class ReadingsStopped(Record, frozen=True, kw_only=True):
    station_id: str


class ReadingDoubted(Record, frozen=True, kw_only=True):
    station_id: str
    reason: str


class TotalChanged(Record, frozen=True, kw_only=True):
    station_id: str
    readings: int
    wh: int
    estimated: int = 0


RECORDS: dict[str, type[Record]] = {
    each.__name__: each for each in (ReadingTaken, ReadingsStopped, ReadingDoubted, TotalChanged)
}
KIND = enum("ReadingKind", "SAMPLE", "FINAL", "UNKNOWN", "ESTIMATED")
CONTRACT = contract(
    {
        "ReadingTaken": record(
            "ReadingTaken", first.WH, {"name": "kind", "type": KIND},
            {"name": "phase", "type": "string", "default": ""},
        ),
        "ReadingsStopped": record("ReadingsStopped"),
        "ReadingDoubted": record("ReadingDoubted", {"name": "reason", "type": "string"}),
        "TotalChanged": record(
            "TotalChanged", first.READINGS_FIELD, first.WH, {"name": "estimated", "type": "long", "default": 0}
        ),
    },
    ("ReadingTaken", "ReadingsStopped", "ReadingDoubted"),
)  # fmt: skip


class Total(msgspec.Struct, frozen=True, array_like=True):
    """`wh` of so many `readings`, of which so many were `estimated` and `doubted`."""

    station_id: str
    wh: int = 0
    readings: int = 0
    estimated: int = 0
    doubted: int = 0


def upcast(total: first.Total) -> Total:
    return Total(total.station_id, total.wh, total.readings)


def downcast(total: Total) -> first.Total:
    return first.Total(total.station_id, total.readings, total.wh)


class Totals(Processor[Total]):
    """Each reading to the station's next total."""

    name = "totals"
    inputs = (READINGS,)
    outputs = (TOTALS,)
    state = Total
    state_topic = STATE
    former_states = (FormerState("1.0", first.Total, upcast, downcast),)

    def step(self, state: Total | None, event: Message | Tick, tables: Tables) -> Step[Total]:
        assert isinstance(event, Message)
        reading = event.record
        before = state or Total(event.key)
        if isinstance(reading, ReadingDoubted):
            return Step(msgspec.structs.replace(before, doubted=before.doubted + 1))
        if not isinstance(reading, ReadingTaken):
            return Step(state)
        after = msgspec.structs.replace(
            before, readings=before.readings + 1, wh=before.wh + reading.wh,
            estimated=before.estimated + (reading.kind is ReadingKind.ESTIMATED),
        )  # fmt: skip
        changed = TotalChanged(
            event_id=derive_id(reading.event_id, "total"), occurred_at=reading.occurred_at,
            recorded_at=reading.recorded_at, cause_id=reading.event_id, station_id=reading.station_id,
            readings=after.readings, wh=after.wh, estimated=after.estimated,
        )  # fmt: skip
        return Step(after, (Emit(TOTALS, reading.station_id, changed),))
