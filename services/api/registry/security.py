"""Security of stations: how they prove who they are, and what operators ought to look at."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from libs.access.roles import Permission
from libs.events.security import SecurityAlertKind
from libs.events.topics import EDGE_CONNECTIONS, REGISTRY_STATIONS
from libs.runtime.clock import micros
from services.api.context import Api
from services.api.domain.cursors import cursor_of, position_at
from services.api.domain.profiles import PROFILES, Profiles, required
from services.api.http.fields import Folded, Moment, Output, Time
from services.api.http.paging import ListQuery, Page, matches, page_of
from services.api.http.permissions import needs
from services.api.http.routing import ERRORS
from services.api.registry.table import Registry

router = APIRouter(tags=["security"], responses=ERRORS)


class ProfileCount(Output):
    """`stations`: registered ones that need this profile. `connections`: open ones that proved it."""

    security_profile: int
    stations: int
    connections: int


class SecurityOverview(Output):
    """Stations and connections by OCPP security profile."""

    least_security_profile: int
    profiles: list[ProfileCount]


class StationSecurityQuery(ListQuery):
    """Filters of stations by their security."""

    at_most: Annotated[int, Field(ge=0, le=3)] = Field(1, description="The highest profile that is listed.")
    q: Folded | None = Field(None, description="Part of the id or name.")


class StationSecurity(Output):
    """How a station proves who it is.

    `required`: what its connections need; null: not registered. `proved`: by the connection that is open; null: none
    is. `advice`: what to do about it.
    """

    station_id: str
    name: str
    registered: bool
    required: int | None
    profile_exempt: bool
    password: bool
    connected: bool
    proved: int | None
    remote_address: str | None
    advice: str


class AlertQuery(ListQuery):
    """Filters of security alerts. `since` (inclusive), `until` (exclusive): of when they were recorded."""

    station_id: Folded | None = None
    kind: SecurityAlertKind | None = None
    since: Moment | None = None
    until: Moment | None = None


class SecurityAlert(Output):
    """Something that an operator ought to look at. `count`: how often within the hour."""

    alert_id: str
    station_id: str
    kind: str
    detail: str
    event_type: str
    tech_info: str | None
    remote_address: str
    former_address: str
    count: int
    requested_by: str
    occurred_at: Time
    recorded_at: Time
    cause_id: str


def advice(required: int | None, proved: int | None, *, password: bool) -> str:
    """What to do about a station that needs (None: not registered) and has proved (None: not connected) so little."""
    if required is None:
        return "anybody may be it: register it, with a password"
    if required == 0:
        if proved is not None and proved >= 1:
            return f"anybody may be it: it proves profile {proved}, so raise security_profile to that"
        return (
            "anybody may be it: "
            + ("tell it its password" if password else "set a password")
            + ", then raise it to 1"
        )
    if required == 1:
        if proved is not None and proved > 1:
            return f"it proves profile {proved}: raise security_profile to that"
        return "its password can be overheard: have it connect by TLS, then raise security_profile to 2"
    return ""


def profiles_of(registry: Registry) -> Profiles:
    """The counts of the registry's own stations, as far as it shows them."""
    profiles = Profiles(registry.least_profile)
    for key, station in registry.stations.items():
        profiles.register(key, station)
    for key, located in registry.locations.items():
        profiles.locate(key, located)
    return profiles


@router.get("/security", dependencies=needs(Permission.READ))
async def get_overview(api: Api) -> SecurityOverview:
    """How many stations need, and how many connections have proved, which security profile."""
    profiles = api.registry.profiles if api.scope.everywhere else profiles_of(api.registry)
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


@router.get("/security/stations", dependencies=needs(Permission.READ))
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

    keys = [registry.keys[REGISTRY_STATIONS], registry.keys[EDGE_CONNECTIONS]]
    items, cursor = await page_of(keys, found, query.limit, query.cursor)
    return Page(items=items, next_cursor=cursor)


@router.get("/security/alerts", dependencies=needs(Permission.READ))
async def list_alerts(api: Api, query: Annotated[AlertQuery, Query()]) -> Page[SecurityAlert]:
    """What stations reported, and what was noticed about them, the latest first."""
    asked = {"station_id": query.station_id, "kind": query.kind}
    conditions = [f"{name} = %({name})s" for name, value in asked.items() if value is not None]
    conditions.append(api.scope.within)
    params: dict[str, object] = {**asked, "limit": query.limit + 1}
    for name, moment, sign in (("since", query.since, ">="), ("until", query.until, "<")):
        if moment is not None:
            conditions.append(f"recorded_at {sign} fromUnixTimestamp64Micro(%({name})s, 'UTC')")
            params[name] = micros(moment)
    if query.cursor is not None:
        params["at"], params["id"] = position_at(query.cursor, int, str)
        conditions.append("(recorded_at, alert_id) < (fromUnixTimestamp64Micro(%(at)s, 'UTC'), %(id)s)")
    rows = await api.reader.rows(
        f"SELECT * FROM security_events WHERE {' AND '.join(conditions)}"  # noqa: S608
        " ORDER BY recorded_at DESC, alert_id DESC LIMIT %(limit)s",
        params,
    )
    cursor = None
    if len(rows) > query.limit:
        last = rows[query.limit - 1]
        cursor = cursor_of((micros(last["recorded_at"]), last["alert_id"]))
    return Page(items=[SecurityAlert.model_validate(row) for row in rows[: query.limit]], next_cursor=cursor)
