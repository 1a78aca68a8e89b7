"""Commands to one station: which it can be given, the form for each, and what became of one."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, get_args
from uuid import UUID

import msgspec
import orjson
from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from libs.access.command_classes import COMMAND_CLASSES, COMMAND_PERMISSIONS
from libs.access.roles import Permission
from libs.bus.errors import BusUnavailableError
from libs.events.ocpp_log import OcppCallSent
from libs.ocpp import schemas
from libs.ocpp.routing import ROUTES
from libs.ocpp.secrets import with_secrets_changed
from libs.ocpp.semantics import commands as semantic
from libs.ocpp.versions import Version, known_version
from services.api.commands.routes import CommandHeaders, CommandWish, get_command, send_command
from services.api.domain.errors import Conflict, Forbidden, Invalid, NotFound, TooMany
from services.api.http.permissions import needs
from services.api.http.problems import STATUS_OF, Unavailable
from services.api.live.state import StationState, get_state
from services.console.abilities import lacking as lacking_of
from services.console.abilities import why_not
from services.console.forms import FormError, FormField, entered_of, fields_of, payload_of
from services.console.pages.messages import found_in, log_of
from services.console.web.rendering import address
from services.console.web.visit import Visit, Visiting

router = APIRouter(dependencies=needs(Permission.READ))

VERSION_FREE: Final[Mapping[str, Any]] = {kind.__name__: kind for kind in get_args(semantic.Command)}
_WAIT_S: Final = 2.0
_LONGEST_KEY: Final = 100


class Choice(msgspec.Struct, frozen=True):
    """A command that can be chosen; `lacking`: what the charger would need for it and says it does not have."""

    action: str
    form: str
    permission: Permission
    lacking: str = ""


class Filled(msgspec.Struct, frozen=True):
    """A form as it is shown: what was entered, what is wrong by field, and whether a fresh sign-in is needed."""

    entered: Mapping[str, str] = {}
    wrong: Mapping[str, str] = {}
    status: int = HTTPStatus.OK
    stale: bool = False


@router.get("/stations/{station_id}/command", response_class=HTMLResponse)
async def choose(visit: Visiting, station_id: str) -> Response:
    """Every command that the station's OCPP version has, by what it needs, and those that any version has."""
    state = await get_state(visit.api, station_id.casefold())
    version = known_version(state.version)
    choices = [Choice(name, "any", COMMAND_CLASSES[name]) for name in VERSION_FREE]
    if version is not None:
        lacking = lacking_of(visit, state.station_id)
        choices += [
            Choice(action, "ocpp", COMMAND_CLASSES[action], why_not(version, action, lacking))
            for action, route in ROUTES[version].items()
            if route.to_station
        ]
    return visit.page(
        "command_choice.html", tab="commands", state=state, choices=choices, order=COMMAND_PERMISSIONS,
    )  # fmt: skip


@router.get("/stations/{station_id}/command/{form}/{action}", response_class=HTMLResponse)
async def fill_in(visit: Visiting, station_id: str, form: str, action: str) -> Response:
    """The form of one command; `like` in the address: filled in as the message of that event was."""
    state = await get_state(visit.api, station_id.casefold())
    stale = visit.is_stale(COMMAND_CLASSES.get(action, Permission.COMMAND_SECURITY))
    entered: Mapping[str, str] = {}
    like = visit.request.query_params.get("like")
    if like and form == "ocpp":
        entered = await _entered_as(visit, state, action, like)
    return _form(visit, state, (form, action), Filled(entered, stale=stale))


