"""Sites: what operators configured, and how their limits are shared."""

from typing import Annotated

from fastapi import APIRouter, Query, Response, status

from libs.events.load import LoadPlanMade
from libs.events.registry import SiteRegistered
from libs.runtime.clock import now_us
from services.api.bodies import LoadPlan
from services.api.context import Api, Context
from services.api.domain.dated import in_force
from services.api.domain.errors import Conflict, NotFound
from services.api.domain.paging import page_of
from services.api.domain.registry import SITES, in_use, renewed
from services.api.fields import Label
from services.api.models import NewSite, Page, Site, SiteQuery, SiteSettings
from services.api.routes.shared import (
    ERRORS,
    assignments,
    existing,
    location,
    matches,
    must_be_new,
    must_exist,
)
from services.api.rows import record_of

router = APIRouter(tags=["sites"], responses=ERRORS)

_ASSIGNING = ("tariff_id", "tariff_valid_from", "tariffs")


@router.get("/sites")
async def list_sites(api: Api, query: Annotated[SiteQuery, Query()]) -> Page[Site]:
    """Sites by id."""
    now = now_us()

    def wanted(site: SiteRegistered) -> bool:
        at_tariff = query.tariff_id is None or in_force(site.tariffs, now) == query.tariff_id
        return at_tariff and matches(query.q, site.site_id, site.name)

    found, cursor = page_of(api.registry.sites, wanted, query.limit, query.cursor)
    return Page(items=[_shown(site, now) for site in found], next_cursor=cursor)


@router.post("/sites", status_code=status.HTTP_201_CREATED)
async def create_site(api: Api, response: Response, body: NewSite) -> Site:
    """Create a site; 409 if there is one with this id."""
    async with api.registry.changing(SITES, body.site_id):
        must_be_new(api.registry.sites, body.site_id, "site")
        site = await _write(api, _blank(body.site_id), body, partly=False)
    response.headers["Location"] = location("sites", body.site_id)
    return site


@router.get("/sites/{site_id}")
async def get_site(api: Api, site_id: str) -> Site:
    """One site."""
    return _shown(existing(api.registry.sites, site_id, "site"), now_us())


@router.put("/sites/{site_id}")
async def put_site(api: Api, response: Response, site_id: Label, body: SiteSettings) -> Site:
    """Create a site, or replace what is configured of it; its tariff assignments are added to."""
    async with api.registry.changing(SITES, site_id):
        old = api.registry.sites.get(site_id)
        if old is None:
            response.status_code = status.HTTP_201_CREATED
        return await _write(api, old or _blank(site_id), body, partly=False)


@router.patch("/sites/{site_id}")
async def change_site(api: Api, site_id: str, body: SiteSettings) -> Site:
    """Change what the body names, nothing else."""
    async with api.registry.changing(SITES, site_id):
        return await _write(api, existing(api.registry.sites, site_id, "site"), body, partly=True)


@router.delete("/sites/{site_id}", status_code=status.HTTP_204_NO_CONTENT)
async def delete_site(api: Api, site_id: str) -> None:
    """Forget a site; 409 while stations are assigned to it, now or from a later moment on."""
    async with api.registry.changing(SITES, site_id):
        existing(api.registry.sites, site_id, "site")
        now = now_us()
        users = [s.station_id for s in api.registry.stations.values() if in_use(s.sites, site_id, now)]
        if users:
            raise Conflict(f"{len(users)} stations are assigned to it, {min(users)} among them")
        await api.registry.write(SITES, site_id, None)


@router.get("/sites/{site_id}/load")
async def get_load(api: Api, site_id: str) -> LoadPlan:
    """How the site's limit is shared now; 404 if no plan was made yet."""
    plan = api.live.plans.records.get(site_id)
    if plan is None:
        row = await api.history.plan(site_id)
        if row is None:
            raise NotFound(f"no load plan was made for a site {site_id!r}")
        plan = record_of(LoadPlanMade, row)
    return LoadPlan.model_validate(plan)


async def _write(api: Context, old: SiteRegistered, body: SiteSettings, *, partly: bool) -> Site:
    stamp = api.registry.stamp()
    changes = body.model_dump(exclude={*_ASSIGNING, "site_id"}, exclude_unset=partly)
    tariffs = assignments(old.tariffs, body, _ASSIGNING, stamp)
    new = renewed(old, {**changes, "tariffs": tariffs}, stamp)
    added = [(f"/tariffs/{n}/id", tariff.id) for n, tariff in enumerate(tariffs) if tariff not in old.tariffs]
    if body.tariffs is None:
        added = [("/tariff_id", tariff_id) for _, tariff_id in added]
    must_exist(api.registry.tariffs, added, "tariff")
    if new is not old:
        await api.registry.write(SITES, new.site_id, new)
    return _shown(new, stamp.now)


def _blank(site_id: str) -> SiteRegistered:
    return SiteRegistered(event_id="", occurred_at=0, recorded_at=0, cause_id="", site_id=site_id)


def _shown(site: SiteRegistered, now: int) -> Site:
    shown = Site.model_validate(site)
    shown.tariff_id = in_force(site.tariffs, now)
    return shown
