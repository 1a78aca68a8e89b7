"""Release 1.0 of a slice of a platform: readings of meters in, each station's total out."""

from enum import StrEnum

import msgspec

from libs.bus.message import Emit, Message
from libs.bus.processor import Processor, Step, Tables, Tick
from libs.events.ids import derive_id
from libs.events.record import Record
from tests.integration.rolling.common import READINGS, STATE, TOTALS, contract, enum, record


class ReadingKind(StrEnum):
    SAMPLE = "SAMPLE"
    FINAL = "FINAL"
    UNKNOWN = "UNKNOWN"


class ReadingTaken(Record, frozen=True, kw_only=True):
    station_id: str
    wh: int
    kind: ReadingKind


class ReadingsStopped(Record, frozen=True, kw_only=True):
    station_id: str


class TotalChanged(Record, frozen=True, kw_only=True):
    station_id: str
    readings: int
    wh: int


RECORDS: dict[str, type[Record]] = {
    each.__name__: each for each in (ReadingTaken, ReadingsStopped, TotalChanged)
}
WH, READINGS_FIELD = {"name": "wh", "type": "long"}, {"name": "readings", "type": "long"}
CONTRACT = contract(
    {
        "ReadingTaken": record(
            "ReadingTaken", WH, {"name": "kind", "type": enum("ReadingKind", "SAMPLE", "FINAL", "UNKNOWN")}
        ),
        "ReadingsStopped": record("ReadingsStopped"),
        "TotalChanged": record("TotalChanged", READINGS_FIELD, WH),
    },
    ("ReadingTaken", "ReadingsStopped"),
)


class Total(msgspec.Struct, frozen=True, array_like=True):
    """`wh` of so many `readings`."""

    station_id: str
    readings: int = 0
    wh: int = 0


class Totals(Processor[Total]):
    """Each reading to the station's next total."""

    name = "totals"
    inputs = (READINGS,)
    outputs = (TOTALS,)
    state = Total
    state_topic = STATE

    def step(self, state: Total | None, event: Message | Tick, tables: Tables) -> Step[Total]:
        assert isinstance(event, Message)
        reading = event.record
        if not isinstance(reading, ReadingTaken):
            return Step(state)
        before = state or Total(reading.station_id)
        after = Total(before.station_id, before.readings + 1, before.wh + reading.wh)
        changed = TotalChanged(
            event_id=derive_id(reading.event_id, "total"), occurred_at=reading.occurred_at,
            recorded_at=reading.recorded_at, cause_id=reading.event_id, station_id=reading.station_id,
            readings=after.readings, wh=after.wh,
        )  # fmt: skip
        return Step(after, (Emit(TOTALS, reading.station_id, changed),))