@router.post("/stations/{station_id}/command/{form}/{action}", response_class=HTMLResponse)
async def send(visit: Visiting, station_id: str, form: str, action: str) -> Response:
    """Send it, and show what becomes of it; the form again, with what was entered, if it is refused."""
    form_sent = await visit.request.form()
    # Browsers send a line's end as two characters.
    entered = {name: str(value).replace("\r\n", "\n") for name, value in form_sent.items()}
    visit.check_form(entered.pop("_form", ""))
    state = await get_state(visit.api, station_id.casefold())
    fields = _fields(known_version(state.version), form, action)
    _ = visit.words.text
    try:
        payload = payload_of(fields, entered)
    except FormError as error:
        wrong = {error.name: _("This is not what the field is for.")}
        return _form(visit, state, (form, action), Filled(entered, wrong, HTTPStatus.UNPROCESSABLE_ENTITY))
    named = "action" if form == "ocpp" else "command"
    try:
        sent = await send_command(
            api=visit.api,
            response=Response(),
            requester=visit.principal.name,
            must=visit.must,
            station_id=state.station_id,
            body=CommandWish.model_validate({named: action, "payload": payload, "wait_s": _WAIT_S}),
            headers=CommandHeaders(idempotency_key=entered.get("_once", "")[:_LONGEST_KEY] or None),
        )
    except (Conflict, Forbidden, Invalid, TooMany) as error:
        name = (error.path or "").removeprefix("/payload").strip("/").replace("/", ".")
        stale = isinstance(error, Forbidden) and visit.may(Permission(error.permission))
        filled = Filled(entered, {name: error.detail}, STATUS_OF[type(error)], stale)
        return _form(visit, state, (form, action), filled)
    except Unavailable:
        wrong = {"": _("This cannot be done now. Send it again in a while.")}
        return _form(visit, state, (form, action), Filled(entered, wrong, HTTPStatus.SERVICE_UNAVAILABLE))
    except BusUnavailableError:
        wrong = {"": _("Nobody knows whether it was sent. Send it again: it is the same command then.")}
        return _form(visit, state, (form, action), Filled(entered, wrong, HTTPStatus.SERVICE_UNAVAILABLE))
    return RedirectResponse(address(f"/commands/{sent.command_id}", {}, station=state.station_id), 303)


@router.get(
    "/commands/{command_id}", response_class=HTMLResponse, dependencies=needs(Permission.READ, personal=True)
)
async def show_command(visit: Visiting, command_id: UUID, station: str = "") -> Response:
    """A command, and its fate once there is one. `station`: whose it is, for a process that does not know it yet."""
    live = visit.live(f"command/{command_id}", late=True)
    try:
        command = await get_command(visit.api, command_id)
    except NotFound:
        if not station:
            raise
        state = await get_state(visit.api, station.casefold())
        return visit.page("command.html", live=live, tab="commands", state=state, command=None)
    state = await get_state(visit.api, command.station_id)
    return visit.page("command.html", live=live, tab="commands", state=state, command=command)


async def _entered_as(visit: Visit, state: StationState, action: str, event_id: str) -> Mapping[str, str]:
    """What was sent then, without the passwords that it set."""
    visit.must(Permission.READ_FRAMES)
    log = log_of(visit, state.station_id)
    place = await found_in(visit, log, event_id)
    record = await log.record(place)
    if not isinstance(record, OcppCallSent) or record.action != action:
        raise NotFound(f"the record {event_id!r} is no {action} that was sent")
    payload = with_secrets_changed(action, orjson.loads(record.payload), lambda _: "")
    return entered_of(_fields(known_version(state.version), "ocpp", action), payload)


def _form(visit: Visit, state: StationState, command: tuple[str, str], filled: Filled) -> Response:
    form, action = command
    version = known_version(state.version)
    return visit.page(
        "command_form.html",
        filled.status,
        tab="commands",
        state=state,
        action=action,
        fields=_fields(version, form, action),
        entered=filled.entered,
        wrong=filled.wrong,
        stale=filled.stale,
        lacking="" if version is None else why_not(version, action, lacking_of(visit, state.station_id)),
    )


def _fields(version: Version | None, form: str, action: str) -> tuple[FormField, ...]:
    if form == "any" and action in VERSION_FREE:
        return fields_of(msgspec.json.schema(VERSION_FREE[action]), frozenset({"type"}))
    if form == "ocpp" and version is not None:
        route = ROUTES[version].get(action)
        if route is not None and route.to_station:
            return fields_of(schemas.request_schema(version, action))
    raise NotFound(f"there is no command {action!r} for this station")
