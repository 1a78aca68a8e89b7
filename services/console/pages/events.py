"""One record of a station's log: what it says, what led to it, and what came of it."""

from typing import Any, Final

import msgspec
from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from libs.access.roles import Permission
from libs.events.ocpp_log import OcppCallAnswered
from libs.events.record import ENVELOPE, Record
from services.api.http.permissions import needs
from services.api.live.state import get_state
from services.console.pages.messages import FRAMES, found_in, log_of, message_address
from services.console.web.visit import Visit, Visiting

router = APIRouter(dependencies=needs(Permission.READ))

_OF_FRAMES: Final = frozenset({"payload", "answer", "result", "error", "frame", "tech_info"})
_OF_TOKENS: Final = frozenset({"id_token", "group_id"})


@router.get(
    "/stations/{station_id}/events/{event_id}",
    response_class=HTMLResponse,
    dependencies=needs(Permission.READ, personal=True),
)
async def show_event(visit: Visiting, station_id: str, event_id: str) -> Response:
    """A record of the log; a message has a page of its own."""
    state = await get_state(visit.api, station_id.casefold())
    log = log_of(visit, state.station_id)
    place = await found_in(visit, log, event_id)
    if place.type in FRAMES or place.type == OcppCallAnswered.__name__:
        return RedirectResponse(message_address(state.station_id, event_id, place.recorded_at), 307)
    record = await log.record(place)
    return visit.page(
        "station_event.html", tab="timeline", state=state, place=place, fields=_fields(visit, record),
        causes=await log.causes(place), effects=await log.effects(place),
    )  # fmt: skip


def _fields(visit: Visit, record: Record) -> dict[str, str | None]:
    """What the record says, as JSON text; None for what the visitor may not read."""
    told: dict[str, Any] = msgspec.to_builtins(record)
    hidden = frozenset() if visit.may(Permission.READ_FRAMES) else _OF_FRAMES
    hidden |= frozenset() if visit.may(Permission.READ_TOKENS) else _OF_TOKENS
    return {
        name: None if name in hidden and value else msgspec.json.encode(value).decode()
        for name, value in told.items()
        if name not in ENVELOPE
    }
