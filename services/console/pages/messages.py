"""A station's messages: found over years, and each by itself beside what was understood."""

import re
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final

import msgspec
from fastapi import APIRouter
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from libs.access.roles import Permission
from libs.events.ocpp_log import FrameRejected, OcppCallAnswered, OcppCallReceived, OcppCallSent
from libs.events.record import Record
from libs.ocpp.semantics.received_calls import zone_of
from services.api.domain.errors import NotFound
from services.api.http.permissions import needs
from services.api.live.state import get_state
from services.console.event_log import EventLog, Place
from services.console.history import PERIODS, YEARS
from services.console.message_log import MessageLog, Wanted
from services.console.pages.queries import Period, earlier, moment_in
from services.console.understood import as_test_case, understood
from services.console.web.rendering import address, path_of
from services.console.web.visit import Visit, Visiting

router = APIRouter(dependencies=needs(Permission.READ))

FRAMES: Final = frozenset({OcppCallReceived.__name__, OcppCallSent.__name__, FrameRejected.__name__})
"""Records that are messages."""

_MOST: Final = 200
_LONGEST: Final = 100
_EVERY_S: Final = 5
"""Nobody tells of messages: there are too many."""
_NOT_A_NAME: Final = re.compile(r"[^A-Za-z0-9]")


@router.get(
    "/stations/{station_id}/messages",
    response_class=HTMLResponse,
    dependencies=needs(Permission.READ_FRAMES),
)
async def show_messages(visit: Visiting, station_id: str) -> Response:
    """Messages as they were sent, each call with its answer."""
    state = await get_state(visit.api, station_id.casefold())
    params = visit.request.query_params
    period = Period(params, visit.now, YEARS)
    wanted = Wanted(**{name: params.get(name, "").strip()[:_LONGEST] for name in Wanted.__struct_fields__})
    found = await MessageLog(visit.api.reader, state.station_id).search(
        period.since, period.until, _MOST + 1, wanted
    )
    # A search over years is not made again and again.
    short = period.name in PERIODS and found.reached is None
    live = visit.live(f"station/{state.station_id}", late=True, every_s=_EVERY_S) if short else None
    return visit.page(
        "station_messages.html", tab="messages", live=live, state=state, period=period, rows=found.rows[:_MOST],
        earlier=earlier(found.rows, _MOST, "recorded_at"), reached=found.reached, wanted=wanted,
    )  # fmt: skip


@router.get(
    "/stations/{station_id}/messages/{event_id}",
    response_class=HTMLResponse,
    dependencies=needs(Permission.READ_FRAMES),
)
async def show_message(visit: Visiting, station_id: str, event_id: str) -> Response:
    """One message: as it was sent, what was understood, what came of it."""
    state = await get_state(visit.api, station_id.casefold())
    log = log_of(visit, state.station_id)
    place = await found_in(visit, log, event_id)
    if place.type == OcppCallAnswered.__name__:
        return RedirectResponse(message_address(state.station_id, place.cause_id, place.recorded_at), 307)
    record = await _message(log, place)
    effects = await log.effects(place)
    answered = await _answered(log, effects)
    return visit.page(
        "station_message.html",
        tab="messages",
        state=state,
        place=place,
        record=record,
        told=understood(record, zone_at(visit, state.station_id)),
        answer=_answer_of(answered or record),
        latency=_latency(record, answered),
        causes=await log.causes(place),
        effects=effects,
        resent=isinstance(record, OcppCallSent),
    )


@router.get(
    "/stations/{station_id}/messages/{event_id}/test-case.json",
    dependencies=needs(Permission.READ_FRAMES),
)
async def show_test_case(visit: Visiting, station_id: str, event_id: str) -> Response:
    """The message as a test case, to be kept as a file."""
    state = await get_state(visit.api, station_id.casefold())
    log = log_of(visit, state.station_id)
    place = await found_in(visit, log, event_id)
    record = await _message(log, place)
    if isinstance(record, FrameRejected):
        raise NotFound("a frame that was refused has no payload: copy it as it is")
    assert isinstance(record, OcppCallReceived | OcppCallSent)
    if isinstance(record, OcppCallReceived) and record.pending:
        answered = await _answered(log, await log.effects(place))
        if answered is not None:
            record = msgspec.structs.replace(record, answer=answered.answer, error=answered.error)
    told = as_test_case(record, zone_at(visit, state.station_id), tokens=visit.may(Permission.READ_TOKENS))
    # The action may be a text of the charger's own.
    name = f"{_NOT_A_NAME.sub('', record.action)[:_LONGEST]}-{place.event_id[:8]}.json"
    return JSONResponse(told, headers={"content-disposition": f'attachment; filename="{name}"'})


def message_address(station_id: str, event_id: str, near: datetime) -> str:
    """Where a message is shown."""
    return address(path_of("stations", station_id, "messages", event_id), {}, near=near.isoformat())


def log_of(visit: Visit, station_id: str) -> EventLog:
    """The log of a station and of the sites that it was ever at, as far as who asks reaches them."""
    registry = visit.api.registry
    entry = registry.stations.get(station_id)
    sites = () if entry is None else tuple(each.id for each in entry.sites if each.id in registry.sites)
    return EventLog(visit.api.reader, visit.api.contract, station_id, sites)


async def found_in(visit: Visit, log: EventLog, event_id: str) -> Place:
    """The record of that id; the address may say `near` which moment. Raises NotFound."""
    place = await log.find(event_id, moment_in(visit.request.query_params, "near"))
    if place is None:
        raise NotFound(f"there is no record {event_id[:_LONGEST]!r} of this station")
    return place


def zone_at(visit: Visit, station_id: str) -> tzinfo:
    """Where the charger's local times are."""
    return zone_of(visit.api.registry.stations.get(station_id))


async def _message(log: EventLog, place: Place) -> Record:
    if place.type not in FRAMES:
        raise NotFound(f"the record {place.event_id!r} is no message")
    return await log.record(place)


async def _answered(log: EventLog, effects: list[Place]) -> OcppCallAnswered | None:
    place = next((each for each in effects if each.type == OcppCallAnswered.__name__), None)
    if place is None:
        return None
    record = await log.record(place)
    assert isinstance(record, OcppCallAnswered)
    return record


def _answer_of(record: Record) -> dict[str, Any]:
    """Payload and error of the answer."""
    match record:
        case OcppCallReceived() | OcppCallAnswered():
            return {"payload": record.answer, "error": record.error}
        case OcppCallSent():
            return {"payload": record.result, "error": record.error}
    return {"payload": None, "error": None}


def _latency(record: Record, answered: OcppCallAnswered | None) -> timedelta | None:
    """How long the answer took, where it is known."""
    if isinstance(record, OcppCallSent):
        return timedelta(microseconds=record.round_trip_us)
    return None if answered is None else timedelta(microseconds=answered.recorded_at - record.recorded_at)
