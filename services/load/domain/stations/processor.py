"""What load management needs to know of a station and its EVSEs, told to the site that they belong to.

Sessions say when an EVSE charges, meter values how much it draws; one that a rule had closed charges again once it is
reopened. Told are starts, ends and changes of current
beyond a deadband, and now and then that nothing changed, so that a site sees few records however often its chargers
measure. Of a station itself a site hears when it starts, comes or goes, and how a command about its default limit
failed; the site that it left last goes on to hear until it is at another. The sites of what charges hear that it took
no limit, and from then on that it took one. A station that was never seen is not told of.
"""

from __future__ import annotations

from msgspec.structs import replace

from libs.bus.message import Emit, Message
from libs.bus.processor import Processor, Step, Tables, Tick
from libs.bus.shapes import grown
from libs.events.commands import CommandConcluded, Fate
from libs.events.ids import derive_id
from libs.events.load import EvseObserved
from libs.events.ocpp_log import OcppCallReceived
from libs.events.registry import StationRegistered
from libs.events.sessions import SessionCorrected, SessionEnded, SessionReopened, SessionStarted
from libs.events.telemetry import MeasurementsTaken, Sample
from libs.events.topics import (
    COMMANDS_OUTCOMES,
    LOAD_OBSERVATIONS,
    LOAD_STATIONS,
    OCPP_LIFECYCLE,
    REGISTRY_STATIONS,
    SESSIONS_EVENTS,
    TELEMETRY_MEASUREMENTS,
)
from libs.ocpp.semantics.commands import ClearLimit, SetLimit
from libs.ocpp.semantics.model import place_of
from libs.runtime.clock import SECOND
from services.load.domain.stations.station import (
    Measured,
    Station,
    StationEvse,
    away,
    booted,
    concluded,
    configured,
    move,
    registered_station,
    seen,
    site_at,
)

DEADBAND_MA = 500
DEADBAND_PERCENT = 5
TELL_EVERY = 60 * SECOND
"""A current that has not changed is told again after so long (microseconds): so a site sees what has had no effect."""
NOMINAL_VOLTS = 230
"""Line to neutral; for chargers that report power but no current."""

_MATTER_IF_ACCEPTED = frozenset({ClearLimit.__name__, SetLimit.__name__})
_Begin = SessionStarted | SessionReopened
_End = SessionEnded | SessionCorrected
_OF_SESSIONS = frozenset(
    kind.__name__ for kind in (SessionStarted, SessionReopened, SessionEnded, SessionCorrected)
)


class LoadObserver(Processor[Station]):
    """What happens to a station, to `EvseObserved` of the site that a session belongs to and `StationObserved` of
    the site where the station is.
    """

    name = "load-observer"
    inputs = (
        SESSIONS_EVENTS,
        TELEMETRY_MEASUREMENTS,
        OCPP_LIFECYCLE,
        COMMANDS_OUTCOMES,
        REGISTRY_STATIONS,
    )
    outputs = (LOAD_OBSERVATIONS, LOAD_STATIONS)
    tables = (REGISTRY_STATIONS,)
    linger_s = 0.15
    state = Station
    former_states = (grown("0.1.0", "cd7e1e0e80d5cd58"),)
    unmarked_state = "cd7e1e0e80d5cd58"
    max_state_bytes = 192 << 10

    def wants(self, topic: str, kind: str, subject: str | None) -> bool:
        """Of `ocpp.lifecycle` only the boots; not the news of sessions under way."""
        if topic == OCPP_LIFECYCLE:
            return kind == OcppCallReceived.__name__ and subject == "BootNotification"
        return topic != SESSIONS_EVENTS or kind in _OF_SESSIONS

    def key(self, message: Message) -> str | None:
        """Only starts, ends, measurements, boots, commands of ours and what operators say matter; of commands
        that were accepted only limits, and those that may have taken a default limit back.
        """
        match message.record:
            case (
                SessionStarted()
                | SessionReopened()
                | SessionEnded()
                | SessionCorrected()
                | MeasurementsTaken()
            ):
                return message.key
            case OcppCallReceived(action="BootNotification"):
                return message.key
            case CommandConcluded(requested_by="load", fate=fate, action=action):
                return message.key if fate is not Fate.ACCEPTED or action in _MATTER_IF_ACCEPTED else None
            case _:
                return message.key if message.topic == REGISTRY_STATIONS else None

    def step(self, state: Station | None, event: Message | Tick, tables: Tables) -> Step[Station]:
        """Fold one record, or look where the station is from now on."""
        match event:
            case Message(record=SessionStarted() | SessionReopened() as record):
                return _started(state, record, tables)
            case Message(record=SessionEnded() | SessionCorrected() as record):
                return _ended(state, record, tables)
            case Message(record=MeasurementsTaken() as record):
                return _measured(state, record, tables)
            case Message(record=OcppCallReceived() as record):
                return booted(state, record, tables)
            case Message(record=CommandConcluded() as record):
                of_transaction = record.action == SetLimit.__name__
                return _limit_concluded(state, record, tables) if of_transaction else concluded(state, record)
            case _:
                return configured(state, event, tables)

    def due(self, state: Station) -> int | None:
        """When it is to move."""
        return state.moves_at


