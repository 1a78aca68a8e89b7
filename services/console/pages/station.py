"""One station: what it does now, and what it did."""

from datetime import datetime, timedelta
from typing import Final

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

from libs.access.roles import Permission
from libs.runtime.clock import moment_of
from services.api.billing.sessions import SessionQuery, list_sessions
from services.api.http.permissions import needs
from services.api.live.state import get_state
from services.api.rows import Row
from services.console.history import StationHistory
from services.console.pages.queries import Period
from services.console.web.visit import Visit, Visiting, stored

router = APIRouter(dependencies=needs(Permission.READ))

_MOST: Final = 200
_LONGEST: Final = 100


@router.get("/stations/{station_id}", response_class=HTMLResponse)
async def show_now(visit: Visiting, station_id: str) -> Response:
    """State of a station and its connectors, its sessions, and the limits in force."""
    station_id = station_id.casefold()
    state = await get_state(visit.api, station_id)
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
        state=state,
        site=site,
        plan=plan,
        planned_at=None if plan is None else moment_of(plan.recorded_at),
        limits=limits,
        running=None if running is None else running.items,
        recent=[] if recent is None else recent.items,
        located=located,
    )


@router.get("/stations/{station_id}/timeline", response_class=HTMLResponse)
async def show_timeline(visit: Visiting, station_id: str) -> Response:
    """What happened there, the latest first."""
    state = await get_state(visit.api, station_id.casefold())
    period = Period(visit.request.query_params, visit.now)
    rows = await _history(visit, state.station_id).timeline(
        period.since, period.until, _MOST + 1, frames=visit.may(Permission.READ_FRAMES)
    )
    return visit.page(
        "station_timeline.html", tab="timeline", state=state, period=period, rows=rows[:_MOST],
        earlier=_earlier(rows, "at"),
    )  # fmt: skip


@router.get(
    "/stations/{station_id}/messages",
    response_class=HTMLResponse,
    dependencies=needs(Permission.READ_FRAMES),
)
async def show_messages(visit: Visiting, station_id: str) -> Response:
    """Messages as they were sent, each call with its answer."""
    state = await get_state(visit.api, station_id.casefold())
    params = visit.request.query_params
    period = Period(params, visit.now)
    wanted = {name: params.get(name, "")[:_LONGEST] for name in ("action", "outcome", "q")}
    rows = await _history(visit, state.station_id).messages(period.since, period.until, _MOST + 1, **wanted)
    return visit.page(
        "station_messages.html", tab="messages", state=state, period=period, rows=rows[:_MOST],
        earlier=_earlier(rows, "recorded_at"), wanted=wanted,
    )  # fmt: skip


@router.get("/stations/{station_id}/commands", response_class=HTMLResponse)
async def show_commands(visit: Visiting, station_id: str) -> Response:
    """Commands to the station and their fates."""
    state = await get_state(visit.api, station_id.casefold())
    period = Period(visit.request.query_params, visit.now)
    rows = await _history(visit, state.station_id).commands(period.since, period.until, _MOST + 1)
    return visit.page(
        "station_commands.html", tab="commands", state=state, period=period, rows=rows[:_MOST],
        earlier=_earlier(rows, "requested_at"),
    )  # fmt: skip


@router.get("/stations/{station_id}/papers", response_class=HTMLResponse)
async def show_papers(visit: Visiting, station_id: str) -> Response:
    """How the station is registered, and what it can do."""
    state = await get_state(visit.api, station_id.casefold())
    entry = visit.api.registry.stations.get(state.station_id)
    capabilities = visit.api.registry.capabilities.get(state.station_id)
    return visit.page(
        "station_papers.html", tab="papers", state=state, entry=entry, capabilities=capabilities,
        changed_at=None if entry is None else moment_of(entry.recorded_at),
    )  # fmt: skip


def _earlier(rows: list[Row], column: str) -> datetime | None:
    """The end of the period whose first row is the first one that is not shown; None if all are."""
    if len(rows) <= _MOST:
        return None
    at: datetime = rows[_MOST][column]
    return at + timedelta(microseconds=1)


def _history(visit: Visit, station_id: str) -> StationHistory:
    return StationHistory(visit.api.reader, station_id)
