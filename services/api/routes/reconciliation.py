"""The reconciliation report."""

from typing import Annotated

from fastapi import Query, Response

from services.api.context import Api
from services.api.http.routing import in_thread, routes
from services.api.reconciliation import Report, ReportQuery, report

router = routes("sessions and charge records")


@router.get("/reconciliation", response_model=Report)
async def reconcile(api: Api, query: Annotated[ReportQuery, Query()]) -> Response:
    """What of a period a billing clerk should look at; up to about a second old."""
    async with api.reports.turn() as reader:
        found = await report(reader, query)
    return await in_thread(lambda: Report.model_validate(found))