def _started(state: Station | None, record: _Begin, tables: Tables) -> Step[Station]:
    registered = registered_station(record.station_id, tables)
    station = (state or Station()).with_room(record.evse_id, registered)
    if station is None:
        return Step(state, bounded=("evses",))
    evse = station.evse(record.evse_id)
    over = evse.ended_session_id if isinstance(record, SessionStarted) else None
    if record.session_id in (evse.session_id, over) or record.started_at < evse.started_at:
        return Step(state)
    early = evse.unclaimed
    mine = early is not None and early.transaction_id == record.transaction_id
    evse = replace(
        evse,
        session_id=record.session_id,
        transaction_id=record.transaction_id,
        site_id=None
        if registered.certification
        else record.site_id or site_at(registered, record.started_at),
        started_at=record.started_at,
        current_ma=early.current_ma if early is not None and mine else None,
        unclaimed=None if mine else early,
    )
    # It may not have booted since it was registered.
    at = record.recorded_at
    station = seen(station.with_evse(evse), record.station_id, registered, at)
    station, news = move(station, registered, at, record.event_id)
    news = news or away(station, record.event_id, at)
    return Step(station, (*news, *_observation(evse, record, tables, charging=True)))


def _ended(state: Station | None, record: _End, tables: Tables) -> Step[Station]:
    evses = state.evses if state is not None else ()
    evse = next((each for each in evses if each.session_id == record.session_id), None)
    if state is None or evse is None:
        return Step(state)
    over = replace(
        evse,
        session_id=None,
        transaction_id=None,
        current_ma=None,
        ended_session_id=evse.session_id,
        ended_transaction_id=evse.transaction_id,
    )
    return Step(state.with_evse(over), _observation(evse, record, tables, charging=False))


def _measured(state: Station | None, record: MeasurementsTaken, tables: Tables) -> Step[Station]:
    station = state or Station()
    named = record.transaction_id
    evse = station.evse(record.evse_id) if named is None else station.running(named)
    registered = registered_station(record.station_id, tables)
    current = measured_current(record.samples, registered.phases)
    if current is None or (evse is not None and evse.transaction_id is None):
        return Step(state)
    if evse is None:
        return _set_aside(state, record, Measured(named or "", current), registered)
    stale = evse.site_id is not None and record.recorded_at >= evse.told_at + TELL_EVERY
    if not (stale or _differs(evse.current_ma, current)):
        return Step(state)
    evse = replace(evse, current_ma=current, told_at=record.recorded_at)
    return Step(station.with_evse(evse), _observation(evse, record, tables, charging=True))


