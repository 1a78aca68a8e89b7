"""Sites: their stations, and how their limits are shared now."""

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

from libs.access.roles import Permission
from libs.clickhouse.client import ClickHouseError
from services.api.domain.errors import NotFound
from services.api.http.permissions import needs
from services.api.live.load import get_load
from services.api.live.state import StateQuery, list_states
from services.api.registry.sites import SiteQuery, get_site, list_sites
from services.console.pages.queries import PAGE_SIZE, asked
from services.console.web.visit import Visiting

router = APIRouter(dependencies=needs(Permission.READ))

_STATIONS = 500


@router.get("/sites", response_class=HTMLResponse)
async def show_sites(visit: Visiting) -> HTMLResponse:
    """All sites, with the limit, what of it is shared out, and who waits."""
    query, wrong = asked(SiteQuery, visit.request.query_params, limit=PAGE_SIZE)
    page = await list_sites(visit.api, query)
    return visit.page(
        "sites.html", live=visit.live("sites"), page=page, wrong=wrong, plans=visit.api.live.plans.records,
        many={site.site_id: len(visit.api.registry.places.at(site.site_id)) for site in page.items},
    )  # fmt: skip


@router.get("/sites/{site_id}", response_class=HTMLResponse)
async def show_site(visit: Visiting, site_id: str) -> HTMLResponse:
    """One site."""
    site = await get_site(visit.api, Response(), site_id)
    try:
        plan, told = await get_load(visit.api, site_id), True
    except NotFound:
        plan, told = None, True
    except ClickHouseError:
        plan, told = None, False
    states = await list_states(visit.api, StateQuery(site_id=site_id, limit=_STATIONS))
    return visit.page(
        "site.html", live=visit.live(f"site/{site_id}"), site=site, plan=plan, told=told, states=states
    )
