"""Stations: what operators configured."""

from typing import Annotated

from fastapi import APIRouter, Query, Response, status

from libs.events.registry import StationRegistered
from libs.runtime.clock import now_us
from services.api.context import Api, Context
from services.api.domain.dated import in_force
from services.api.domain.errors import Invalid
from services.api.domain.identity import station_identity
from services.api.domain.paging import page_of
from services.api.domain.registry import STATIONS, Stamp, renewed
from services.api.fields import Folded
from services.api.models import NewStation, Page, Station, StationQuery, StationSettings
from services.api.routes.shared import (
    ERRORS,
    assignments,
    existing,
    location,
    matches,
    must_be_new,
    must_exist,
)

router = APIRouter(tags=["stations"], responses=ERRORS)

_ASSIGNING = ("site_id", "site_valid_from", "sites")


@router.get("/stations")
async def list_stations(api: Api, query: Annotated[StationQuery, Query()]) -> Page[Station]:
    """Stations by id."""
    now = now_us()

    def wanted(station: StationRegistered) -> bool:
        return (
            (query.site_id is None or in_force(station.sites, now) == query.site_id)
            and (query.boot_status is None or station.boot_status is query.boot_status)
            and matches(query.q, station.station_id, station.name)
        )

    found, cursor = page_of(api.registry.stations, wanted, query.limit, query.cursor)
    return Page(items=[_shown(station, now) for station in found], next_cursor=cursor)


@router.post("/stations", status_code=status.HTTP_201_CREATED)
async def create_station(api: Api, response: Response, body: NewStation) -> Station:
    """Register a station; 409 if it is registered."""
    async with api.registry.changing(STATIONS, body.station_id):
        must_be_new(api.registry.stations, body.station_id, "station")
        station = await _write(api, _blank(body.station_id), body, partly=False)
    response.headers["Location"] = location("stations", body.station_id)
    return station


@router.get("/stations/{station_id}")
async def get_station(api: Api, station_id: Folded) -> Station:
    """One station."""
    return _shown(existing(api.registry.stations, station_id, "station"), now_us())


@router.put("/stations/{station_id}")
async def put_station(api: Api, response: Response, station_id: str, body: StationSettings) -> Station:
    """Register a station, or replace what is configured of it; its site assignments are added to."""
    try:
        key = station_identity(station_id)
    except ValueError as error:
        raise Invalid(str(error), "station_id") from error
    async with api.registry.changing(STATIONS, key):
        old = api.registry.stations.get(key)
        if old is None:
            response.status_code = status.HTTP_201_CREATED
        return await _write(api, old or _blank(key), body, partly=False)


@router.patch("/stations/{station_id}")
async def change_station(api: Api, station_id: Folded, body: StationSettings) -> Station:
    """Change what the body names, nothing else."""
    async with api.registry.changing(STATIONS, station_id):
        return await _write(api, existing(api.registry.stations, station_id, "station"), body, partly=True)


@router.delete("/stations/{station_id}", status_code=status.HTTP_204_NO_CONTENT)
async def delete_station(api: Api, station_id: Folded) -> None:
    """Forget a station; it is treated as unknown from then on. Its past stays."""
    async with api.registry.changing(STATIONS, station_id):
        existing(api.registry.stations, station_id, "station")
        await api.registry.write(STATIONS, station_id, None)


async def _write(api: Context, old: StationRegistered, body: StationSettings, *, partly: bool) -> Station:
    stamp = api.registry.stamp()
    new = _changed(old, body, stamp, partly=partly)
    added = [(f"/sites/{n}/id", site.id) for n, site in enumerate(new.sites) if site not in old.sites]
    if body.sites is None:
        added = [("/site_id", site_id) for _, site_id in added]
    must_exist(api.registry.sites, added, "site")
    if new is not old:
        await api.registry.write(STATIONS, new.station_id, new)
    return _shown(new, stamp.now)


def _changed(
    old: StationRegistered, body: StationSettings, stamp: Stamp, *, partly: bool
) -> StationRegistered:
    changes = body.model_dump(exclude={*_ASSIGNING, "station_id"}, exclude_unset=partly)
    return renewed(old, {**changes, "sites": assignments(old.sites, body, _ASSIGNING, stamp)}, stamp)


def _blank(station_id: str) -> StationRegistered:
    return StationRegistered(event_id="", occurred_at=0, recorded_at=0, cause_id="", station_id=station_id)


def _shown(station: StationRegistered, now: int) -> Station:
    shown = Station.model_validate(station)
    shown.site_id = in_force(station.sites, now)
    return shown
