"""What is kept of a station, and what its site hears of it: that it starts, comes or goes, or failed a command."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import replace

from libs.bus.message import Emit, Message
from libs.bus.processor import Step, Tables, Tick
from libs.events.commands import CommandConcluded, Fate
from libs.events.ids import derive_id
from libs.events.load import StationNews, StationObserved
from libs.events.ocpp_log import OcppCallReceived
from libs.events.record import Record
from libs.events.registry import BootStatus, StationRegistered
from libs.events.topics import LOAD_STATIONS, REGISTRY_STATIONS
from libs.ocpp.semantics.commands import ClearLimit, SetDefaultLimit
from libs.ocpp.semantics.model import Booted
from libs.ocpp.semantics.received_calls import read_exchange

DEFAULT_EVSES: Final = 4
"""EVSEs of a station of which operators have not said how many it has."""
MOST_EVSES: Final = 64
MOST_EXTRAS: Final = 32
"""Beyond the EVSEs that a station is registered with so many are kept, and get what the others leave."""
_ABOUT_DEFAULT_LIMITS = frozenset({SetDefaultLimit.__name__, ClearLimit.__name__})


class Measured(msgspec.Struct, frozen=True):
    """A current measured in a transaction that is not known to run here (yet)."""

    transaction_id: str
    current_ma: int


class StationEvse(msgspec.Struct, frozen=True):
    """An EVSE: its running session if any, the current last told and when, and the session that ended last."""

    evse_id: int
    session_id: str | None = None
    transaction_id: str | None = None
    site_id: str | None = None
    started_at: int = 0
    current_ma: int | None = None
    ended_session_id: str | None = None
    ended_transaction_id: str | None = None
    unclaimed: Measured | None = None
    told_at: int = 0


class Station(msgspec.Struct, frozen=True):
    """A station's EVSEs, those seen so far, by number; the site last told of it, and when it is to move.

    `placed_at`: the latest moment for which its site was looked up; a record from before, read late, moves nothing.
    `left_site_id`: while it is at no site, the one that it left last, which has its default limit to take back.
    `took_no_limit`: it did not take the limit of a transaction, since when it has been charging all the time.
    """

    evses: tuple[StationEvse, ...] = ()
    station_id: str = ""
    site_id: str | None = None
    moves_at: int | None = None
    placed_at: int = 0
    left_site_id: str | None = None
    took_no_limit: bool = False

    @property
    def told_site_id(self) -> str | None:
        """The site that hears of it: where it is, else the one that it left last."""
        return self.site_id or self.left_site_id

    def evse(self, evse_id: int) -> StationEvse:
        """The EVSE of that number."""
        return next((evse for evse in self.evses if evse.evse_id == evse_id), StationEvse(evse_id))

    def running(self, transaction_id: str) -> StationEvse | None:
        """The EVSE on which a transaction runs."""
        return next((evse for evse in self.evses if evse.transaction_id == transaction_id), None)

    def with_room(self, evse_id: int, registered: StationRegistered) -> Station | None:
        """This station with room for that EVSE. Of those that it should not have one that is idle makes room; None if
        all of these charge."""
        if not is_extra(evse_id, registered) or any(evse.evse_id == evse_id for evse in self.evses):
            return self
        extras = [evse for evse in self.evses if is_extra(evse.evse_id, registered)]
        if len(extras) < MOST_EXTRAS:
            return self
        idle = next((evse for evse in extras if evse.session_id is None), None)
        if idle is None:
            return None
        return replace(self, evses=tuple(evse for evse in self.evses if evse is not idle))

    def with_evse(self, evse: StationEvse) -> Station:
        """This station with one EVSE changed."""
        others = [other for other in self.evses if other.evse_id != evse.evse_id]
        evses = tuple(sorted([*others, evse], key=lambda each: each.evse_id))
        charges = any(each.session_id for each in evses)
        return replace(self, evses=evses, took_no_limit=self.took_no_limit and charges)


def registered_station(station_id: str, tables: Tables) -> StationRegistered:
    """The station as operators configured it; one that they did not has the defaults and no site."""
    record: Record | None = tables[REGISTRY_STATIONS].get(station_id)
    return record if isinstance(record, StationRegistered) else _unregistered(station_id)


def is_extra(evse_id: int, registered: StationRegistered) -> bool:
    """Whether the station should not have an EVSE of that number."""
    return evse_id > min(registered.evses or DEFAULT_EVSES, MOST_EVSES)


def _unregistered(station_id: str) -> StationRegistered:
    return StationRegistered(
        event_id=station_id, occurred_at=0, recorded_at=0, cause_id=station_id, station_id=station_id
    )


def site_at(registered: StationRegistered, at: int) -> str | None:
    """The site whose limit is the station's at that moment, None for none.

    A station under certification has none: it is sent nothing that nobody asked for.
    """
    if registered.certification:
        return None
    assigned = [site for site in registered.sites if site.valid_from <= at]
    return max(assigned, key=lambda site: site.valid_from).id if assigned else None


def seen(station: Station, station_id: str, registered: StationRegistered, now: int) -> Station:
    """The station has shown that it exists: from now on it is watched for moves."""
    return station if station.station_id else _moves(replace(station, station_id=station_id), registered, now)


def booted(state: Station | None, record: OcppCallReceived, tables: Tables) -> Step[Station]:
    """The station started; one that was not accepted is not at its site yet."""
    boot = next((fact for fact in read_exchange(record) if isinstance(fact, Booted)), None)
    if boot is None or boot.boot_status != BootStatus.ACCEPTED:
        return Step(state)
    at, registered = record.recorded_at, registered_station(record.station_id, tables)
    before = seen(state or Station(), record.station_id, registered, at)
    station = _placed(before, registered, at)
    if station.site_id is None:
        out = _departure(before, station, record.event_id, at) or away(station, record.event_id, at)
        return Step(station, out)
    news = _told(
        station,
        StationNews.BOOTED,
        station.site_id,
        record.event_id,
        at,
        other_site_id=_came_from(before, station),
        firmware_version=boot.firmware_version,
    )
    return Step(station, (*_departure(before, station, record.event_id, at), news))


def concluded(state: Station | None, record: CommandConcluded) -> Step[Station]:
    """A command of load management is over; the site knows whether it was its last about the default limit.

    That a default limit was taken back only matters to a site that waits for it to forget the station.
    """
    if state is None or state.told_site_id is None or record.action not in _ABOUT_DEFAULT_LIMITS:
        return Step(state)
    if record.fate in (Fate.EXPIRED, Fate.UNKNOWN):
        news = StationNews.UNREACHED
    elif record.action == SetDefaultLimit.__name__:
        if record.fate is Fate.ACCEPTED:
            return Step(state)
        news = StationNews.REFUSED
    elif state.site_id is None:
        news = StationNews.LEFT  # Also if it said no: what it does not hold it cannot drop.
    else:
        return Step(state)
    told = _told(
        state, news, state.told_site_id, record.event_id, record.recorded_at, command_id=record.command_id
    )
    return Step(state, (told,))


def configured(state: Station | None, event: Message | Tick, tables: Tables) -> Step[Station]:
    """Operators said where a station is or will be, removed it, or the moment of a move has come."""
    if state is None or not state.station_id:
        return Step(state)
    match event:
        case Message(record=StationRegistered() as record):
            at, cause_id = record.recorded_at, record.event_id
            return Step(*move(_moves(state, record, at), record, at, cause_id))
        case Message(topic=topic, record=None):
            cause_id = derive_id(f"{topic}/{event.partition}", str(event.offset))
            nowhere = _unregistered(state.station_id)
            at = event.timestamp_us
            return Step(*move(_moves(state, nowhere, at), nowhere, at, cause_id))
        case Tick(at=now):
            registered = registered_station(state.station_id, tables)
            cause_id = derive_id(state.station_id, f"tick:{now}")
            return Step(*move(_moves(state, registered, now), registered, now, cause_id))
        case _:
            return Step(state)


def move(
    before: Station, registered: StationRegistered, at: int, cause_id: str
) -> tuple[Station, tuple[Emit, ...]]:
    """The station where operators say; both sites are told if it was at another."""
    station = _placed(before, registered, at)
    if station.site_id == before.site_id:
        return station, ()
    out = _departure(before, station, cause_id, at)
    if station.site_id is not None:
        came_from = _came_from(before, station)
        joined = _told(station, StationNews.JOINED, station.site_id, cause_id, at, other_site_id=came_from)
        out = (*out, joined)
    return station, out


def away(station: Station, cause_id: str, at: int) -> tuple[Emit, ...]:
    """The station shows itself and is at no site: the one that it left may have missed to reach it."""
    if station.site_id is not None or station.left_site_id is None:
        return ()
    return (_told(station, StationNews.LEFT, station.left_site_id, cause_id, at),)


def _placed(station: Station, registered: StationRegistered, at: int) -> Station:
    """The station at its site as of `at`, or of the latest moment for which that is known already."""
    at = max(at, station.placed_at)
    site_id = site_at(registered, at)
    left = station.told_site_id if site_id is None else None
    return replace(station, site_id=site_id, placed_at=at, left_site_id=left)


def _came_from(before: Station, station: Station) -> str | None:
    """The site that answered for it until now, if that is another."""
    return before.told_site_id if before.told_site_id != station.site_id else None


def _departure(before: Station, station: Station, cause_id: str, at: int) -> tuple[Emit, ...]:
    """What the site that answered for it until now hears, if it is another."""
    left = _came_from(before, station)
    if left is None or station.site_id == before.site_id:
        return ()
    return (_told(before, StationNews.LEFT, left, cause_id, at, other_site_id=station.site_id),)


def _moves(station: Station, registered: StationRegistered, now: int) -> Station:
    now = max(now, station.placed_at)
    later = [site.valid_from for site in registered.sites if site.valid_from > now]
    return replace(station, moves_at=min(later, default=None))


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
    return Emit(LOAD_STATIONS, site_id, observed)