def _set_aside(
    state: Station | None, record: MeasurementsTaken, measured: Measured, registered: StationRegistered
) -> Step[Station]:
    """Keep a measurement that overtook the start of its session; sessions are another topic."""
    station = (state or Station()).with_room(record.evse_id, registered)
    if station is None:
        return Step(state, bounded=("evses",))
    evse = station.evse(record.evse_id)
    if (
        record.evse_id == 0
        or evse.ended_transaction_id == measured.transaction_id
        or evse.unclaimed == measured
    ):
        return Step(state)
    return Step(station.with_evse(replace(evse, unclaimed=measured)))


def measured_current(samples: tuple[Sample, ...], phases: int) -> int | None:
    """Highest phase current of the newest samples that say one, milliampere; None if none does.

    Taken from the imported current, else from the imported power at nominal voltage; of those that were measured
    nearest to the outlet, wherever that is.
    """
    for measurand, unit in (("Current.Import", "A"), ("Power.Active.Import", "W")):
        fitting = [
            sample
            for sample in samples
            if sample.measurand == measurand and sample.unit == unit and sample.phase != "N"
        ]
        if not fitting:
            continue
        nearest = min([place_of(sample.location) for sample in fitting])
        near = [sample for sample in fitting if place_of(sample.location) == nearest]
        newest = max(sample.sampled_at for sample in near)
        fresh = [sample for sample in near if sample.sampled_at == newest]
        if unit == "A":
            return max(sample.value_milli for sample in fresh)
        return max(
            sample.value_milli // (NOMINAL_VOLTS * (phases if sample.phase is None else 1))
            for sample in fresh
        )
    return None


def _differs(told: int | None, current: int) -> bool:
    if told is None:
        return True
    return abs(current - told) > max(DEADBAND_MA, abs(told) * DEADBAND_PERCENT // 100)


def _limit_concluded(state: Station | None, record: CommandConcluded, tables: Tables) -> Step[Station]:
    """The limit of a transaction is through. Told is that it was not taken, and from then on that one was.

    One that was never sent says nothing.
    """
    taken: bool | None
    match record.fate:
        case Fate.REJECTED | Fate.FAILED:
            taken = False
        case Fate.UNKNOWN:
            taken = None
        case Fate.ACCEPTED if state is not None and state.took_no_limit:
            taken = True
        case _:
            return Step(state)
    charging = [evse for evse in state.evses if evse.session_id is not None] if state is not None else []
    out = [
        emit for evse in charging for emit in _observation(evse, record, tables, charging=True, taken=taken)
    ]
    if state is None or not out:
        return Step(state)
    return Step(state if state.took_no_limit else replace(state, took_no_limit=True), tuple(out))


def _observation(
    evse: StationEvse,
    cause: _Begin | _End | MeasurementsTaken | CommandConcluded,
    tables: Tables,
    *,
    charging: bool,
    taken: bool | None = None,
) -> tuple[Emit, ...]:
    if evse.site_id is None or evse.transaction_id is None:
        return ()
    registered = registered_station(cause.station_id, tables)
    answered = cause.command_id if isinstance(cause, CommandConcluded) else None
    observed = EvseObserved(
        event_id=derive_id(cause.event_id, f"observed:{evse.evse_id}"),
        occurred_at=cause.occurred_at,
        recorded_at=cause.recorded_at,
        cause_id=cause.event_id,
        site_id=evse.site_id,
        station_id=cause.station_id,
        evse_id=evse.evse_id,
        transaction_id=evse.transaction_id,
        charging=charging,
        current_ma=None if answered is not None else evse.current_ma if charging else 0,
        max_current_ma=registered.max_current_ma,
        phases=registered.phases,
        reopened=isinstance(cause, SessionReopened),
        limit_command_id=answered,
        limit_taken=taken,
    )
    return (Emit(LOAD_OBSERVATIONS, evse.site_id, observed),)
