"""Bulk commands: previewed, started, watched, stopped and retried."""

from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Annotated, Any, Final

import orjson
from fastapi import Header, Query, Response, status
from msgspec.structs import asdict

from libs.access.command_classes import permission_of
from libs.access.roles import Permission
from libs.events.bulk import (
    BulkAction,
    BulkCommandProgressed,
    BulkStationStatus,
    BulkStatus,
    BulkTarget,
    RequestBulkCommand,
    SteerBulkCommand,
)
from libs.events.ids import new_id
from libs.events.topics import COMMANDS_BULK
from libs.runtime.clock import SECOND, now_us
from services.api.commands.bulk_bodies import (
    BulkCommand,
    BulkPreview,
    BulkSent,
    BulkStation,
    BulkWish,
    NewBulkCommand,
    PreviewStation,
    Retry,
    SkipReason,
    Steering,
)
from services.api.commands.bulk_targets import (
    Message,
    Target,
    checked_messages,
    message_of,
    targets_of,
)
from services.api.context import Api, Context, Requester
from services.api.domain.cursors import cursor_of, position_at
from services.api.domain.errors import Conflict, Invalid, NotFound
from services.api.domain.wish import repeatable_id
from services.api.http.fields import IdempotencyKey
from services.api.http.paging import ListQuery, Page
from services.api.http.permissions import Must, Permitted, needs
from services.api.http.routing import in_thread, location, routes
from services.api.live.state import chosen_stations, must_be_known
from services.api.rows import Row

router = routes("bulk commands")

RETRIED_WITHIN_US: Final = 30 * 24 * 3600 * SECOND
"""After that the processor has forgotten it."""
_LONGEST_PAGE: Final = 100
_MOST_BYTES: Final = 512 << 10


class BulkStationQuery(ListQuery):
    """Which stations of a bulk command."""

    status: BulkStationStatus | None = None


Key = Annotated[IdempotencyKey, Header()]


@router.post(
    "/bulk-commands/preview", dependencies=needs(Permission.COMMAND_BULK), response_model=BulkPreview
)
async def preview_bulk_command(api: Api, must: Permitted, body: BulkWish) -> Response:
    """What a bulk command would do now: which stations it asks, and which it skips and why. Nothing is sent."""
    targets = await preview_targets(api, must, body)
    return await in_thread(lambda: preview_of(api, targets))


@router.post(
    "/bulk-commands", dependencies=needs(Permission.COMMAND_BULK), status_code=status.HTTP_202_ACCEPTED
)
async def start_bulk_command(
    *,
    api: Api,
    response: Response,
    requester: Requester,
    must: Permitted,
    body: NewBulkCommand,
    idempotency_key: Key = None,
) -> BulkCommand:
    """Start a bulk command: 202 once it is durable.

    Besides `command_bulk` it needs what the command needs to one charger. Passwords and certificates are refused: they
    are one charger's alone. A repeat with the same `Idempotency-Key` and body is the same bulk command, even if other
    stations would be chosen now, or none.
    """
    key = None if idempotency_key is None else repeatable_id(f"bulk:{requester}", idempotency_key)
    bulk_id = new_id() if key is None else repeatable_id(key, _digest(body))
    response.headers["Location"] = location("bulk-commands", bulk_id)
    if key is not None and await api.bulk.find(bulk_id) is not None:
        return _shown(await _existing(api, bulk_id), await api.bulk.progress(bulk_id))
    messages, targets = await _planned(api, must, body)
    asked = sum(not each.skipped for each in targets)
    if body.expected is not None and asked != body.expected:
        why = f"it would ask {asked} stations now, not {body.expected}: look at the preview again"
        raise Conflict(why, "/expected")
    wanted = _request(bulk_id, requester, body, messages, targets)
    await api.writer.write(COMMANDS_BULK, bulk_id, wanted)
    api.bulk.note(wanted)
    return _shown(wanted, None)


