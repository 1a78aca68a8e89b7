"""Firmware campaigns."""

from typing import Annotated, Any, Final

from fastapi import Header, Query, Response, status
from msgspec.structs import asdict
from pydantic import Field, StringConstraints

from libs.access.roles import Permission
from libs.clickhouse.client import ClickHouseError
from libs.events.firmware import CampaignProgressed, DefineCampaign
from libs.events.ids import new_id
from libs.events.topics import FIRMWARE_CAMPAIGNS
from libs.runtime.clock import SECOND, micros, now_us
from libs.runtime.logging import get_logger
from services.api.context import Api, Context, Requester
from services.api.domain.cursors import cursor_of, position_at
from services.api.domain.errors import Conflict, Invalid, NotFound
from services.api.domain.wish import repeatable_id
from services.api.http.fields import IdempotencyKey, Input, Moment, Output, StationId, Text, Time
from services.api.http.paging import ListQuery, Page
from services.api.http.permissions import needs
from services.api.http.routing import in_thread, location, routes
from services.api.live.state import must_be_known
from services.api.rows import record_of

router = routes("firmware campaigns")

log = get_logger(__name__)

_DAY: Final = 24 * 3600 * SECOND
_MOST_STATIONS: Final = 20_000
"""Of all campaigns of a page."""


class NewCampaign(Input):
    """Bring stations to a firmware version. `location`: the URL from which they fetch it."""

    name: Annotated[Text, Field(min_length=1)]
    target_version: Annotated[Text, Field(min_length=1, max_length=50)]
    location: Annotated[
        str, StringConstraints(max_length=512, pattern=r"^(https?|ftps?|sftp)://[\x21-\x7e]+$")
    ]
    stations: Annotated[list[StationId], Field(min_length=1, max_length=10_000)]
    deadline: Moment | None = Field(None, description="Default: a day from now.")


class Campaign(Output):
    """A campaign and how far it is."""

    campaign_id: str
    name: str
    target_version: str
    location: str
    requested_by: str
    requested_at: Time
    deadline: Time
    stations: list[str]
    total: int
    pending: int
    installed: int
    failed: int
    finished: bool
    updated_at: Time


class CampaignStation(Output):
    """A station's part in a campaign, as the charger or the platform reported it last."""

    station_id: str
    status: str
    detail: str = ""
    firmware_version: str = ""
    updated_at: Time | None = None


class CampaignStations(Output):
    """Every station of a campaign, in its order."""

    items: list[CampaignStation]


@router.post("/campaigns", dependencies=needs(Permission.RUN_CAMPAIGNS), status_code=status.HTTP_201_CREATED)
async def start_campaign(
    api: Api,
    response: Response,
    requester: Requester,
    body: NewCampaign,
    idempotency_key: Annotated[IdempotencyKey, Header()] = None,
) -> Campaign:
    """Start a campaign over a list of stations.

    A repeat with the same `Idempotency-Key` answers with the campaign that was started, whichever process is asked;
    409 if it is another one.
    """
    try:
        await api.registry.surely(lambda: must_be_known(api, body.stations, "/stations"))
    except NotFound as error:
        raise Invalid(error.detail, error.path) from error
    api.scope.must_at(Permission.RUN_CAMPAIGNS, body.stations)
    api.settings.url_policy.check(body.location, "/location")
    now = now_us()
    deadline = now + _DAY if body.deadline is None else micros(body.deadline)
    if deadline <= now:
        raise Invalid("the deadline has passed", "/deadline")
    campaign_id = repeatable_id(f"campaign:{requester}", idempotency_key) if idempotency_key else new_id()
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
        requested_by=requester,
        deadline=deadline,
    )
    response.headers["Location"] = location("campaigns", campaign_id)
    if idempotency_key is None:
        await api.writer.write(FIRMWARE_CAMPAIGNS, campaign_id, wanted)
        defined = wanted
    else:
        defined = await api.campaigns.define(wanted)
        if _content(defined) != _content(wanted):
            raise Conflict("this Idempotency-Key was used for another campaign")
    if campaign_id not in api.live.campaigns:
        api.live.campaigns.put(campaign_id, defined)
    return _campaign(defined, await _progress(api, campaign_id) if defined is not wanted else None)


