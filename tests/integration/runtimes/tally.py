"""The processor that the conformance suite runs: per station it counts, adds up and waits, and fails on demand."""

from typing import cast

import msgspec

from libs.bus.message import Emit, Message
from libs.bus.processor import Processor, Step, Tables, Tick
from libs.bus.shapes import FormerState, fingerprint
from libs.events.contract import Contract, load_contract
from libs.events.ids import derive_id, new_id
from libs.events.ocpp_log import ConnectionOpened, OcppCallReceived
from libs.events.registry import StationRegistered
from libs.events.sessions import SessionUpdated
from libs.runtime.clock import now_us

TRANSACTIONS = "ocpp.transactions"
LIFECYCLE = "ocpp.lifecycle"
STATIONS = "registry.stations"
OUTPUT = "sessions.events"
STATE = "state.sessions"
DISPATCH = "commands.dispatch"

CONTRACT = Contract(
    {
        name: load_contract().topics[name]
        for name in (TRANSACTIONS, LIFECYCLE, STATIONS, OUTPUT, STATE, DISPATCH)
    },
    load_contract().schemas,
)
"""What the platform's contract says of the topics that the suite uses: topics are not made for nothing."""


class TallyState(msgspec.Struct, frozen=True):
    """`count` calls with `total` together, `connections` opened, `deadline` in microseconds."""

    station: str
    count: int = 0
    total: int = 0
    connections: int = 0
    deadline: int | None = None


class FormerTallyState(msgspec.Struct, frozen=True, array_like=True):
    """How release 0.9 kept it, in an order of its own and by position."""

    station: str
    total: int
    count: int
    connections: int
    deadline: int | None


def upcast(former: FormerTallyState) -> TallyState:
    return TallyState(former.station, former.count, former.total, former.connections, former.deadline)


def downcast(state: TallyState) -> FormerTallyState:
    return FormerTallyState(state.station, state.total, state.count, state.connections, state.deadline)


class Tally(Processor[TallyState]):
    """Emits a SessionUpdated for every event: `charging_state` what happened, `meter_wh` count, `energy_wh` total.

    Actions: Add (payload: how much), Wait (payload: microseconds until the deadline), Forget, LookUp (payload: a
    station), Unwanted (would fail). Poison: Fail, FailInKey, Swell (emits more than a topic takes), Stray (emits to a
    topic that is no output), Misfit (emits what does not fit its schema).
    """

    name = "tally"
    inputs = (TRANSACTIONS, LIFECYCLE)
    outputs = (OUTPUT,)
    tables = (STATIONS,)
    state = TallyState
    former_states: tuple[FormerState[TallyState], ...] = (
        FormerState("0.9", FormerTallyState, upcast, downcast),
    )
    unmarked_state: str | None = fingerprint(FormerTallyState)

    @property
    def state_topic(self) -> str:
        return STATE

    def wants(self, topic: str, kind: str, subject: str | None) -> bool:
        return (topic, kind, subject) != (TRANSACTIONS, "OcppCallReceived", "Unwanted")

    def key(self, message: Message) -> str | None:
        if isinstance(message.record, OcppCallReceived) and message.record.action == "FailInKey":
            raise ValueError("cannot tell the key")
        return message.key

    def step(self, state: TallyState | None, event: Message | Tick, tables: Tables) -> Step[TallyState]:
        if isinstance(event, Tick):
            assert state is not None
            after = msgspec.structs.replace(state, deadline=None)
            return Step(after, (_emit("tick", f"{state.station}-{event.at}", event.at, after),))
        before = state or TallyState(event.key)
        record = event.record
        assert record is not None
        if isinstance(record, ConnectionOpened):
            after = msgspec.structs.replace(before, connections=before.connections + 1)
            return Step(after, (_emit("opened", record.event_id, record.recorded_at, after),))
        assert isinstance(record, OcppCallReceived)
        what: str = record.action
        next_state: TallyState | None = before
        match record.action:
            case "Add":
                next_state = msgspec.structs.replace(
                    before, count=before.count + 1, total=before.total + int(record.payload)
                )
            case "Wait":
                next_state = msgspec.structs.replace(
                    before, deadline=record.recorded_at + int(record.payload)
                )
            case "Forget":
                next_state = None
            case "LookUp":
                what = "known" if record.payload in tables[STATIONS] else "unknown"
            case "Swell":
                what = "x" * (5 << 20)
            case "Stray":
                return Step(before, (Emit(DISPATCH, before.station, record),))
            case "Misfit":
                what = cast("str", 17)
            case _:
                raise ValueError(f"cannot {record.action}")
        return Step(next_state, (_emit(what, record.event_id, record.recorded_at, next_state or before),))

    def due(self, state: TallyState) -> int | None:
        return state.deadline


class FormerTally(Processor[FormerTallyState]):
    """Tally as of release 0.9."""

    name = Tally.name
    inputs = Tally.inputs
    outputs = Tally.outputs
    tables = Tally.tables
    state = FormerTallyState
    state_topic = STATE

    def step(
        self, state: FormerTallyState | None, event: Message | Tick, tables: Tables
    ) -> Step[FormerTallyState]:
        step = Tally().step(None if state is None else upcast(state), event, tables)
        return Step(None if step.state is None else downcast(step.state), step.out)

    def due(self, state: FormerTallyState) -> int | None:
        return state.deadline


def _emit(what: str, cause_id: str, at: int, state: TallyState) -> Emit:
    record = SessionUpdated(
        event_id=derive_id(cause_id, "tally"), occurred_at=at, recorded_at=at, cause_id=cause_id,
        station_id=state.station, session_id="s", evse_id=state.connections, transaction_id="t",
        charging_state=what, meter_wh=state.count, energy_wh=state.total,
    )  # fmt: skip
    return Emit(OUTPUT, state.station, record)


def call(
    station: str, action: str, payload: object = "", *, recorded_at: int | None = None
) -> OcppCallReceived:
    """A call for Tally on `ocpp.transactions`."""
    event_id, at = new_id(), recorded_at or now_us()
    return OcppCallReceived(
        event_id=event_id, occurred_at=at, recorded_at=at, cause_id=event_id, station_id=station,
        connection_epoch=1, edge_id="e", version="1.6", message_id=event_id, action=action, payload=str(payload),
    )  # fmt: skip


def opened(station: str, *, recorded_at: int | None = None) -> ConnectionOpened:
    """A connection for Tally on `ocpp.lifecycle`."""
    event_id, at = new_id(), recorded_at or now_us()
    return ConnectionOpened(
        event_id=event_id, occurred_at=at, recorded_at=at, cause_id=event_id, station_id=station,
        connection_epoch=1, edge_id="e", slot=0, version="1.6", remote_address="", registered=True,
    )  # fmt: skip


def registered(station: str) -> StationRegistered:
    """A row of Tally's table."""
    event_id, at = new_id(), now_us()
    return StationRegistered(
        event_id=event_id, occurred_at=at, recorded_at=at, cause_id=event_id, station_id=station
    )
