"""Charging sessions: the list, and one with its meter values and its bill."""

from datetime import timedelta
from typing import Any, Final

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from libs.access.roles import Permission
from services.api.billing.sessions import Cdr, CdrQuery, SessionQuery, get_session, list_cdrs, list_sessions
from services.api.http.permissions import needs
from services.console.history import StationHistory
from services.console.pages.queries import PAGE_SIZE, asked
from services.console.web.visit import Visiting

router = APIRouter(dependencies=needs(Permission.READ))

_LATE: Final = timedelta(days=7)
"""Samples that come this much after a session's end still belong to it."""


@router.get("/sessions", response_class=HTMLResponse)
async def show_sessions(visit: Visiting) -> HTMLResponse:
    """Sessions, the latest start first."""
    # Who may not read tokens does not learn either where one was used.
    hidden = {} if visit.may(Permission.READ_TOKENS) else {"id_token": None}
    query, wrong = asked(SessionQuery, visit.request.query_params, limit=PAGE_SIZE, **hidden)
    page = await list_sessions(visit.api, query)
    return visit.page("sessions.html", live=visit.live("sessions", late=True), page=page, wrong=wrong)


@router.get("/sessions/{session_id}", response_class=HTMLResponse)
async def show_session(visit: Visiting, session_id: str) -> HTMLResponse:
    """One session: facts, meter values, charge record, decisions."""
    session = await get_session(visit.api, session_id)
    records = await list_cdrs(
        visit.api, CdrQuery(station_id=session.station_id, session_id=session.session_id, limit=1)
    )
    record: Cdr | None = records.items[0] if records.items else None
    until = (session.ended_at or visit.now) + _LATE
    samples = await StationHistory(visit.api.reader, session.station_id).samples(
        session.evse_id, session.transaction_id, session.started_at - timedelta(hours=1), until
    )
    decisions = await visit.api.history.decisions(session_id)
    return visit.page(
        "session.html",
        live=visit.live(f"session/{session.session_id}", late=True),
        session=session,
        record=record,
        power=_series(samples, "Power.Active.Import"),
        energy=_series(samples, "Energy.Active.Import.Register"),
        decisions=decisions,
    )


def _series(samples: list[dict[str, Any]], measurand: str) -> list[tuple[float, float]]:
    """Seconds since 1970 and kilo-units, for the chart."""
    factor = {"W": 1e6, "kW": 1e3, "Wh": 1e6, "kWh": 1e3}
    return [
        (each["sampled_at"].timestamp(), each["value_milli"] / factor.get(each["unit"], 1e6))
        for each in samples
        if each["measurand"] == measurand
    ]
