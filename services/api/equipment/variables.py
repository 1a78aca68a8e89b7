"""Variables of chargers: asked for, changed, and as they were last told."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Query, Response
from pydantic import BeforeValidator, Field, StringConstraints

from libs.access.command_classes import permission_of
from libs.access.roles import Permission
from libs.ocpp.semantics.commands import (
    Command,
    GetBaseReport,
    GetVariables,
    SetVariables,
    Variable,
    VariableValue,
)
from services.api.commands.conversation import Conversation, Said
from services.api.context import Api, Requester
from services.api.domain.errors import Invalid
from services.api.domain.variable_results import (
    VariableSaid,
    batches,
    every_key,
    read_changes,
    read_values,
    unsaid,
)
from services.api.equipment.said import CommandSaid, Timeout, said_of
from services.api.http.fields import Folded, Input, Output, Time
from services.api.http.permissions import Permitted, needs
from services.api.http.routing import in_thread, routes

router = routes("equipment")

_MOST_VARIABLES = 500


class VariableWanted(Input):
    """A variable: a configuration key of 1.6, or `Component.Variable[instance]` of 2.x; well-known ones by either."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=200)] = Field(
        examples=["OCPPCommCtrlr.HeartbeatInterval"]
    )
    evse_id: Annotated[int | None, Field(strict=True, ge=0)] = None
    connector_id: Annotated[int | None, Field(strict=True, ge=0)] = None


class NewValue(VariableWanted):
    """A variable and what it shall be."""

    value: Annotated[str, StringConstraints(max_length=2500)]


def _by_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class VariablesWish(Input):
    """The variables to be read, each as a name alone or as an object."""

    variables: Annotated[
        list[
            Annotated[VariableWanted, BeforeValidator(_by_name, json_schema_input_type=VariableWanted | str)]
        ],
        Field(max_length=_MOST_VARIABLES),
    ] = Field(
        default_factory=list,
        description="None: the whole configuration of a 1.6 charger.",
        examples=[["HeartbeatInterval", {"name": "Connector.AvailabilityState", "evse_id": 1}]],
    )
    timeout_s: Timeout = 60


class VariablesChange(Input):
    """The variables to be changed."""

    variables: Annotated[list[NewValue], Field(min_length=1, max_length=_MOST_VARIABLES)]
    timeout_s: Timeout = 60


class VariableTold(Output):
    """What the charger said of one variable. `status`: its word, null if it said nothing."""

    name: str
    evse_id: int | None
    connector_id: int | None
    status: str | None
    value: str | None
    read_only: bool | None


class Variables(Output):
    """What the charger said, in the order of the request, and the commands that it took."""

    station_id: str
    version: str
    items: list[VariableTold]
    commands: list[CommandSaid]


class DeviceVariable(Output):
    """A variable as it was last told. `component`: empty for the configuration keys of 1.6."""

    component: str
    component_instance: str
    evse_id: int
    connector_id: int
    variable: str
    variable_instance: str
    attribute: str
    value: str | None
    mutability: str
    source: str
    at: Time


class DeviceReport(Output):
    """A report as far as it has come. `complete`: every part is here."""

    request_id: int
    parts: int
    complete: bool
    updated_at: Time


class DeviceModel(Output):
    """What a charger told of its variables, and the reports that told it, the latest first."""

    station_id: str
    reports: list[DeviceReport]
    items: list[DeviceVariable]


