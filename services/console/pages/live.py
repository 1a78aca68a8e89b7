"""The stream that tells a browser's pages what has changed."""

from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Request
from sse_starlette import EventSourceResponse, ServerSentEvent

from libs.access.roles import Permission
from libs.runtime.addresses import network_of
from services.api.domain.errors import Invalid
from services.api.http.middleware import address_of
from services.api.http.permissions import needs
from services.api.live.hub import Parts, Whose
from services.api.live.parts import is_part
from services.api.live.stream import reach_of
from services.console.hints import MOST, hints
from services.console.web.visit import Visiting

router = APIRouter(dependencies=needs(Permission.READ))

HEARTBEAT_S: Final = 5
"""Pages that hear nothing for three of these say that they are not live."""
_SEND_TIMEOUT_S: Final = 30
_LONGEST_ID: Final = 100


@router.get("/live", response_class=EventSourceResponse)
async def stream(
    visit: Visiting,
    request: Request,
    part: Annotated[list[str], Query(min_length=1, max_length=MOST)],
    after: Annotated[str, Query(max_length=_LONGEST_ID)] = "",
    last_event_id: Annotated[str, Header(max_length=_LONGEST_ID)] = "",
) -> EventSourceResponse:
    """Changes of these parts, as server-sent events: see `hints`.

    It begins after the event `Last-Event-ID`, or `after` where a browser begins anew.
    """
    names = frozenset(part)
    if not all(map(is_part, names)):
        raise Invalid("there is no such part", "/part")
    reach = reach_of(visit.api, request.state.again)
    hub = visit.api.hub
    whose = Whose(visit.principal.name, network_of(address_of(request.scope)))
    subscription = hub.subscribe(Parts(names), whose, last_event_id or after or None, reach)
    return EventSourceResponse(
        hints(hub, subscription, names),
        ping=HEARTBEAT_S,
        ping_message_factory=lambda: ServerSentEvent(event="alive", data=""),
        send_timeout=_SEND_TIMEOUT_S,
        sep="\n",
        headers={"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"},
    )