@router.get("/bulk-commands", dependencies=needs(Permission.READ, personal=True))
async def list_bulk_commands(api: Api, query: Annotated[ListQuery, Query()]) -> Page[BulkCommand]:
    """Bulk commands, the newest first."""
    before = None
    if query.cursor is not None:
        at, bulk_id = position_at(query.cursor, int, str)
        before = int(at), str(bulk_id)
    limit = min(query.limit, _LONGEST_PAGE)
    items: list[BulkCommand] = []
    while True:
        found = await api.bulk.newest(before, limit + 1)
        for each in found:
            if _is_seen(api, each):
                if len(items) == limit:
                    assert before is not None
                    return Page(items=items, next_cursor=cursor_of(before))
                items.append(_shown(each, await api.bulk.progress(each.bulk_id)))
            before = each.recorded_at, each.bulk_id
        if len(found) <= limit:
            return Page(items=items)


@router.get("/bulk-commands/{bulk_id}", dependencies=needs(Permission.READ, personal=True))
async def get_bulk_command(api: Api, bulk_id: str) -> BulkCommand:
    """A bulk command and its counts."""
    return _shown(await _existing(api, bulk_id), await api.bulk.progress(bulk_id))


@router.get(
    "/bulk-commands/{bulk_id}/stations",
    dependencies=needs(Permission.READ),
    response_model=Page[BulkStation],
)
async def get_bulk_stations(api: Api, bulk_id: str, query: Annotated[BulkStationQuery, Query()]) -> Response:
    """Each station's part, in the order in which they are asked; up to about a second old."""
    request, rows = await _existing(api, bulk_id), await api.bulk.station_rows(bulk_id)
    return await in_thread(lambda: stations_page(request, rows, query))


def stations_page(
    request: RequestBulkCommand, rows: Mapping[str, Row], query: BulkStationQuery
) -> Page[BulkStation]:
    """A page of the stations, with what was told of each last."""
    first = 0 if query.cursor is None else int(position_at(query.cursor, int)[0])
    items: list[BulkStation] = []
    for place in range(first, len(request.stations)):
        station_id = request.stations[place].station_id
        row = rows.get(station_id) or {"station_id": station_id, "status": BulkStationStatus.WAITING}
        if query.status is not None and row["status"] != query.status:
            continue
        if len(items) == query.limit:
            return Page(items=items, next_cursor=cursor_of((place,)))
        items.append(BulkStation.model_validate(row))
    return Page(items=items)


@router.post(
    "/bulk-commands/{bulk_id}/stop",
    dependencies=needs(Permission.COMMAND_BULK),
    status_code=status.HTTP_202_ACCEPTED,
)
async def stop_bulk_command(
    *,
    api: Api,
    requester: Requester,
    must: Permitted,
    bulk_id: str,
    body: Steering,
    idempotency_key: Key = None,
) -> BulkCommand:
    """Ask no further stations. Commands that were handed over already are not taken back. 409 unless it is running."""
    return await _steer(api, must, (bulk_id, BulkAction.STOP), body, (requester, idempotency_key))


@router.post(
    "/bulk-commands/{bulk_id}/resume",
    dependencies=needs(Permission.COMMAND_BULK),
    status_code=status.HTTP_202_ACCEPTED,
)
async def resume_bulk_command(
    *,
    api: Api,
    requester: Requester,
    must: Permitted,
    bulk_id: str,
    body: Steering,
    idempotency_key: Key = None,
) -> BulkCommand:
    """Go on after a stop; failures from before do not count for the next one. 409 unless it is stopped."""
    return await _steer(api, must, (bulk_id, BulkAction.RESUME), body, (requester, idempotency_key))


@router.post(
    "/bulk-commands/{bulk_id}/retry",
    dependencies=needs(Permission.COMMAND_BULK),
    status_code=status.HTTP_202_ACCEPTED,
)
async def retry_bulk_command(
    *, api: Api, requester: Requester, must: Permitted, bulk_id: str, body: Retry, idempotency_key: Key = None
) -> BulkCommand:
    """Ask again every station that is through and did not accept, unless it is to be skipped now. 409 while it runs."""
    return await _steer(api, must, (bulk_id, BulkAction.RETRY), body, (requester, idempotency_key))


