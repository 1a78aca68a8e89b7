"""The reconciliation of a period: what a billing clerk should look at."""

from datetime import timedelta
from typing import Final

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from libs.access.roles import Permission
from services.api.billing.reconciliation import ReportQuery, report
from services.api.http.permissions import needs
from services.console.pages.queries import Period
from services.console.web.visit import Visiting

router = APIRouter(dependencies=needs(Permission.READ, personal=True))

_MOST: Final = 100
_LEAST: Final = timedelta(seconds=1)


@router.get("/reconciliation", response_class=HTMLResponse)
async def show_reconciliation(visit: Visiting) -> HTMLResponse:
    """Sessions in review, gaps, clocks, registers and unbilled energy, with totals over all of the period."""
    params = visit.request.query_params
    period = Period(params, visit.now)
    asked = {
        "from": period.since.isoformat(),
        "to": max(period.until, period.since + _LEAST).isoformat(),
        "site_id": params.get("site_id") or None,
        "limit": _MOST,
    }
    query = ReportQuery.model_validate(asked)
    async with visit.api.reports.turn() as reader:
        found = await report(reader, query, visit.api.scope.within)
    return visit.page("reconciliation.html", report=found, period=period)
