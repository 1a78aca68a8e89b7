"""Charging sessions: the list, and one with its meter values and its bill."""

from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from libs.access.roles import Permission
from libs.events.decisions import Decision
from services.api.billing.decisions import NewDecision, ShownDecision, decide
from services.api.billing.sessions import Cdr, CdrQuery, SessionQuery, get_session, list_cdrs, list_sessions
from services.api.domain.errors import Conflict, Invalid, NotFound
from services.api.http.permissions import needs
from services.console.editing import Form, Trouble, fields_for, sent, shown_again, tried
from services.console.forms import FormField, payload_of
from services.console.history import StationHistory
from services.console.pages.queries import PAGE_SIZE, asked
from services.console.records import charge_record
from services.console.review import Ruled, ruled
from services.console.web.rendering import address
from services.console.web.visit import Visit, Visiting

router = APIRouter(dependencies=needs(Permission.READ, personal=True))

_LATE: Final = timedelta(days=7)
"""Samples that come this much after a session's end still belong to it."""
_LONGEST_KEY: Final = 100


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
    """One session: facts, meter values, charge record, decisions.

    `decided` in the address: a decision that was just made, which the history may not have yet.
    """
    return await _page(visit, session_id, None, None)


@router.post("/sessions/{session_id}", response_class=HTMLResponse)
async def decide_about(visit: Visiting, session_id: str) -> Response:
    """What a decision would make of the charge record, or the decision itself."""
    given = await sent(visit)

    async def do() -> Ruled | ShownDecision:
        body = NewDecision.model_validate(payload_of(_decision_fields(visit), given.entered))
        if given.text("way") == "decide":
            return await decide(
                api=visit.api, response=Response(), requester=visit.principal.name, session_id=session_id,
                body=body, idempotency_key=given.once[:_LONGEST_KEY] or None,
            )  # fmt: skip
        return await _preview(visit, session_id, body)

    outcome = await tried(visit, given, Permission.DECIDE_SESSIONS, do)
    if isinstance(outcome, ShownDecision):
        there = address(f"/sessions/{session_id}", {}, decided=outcome.decision_id)
        return RedirectResponse(f"{there}#decisions", 303)
    wrong = outcome if isinstance(outcome, Trouble) else Trouble({}, HTTPStatus.OK)
    form = shown_again(Form(_decision_fields(visit)), given, wrong)
    return await _page(visit, session_id, form, outcome if isinstance(outcome, Ruled) else None)


async def _preview(visit: Visit, session_id: str, body: NewDecision) -> Ruled:
    _ = visit.words.text
    record = await charge_record(visit, session_id)
    if record is None:
        raise NotFound(_("This session has no charge record."))
    if record.version != body.version:
        raise Conflict(_("The charge record has changed since: look at it again."), "/version")
    if (body.decision is Decision.ADJUST) != (body.billed_wh is not None):
        raise Invalid(_("Only a correction has an energy of its own, and needs it."), "/billed_wh")
    if body.billed_wh is not None and body.billed_wh > record.energy_wh:
        raise Invalid(_("More than was delivered."), "/billed_wh")
    tariff = visit.api.registry.tariffs.get(record.tariff_id or "")
    found = ruled(record, body.decision, body.billed_wh, tariff)
    if found is None:
        raise Conflict(_("The record does not show what it was made from: there is no preview of it."))
    return found


def _decision_fields(visit: Visit) -> tuple[FormField, ...]:
    _ = visit.words.text
    labels = {
        "decision": _("Decision"),
        "billed_wh": _("Billed energy, Wh"),
        "reason": _("Reason"),
        "version": _("Version of the charge record"),
    }
    return fields_for(NewDecision, labels)


async def _page(visit: Visit, session_id: str, form: Form | None, preview: Ruled | None) -> HTMLResponse:
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
    if form is None and record is not None and (record.review or record.decision_id):
        form = Form(_decision_fields(visit), {"version": str(record.version)})
    decided = visit.request.query_params.get("decided", "")
    pending = decided and not any(
        each["decision_id"] == decided and each["status"] != "pending" for each in decisions
    )
    # A page with a form stays as it is: what is typed there would be lost.
    live = visit.live(f"session/{session.session_id}", late=True) if form is None else None
    return visit.page(
        "session.html", HTTPStatus.OK if form is None else form.trouble.status,
        live=live, session=session, record=record,
        power=_series(samples, "Power.Active.Import"),
        energy=_series(samples, "Energy.Active.Import.Register"), decisions=decisions,
        made=form, preview=preview, pending=pending,
    )  # fmt: skip


def _series(samples: list[dict[str, Any]], measurand: str) -> list[tuple[float, float]]:
    """Seconds since 1970 and kilo-units, for the chart."""
    factor = {"W": 1e6, "kW": 1e3, "Wh": 1e6, "kWh": 1e3}
    return [
        (each["sampled_at"].timestamp(), each["value_milli"] / factor.get(each["unit"], 1e6))
        for each in samples
        if each["measurand"] == measurand
    ]
