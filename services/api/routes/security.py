"""Security of stations: how they prove who they are, and what operators ought to look at."""

from typing import Annotated

from fastapi import APIRouter, Query

from services.api.context import Api
from services.api.domain.paging import cursor_of, position_at
from services.api.domain.profiles import PROFILES, required
from services.api.domain.registry import STATIONS
from services.api.http.fields import micros
from services.api.http.paging import Page, matches, page_of
from services.api.http.routing import ERRORS
from services.api.registry import LOCATIONS
from services.api.security import (
    AlertQuery,
    ProfileCount,
    SecurityAlert,
    SecurityOverview,
    StationSecurity,
    StationSecurityQuery,
    advice,
)

router = APIRouter(tags=["security"], responses=ERRORS)


@router.get("/security")
async def get_overview(api: Api) -> SecurityOverview:
    """How many stations need, and how many connections have proved, which security profile."""
    profiles = api.registry.profiles
    return SecurityOverview(
        least_security_profile=profiles.least,
        profiles=[
            ProfileCount(
                security_profile=number,
                stations=profiles.stations[number],
                connections=profiles.connections[number],
            )
            for number in PROFILES
        ],
    )


@router.get("/security/stations")
async def list_by_profile(api: Api, query: Annotated[StationSecurityQuery, Query()]) -> Page[StationSecurity]:
    """Stations that need, or whose connection has proved, at most `at_most`: those that somebody else could be."""
    registry = api.registry

    def found(key: str) -> StationSecurity | None:
        station, located = registry.stations.get(key), registry.locations.get(key)
        needed = None if station is None else required(station, registry.least_profile)
        connected = located is not None and located.connected
        proved = located.security_profile if located is not None and connected else None
        if min(each for each in (needed, proved, 4) if each is not None) > query.at_most:
            return None
        name = "" if station is None else station.name
        if not matches(query.q, key, name):
            return None
        password = key in registry.credentials
        return StationSecurity(
            station_id=key,
            name=name,
            registered=station is not None,
            required=needed,
            profile_exempt=station is not None and station.profile_exempt,
            password=password,
            connected=connected,
            proved=proved,
            remote_address=located.remote_address if located is not None and connected else None,
            advice=advice(needed, proved, password=password),
        )

    keys = [registry.keys[STATIONS], registry.keys[LOCATIONS]]
    items, cursor = await page_of(keys, found, query.limit, query.cursor)
    return Page(items=items, next_cursor=cursor)


@router.get("/security/alerts")
async def list_alerts(api: Api, query: Annotated[AlertQuery, Query()]) -> Page[SecurityAlert]:
    """What stations reported, and what was noticed about them, the latest first."""
    asked = {"station_id": query.station_id, "kind": query.kind}
    conditions = [f"{name} = %({name})s" for name, value in asked.items() if value is not None]
    params: dict[str, object] = {**asked, "limit": query.limit + 1}
    for name, moment, sign in (("since", query.since, ">="), ("until", query.until, "<")):
        if moment is not None:
            conditions.append(f"recorded_at {sign} fromUnixTimestamp64Micro(%({name})s, 'UTC')")
            params[name] = micros(moment)
    if query.cursor is not None:
        params["at"], params["id"] = position_at(query.cursor, int, str)
        conditions.append("(recorded_at, alert_id) < (fromUnixTimestamp64Micro(%(at)s, 'UTC'), %(id)s)")
    rows = await api.reader.rows(
        f"SELECT * FROM security_events WHERE {' AND '.join(conditions) or '1'}"  # noqa: S608
        " ORDER BY recorded_at DESC, alert_id DESC LIMIT %(limit)s",
        params,
    )
    cursor = None
    if len(rows) > query.limit:
        last = rows[query.limit - 1]
        cursor = cursor_of((micros(last["recorded_at"]), last["alert_id"]))
    return Page(items=[SecurityAlert.model_validate(row) for row in rows[: query.limit]], next_cursor=cursor)
