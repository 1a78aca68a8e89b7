"""The list of stations."""

from typing import Final
from urllib.parse import urlencode

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from libs.access.roles import Permission
from services.api.http.permissions import needs
from services.api.live.state import StateQuery, list_states
from services.console.pages.queries import PAGE_SIZE, asked
from services.console.web.visit import Visiting

router = APIRouter(dependencies=needs(Permission.READ))

PATH: Final = "/stations"

COLUMNS: Final = ("connection", "connectors", "site", "model", "firmware", "version", "updated")
"""What can be shown of each station beside its id."""

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
    params = visit.request.query_params
    query, wrong = asked(StateQuery, params, limit=PAGE_SIZE)
    page = await list_states(visit.api, query)
    columns = [each for each in COLUMNS if each in params.getlist("column")] or list(COLUMNS)
    registry = visit.api.registry
    sites = sorted(registry.sites.values(), key=lambda site: site.name or site.site_id)
    return visit.page(
        "stations.html", live=visit.live("stations"), page=page, wrong=wrong, sites=sites[:500], statuses=STATUSES,
        columns=columns, every_column=COLUMNS, sort=query.sort or "station_id", filters=query.words,
        address_query=urlencode([each for each in params.multi_items() if each[0] != "cursor"]),
        views=visit.api.views.of(visit.principal.name, PATH),
    )  # fmt: skip
