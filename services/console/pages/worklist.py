"""The first page: what needs a person."""

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from libs.access.roles import Permission
from services.api.http.permissions import needs
from services.api.worklist.entries import worklist
from services.console.pages.queries import Period
from services.console.web.visit import Visiting

router = APIRouter(dependencies=needs(Permission.READ))


@router.get("/", response_class=HTMLResponse)
async def show_worklist(visit: Visiting) -> HTMLResponse:
    """What is wrong now, and what went wrong in a period, by its cause."""
    period = Period(visit.request.query_params, visit.now)
    entries, told = await worklist(visit.api, period.since, period.until, visit.now)
    live = visit.live("worklist", late=True)
    return visit.page("worklist.html", live=live, entries=entries, told=told, period=period)
