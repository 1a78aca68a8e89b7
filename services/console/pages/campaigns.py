"""Firmware campaigns, and how far each is."""

from collections import Counter
from typing import Final

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from libs.access.roles import Permission
from services.api.http.paging import ListQuery
from services.api.http.permissions import needs
from services.api.live.campaigns import get_campaign, list_campaigns
from services.console.pages.queries import asked
from services.console.web.visit import Visiting

router = APIRouter(dependencies=needs(Permission.READ))

_CAMPAIGNS: Final = 20
_MOST: Final = 500


@router.get("/campaigns", response_class=HTMLResponse)
async def show_campaigns(visit: Visiting) -> HTMLResponse:
    """Campaigns, by id."""
    query, _wrong = asked(ListQuery, visit.request.query_params, limit=_CAMPAIGNS)
    return visit.page(
        "campaigns.html", live=visit.live("campaigns", late=True), page=await list_campaigns(visit.api, query)
    )


@router.get("/campaigns/{campaign_id}", response_class=HTMLResponse)
async def show_campaign(visit: Visiting, campaign_id: str) -> HTMLResponse:
    """One campaign, and what its stations reported last."""
    campaign = await get_campaign(visit.api, campaign_id)
    rows = {row["station_id"]: row for row in await visit.api.campaigns.station_rows(campaign_id)}
    parts = [rows.get(each) or {"station_id": each, "status": "PENDING"} for each in campaign.stations]
    counts = Counter(str(part["status"]) for part in parts).most_common()
    return visit.page(
        "campaign.html",
        live=visit.live(f"campaign/{campaign_id}", late=True),
        campaign=campaign,
        parts=parts[:_MOST],
        counts=counts,
    )