@router.get("/campaigns", dependencies=needs(Permission.READ))
async def list_campaigns(api: Api, query: Annotated[ListQuery, Query()]) -> Page[Campaign]:
    """Campaigns by id. A page is shorter than asked for if the campaigns in it have very many stations."""
    after = "" if query.cursor is None else str(position_at(query.cursor, str)[0])
    items: list[Campaign] = []
    stations = 0
    while True:
        found, last = await _campaigns_after(api, after, query.limit + 1)
        for defined, progress in found:
            stations += len(defined.stations)
            if len(items) == query.limit or (items and stations > _MOST_STATIONS):
                return Page(items=items, next_cursor=cursor_of((items[-1].campaign_id,)))
            items.append(_campaign(defined, progress))
        if last is None:
            return Page(items=items)
        after = last


async def _campaigns_after(
    api: Context, after: str, limit: int
) -> tuple[list[tuple[DefineCampaign, CampaignProgressed | None]], str | None]:
    """Those in scope of the next `limit` campaigns that ClickHouse knows, and the id of the last; None if that is all.

    What was started just now is not in ClickHouse yet: it is among them, too.
    """
    rows = await api.campaigns.rows_after(after, limit)
    defined = {
        row["campaign_id"]: record_of(DefineCampaign, row) for row in rows if row["_type"] == "DefineCampaign"
    }
    told = {
        row["campaign_id"]: record_of(CampaignProgressed, row)
        for row in rows
        if row["_type"] == "CampaignProgressed"
    }
    last = max(defined) if len(defined) == limit else None
    for key in api.live.campaigns:
        new = key > after and key not in defined and (last is None or key < last)
        if new and (recent := api.live.campaigns.get(key)) is not None:
            defined[key] = recent
    seen = [each for _, each in sorted(defined.items()) if api.scope.sees_stations(each.stations)]
    newest = [_newer(api.live.progress.get(each.campaign_id), told.get(each.campaign_id)) for each in seen]
    return list(zip(seen, newest, strict=True)), last


@router.get("/campaigns/{campaign_id}", dependencies=needs(Permission.READ))
async def get_campaign(api: Api, campaign_id: str) -> Campaign:
    """One campaign with its progress."""
    defined = await _existing(api, campaign_id)
    return _campaign(defined, await _progress(api, campaign_id))


@router.get(
    "/campaigns/{campaign_id}/stations", dependencies=needs(Permission.READ), response_model=CampaignStations
)
async def get_campaign_stations(api: Api, campaign_id: str) -> Response:
    """Each station's part, PENDING where nothing was heard of it; up to about a second old."""
    defined = await _existing(api, campaign_id)
    rows = {row["station_id"]: row for row in await api.campaigns.station_rows(campaign_id)}
    return await in_thread(
        lambda: CampaignStations(
            items=[
                CampaignStation.model_validate(
                    rows.get(station_id) or {"station_id": station_id, "status": "PENDING"}
                )
                for station_id in defined.stations
            ]
        )
    )


async def _existing(api: Context, campaign_id: str) -> DefineCampaign:
    defined = await api.campaigns.find(campaign_id)
    if defined is None or not api.scope.sees_stations(defined.stations):
        raise NotFound(f"there is no campaign {campaign_id!r}")
    return defined


async def _progress(api: Context, campaign_id: str) -> CampaignProgressed | None:
    known = api.live.progress.get(campaign_id)
    if known is not None:
        return known
    try:
        rows = await api.campaigns.rows(campaign_id)
    except ClickHouseError as error:
        log.warning("progress_not_read", campaign_id=campaign_id, error=str(error)[:300])
        return None
    found = [record_of(CampaignProgressed, row) for row in rows if row["_type"] == "CampaignProgressed"]
    return found[0] if found else None


def _newer(one: CampaignProgressed | None, other: CampaignProgressed | None) -> CampaignProgressed | None:
    if one is None or other is None:
        return one or other
    return max(one, other, key=lambda each: each.recorded_at)


def _content(defined: DefineCampaign) -> tuple[str, str, tuple[str, ...]]:
    """What two campaigns under one key have in common."""
    return defined.target_version, defined.location, defined.stations


def _campaign(defined: DefineCampaign, progress: CampaignProgressed | None) -> Campaign:
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
    if progress is not None:
        fields |= asdict(progress) | {"updated_at": progress.recorded_at}
    return Campaign.model_validate(fields)
