"""The configuration of a station: what it told of its variables, changed, and read back."""

from http import HTTPStatus
from typing import Any, Final

import msgspec
import orjson
from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from libs.access.roles import Permission
from libs.ocpp.versions import Version, known_version
from libs.runtime.clock import now_us
from services.api.commands.routes import CommandHeaders, CommandWish, send_command
from services.api.domain.errors import Conflict, Invalid
from services.api.equipment.variables import (
    DeviceModel,
    Variables,
    VariablesChange,
    VariablesWish,
    get_device_model,
    get_variables,
    set_variables,
)
from services.api.http.permissions import needs
from services.api.live.state import StationState, get_state
from services.console.abilities import lacking, why_not
from services.console.configuration import Setting, Taken, characteristics, fault, judged, settings_of
from services.console.editing import Sent, SeveralWrong, Trouble, sent, tried
from services.console.web.visit import Visit, Visiting

router = APIRouter(dependencies=needs(Permission.READ))

_MOST_SHOWN: Final = 200
_MOST_CHANGED: Final = 50
_LONGEST_SEARCH: Final = 100
_TIMEOUT_S: Final = 20
_FIELD: Final = "v."
_NOTHING: Final = Trouble({}, HTTPStatus.OK)


class Asked(msgspec.Struct, frozen=True):
    """What was done: changes with what became of them, or a reading. `commands`: ids and fates, in their order."""

    taken: tuple[Taken, ...] = ()
    commands: tuple[tuple[str, str, str], ...] = ()
    report: bool = False


@router.get("/stations/{station_id}/configuration", response_class=HTMLResponse)
async def show_configuration(visit: Visiting, station_id: str) -> Response:
    """The list. `q` in the address: part of a variable's name."""
    return await _page(visit, station_id.casefold(), {}, _NOTHING)


@router.post("/stations/{station_id}/configuration", response_class=HTMLResponse)
async def change_configuration(visit: Visiting, station_id: str) -> Response:
    """What was wanted beside what the charger then says; or everything read again."""
    station_id = station_id.casefold()
    given = await sent(visit)
    reading = given.text("way") == "read"
    permission = Permission.COMMAND_READ if reading else Permission.COMMAND_DISRUPTIVE
    outcome = await tried(
        visit,
        given,
        permission,
        lambda: _read(visit, station_id) if reading else _changed(visit, station_id, given),
    )
    if isinstance(outcome, Trouble):
        return await _page(visit, station_id, given.entered, outcome)
    return await _page(visit, station_id, {}, _NOTHING, outcome)


async def _read(visit: Visit, station_id: str) -> Asked:
    state = await get_state(visit.api, station_id)
    version = known_version(state.version)
    if version is not None and version.is_v2:
        number = now_us() // 1_000_000 % 2**31
        made = await send_command(
            api=visit.api, response=Response(), requester=visit.principal.name, must=visit.must,
            station_id=station_id, headers=CommandHeaders(),
            body=CommandWish.model_validate(
                {"command": "GetBaseReport", "payload": {"request_id": number, "kind": "full"}, "wait_s": 5}
            ),
        )  # fmt: skip
        return Asked(commands=((made.command_id, "GetBaseReport", made.status),), report=True)
    wish = VariablesWish(timeout_s=_TIMEOUT_S)
    found = await get_variables(visit.api, visit.principal.name, station_id, wish)
    return Asked(commands=_said(found), report=True)


async def _changed(visit: Visit, station_id: str, given: Sent) -> Asked:
    _ = visit.words.text
    settings = {each.key: each for each in await _settings(visit, station_id)}
    wanted: list[tuple[Setting, str]] = []
    wrong: dict[str, str] = {}
    for name, text in given.entered.items():
        if not name.startswith(_FIELD) or text == given.was.get(name, ""):
            continue
        setting = settings.get(name.removeprefix(_FIELD))
        if setting is None or not setting.writable:
            raise Conflict(_("The charger does not tell of this variable any more, or it cannot be changed."))
        wanted.append((setting, text))
        if found := fault(setting, text):
            wrong[name] = _fault_text(visit, *found)
    if wrong:
        raise SeveralWrong(wrong)
    if not wanted:
        raise Invalid(_("Nothing differs from what the charger has."))
    if len(wanted) > _MOST_CHANGED:
        raise Invalid(_("At most %(many)s at once.", many=_MOST_CHANGED))
    places = [
        {
            "name": each.name,
            "evse_id": each.told.evse_id or None,
            "connector_id": each.told.connector_id or None,
        }
        for each, _text in wanted
    ]
    values = [{**place, "value": text} for place, (_each, text) in zip(places, wanted, strict=True)]
    change = VariablesChange.model_validate({"variables": values, "timeout_s": _TIMEOUT_S})
    made = await set_variables(visit.api, visit.principal.name, visit.must, station_id, change)
    read: Variables | None = None
    if all(each.status not in ("PENDING", "EXPIRED", "UNKNOWN") for each in made.commands):
        wish = VariablesWish.model_validate({"variables": places, "timeout_s": _TIMEOUT_S})
        read = await get_variables(visit.api, visit.principal.name, station_id, wish)
    taken = tuple(
        judged(text, made.items[number], None if read is None else read.items[number])
        for number, (_each, text) in enumerate(wanted)
    )
    return Asked(taken, _said(made) + (() if read is None else _said(read)))


def _said(found: Variables) -> tuple[tuple[str, str, str], ...]:
    return tuple((each.command_id, each.action, each.status) for each in found.commands)


def _fault_text(visit: Visit, word: str, detail: str) -> str:
    _ = visit.words.text
    texts = {
        "integer": _("A whole number is needed."),
        "decimal": _("A decimal number is needed."),
        "boolean": _("Either true or false."),
        "choice": _("Only these: %(choices)s", choices=detail),
        "least": _("At least %(bound)s.", bound=detail),
        "most": _("At most %(bound)s.", bound=detail),
    }
    return texts[word]


async def _settings(visit: Visit, station_id: str) -> list[Setting]:
    answer = await get_device_model(visit.api, station_id)
    model: Any = (
        answer if isinstance(answer, DeviceModel) else DeviceModel.model_validate(orjson.loads(answer.body))
    )
    return settings_of(model.items, await characteristics(visit.api.reader, station_id))


async def _page(
    visit: Visit, station_id: str, entered: Any, trouble: Trouble, asked: Asked | None = None
) -> Response:
    state = await get_state(visit.api, station_id)
    settings = await _settings(visit, station_id)
    search = visit.request.query_params.get("q", "")[:_LONGEST_SEARCH].casefold()
    # What was typed stays in sight, whatever is searched for.
    found = [
        each for each in settings if search in each.name.casefold() or _FIELD + each.key in trouble.wrong
    ]
    return visit.page(
        "station_configuration.html", trouble.status, tab="configuration", state=state, found=found[:_MOST_SHOWN],
        more=len(found) - _MOST_SHOWN, many=len(settings), entered=entered, trouble=trouble, asked=asked,
        cannot=_cannot(visit, state),
    )  # fmt: skip


def _cannot(visit: Visit, state: StationState) -> dict[str, str]:
    """Why the charger can not be asked, or changed, by what it says that it lacks."""
    version = known_version(state.version)
    if version is None:
        return {"read": "", "change": ""}
    missing = lacking(visit, state.station_id)
    reading, changing = (
        ("GetConfiguration", "ChangeConfiguration")
        if version is Version.V16
        else ("GetBaseReport", "SetVariables")
    )
    return {"read": why_not(version, reading, missing), "change": why_not(version, changing, missing)}