_ALLOWED: Final = {
    BulkAction.STOP: {BulkStatus.RUNNING},
    BulkAction.RESUME: {BulkStatus.STOPPED},
    BulkAction.RETRY: {BulkStatus.STOPPED, BulkStatus.FINISHED},
}


async def _steer(
    api: Context, must: Must, what: tuple[str, BulkAction], body: Steering, who: tuple[str, str | None]
) -> BulkCommand:
    """`what`: to do with which; `who`: under which idempotency key."""
    (bulk_id, action), (requester, key) = what, who
    request = await _existing(api, bulk_id)
    stations = [each.station_id for each in request.stations]
    _must_at(api, must, [(each.action, orjson.loads(each.payload)) for each in request.messages], stations)
    event_id = new_id() if key is None else repeatable_id(f"bulk:{requester}:{bulk_id}:{action}", key)
    progress, now = await api.bulk.progress(bulk_id), now_us()
    if not api.bulk.was_steered(event_id):
        current = BulkStatus.RUNNING if progress is None else progress.status
        if current not in _ALLOWED[action]:
            raise Conflict(f"the bulk command is {current.value.lower()} now")
        if progress is not None and now - progress.recorded_at > RETRIED_WITHIN_US:
            raise Conflict("the bulk command is older than 30 days: start a new one")
        reasons, skipped = await _skipped(api, request, body.offline) if isinstance(body, Retry) else ((), ())
        steer = SteerBulkCommand(
            event_id=event_id,
            occurred_at=now,
            recorded_at=now,
            cause_id=bulk_id,
            bulk_id=bulk_id,
            requested_by=requester,
            reason=body.reason,
            action=action,
            skip_reasons=reasons,
            skipped=skipped,
        )
        await api.writer.write(COMMANDS_BULK, bulk_id, steer)
        progress = await api.bulk.progress_after(event_id, bulk_id, api.settings.read_back_s) or progress
    return _shown(request, progress)


