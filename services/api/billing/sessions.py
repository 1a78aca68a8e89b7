"""Sessions and charge records: the past, as the sink stored it up to about a second ago."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Query

from libs.access.roles import Permission
from libs.runtime.clock import micros
from services.api.billing.listing import CDRS, SESSIONS, Listing, Wanted
from services.api.context import Api, Context
from services.api.domain.errors import NotFound
from services.api.http.fields import Folded, Moment, Output, Time
from services.api.http.paging import ListQuery, Page
from services.api.http.permissions import needs
from services.api.http.routing import routes
from services.api.rows import Row, nested

router = routes("sessions and charge records")


class PastQuery(ListQuery):
    """Filters of sessions and charge records. `since` (inclusive), `until` (exclusive): of the time of the order."""

    station_id: Folded | None = None
    site_id: str | None = None
    id_token: Folded | None = None
    since: Moment | None = None
    until: Moment | None = None


class SessionQuery(PastQuery):
    """Filters of sessions; by start."""

    status: Literal["running", "ended"] | None = None


class CdrQuery(PastQuery):
    """Filters of charge records; by end."""

    session_id: str | None = None
    tariff_id: str | None = None


class Session(Output):
    """A charging session. Energy and meter readings in Wh.

    `correction`: the version of its end once that was corrected (2, 3 and so on), 0 before.
    """

    session_id: str
    station_id: str
    evse_id: int
    site_id: str | None
    status: str
    started_at: Time
    ended_at: Time | None
    energy_wh: int
    id_token: str | None
    transaction_id: str
    meter_start_wh: int | None
    meter_wh: int | None
    meter_stop_wh: int | None
    charging_state: str | None
    reason: str
    review: list[str]
    decision_id: str | None
    correction: int
    ocpp_version: str
    updated_at: Time


class CdrLine(Output):
    """One line of a charge record."""

    kind: str
    quantity: int
    unit: str
    price_milli: int
    amount_minor: int


class Cdr(Output):
    """A charge record in its newest version. Amounts in minor currency units.

    `charging_s`, `suspended_s`, `idle_s`: seconds of charging, of charging held back, and connected after it was done.
    `prepaid_wh`: of the energy billed, what came out of the bundle of the driver group `group_id`.
    """

    cdr_id: str
    version: int
    session_id: str
    station_id: str
    evse_id: int
    transaction_id: str
    site_id: str | None
    id_token: str | None
    started_at: Time
    ended_at: Time
    meter_start_wh: int | None
    meter_stop_wh: int | None
    energy_wh: int
    billed_wh: int
    review_wh: int
    written_off_wh: int
    exported_wh: int
    reason: str
    review: list[str]
    decision_id: str | None
    decided_by: str | None
    token_refusal: str
    charging_s: int
    suspended_s: int
    idle_s: int
    timezone: str | None
    group_id: str | None
    prepaid_wh: int
    tariff_id: str | None
    tariff_version: int | None
    currency: str | None
    amount_minor: int
    net_minor: int
    tax_minor: int
    hash: str
    lines: list[CdrLine]
    issued_at: Time


@router.get("/sessions", dependencies=needs(Permission.READ, personal=True))
async def list_sessions(api: Api, query: Annotated[SessionQuery, Query()]) -> Page[Session]:
    """Sessions, the latest start first."""
    rows, cursor = await _page(api, SESSIONS, query)
    return Page(items=[Session.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/sessions/{session_id}", dependencies=needs(Permission.READ, personal=True))
async def get_session(api: Api, session_id: str) -> Session:
    """One session."""
    row = await api.history.session(session_id)
    if row is None:
        raise NotFound(f"there is no session {session_id!r}")
    return Session.model_validate(row)


@router.get("/cdrs", dependencies=needs(Permission.READ, personal=True))
async def list_cdrs(api: Api, query: Annotated[CdrQuery, Query()]) -> Page[Cdr]:
    """Charge records, each in its newest version, the latest end first."""
    rows, cursor = await _page(api, CDRS, query)
    return Page(items=[_cdr(row) for row in rows], next_cursor=cursor)


@router.get("/cdrs/{cdr_id}", dependencies=needs(Permission.READ, personal=True))
async def get_cdr(api: Api, cdr_id: str) -> Cdr:
    """One charge record in its newest version."""
    row = await api.history.cdr(cdr_id)
    if row is None:
        raise NotFound(f"there is no charge record {cdr_id!r}")
    return _cdr(row)


async def _page(api: Context, listing: Listing, query: PastQuery) -> tuple[list[Row], str | None]:
    asked: dict[str, Any] = query.model_dump(exclude_none=True, include=set(listing.filters))
    wanted = Wanted(asked, _micros(query.since), _micros(query.until), api.scope.within)
    return await api.history.page(listing, wanted, query.limit, query.cursor)


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else micros(moment)


def _cdr(row: Mapping[str, Any]) -> Cdr:
    return Cdr.model_validate({**row, "lines": nested(row, "lines")})
