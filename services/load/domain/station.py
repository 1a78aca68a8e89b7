"""What is kept of a station, and what its site hears of it: that it starts, comes or goes, or failed a command."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from libs.bus.message import Emit, Message
from libs.bus.processor import Step, Tables, Tick
from libs.events.commands import CommandConcluded, Fate
from libs.events.ids import derive_id
from libs.events.load import StationNews, StationObserved
from libs.events.ocpp_log import OcppCallReceived
from libs.events.record import Record
from libs.events.registry import StationRegistered
from libs.ocpp.semantics.commands import ClearLimit, SetDefaultLimit
from libs.ocpp.semantics.exchange import read_exchange
from libs.ocpp.semantics.model import Booted

STATIONS = "registry.stations"
_ABOUT_DEFAULT_LIMITS = frozenset({SetDefaultLimit.__name__, ClearLimit.__name__})


class Measured(msgspec.Struct, frozen=True):
    """A current measured in a transaction that is not known to run here (yet)."""

    transaction_id: str
    current_ma: int


class Evse(msgspec.Struct, frozen=True):
    """An EVSE: its running session if any, the current last told, and the session that ended last."""

    evse_id: int
    session_id: str | None = None
    transaction_id: str | None = None
    site_id: str | None = None
    started_at: int = 0
    current_ma: int | None = None
    ended_session_id: str | None = None
    ended_transaction_id: str | None = None
    unclaimed: Measured | None = None


class Station(msgspec.Struct, frozen=True):
    """A station's EVSEs, those seen so far, by number; the site last told of it, and when it is to move."""

    evses: tuple[Evse, ...] = ()
    station_id: str = ""
    site_id: str | None = None
    moves_at: int | None = None

    def evse(self, evse_id: int) -> Evse:
        """The EVSE of that number."""
        return next((evse for evse in self.evses if evse.evse_id == evse_id), Evse(evse_id))

    def running(self, transaction_id: str) -> Evse | None:
        """The EVSE on which a transaction runs."""
        return next((evse for evse in self.evses if evse.transaction_id == transaction_id), None)

    def with_evse(self, evse: Evse) -> Station:
        """This station with one EVSE changed."""
        others = [other for other in self.evses if other.evse_id != evse.evse_id]
        return replace(self, evses=tuple(sorted([*others, evse], key=lambda each: each.evse_id)))


def registered_station(station_id: str, tables: Tables) -> StationRegistered:
    """The station as operators configured it; one that they did not has the defaults and no site."""
    record: Record | None = tables[STATIONS].get(station_id)
    if isinstance(record, StationRegistered):
        return record
    return StationRegistered(
        event_id=station_id, occurred_at=0, recorded_at=0, cause_id=station_id, station_id=station_id
    )


def site_at(registered: StationRegistered, at: int) -> str | None:
    """The site where the station is at that moment, None for none."""
    assigned = [site for site in registered.sites if site.valid_from <= at]
    return max(assigned, key=lambda site: site.valid_from).id if assigned else None


def seen(station: Station, station_id: str, registered: StationRegistered, now: int) -> Station:
    """The station has shown that it exists: from now on it is watched for moves."""
    return station if station.station_id else _moves(replace(station, station_id=station_id), registered, now)


def booted(state: Station | None, record: OcppCallReceived, tables: Tables) -> Step[Station]:
    """The station started; one that was not accepted is not at its site yet."""
    if record.answer is None or msgspec.json.decode(record.answer).get("status") != "Accepted":
        return Step(state)
    at, registered = record.recorded_at, registered_station(record.station_id, tables)
    station = seen(state or Station(), record.station_id, registered, at)
    site_id = site_at(registered, at)
    before = station.site_id if station.site_id != site_id else None
    station = replace(station, site_id=site_id)
    out = []
    if before is not None:
        left = _told(station, StationNews.LEFT, before, record.event_id, at, other_site_id=site_id)
        out.append(left)
    if site_id is not None:
        version = _firmware_version(record)
        news = _told(
            station,
            StationNews.BOOTED,
            site_id,
            record.event_id,
            at,
            other_site_id=before,
            firmware_version=version,
        )
        out.append(news)
    return Step(state if station == state else station, tuple(out))


def concluded(state: Station | None, record: CommandConcluded) -> Step[Station]:
    """A command of load management failed; the site knows whether it was its last about the default limit."""
    if state is None or state.site_id is None or record.action not in _ABOUT_DEFAULT_LIMITS:
        return Step(state)
    if record.fate in (Fate.EXPIRED, Fate.UNKNOWN):
        news = StationNews.UNREACHED
    elif record.action == SetDefaultLimit.__name__:
        news = StationNews.REFUSED
    else:
        return Step(state)  # What it does not hold it cannot drop.
    told = _told(
        state, news, state.site_id, record.event_id, record.recorded_at, command_id=record.command_id
    )
    return Step(state, (told,))


def configured(state: Station | None, event: Message | Tick, tables: Tables) -> Step[Station]:
    """Operators said where a station is or will be, removed it, or the moment of a move has come."""
    if state is None or not state.station_id:
        return Step(state)
    match event:
        case Message(record=StationRegistered() as record):
            station = _moves(state, record, record.recorded_at)
            return move(station, site_at(record, record.recorded_at), record.recorded_at, record.event_id)
        case Message(topic=topic, record=None):
            cause_id = derive_id(f"{topic}/{event.partition}", str(event.offset))
            return move(replace(state, moves_at=None), None, event.timestamp_us, cause_id)
        case Tick(at=now):
            registered = registered_station(state.station_id, tables)
            cause_id = derive_id(state.station_id, f"tick:{now}")
            return move(_moves(state, registered, now), site_at(registered, now), now, cause_id)
        case _:
            return Step(state)


def move(station: Station, site_id: str | None, at: int, cause_id: str) -> Step[Station]:
    """The station is at `site_id`; both sites are told if it was at another."""
    before = station.site_id
    if site_id == before:
        return Step(station)
    out = []
    if before is not None:
        out.append(_told(station, StationNews.LEFT, before, cause_id, at, other_site_id=site_id))
    if site_id is not None:
        out.append(_told(station, StationNews.JOINED, site_id, cause_id, at, other_site_id=before))
    return Step(replace(station, site_id=site_id), tuple(out))


def _moves(station: Station, registered: StationRegistered, now: int) -> Station:
    later = [site.valid_from for site in registered.sites if site.valid_from > now]
    return replace(station, moves_at=min(later, default=None))


def _firmware_version(record: OcppCallReceived) -> str | None:
    boots = (fact for fact in read_exchange(record) if isinstance(fact, Booted))
    return next((boot.firmware_version for boot in boots), None)


def _told(
    station: Station, news: StationNews, site_id: str, cause_id: str, at: int, **more: str | None
) -> Emit:
    observed = StationObserved(
        event_id=derive_id(cause_id, f"station:{news}:{site_id}"),
        occurred_at=at,
        recorded_at=at,
        cause_id=cause_id,
        site_id=site_id,
        station_id=station.station_id,
        news=news,
        **more,
    )
    return Emit("load.stations", site_id, observed)
