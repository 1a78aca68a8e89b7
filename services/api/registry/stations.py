"""Stations: what operators configured."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from fastapi import Query, Response, status
from pydantic import Field, model_validator

from libs.access.roles import Permission
from libs.events.record import UNWRITTEN
from libs.events.registry import BootStatus, StationRegistered
from libs.events.topics import REGISTRY_CREDENTIALS, REGISTRY_STATIONS
from libs.ocpp.versions import station_identity
from libs.runtime.clock import now_us
from libs.runtime.logging import get_logger
from services.api.context import Api, Context
from services.api.domain.dated import in_force, power_in_force
from services.api.domain.errors import Conflict, Forbidden, Invalid
from services.api.domain.renewal import Stamp, rated, renewed
from services.api.http.fields import (
    Flag,
    Folded,
    Label,
    Milliampere,
    Moment,
    Output,
    StationId,
    Text,
    Time,
    Zone,
)
from services.api.http.paging import ListQuery, Page, matches, page_of
from services.api.http.permissions import Must, Permitted, needs
from services.api.http.routing import routes
from services.api.registry.assignments import Assignment, Assignments, assigned
from services.api.registry.changes import Written
from services.api.registry.entries import CONDITIONAL, Entries, IfMatch, Owned
from services.api.registry.table import Registry

log = get_logger(__name__)

router = routes("stations")

_ASSIGNING = ("site_id", "site_valid_from", "sites")
_NO_SETTINGS = {
    *_ASSIGNING,
    "station_id",
    "security_profile",
    "allow_security_downgrade",
    "max_power_w",
    "organisation_id",
}


class StationSettings(Owned):
    """What operators say about a station."""

    name: Text = ""
    site_id: Label | None = Field(
        None, description="Assigns the station to this site from `site_valid_from` on; earlier sites stay."
    )
    site_valid_from: Moment | None = Field(
        None, description="Default: a few seconds from now, when every service will know of it."
    )
    sites: Assignments | None = Field(
        None, description="Rewrites all assignments, the past included: for corrections. Not with `site_id`."
    )
    boot_status: BootStatus = BootStatus.ACCEPTED
    heartbeat_interval_s: Annotated[int, Field(strict=True, ge=1, le=604_800)] = 300
    evses: Annotated[int, Field(strict=True, ge=0, le=1000, description="0: not known yet.")] = 0
    max_current_ma: Milliampere = 32_000
    phases: Literal[1, 3] = 3
    max_power_w: Annotated[int, Field(strict=True, ge=1, le=10_000_000)] | None = Field(
        None,
        description="What a connector can deliver, from now on: sessions with clearly more energy go to review."
        " null leaves it as it is.",
    )
    timezone: Zone | None = Field(None, description="Of timestamps that the charger sends without one.")
    allow_no_subprotocol: Flag = Field(False, description="Let it connect (as 1.6) without a subprotocol.")
    security_profile: Annotated[int, Field(strict=True, ge=0, le=3)] | None = Field(
        None,
        description="Least that it may connect with: 0 none, 1 password, 2 TLS and password, 3 client certificate."
        " A connection with less is closed. Default for a new station: the platform's least one.",
    )
    allow_security_downgrade: Flag = Field(
        False,
        description="Needed to lower `security_profile`, as OCPP knows no way down, and to set one below the"
        " platform's least: the station is exempt from that then.",
    )
    certificate_name: Annotated[Text, Field(min_length=1, max_length=64)] | None = Field(
        None, description="Common name of its client certificate; null: its station id."
    )
    certification: Flag = Field(
        False, description="Send it nothing that no operator asked for: no questions on boot, no load limits."
    )

    @model_validator(mode="after")
    def _one_way_to_assign(self) -> Self:
        if self.sites is not None and self.site_id is not None:
            raise ValueError("either site_id or sites, not both")
        if self.site_valid_from is not None and self.site_id is None:
            raise ValueError("site_valid_from needs site_id")
        return self


class NewStation(StationSettings):
    """A station to be created."""

    station_id: StationId


class Station(Output):
    """A station as configured. `site_id`: where it is now. `organisation_id`: of that site, or its own."""

    station_id: str
    name: str
    site_id: str | None = None
    sites: list[Assignment]
    boot_status: str
    heartbeat_interval_s: int
    evses: int
    max_current_ma: int
    phases: int
    max_power_w: int | None = None
    timezone: str | None
    allow_no_subprotocol: bool
    security_profile: int
    profile_exempt: bool
    certificate_name: str | None
    certification: bool
    organisation_id: str
    updated_at: Time = Field(validation_alias="recorded_at")
    changed_by: str


class StationQuery(ListQuery):
    """Filters of stations."""

    site_id: str | None = Field(None, description="Stations that are at this site now.")
    boot_status: BootStatus | None = None
    q: Folded | None = Field(None, description="Part of the id or name.")


class Stations(Entries[StationRegistered, StationSettings, Station]):
    """The stations."""

    topic, path, kind, edits = REGISTRY_STATIONS, "stations", "station", Permission.EDIT_STATIONS

    def table(self, registry: Registry) -> Mapping[str, StationRegistered]:
        """By folded id."""
        return registry.stations

    def blank(self, key: str) -> StationRegistered:
        """At no site."""
        return StationRegistered(**UNWRITTEN, station_id=key)

    def changed(
        self, registry: Registry, old: StationRegistered, body: StationSettings, stamp: Stamp, *, partly: bool
    ) -> StationRegistered:
        """Site assignments are added to, or rewritten. Raises Invalid if the security profile would sink."""
        changes = body.model_dump(exclude=_NO_SETTINGS, exclude_unset=partly)
        if body.security_profile is not None or not partly:
            changes |= _profile(old, body, registry.least_profile, stamp)
        sites = assigned(old.sites, body, _ASSIGNING, stamp, ("site", registry.sites))
        ratings = rated(old.power_ratings, body.max_power_w, stamp)
        return renewed(old, {**changes, "sites": sites, "power_ratings": ratings}, stamp)

    def shown(self, registry: Registry, entry: StationRegistered, now: int) -> Station:
        """With the site where it is now."""
        shown = Station.model_validate(entry)
        shown.site_id = in_force(entry.sites, now)
        shown.max_power_w = power_in_force(entry.power_ratings, now)
        shown.organisation_id = registry.organisation_of(entry)
        return shown

    def owners(
        self, registry: Registry, entry: StationRegistered, before: StationRegistered | None = None
    ) -> frozenset[str]:
        """That of the site where it is, or its own, and those of sites that it gets now."""
        old = entry.sites if before is None else before.sites
        new = (registry.of_site(each.id) for each in entry.sites if each not in old)
        return frozenset((registry.organisation_of(entry), *new))

    def home(self, registry: Registry, entry: StationRegistered) -> str | None:
        """That of its last site, so that it is there before the assignment begins."""
        return registry.of_site(entry.sites[-1].id) if entry.sites else None

    def must_suit(self, registry: Registry, entry: StationRegistered, organisation_id: str) -> None:
        """At a site it belongs to the site's organisation."""
        if entry.sites and registry.of_site(entry.sites[-1].id) != organisation_id:
            raise Conflict(
                f"at the site {entry.sites[-1].id} it belongs to the site's organisation", "/organisation_id"
            )

    def must_be_free(self, api: Context, key: str) -> None:
        """One that was on the platform may have sessions and id tokens of others; who edits all may register it."""
        whole = api.registry.whole
        seen = key in whole.locations or key in whole.capabilities or key in whole.credentials
        if seen and not api.principal.may(self.edits):
            raise Forbidden(
                f"a charger has been on the platform as {key!r}: to register it needs the permission {self.edits}"
                " in all organisations",
                self.edits.value,
            )

    def beside(self, registry: Registry, key: str) -> Written:
        """Its passwords: a station that is registered anew does not have those of an earlier one."""
        return {REGISTRY_CREDENTIALS: None} if key in registry.credentials else {}