async def _skipped(
    api: Context, request: RequestBulkCommand, offline: str
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Of a retry: why stations are to be skipped now, and for each of the request's stations which of these it is."""
    messages = [message_of(each) for each in request.messages]
    now = await targets_of(
        api, [each.station_id for each in request.stations], messages, wait=offline == "wait"
    )
    found = {each.station_id: each for each in now}
    reasons: dict[str, int] = {}
    skipped = []
    for before in request.stations:
        target = found[before.station_id]
        reason = target.skipped
        if not reason and before.message >= 0 and target.message != before.message:
            reason = "speaks another OCPP version than before"
        skipped.append(reasons.setdefault(reason, len(reasons) + 1) if reason else 0)
    return tuple(reasons), tuple(skipped)


def _must_at(
    api: Context, must: Must, sent: Sequence[tuple[str, Mapping[str, Any]]], stations: Sequence[str]
) -> None:
    """Raise Forbidden unless who asks may send these commands, and many of them, at each of the stations."""
    classes = {permission_of(action, payload) for action, payload in sent}
    for permission in sorted(classes):
        must(permission)
    for permission in (Permission.COMMAND_BULK, *sorted(classes)):
        api.scope.must_at(permission, stations)


async def _planned(api: Context, must: Must, body: BulkWish) -> tuple[list[Message], list[Target]]:
    messages = checked_messages(api, body.command, body.payload, body.by_version)
    most = api.settings.bulk_stations
    if body.stations is not None:
        named = list(dict.fromkeys(body.stations))
        try:
            await api.registry.surely(lambda: must_be_known(api, named, "/stations"))
        except NotFound as error:
            raise Invalid(error.detail, error.path) from error
        path = "/stations"
    else:
        assert body.filter is not None
        named = await chosen_stations(api, body.filter, most + 1)
        path = "/filter"
    if len(named) > most:
        raise Invalid(f"it chooses more than {most} stations (VOLTBUS_BULK_STATIONS): choose fewer", path)
    if not named:
        raise Invalid("it chooses no station", path)
    _must_at(api, must, [(each.wish.action, each.wish.payload) for each in messages], named)
    return messages, await targets_of(api, named, messages, wait=body.offline == "wait")


def _request(
    bulk_id: str, requester: str, body: NewBulkCommand, messages: list[Message], targets: list[Target]
) -> RequestBulkCommand:
    reasons: dict[str, int] = {}
    stations = tuple(
        BulkTarget(
            station_id=each.station_id,
            message=each.message,
            skipped=reasons.setdefault(each.skipped, len(reasons) + 1) if each.skipped else 0,
        )
        for each in targets
    )
    now = now_us()
    request = RequestBulkCommand(
        event_id=bulk_id,
        occurred_at=now,
        recorded_at=now,
        cause_id=bulk_id,
        bulk_id=bulk_id,
        requested_by=requester,
        reason=body.reason,
        selection="" if body.filter is None else body.filter.text,
        messages=tuple(each.record for each in messages),
        stations=stations,
        skip_reasons=tuple(reasons),
        concurrency=body.concurrency,
        stop_at_percent=body.stop_at_percent,
        stop_after=body.stop_after,
        ttl_ms=int(body.ttl_s * 1000),
        call_timeout_ms=int(body.call_timeout_s * 1000),
    )
    size = sum(len(each.station_id.encode()) for each in stations)
    size += sum(len(each.payload.encode()) for each in request.messages)
    if size > _MOST_BYTES:
        raise Invalid(
            f"stations and payload take {size} bytes, more than {_MOST_BYTES}: choose fewer stations"
        )
    return request


async def preview_targets(api: Context, must: Must, body: BulkWish) -> list[Target]:
    """The stations that it would choose now. Raises what a start raises."""
    _messages, targets = await _planned(api, must, body)
    return targets


def preview_of(api: Context, targets: list[Target]) -> BulkPreview:
    """In words and numbers."""
    stations = api.registry.stations
    reasons = Counter(each.skipped for each in targets if each.skipped)
    skipped = reasons.total()
    return BulkPreview(
        total=len(targets),
        asked=len(targets) - skipped,
        skipped=skipped,
        offline=sum(not each.connected for each in targets),
        reasons=[SkipReason(reason=reason, stations=count) for reason, count in reasons.most_common()],
        stations=[
            PreviewStation(
                station_id=each.station_id,
                name=stations[each.station_id].name if each.station_id in stations else "",
                version=each.version,
                connected=each.connected,
                skipped=each.skipped,
            )
            for each in targets
        ],
    )


def _is_seen(api: Context, request: RequestBulkCommand) -> bool:
    return api.scope.sees_stations(each.station_id for each in request.stations)


async def _existing(api: Context, bulk_id: str) -> RequestBulkCommand:
    found = await api.bulk.find(bulk_id)
    if found is None or not _is_seen(api, found):
        raise NotFound(f"there is no bulk command {bulk_id!r}")
    return found


def _digest(body: NewBulkCommand) -> str:
    """What tells one request from another under the same key."""
    return sha256(
        orjson.dumps(body.model_dump(mode="json", exclude={"expected"}), option=orjson.OPT_SORT_KEYS)
    ).hexdigest()


def _shown(request: RequestBulkCommand, progress: BulkCommandProgressed | None) -> BulkCommand:
    fields = {
        **asdict(request),
        "requested_at": request.recorded_at,
        "messages": [
            BulkSent(
                action=each.action,
                dialect=each.dialect.value,
                version=each.version,
                payload=orjson.loads(each.payload),
            )
            for each in request.messages
        ],
        "status": BulkStatus.RUNNING,
        "round": 1,
        "total": len(request.stations),
        "waiting": sum(not each.skipped for each in request.stations),
        **dict.fromkeys(("sent", "accepted", "rejected", "failed", "timed_out"), 0),
        "skipped": sum(bool(each.skipped) for each in request.stations),
        "updated_at": request.recorded_at,
    }
    if progress is not None:
        fields |= asdict(progress) | {
            "reason": request.reason,
            "stopped_because": progress.reason,
            "updated_at": progress.recorded_at,
        }
    return BulkCommand.model_validate(fields)
