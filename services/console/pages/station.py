"""One station: what it does now, and what it did."""

from typing import Final

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

from libs.access.roles import Permission
from libs.runtime.clock import moment_of
from services.api.billing.sessions import SessionQuery, list_sessions
from services.api.http.permissions import needs
from services.api.live.state import get_state
from services.console.history import StationHistory
from services.console.pages.queries import Period, earlier
from services.console.pages.then import show_then
from services.console.web.visit import Live, Visit, Visiting, stored

router = APIRouter(dependencies=needs(Permission.READ))

_MOST: Final = 200


@router.get(
    "/stations/{station_id}", response_class=HTMLResponse, dependencies=needs(Permission.READ, personal=True)
)
async def show_now(visit: Visiting, station_id: str) -> Response:
    """State of a station and its connectors, its sessions, and the limits in force; `at`: as they were then."""
    station_id = station_id.casefold()
    state = await get_state(visit.api, station_id)
    if visit.request.query_params.get("at"):
        return await show_then(visit, state.station_id)
    site = visit.api.registry.sites.get(state.site_id) if state.site_id else None
    plan = visit.api.live.plans.records.get(state.site_id) if state.site_id else None
    limits = (
        {}
        if plan is None
        else {each.evse_id: each for each in plan.allocations if each.station_id == station_id}
    )
    running = await stored(
        list_sessions(visit.api, SessionQuery(station_id=station_id, status="running", limit=20))
    )
    recent = await stored(
        list_sessions(visit.api, SessionQuery(station_id=station_id, status="ended", limit=10))
    )
    located = visit.api.registry.locations.get(station_id)
    return visit.page(
        "station_now.html",
        tab="now",
        live=_live(visit, state.station_id, late=True),
        state=state,
        site=site,
        plan=plan,
        planned_at=None if plan is None else moment_of(plan.recorded_at),
        limits=limits,
        running=None if running is None else running.items,
        recent=[] if recent is None else recent.items,
        located=located,
    )


@router.get(
    "/stations/{station_id}/timeline",
    response_class=HTMLResponse,
    dependencies=needs(Permission.READ, personal=True),
)
async def show_timeline(visit: Visiting, station_id: str) -> Response:
    """What happened there, the latest first."""
    state = await get_state(visit.api, station_id.casefold())
    period = Period(visit.request.query_params, visit.now)
    rows = await _history(visit, state.station_id).timeline(
        period.since, period.until, _MOST + 1, frames=visit.may(Permission.READ_FRAMES)
    )
    return visit.page(
        "station_timeline.html",
        tab="timeline",
        live=_live(visit, state.station_id, late=True),
        state=state,
        period=period,
        rows=rows[:_MOST],
        earlier=earlier(rows, _MOST, "at"),
    )


@router.get(
    "/stations/{station_id}/commands",
    response_class=HTMLResponse,
    dependencies=needs(Permission.READ, personal=True),
)
async def show_commands(visit: Visiting, station_id: str) -> Response:
    """Commands to the station and their fates."""
    state = await get_state(visit.api, station_id.casefold())
    period = Period(visit.request.query_params, visit.now)
    rows = await _history(visit, state.station_id).commands(period.since, period.until, _MOST + 1)
    return visit.page(
        "station_commands.html",
        tab="commands",
        live=_live(visit, state.station_id, late=True),
        state=state,
        period=period,
        rows=rows[:_MOST],
        earlier=earlier(rows, _MOST, "requested_at"),
    )


@router.get("/stations/{station_id}/papers", response_class=HTMLResponse)
async def show_papers(visit: Visiting, station_id: str) -> Response:
    """How the station is registered, and what it can do."""
    state = await get_state(visit.api, station_id.casefold())
    entry = visit.api.registry.stations.get(state.station_id)
    capabilities = visit.api.registry.capabilities.get(state.station_id)
    return visit.page(
        "station_papers.html",
        tab="papers",
        live=_live(visit, state.station_id),
        state=state,
        entry=entry,
        capabilities=capabilities,
        changed_at=None if entry is None else moment_of(entry.recorded_at),
    )


def _history(visit: Visit, station_id: str) -> StationHistory:
    return StationHistory(visit.api.reader, station_id)


def _live(visit: Visit, station_id: str, *, late: bool = False) -> Live | None:
    return visit.live(f"station/{station_id}", late=late)