_STATIONS = Stations()


@router.get("/stations", dependencies=needs(Permission.READ))
async def list_stations(api: Api, query: Annotated[StationQuery, Query()]) -> Page[Station]:
    """Stations by id."""
    now = now_us()

    def found(key: str) -> Station | None:
        station = api.registry.stations.get(key)
        if (
            station is None
            or (query.site_id is not None and in_force(station.sites, now) != query.site_id)
            or (query.boot_status is not None and station.boot_status is not query.boot_status)
            or not matches(query.q, station.station_id, station.name)
        ):
            return None
        return _STATIONS.shown(api.registry, station, now)

    registry = api.registry
    keys = (
        registry.keys[REGISTRY_STATIONS]
        if query.site_id is None
        else registry.stations_by_site.to(query.site_id)
    )
    items, cursor = await page_of([keys], found, query.limit, query.cursor)
    return Page(items=items, next_cursor=cursor)


@router.post("/stations", dependencies=needs(Permission.EDIT_STATIONS), status_code=status.HTTP_201_CREATED)
async def create_station(api: Api, response: Response, must: Permitted, body: NewStation) -> Station:
    """Register a station; 409 if it is registered. With `allow_security_downgrade` it needs `command_security`, too."""
    _must_downgrade(must, body)
    return await _STATIONS.create(api, response, body.station_id, body)


