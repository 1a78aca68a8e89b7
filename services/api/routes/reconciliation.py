"""The reconciliation report."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from services.api.context import Api
from services.api.reconciliation import Report, ReportQuery, report
from services.api.routes.shared import ERRORS

router = APIRouter(tags=["sessions and charge records"], responses=ERRORS)


@router.get("/reconciliation", response_model=Report)
async def reconcile(api: Api, query: Annotated[ReportQuery, Query()]) -> Response:
    """What of a period a billing clerk should look at; up to about a second old."""
    return Response(await report(api.reader, query), media_type="application/json")
