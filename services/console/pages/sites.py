"""Sites: their stations, and how their limits are shared now."""

from datetime import timedelta

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
from services.console.plots import dots, line
from services.console.site_past import kilowatts, plans, power
from services.console.web.visit import Visiting, stored

router = APIRouter(dependencies=needs(Permission.READ))

_STATIONS = 500
_SITES = 500
_STATIONS_OF_A_SITE = 100
_HOURS = timedelta(hours=6)


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
    since = visit.now - _HOURS
    ids = tuple(state.station_id for state in states.items)
    drawn = await stored(power(visit.api.reader, ids, since, visit.now)) or []
    made = await stored(plans(visit.api.reader, site_id, since, visit.now)) or []
    limit = kilowatts(plan.limit_ma if plan else site.limit_ma)
    return visit.page(
        "site.html", live=visit.live(f"site/{site_id}"), site=site, plan=plan, told=told, states=states,
        drawn=drawn, limit=limit, plans=made,
        curve=line(drawn, since.timestamp(), visit.now.timestamp(), limit) if drawn else None,
    )  # fmt: skip


@router.get("/map", response_class=HTMLResponse)
async def show_map(visit: Visiting) -> HTMLResponse:
    """Sites where they are, and the tree of organisations, sites and stations."""
    page = await list_sites(visit.api, SiteQuery.model_validate({"limit": _SITES}))
    registry, states = visit.api.registry, visit.api.live.states.records
    here = {site.site_id: sorted(registry.places.at(site.site_id)) for site in page.items}
    places = {
        site.site_id: (site.latitude, site.longitude)
        for site in page.items
        if site.latitude is not None and site.longitude is not None
    }
    offline = {
        key: sum(1 for each in ids if each in states and not states[each].connected)
        for key, ids in here.items()
    }
    return visit.page(
        "map.html", live=visit.live("sites"), sites=page.items, more=page.next_cursor is not None, here=here,
        offline=offline, dots=dots(places), states=states, most=_STATIONS_OF_A_SITE,
    )  # fmt: skip