@router.get("/stations/{station_id}", dependencies=needs(Permission.READ))
async def get_station(api: Api, response: Response, station_id: Folded) -> Station:
    """One station."""
    return _STATIONS.get(api, response, station_id)


@router.put("/stations/{station_id}", dependencies=needs(Permission.EDIT_STATIONS), responses=CONDITIONAL)
async def put_station(
    *,
    api: Api,
    response: Response,
    must: Permitted,
    station_id: str,
    body: StationSettings,
    if_match: IfMatch = None,
) -> Station:
    """Register a station, or replace what is configured of it; its site assignments are added to.

    With `allow_security_downgrade` it needs `command_security`, too.
    """
    _must_downgrade(must, body)
    try:
        key = station_identity(station_id)
    except ValueError as error:
        raise Invalid(str(error), "station_id") from error
    return await _STATIONS.put(api, response, key, body, if_match)


@router.patch("/stations/{station_id}", dependencies=needs(Permission.EDIT_STATIONS), responses=CONDITIONAL)
async def change_station(
    *,
    api: Api,
    response: Response,
    must: Permitted,
    station_id: Folded,
    body: StationSettings,
    if_match: IfMatch = None,
) -> Station:
    """Change what the body names, nothing else. With `allow_security_downgrade` it needs `command_security`, too."""
    _must_downgrade(must, body)
    return await _STATIONS.patch(api, response, station_id, body, if_match)


@router.delete(
    "/stations/{station_id}",
    dependencies=needs(Permission.EDIT_STATIONS),
    status_code=status.HTTP_204_NO_CONTENT,
    responses=CONDITIONAL,
)
async def delete_station(api: Api, station_id: Folded, if_match: IfMatch = None) -> None:
    """Forget a station; it is treated as unknown from then on. Its past stays."""
    await _STATIONS.delete(api, station_id, if_match)


def _must_downgrade(must: Must, body: StationSettings) -> None:
    if body.allow_security_downgrade:
        must(Permission.COMMAND_SECURITY)


def _profile(
    old: StationRegistered, body: StationSettings, least: int, stamp: Stamp
) -> dict[str, int | bool]:
    """The least profile of the station, and whether it is exempt from the platform's. Raises Invalid."""
    wanted = least if body.security_profile is None else body.security_profile
    before = old.security_profile if old.profile_exempt else max(old.security_profile, least)
    if wanted < before and not body.allow_security_downgrade:
        detail = (
            f"security_profile is {before} and would sink to {wanted}"
            if old.event_id
            else f"security_profile {wanted} is below the platform's least, {before}"
        )
        raise Invalid(f"{detail}; with `allow_security_downgrade: true` it may", "/security_profile")
    if wanted < before:
        log.warning(
            "security_profile_lowered",
            station_id=old.station_id,
            old=before,
            new=wanted,
            changed_by=stamp.author,
        )
    return {"security_profile": wanted, "profile_exempt": wanted < least}
