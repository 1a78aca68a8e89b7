"""Passwords of stations: set, rotated and settled. One that was made is shown once, and nowhere kept."""

from typing import Final

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from libs.access.roles import Permission
from services.api.domain.errors import Forbidden, Invalid
from services.api.equipment.passwords import (
    NewPassword,
    Rotation,
    RotationState,
    Settlement,
    delete_password,
    put_password,
    rotate_password,
    settle_password,
)
from services.api.equipment.passwords import Password as Standing
from services.api.http.permissions import needs
from services.api.live.state import get_state
from services.console.editing import Sent, Trouble, sent, tried
from services.console.web.visit import Visit, Visiting

router = APIRouter(dependencies=needs(Permission.READ))

_WAIT_S: Final = 5.0
_NOTHING: Final = Trouble({}, 200)
_FINAL: Final = frozenset({"set", "remove"})
_WAYS: Final = frozenset({"set", "rotate", "settle", "remove"})


@router.get("/stations/{station_id}/password", response_class=HTMLResponse)
async def show_password(visit: Visiting, station_id: str) -> Response:
    """How the password stands, and what can be done about it."""
    return await _page(visit, station_id.casefold(), "", _NOTHING)


@router.post("/stations/{station_id}/password", response_class=HTMLResponse)
async def change_password(visit: Visiting, station_id: str) -> Response:
    """Do it, and show what came of it. Nothing that is a password goes into an address or a log."""
    station_id = station_id.casefold()
    given = await sent(visit)
    way = given.text("way")
    outcome = await tried(
        visit, given, Permission.COMMAND_SECURITY, lambda: _done(visit, station_id, way, given)
    )
    if isinstance(outcome, Trouble):
        return await _page(visit, station_id, way, outcome)
    return await _page(visit, station_id, way, _NOTHING, outcome)


async def _done(visit: Visit, station_id: str, way: str, given: Sent) -> Standing | RotationState | str:
    api, typed = visit.api, given.entered.get(f"{way}_password") or None
    _ = visit.words.text
    if way in _FINAL and station_id in api.registry.credentials and given.text("sure") != "yes":
        raise Invalid(_("This cannot be undone: say that you are sure."), "/sure")
    match way:
        case "set":
            return await put_password(api, station_id, NewPassword.model_validate({"password": typed}))
        case "rotate":
            wanted = {"password": typed, "version": given.text("version") or None, "wait_s": _WAIT_S}
            body = Rotation.model_validate(wanted)
            return await rotate_password(api, Response(), visit.principal.name, station_id, body)
        case "settle":
            return await settle_password(
                api, station_id, Settlement.model_validate({"keep": given.text("keep")})
            )
        case "remove":
            await delete_password(api, station_id)
            return "removed"
        case _:
            return ""


async def _page(
    visit: Visit, station_id: str, way: str, trouble: Trouble, done: Standing | RotationState | str = ""
) -> Response:
    if not visit.may(Permission.COMMAND_SECURITY):
        raise Forbidden("this needs command_security", Permission.COMMAND_SECURITY.value)
    state = await get_state(visit.api, station_id)
    known = visit.api.registry.credentials.get(station_id)
    return visit.page(
        "station_password.html",
        trouble.status,
        tab="papers",
        state=state,
        accepted=0 if known is None else len(known.passwords),
        way=way if way in _WAYS else "",
        trouble=trouble,
        done=done,
        made=getattr(done, "password", None),
        rotation=done if isinstance(done, RotationState) else None,
    )
