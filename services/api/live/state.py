"""The state of stations now."""

from collections.abc import Sequence
from typing import Annotated, Final, Literal
from urllib.parse import urlencode

import msgspec
from fastapi import Query
from pydantic import Field, StringConstraints

from libs.access.roles import Permission
from libs.events.ocpp_log import StationLocated
from libs.events.registry import StationRegistered
from libs.events.telemetry import StationStateChanged
from libs.events.topics import EDGE_CONNECTIONS, REGISTRY_STATIONS
from libs.runtime.clock import now_us
from services.api.context import Api, Context
from services.api.domain.cursors import cursor_of, position_at
from services.api.domain.dated import in_force
from services.api.domain.errors import NotFound
from services.api.domain.index import SortedKeys
from services.api.http.fields import Folded, Input, Output, Time
from services.api.http.paging import ListQuery, Page, matches, page_of
from services.api.http.permissions import needs
from services.api.http.routing import routes

router = routes("live")

_OCPP: Final = "ocpp"
_ALL: Final = 10_000_000

Exactly = Annotated[Folded, StringConstraints(max_length=200)]


class Connector(Output):
    """State of one connector, in the words of the charger's OCPP version."""

    evse_id: int
    connector_id: int
    status: str
    error_code: str
    since: Time


class StationState(Output):
    """What is known of a station now. `connection_changed_at`: when its socket was opened or closed."""

    station_id: str
    name: str = ""
    site_id: str | None = None
    registered: bool
    connected: bool
    connection_changed_at: Time | None = None
    edge_id: str | None = None
    version: str = ""
    vendor: str = ""
    model: str = ""
    serial: str = ""
    firmware_version: str = ""
    connectors: list[Connector] = Field(default_factory=list)
    last_boot_at: Time | None = None
    updated_at: Time | None = None


class StationFilter(Input):
    """Which stations. Texts are compared whole, case does not count; `q` is looked for in several."""

    connected: bool | None = None
    site_id: str | None = None
    status: Folded | None = Field(default=None, description="Stations with a connector that says so.")
    q: Folded | None = Field(
        default=None, max_length=200, description="Part of the id, name, vendor, model or serial number."
    )
    vendor: Exactly | None = Field(default=None, description="As the charger tells it.")
    model: Exactly | None = Field(default=None, description="As the charger tells it.")
    firmware_version: Exactly | None = Field(default=None, description="As the charger tells it.")
    version: Exactly | None = Field(default=None, description="OCPP version, such as 1.6 or ocpp1.6.")

    @property
    def words(self) -> dict[str, str]:
        """The filters that there are, as a request has them in its query."""
        given = ((name, getattr(self, name)) for name in StationFilter.model_fields)
        return {
            name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in given
            if value is not None
        }

    @property
    def text(self) -> str:
        """For people: the same in one line."""
        return urlencode(self.words)


Sort = Literal[
    "station_id",
    "-station_id",
    "name",
    "-name",
    "site_id",
    "-site_id",
    "connected",
    "-connected",
    "vendor",
    "-vendor",
    "model",
    "-model",
    "firmware_version",
    "-firmware_version",
    "version",
    "-version",
    "updated_at",
    "-updated_at",
]


class StateQuery(StationFilter, ListQuery):
    """Filters of states, and how they are sorted."""

    sort: Sort | None = Field(
        default=None, description="By this field, then by station; `-` before it: backwards."
    )


@router.get("/state", dependencies=needs(Permission.READ))
async def list_states(api: Api, query: Annotated[StateQuery, Query()]) -> Page[StationState]:
    """States by station: every station that is registered or was ever connected."""
    now = now_us()

    def found(station_id: str) -> StationState | None:
        return _state(api, station_id, now) if _is_wanted(api, station_id, query) else None

    if query.sort is not None:
        return await _sorted(api, query, query.sort, now)
    items, cursor = await page_of(_keys(api, query), found, query.limit, query.cursor)
    return Page(items=items, next_cursor=cursor)


async def _sorted(api: Context, query: StateQuery, sort: str, now: int) -> Page[StationState]:
    """Every page looks at all stations; only those of the page are put together."""
    field, backwards = sort.removeprefix("-"), sort.startswith("-")

    def found(station_id: str) -> tuple[str, str] | None:
        if not _is_wanted(api, station_id, query):
            return None
        return _sort_key(api, station_id, field, now), station_id

    keys, _cursor = await page_of(_keys(api, query), found, _ALL, None)
    keys.sort(reverse=backwards)
    if query.cursor is not None:
        text, station_id = map(str, position_at(query.cursor, str, str))
        last = text, station_id
        keys = [key for key in keys if (key < last if backwards else key > last)]
    page = keys[: query.limit]
    more = cursor_of(page[-1]) if len(keys) > len(page) else None
    return Page(items=[_state(api, station_id, now) for _text, station_id in page], next_cursor=more)


