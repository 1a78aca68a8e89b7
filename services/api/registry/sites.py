"""Sites: what operators configured, and how their limits are shared."""

from collections.abc import Mapping
from typing import Annotated, Self

from fastapi import Query, Response, status
from pydantic import Field, model_validator

from libs.access.roles import Permission
from libs.events.record import UNWRITTEN
from libs.events.registry import SiteRegistered
from libs.events.topics import REGISTRY_SITES
from libs.runtime.clock import now_us
from services.api.context import Api
from services.api.domain.dated import in_force
from services.api.domain.errors import Conflict
from services.api.domain.renewal import Stamp, priced_from, renewed
from services.api.http.fields import Folded, Label, Moment, Output, Text, Time, Zone
from services.api.http.paging import ListQuery, Page, matches, page_of
from services.api.http.permissions import needs
from services.api.http.routing import routes
from services.api.registry.assignments import Assignment, Assignments, assigned
from services.api.registry.entries import CONDITIONAL, Entries, IfMatch, Owned, among
from services.api.registry.table import Registry

router = routes("sites")

_ASSIGNING = ("tariff_id", "tariff_valid_from", "tariffs")


class SiteSettings(Owned):
    """What operators say about a site."""

    name: Text = ""
    timezone: Zone = "UTC"
    limit_ma: Annotated[int, Field(strict=True, ge=0, le=100_000_000)] | None = Field(
        None, description="What all its EVSEs may draw together, per phase; null: no limit."
    )
    tariff_id: Label | None = Field(
        None, description="Charges by this tariff from `tariff_valid_from` on; earlier tariffs stay."
    )
    tariff_valid_from: Moment | None = Field(
        None, description="Default: a few seconds from now, when every service will know of it."
    )
    tariffs: Assignments | None = Field(
        None,
        description="Rewrites all assignments, the past included: for corrections. Not with `tariff_id`.",
    )
    latitude: Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)] | None = None
    longitude: Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _one_way_to_assign(self) -> Self:
        if self.tariffs is not None and self.tariff_id is not None:
            raise ValueError("either tariff_id or tariffs, not both")
        if self.tariff_valid_from is not None and self.tariff_id is None:
            raise ValueError("tariff_valid_from needs tariff_id")
        return self


class NewSite(SiteSettings):
    """A site to be created."""

    site_id: Label


class Site(Output):
    """A site as configured. `tariff_id`: in force now."""

    site_id: str
    name: str
    timezone: str
    limit_ma: int | None
    tariff_id: str | None = None
    tariffs: list[Assignment]
    latitude: float | None
    longitude: float | None
    organisation_id: str
    updated_at: Time = Field(validation_alias="recorded_at")
    changed_by: str


class SiteQuery(ListQuery):
    """Filters of sites."""

    tariff_id: str | None = Field(None, description="Sites where this tariff is in force now.")
    q: Folded | None = Field(None, description="Part of the id or name.")


class Sites(Entries[SiteRegistered, SiteSettings, Site]):
    """The sites."""

    topic, path, kind, edits = REGISTRY_SITES, "sites", "site", Permission.EDIT_STATIONS

    def table(self, registry: Registry) -> Mapping[str, SiteRegistered]:
        """By id."""
        return registry.sites

    def blank(self, key: str) -> SiteRegistered:
        """Without a limit, tariff or place."""
        return SiteRegistered(**UNWRITTEN, site_id=key)

    def changed(
        self, registry: Registry, old: SiteRegistered, body: SiteSettings, stamp: Stamp, *, partly: bool
    ) -> SiteRegistered:
        """Tariff assignments are added to, or rewritten. Raises Conflict for a tariff that has no version then."""
        changes = body.model_dump(exclude={*_ASSIGNING, "site_id", "organisation_id"}, exclude_unset=partly)
        tariffs = assigned(old.tariffs, body, _ASSIGNING, stamp, ("tariff", registry.tariffs))
        for number, each in enumerate(tariffs):
            if each not in old.tariffs:
                path = "/tariff_valid_from" if body.tariffs is None else f"/tariffs/{number}/valid_from"
                priced_from(each, registry.tariffs[each.id], path)
        return renewed(old, {**changes, "tariffs": tariffs}, stamp)

    def shown(self, registry: Registry, entry: SiteRegistered, now: int) -> Site:
        """With the tariff in force."""
        shown = Site.model_validate(entry)
        shown.tariff_id = in_force(entry.tariffs, now)
        return shown

    def must_be_unused(self, registry: Registry, key: str) -> None:
        """Stations refer to sites."""
        users = registry.stations_by_site.to(key)
        if users:
            raise Conflict(
                f"{len(users)} stations are or were assigned to it{among(users, registry.stations)}"
            )


_SITES = Sites()


@router.get("/sites", dependencies=needs(Permission.READ))
async def list_sites(api: Api, query: Annotated[SiteQuery, Query()]) -> Page[Site]:
    """Sites by id."""
    now = now_us()

    def found(key: str) -> Site | None:
        site = api.registry.sites.get(key)
        if site is None or not matches(query.q, site.site_id, site.name):
            return None
        if query.tariff_id is not None and in_force(site.tariffs, now) != query.tariff_id:
            return None
        return _SITES.shown(api.registry, site, now)

    registry = api.registry
    keys = (
        registry.keys[REGISTRY_SITES]
        if query.tariff_id is None
        else registry.sites_by_tariff.to(query.tariff_id)
    )
    items, cursor = await page_of([keys], found, query.limit, query.cursor)
    return Page(items=items, next_cursor=cursor)


@router.post("/sites", dependencies=needs(Permission.EDIT_STATIONS), status_code=status.HTTP_201_CREATED)
async def create_site(api: Api, response: Response, body: NewSite) -> Site:
    """Create a site; 409 if there is one with this id."""
    return await _SITES.create(api, response, body.site_id, body)


@router.get("/sites/{site_id}", dependencies=needs(Permission.READ))
async def get_site(api: Api, response: Response, site_id: str) -> Site:
    """One site."""
    return _SITES.get(api, response, site_id)


@router.put("/sites/{site_id}", dependencies=needs(Permission.EDIT_STATIONS), responses=CONDITIONAL)
async def put_site(
    api: Api, response: Response, site_id: Label, body: SiteSettings, if_match: IfMatch = None
) -> Site:
    """Create a site, or replace what is configured of it; its tariff assignments are added to."""
    return await _SITES.put(api, response, site_id, body, if_match)


@router.patch("/sites/{site_id}", dependencies=needs(Permission.EDIT_STATIONS), responses=CONDITIONAL)
async def change_site(
    api: Api, response: Response, site_id: str, body: SiteSettings, if_match: IfMatch = None
) -> Site:
    """Change what the body names, nothing else."""
    return await _SITES.patch(api, response, site_id, body, if_match)


@router.delete(
    "/sites/{site_id}",
    dependencies=needs(Permission.EDIT_STATIONS),
    status_code=status.HTTP_204_NO_CONTENT,
    responses=CONDITIONAL,
)
async def delete_site(api: Api, site_id: str, if_match: IfMatch = None) -> None:
    """Forget a site; 409 while stations have it among their sites, be it in the past: sessions are billed by it."""
    await _SITES.delete(api, site_id, if_match)
