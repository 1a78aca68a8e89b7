"""Firmware campaigns."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Response, status
from msgspec.structs import asdict

from libs.events.firmware import CampaignProgressed, DefineCampaign
from libs.events.ids import new_id
from libs.runtime.clock import SECOND, now_us
from services.api.bodies import Campaign, CampaignStation, NewCampaign
from services.api.context import Api, Context
from services.api.domain.commands import repeatable_id
from services.api.domain.errors import Conflict, Invalid, NotFound
from services.api.domain.paging import page_of
from services.api.fields import micros
from services.api.listing import Row
from services.api.models import Page
from services.api.models import Query as PageQuery
from services.api.routes.commands import IdempotencyKey
from services.api.routes.shared import ERRORS, location
from services.api.rows import record_of

router = APIRouter(tags=["firmware campaigns"], responses=ERRORS)

CAMPAIGNS: Final = "firmware.campaigns"
_DAY: Final = 24 * 3600 * SECOND


@router.post("/campaigns", status_code=status.HTTP_201_CREATED)
async def start_campaign(
    api: Api,
    response: Response,
    body: NewCampaign,
    idempotency_key: Annotated[IdempotencyKey, Header()] = None,
) -> Campaign:
    """Start a campaign over a list of stations."""
    for index, station_id in enumerate(body.stations):
        if station_id not in api.registry.stations and station_id not in api.registry.locations:
            raise Invalid(f"there is no station {station_id!r}", f"/stations/{index}")
    api.settings.url_policy.check(body.location, "/location")
    now = now_us()
    deadline = now + _DAY if body.deadline is None else micros(body.deadline)
    if deadline <= now:
        raise Invalid("the deadline has passed", "/deadline")
    campaign_id = new_id() if idempotency_key is None else repeatable_id("campaign", idempotency_key)
    wanted = DefineCampaign(
        event_id=campaign_id,
        occurred_at=now,
        recorded_at=now,
        cause_id=campaign_id,
        campaign_id=campaign_id,
        name=body.name,
        target_version=body.target_version,
        location=body.location,
        stations=tuple(dict.fromkeys(body.stations)),
        requested_by=body.requested_by,
        deadline=deadline,
    )
    response.headers["Location"] = location("campaigns", campaign_id)
    known = api.live.campaigns.records.get(campaign_id)
    if known is None:
        await api.writer.write(CAMPAIGNS, campaign_id, wanted)
        api.live.campaigns.offer(wanted)
    elif (known.target_version, known.location, known.stations) != (
        wanted.target_version,
        wanted.location,
        wanted.stations,
    ):
        raise Conflict("this Idempotency-Key was used for another campaign")
    return _campaign(api, known or wanted)


@router.get("/campaigns")
async def list_campaigns(api: Api, query: Annotated[PageQuery, Query()]) -> Page[Campaign]:
    """Campaigns by id."""
    _learn(api, await api.history.campaigns())
    found, cursor = page_of(api.live.campaigns.records, lambda _: True, query.limit, query.cursor)
    return Page(items=[_campaign(api, campaign) for campaign in found], next_cursor=cursor)


@router.get("/campaigns/{campaign_id}")
async def get_campaign(api: Api, campaign_id: str) -> Campaign:
    """One campaign with its progress."""
    if campaign_id not in api.live.campaigns.records:
        _learn(api, await api.history.campaigns(campaign_id))
    defined = api.live.campaigns.records.get(campaign_id)
    if defined is None:
        raise NotFound(f"there is no campaign {campaign_id!r}")
    return _campaign(api, defined)


@router.get("/campaigns/{campaign_id}/stations")
async def get_campaign_stations(api: Api, campaign_id: str) -> list[CampaignStation]:
    """Each station's part, PENDING where nothing was heard of it; up to about a second old."""
    campaign = await get_campaign(api, campaign_id)
    rows = {row["station_id"]: row for row in await api.history.campaign_stations(campaign_id)}
    return [
        CampaignStation.model_validate(
            rows.get(station_id) or {"station_id": station_id, "status": "PENDING"}
        )
        for station_id in campaign.stations
    ]


def _learn(api: Context, rows: list[Row]) -> None:
    """Complete what the log said since this process follows it."""
    for row in rows:
        if row["_type"] == "DefineCampaign":
            api.live.campaigns.offer(record_of(DefineCampaign, row))
        elif row["_type"] == "CampaignProgressed":
            api.live.progress.offer(record_of(CampaignProgressed, row))


def _campaign(api: Context, defined: DefineCampaign) -> Campaign:
    fields: dict[str, Any] = {
        "total": len(defined.stations),
        "pending": len(defined.stations),
        "installed": 0,
        "failed": 0,
        "finished": False,
        **asdict(defined),
        "requested_at": defined.recorded_at,
        "updated_at": defined.recorded_at,
    }
    progress = api.live.progress.records.get(defined.campaign_id)
    if progress is not None:
        fields |= asdict(progress) | {"updated_at": progress.recorded_at}
    return Campaign.model_validate(fields)
