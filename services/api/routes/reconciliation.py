"""The reconciliation report."""

from typing import Annotated

from fastapi import APIRouter, Query

from services.api.context import Api
from services.api.reconciliation import Report, ReportQuery, report
from services.api.routes.shared import ERRORS

router = APIRouter(tags=["sessions and charge records"], responses=ERRORS)


@router.get("/reconciliation")
async def reconcile(api: Api, query: Annotated[ReportQuery, Query()]) -> Report:
    """What of a period a billing clerk should look at; up to about a second old."""
    return await report(api.reader, query)