@router.post("/stations/{station_id}/variables/get", dependencies=needs(Permission.COMMAND_READ))
async def get_variables(api: Api, requester: Requester, station_id: Folded, body: VariablesWish) -> Variables:
    """Ask a charger for variables, in as many messages as it needs (2.x ItemsPerMessage, 1.6 GetConfigurationMaxKeys).

    The items are in the order of the request. Without variables a 1.6 charger tells its whole configuration; of 2.x
    ask for a report (`GetBaseReport`), which the device model then shows.
    """
    talk = await Conversation.begin(api, station_id, requested_by=requester, timeout_s=body.timeout_s)
    if not body.variables:
        if talk.version.is_v2:
            raise Invalid("name the variables, or send GetBaseReport for all of them", "/variables")
        said = await talk.ask(GetBaseReport(request_id=0))
        return _variables(talk, every_key(said.result))
    wanted = [Variable(each.name, each.evse_id, each.connector_id) for each in body.variables]
    _check(talk, [GetVariables((each,)) for each in wanted])
    items: list[VariableSaid] = []
    for part in batches(wanted):
        if _given_up(talk.said):
            items += unsaid(part)
            continue
        said = await talk.ask(GetVariables(tuple(part)))
        items += read_values(talk.version, part, said.result)
    return _variables(talk, items)


@router.post("/stations/{station_id}/variables/set", dependencies=needs(Permission.COMMAND_DISRUPTIVE))
async def set_variables(
    api: Api, requester: Requester, must: Permitted, station_id: Folded, body: VariablesChange
) -> Variables:
    """Change variables of a charger, in as many messages as it needs; in 1.6 each key is one.

    The items are in the order of the request, with the charger's word on each. After a message that brought no
    answer the rest is not sent. For variables of credentials and certificates `command_security` is needed (403).
    """
    must(permission_of("SetVariables", {"values": [{"name": each.name} for each in body.variables]}))
    talk = await Conversation.begin(api, station_id, requested_by=requester, timeout_s=body.timeout_s)
    wanted = [
        VariableValue(each.name, each.value, each.evse_id, each.connector_id) for each in body.variables
    ]
    _check(talk, [SetVariables((each,)) for each in wanted])
    items: list[VariableSaid] = []
    # The ledger joins the results of one command; a ChangeConfiguration has but one status, for one key.
    for part in batches(wanted) if talk.version.is_v2 else batches(wanted, 1):
        if _given_up(talk.said):
            items += unsaid(part)
            continue
        said = await talk.ask(SetVariables(tuple(part)))
        items += read_changes(talk.version, part, said.result)
    return _variables(talk, items)


@router.get(
    "/stations/{station_id}/device-model", dependencies=needs(Permission.READ), response_model=DeviceModel
)
async def get_device_model(
    api: Api,
    station_id: Folded,
    component: Annotated[str | None, Query(max_length=50)] = None,
    variable: Annotated[str | None, Query(max_length=50)] = None,
) -> Response:
    """What a charger told of its variables by reports, GetVariables and GetConfiguration, each as told last."""
    asked = {"station_id": station_id, "component": component or "", "variable": variable or ""}
    # Before the items, so that a report that is called complete has all of its items here.
    reports = await api.reader.rows(
        "SELECT * FROM device_reports WHERE station_id = %(station_id)s ORDER BY updated_at DESC LIMIT 20",
        asked,
    )
    items = await api.reader.rows(
        "SELECT * FROM device_model WHERE station_id = %(station_id)s"
        " AND (%(component)s = '' OR component = %(component)s)"
        " AND (%(variable)s = '' OR variable = %(variable)s)"
        " ORDER BY component, component_instance, evse_id, connector_id, variable, variable_instance, attribute",
        asked,
    )
    return await in_thread(
        lambda: DeviceModel(
            station_id=station_id,
            reports=[DeviceReport.model_validate(row) for row in reports],
            items=[DeviceVariable.model_validate(row) for row in items],
        )
    )


def _check(talk: Conversation, commands: Sequence[Command]) -> None:
    """Raise Invalid for the first item that the charger's version cannot express, before anything is sent."""
    for number, command in enumerate(commands):
        talk.check(command, f"/variables/{number}")


def _given_up(said: Sequence[Said]) -> bool:
    return bool(said) and not said[-1].answered


def _variables(talk: Conversation, items: Sequence[VariableSaid]) -> Variables:
    told: list[Any] = list(items)
    return Variables(
        station_id=talk.station_id,
        version=talk.version.value,
        items=[VariableTold.model_validate(each) for each in told],
        commands=[said_of(said) for said in talk.said],
    )
