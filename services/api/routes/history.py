"""Sessions and charge records: the past, as the sink stored it up to about a second ago."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import Query

from services.api.bodies import Cdr, CdrQuery, PastQuery, Session, SessionQuery
from services.api.context import Api, Context
from services.api.domain.errors import NotFound
from services.api.http.fields import micros
from services.api.http.paging import Page
from services.api.http.routing import routes
from services.api.listing import CDRS, SESSIONS, Listing, Row, Wanted
from services.api.rows import nested

router = routes("sessions and charge records")


@router.get("/sessions")
async def list_sessions(api: Api, query: Annotated[SessionQuery, Query()]) -> Page[Session]:
    """Sessions, the latest start first."""
    rows, cursor = await _page(api, SESSIONS, query)
    return Page(items=[Session.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/sessions/{session_id}")
async def get_session(api: Api, session_id: str) -> Session:
    """One session."""
    row = await api.history.session(session_id)
    if row is None:
        raise NotFound(f"there is no session {session_id!r}")
    return Session.model_validate(row)


@router.get("/cdrs")
async def list_cdrs(api: Api, query: Annotated[CdrQuery, Query()]) -> Page[Cdr]:
    """Charge records, each in its newest version, the latest end first."""
    rows, cursor = await _page(api, CDRS, query)
    return Page(items=[_cdr(row) for row in rows], next_cursor=cursor)


@router.get("/cdrs/{cdr_id}")
async def get_cdr(api: Api, cdr_id: str) -> Cdr:
    """One charge record in its newest version."""
    row = await api.history.cdr(cdr_id)
    if row is None:
        raise NotFound(f"there is no charge record {cdr_id!r}")
    return _cdr(row)


async def _page(api: Context, listing: Listing, query: PastQuery) -> tuple[list[Row], str | None]:
    asked: dict[str, Any] = query.model_dump(exclude_none=True, include=set(listing.filters))
    wanted = Wanted(asked, _micros(query.since), _micros(query.until))
    return await api.history.page(listing, wanted, query.limit, query.cursor)


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else micros(moment)


def _cdr(row: Mapping[str, Any]) -> Cdr:
    return Cdr.model_validate({**row, "lines": nested(row, "lines")})
