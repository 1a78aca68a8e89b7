"""The live event stream."""

from collections.abc import Callable
from typing import Annotated

from fastapi import Header, Query, Request
from pydantic import Field
from sse_starlette import EventSourceResponse, ServerSentEvent

from libs.access.principal import Principal
from libs.access.roles import Permission
from libs.runtime.addresses import network_of
from services.api.context import Api, Context, Requester
from services.api.domain.errors import Invalid
from services.api.http.fields import Folded, Input
from services.api.http.middleware import address_of
from services.api.http.permissions import needs
from services.api.http.routing import routes
from services.api.live.hub import Event, Filter, Sees, Whose, known_kinds

router = routes("live")

_SEND_TIMEOUT_S = 60


class StreamQuery(Input):
    """Filters of the stream; each may be given several times."""

    type: list[str] = Field(
        default_factory=list,
        max_length=50,
        description="Names of topics or records, such as SessionStarted.",
    )
    station_id: list[Folded] = Field(default_factory=list, max_length=1000)


@router.get("/stream", dependencies=needs(Permission.READ, personal=True), response_class=EventSourceResponse)
async def stream(
    api: Api,
    request: Request,
    requester: Requester,
    query: Annotated[StreamQuery, Query()],
    last_event_id: Annotated[str | None, Header(max_length=100)] = None,
) -> EventSourceResponse:
    """Events as they happen, as server-sent events.

    `event` is the record's name, `data` a JSON object with `type`, `topic` and the record's fields in `data`.
    A client that comes back with `Last-Event-ID` gets what it missed; a `gap` event says that not all of it is
    remembered. A client that reads too slowly gets a `dropped` event, one whose key is revoked a `revoked` event, and
    the stream ends. 429: there are too many under this key, or from this address.
    """
    kinds = known_kinds(api.contract)
    for kind in query.type:
        if kind not in kinds:
            raise Invalid(f"{kind!r} is none of {', '.join(sorted(kinds))}", "type")
    wanted = Filter(frozenset(query.type), frozenset(query.station_id))
    whose = Whose(requester, network_of(address_of(request.scope)))
    subscription = api.hub.subscribe(wanted, whose, last_event_id, reach_of(api, request.state.again))
    return EventSourceResponse(
        api.hub.events(subscription),
        ping=api.settings.stream_heartbeat_s,
        ping_message_factory=lambda: ServerSentEvent(comment="heartbeat"),
        send_timeout=_SEND_TIMEOUT_S,
        sep="\n",
    )


def reach_of(api: Context, again: Callable[[], Principal | None]) -> Callable[[], Sees | None]:
    """Which events a client may be shown now; `again`: who it is now, None if it does not count any more."""

    def reach() -> Sees | None:
        who = again()
        return None if who is None or not who.may_somewhere(Permission.READ) else shown_to(api.whole.of(who))

    return reach


def shown_to(api: Context) -> Sees:
    """Which events a request may be shown. What concerns no station is shown to who reads in all organisations."""
    scope = api.scope
    if scope.everywhere:
        return lambda _: True

    def sees(event: Event) -> bool:
        if event.site is not None:
            return scope.sees_site(event.site)
        if event.campaign is not None:
            return api.live.campaigns.get(event.campaign) is not None
        return bool(event.stations) and scope.sees_stations(event.stations)

    return sees
