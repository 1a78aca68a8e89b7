"""The state of stations whenever it changes, and counts per window of their lives."""

from __future__ import annotations

from typing import Final, get_args
from zlib import crc32

import msgspec

from libs.bus.message import Emit, Message
from libs.bus.processor import Processor, Step, Tables, Tick
from libs.bus.shapes import grown
from libs.events.ids import derive_id
from libs.events.ocpp_log import ConnectionClosed, ConnectionOpened, FrameRejected, OcppCallReceived
from libs.events.record import Record
from libs.events.telemetry import HealthWindowClosed, StationStateChanged
from libs.events.topics import OCPP_LIFECYCLE, OCPP_REJECTED, REGISTRY_STATIONS, TELEMETRY_HEALTH
from libs.ocpp.semantics.model import Booted, ConnectorStatusReported
from libs.ocpp.semantics.received_calls import read_exchange, zone_of
from services.telemetry.domain.health import station
from services.telemetry.domain.health.station import GRACE, WINDOW, Counts, StationHealth, Window

_TELLING: Final = frozenset({"BootNotification", "StatusNotification", "NotifyEvent"})

_Input = OcppCallReceived | ConnectionOpened | ConnectionClosed | FrameRejected
_KINDS: Final = frozenset(kind.__name__ for kind in get_args(_Input))


_Folded = tuple[StationHealth, Counts, tuple[str, ...]]
"""The station afterwards, what counts, and the bounds that were reached."""


class HealthProcessor(Processor[StationHealth]):
    """Station state and health windows, for a runtime that may hand a message over twice.

    StationStateChanged holds all that is known of a station and comes when any of it but moments changed.
    HealthWindowClosed comes for each window in which something was recorded. Meter values and transactions are
    not looked at: they are most of the traffic and say nothing of a station's health. Refused handshakes are
    not either: their station identities are unproven, and anyone could fill the state with them.
    """

    name = "telemetry-health"
    inputs = (OCPP_LIFECYCLE, OCPP_REJECTED)
    outputs = (TELEMETRY_HEALTH,)
    tables = (REGISTRY_STATIONS,)
    state = StationHealth
    former_states = (grown("0.1.0", "e7395b59cabf852d"),)
    unmarked_state = "e7395b59cabf852d"
    linger_s = 0.25

    def wants(self, topic: str, kind: str, subject: str | None) -> bool:
        """Exchanges, connections and rejected frames; not the later answers to pending calls."""
        return kind in _KINDS

    def key(self, message: Message) -> str | None:
        """The station."""
        return message.record.station_id if isinstance(message.record, _Input) else None

    def step(self, state: StationHealth | None, event: Message | Tick, tables: Tables) -> Step[StationHealth]:
        """Fold one event, or close the windows that are due."""
        if isinstance(event, Tick):
            return Step(None) if state is None else _close_windows(state, event.at)
        record = event.record
        assert isinstance(record, _Input)
        checksum = crc32(record.event_id.encode())
        before = StationHealth(record.station_id) if state is None else state
        if checksum in before.seen:
            return Step(state)
        after, counts, bounded = _fold(before, record, tables)
        after = station.counted(after, checksum, record.event_id, record.recorded_at, counts)
        if station.same_to_readers(before, after):
            return Step(after, (), bounded)
        return Step(
            after, (Emit(TELEMETRY_HEALTH, record.station_id, _state_changed(after, record)),), bounded
        )

    def due(self, state: StationHealth) -> int | None:
        """When the oldest window closes."""
        return station.due(state)


def _fold(state: StationHealth, record: Record, tables: Tables) -> _Folded:
    match record:
        case ConnectionOpened():
            return station.opened(state, record.connection_epoch, record.version), Counts(), ()
        case ConnectionClosed():
            return station.closed(state, record.connection_epoch), Counts(disconnects=1), ()
        case OcppCallReceived():
            return _fold_call(state, record, tables)
        case _:
            return state, Counts(rejected=1), ()


def _fold_call(state: StationHealth, record: OcppCallReceived, tables: Tables) -> _Folded:
    epoch = record.connection_epoch
    state = station.opened(state, epoch, record.version)
    boots = faults = 0
    bounded: tuple[str, ...] = ()
    if record.action in _TELLING:
        for fact in read_exchange(record, zone_of(tables[REGISTRY_STATIONS].get(record.station_id))):
            if isinstance(fact, Booted):
                boots += 1
                if epoch >= state.epoch:
                    state = station.booted(state, fact)
            elif isinstance(fact, ConnectorStatusReported):
                if not station.admits(state, fact):
                    bounded = ("connectors",)
                    continue
                before = state
                state = station.reported(state, fact, epoch, record.recorded_at)
                faulty = fact.error_code is not None or fact.status == "Faulted"
                # A fault is counted once, however often the charger repeats it while it lasts.
                faults += faulty and state.connectors != before.connectors
    return state, Counts(calls=1, boots=boots, faults=faults, quirks=1 if record.quirks else 0), bounded


def _state_changed(state: StationHealth, record: _Input) -> StationStateChanged:
    return StationStateChanged(
        event_id=derive_id(record.event_id, "station-state"),
        occurred_at=record.occurred_at,
        recorded_at=record.recorded_at,
        cause_id=record.event_id,
        station_id=state.station_id,
        connected=state.connected,
        version=state.version,
        vendor=state.vendor,
        model=state.model,
        serial=state.serial,
        firmware_version=state.firmware_version,
        connectors=state.connectors,
        last_boot_at=state.last_boot_at,
    )


def _close_windows(state: StationHealth, at: int) -> Step[StationHealth]:
    over = [window for window in state.windows if window.start + WINDOW + GRACE <= at]
    if not over:
        return Step(state)
    kept = msgspec.structs.replace(
        state, windows=state.windows[len(over) :], closed_until=over[-1].start + WINDOW
    )
    emits = [
        Emit(TELEMETRY_HEALTH, state.station_id, _window_closed(state.station_id, window)) for window in over
    ]
    return Step(kept, tuple(emits))


def _window_closed(station_id: str, window: Window) -> HealthWindowClosed:
    end = window.start + WINDOW
    return HealthWindowClosed(
        event_id=derive_id(f"{station_id}\n{window.start}", "health-window"),
        occurred_at=end,
        recorded_at=end,
        cause_id=window.cause_id,
        station_id=station_id,
        window_start=window.start,
        window_end=end,
        calls=window.calls,
        boots=window.boots,
        disconnects=window.disconnects,
        faults=window.faults,
        quirks=window.quirks,
        rejected=window.rejected,
    )
