"""The list of stations."""

from typing import Final

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from libs.access.roles import Permission
from services.api.http.permissions import needs
from services.api.live.state import StateQuery, list_states
from services.console.pages.queries import PAGE_SIZE, asked
from services.console.web.visit import Visiting

router = APIRouter(dependencies=needs(Permission.READ))

STATUSES: Final = (
    "Available",
    "Preparing",
    "Charging",
    "Occupied",
    "SuspendedEV",
    "SuspendedEVSE",
    "Finishing",
    "Reserved",
    "Unavailable",
    "Faulted",
)


@router.get("/stations", response_class=HTMLResponse)
async def list_stations(visit: Visiting) -> HTMLResponse:
    """Stations that are registered or ever connected."""
    query, wrong = asked(StateQuery, visit.request.query_params, limit=PAGE_SIZE)
    page = await list_states(visit.api, query)
    registry = visit.api.registry
    sites = sorted(registry.sites.values(), key=lambda site: site.name or site.site_id)
    return visit.page(
        "stations.html",
        live=visit.live("stations"),
        page=page,
        wrong=wrong,
        sites=sites[:500],
        statuses=STATUSES,
    )