def _sort_key(api: Context, station_id: str, field: str, now: int) -> str:
    station = api.registry.stations.get(station_id)
    state = api.live.states.records.get(station_id)
    text: str | None = ""
    match field:
        case "connected":
            text = "1" if _connected(api, station_id) else "0"
        case "name" if station is not None:
            text = station.name.casefold()
        case "site_id" if station is not None:
            text = in_force(station.sites, now)
        case "version":
            located = api.registry.locations.get(station_id)
            text = None if located is None else located.version
        case "updated_at" if state is not None:
            text = f"{state.recorded_at:020}"
        case "vendor" | "model" | "firmware_version" if state is not None:
            text = str(getattr(state, field)).casefold()
    return text or ""


async def chosen_stations(api: Context, wanted: StationFilter, most: int) -> list[str]:
    """The first `most` stations by id that fit."""

    def found(station_id: str) -> str | None:
        return station_id if _is_wanted(api, station_id, wanted) else None

    items, _cursor = await page_of(_keys(api, wanted), found, most, None)
    return items


def must_be_known(api: Context, stations: Sequence[str], path: str) -> None:
    """Raise NotFound, with the place in the list at `path`, for a station that nobody knows."""
    for index, station_id in enumerate(stations):
        if station_id not in api.registry.stations and station_id not in api.registry.locations:
            raise NotFound(f"there is no station {station_id!r}", f"{path}/{index}")


@router.get("/stations/{station_id}/state", dependencies=needs(Permission.READ))
async def get_state(api: Api, station_id: Folded) -> StationState:
    """One station's state; 404 if it is neither registered nor was ever connected."""

    def known() -> StationState:
        registry = api.registry
        if not (
            station_id in registry.stations
            or station_id in registry.locations
            or station_id in api.live.states.records
        ):
            raise NotFound(f"there is no station {station_id!r}, and none ever connected as that")
        return _state(api, station_id, now_us())

    return await api.registry.surely(known)


def _keys(api: Context, wanted: StationFilter) -> list[SortedKeys]:
    """The sets that all that fit are in."""
    registry = api.registry
    if wanted.site_id is not None:
        return [registry.places.at(wanted.site_id)]
    return [registry.keys[REGISTRY_STATIONS], registry.keys[EDGE_CONNECTIONS], api.live.states.keys]


def _is_wanted(api: Context, station_id: str, query: StationFilter) -> bool:
    """Whether a station of `_keys` fits, and is in reach."""
    if not api.scope.sees_station(station_id):
        return False
    if query.connected is not None and _connected(api, station_id) is not query.connected:
        return False
    state = api.live.states.records.get(station_id)
    if not _is_of_kind(api, station_id, state, query):
        return False
    if query.status is not None and (
        state is None or all(each.status.casefold() != query.status for each in state.connectors)
    ):
        return False
    station = api.registry.stations.get(station_id)
    named = "" if station is None else station.name
    words = () if state is None else (state.vendor, state.model, state.serial)
    return matches(query.q, station_id, named, *words)


def _is_of_kind(
    api: Context, station_id: str, state: StationStateChanged | None, query: StationFilter
) -> bool:
    """Whether make and version are those that are asked for."""
    if query.version is not None:
        located = api.registry.locations.get(station_id)
        spoken = located.version if located is not None else "" if state is None else state.version
        if spoken.removeprefix(_OCPP) != query.version.removeprefix(_OCPP):
            return False
    for wanted, told in (
        (query.vendor, "" if state is None else state.vendor),
        (query.model, "" if state is None else state.model),
        (query.firmware_version, "" if state is None else state.firmware_version),
    ):
        if wanted is not None and told.casefold() != wanted:
            return False
    return True


def _connected(api: Context, station_id: str) -> bool:
    return _is_connected(api.registry.locations.get(station_id), api.live.states.records.get(station_id))


def _is_connected(located: StationLocated | None, state: StationStateChanged | None) -> bool:
    # The directory is where commands go; it is ahead of the state that telemetry derives.
    if located is not None:
        return located.connected
    return state is not None and state.connected


def _state(api: Context, station_id: str, now: int) -> StationState:
    return state_of(
        station_id,
        api.registry.stations.get(station_id),
        api.registry.locations.get(station_id),
        api.live.states.records.get(station_id),
        now,
    )


def state_of(
    station_id: str,
    station: StationRegistered | None,
    located: StationLocated | None,
    state: StationStateChanged | None,
    at: int,
) -> StationState:
    """What these say of a station together, at a moment (microseconds): registry, directory and telemetry."""
    fields = {} if state is None else msgspec.structs.asdict(state)
    if state is not None:
        fields["updated_at"] = state.recorded_at
    if station is not None:
        fields |= {"name": station.name, "site_id": in_force(station.sites, at)}
    if located is not None:
        fields |= {
            "version": located.version,
            "edge_id": located.edge_id,
            "connection_changed_at": located.recorded_at,
        }
    fields |= {
        "station_id": station_id,
        "registered": station is not None,
        "connected": _is_connected(located, state),
    }
    return StationState.model_validate(fields)
