"""What a charger says about its variables, in the order in which it was asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from libs.ocpp.semantics.commands import MOST_VARIABLES, Variable, VariableValue
from libs.ocpp.semantics.variables import format_name, named_in
from libs.ocpp.versions import Version


class VariableSaid(msgspec.Struct, frozen=True):
    """One variable. `status`: the charger's word; None: it said nothing. `name`: as it was asked for."""

    name: str
    evse_id: int | None = None
    connector_id: int | None = None
    status: str | None = None
    value: str | None = None
    read_only: bool | None = None


Asked = Sequence[Variable] | Sequence[VariableValue]


def batches(asked: Sequence[Any], most: int = MOST_VARIABLES) -> list[Sequence[Any]]:
    """`asked` in parts that one command may be about."""
    return [asked[at : at + most] for at in range(0, len(asked), most)]


def read_values(version: Version, asked: Sequence[Variable], result: dict[str, Any]) -> list[VariableSaid]:
    """The values of `asked` by the result of GetVariables, or of GetConfiguration in 1.6."""
    if version.is_v2:
        return _in_order(version, asked, result.get("getVariableResult"))
    found = {
        str(each["key"]).casefold(): each
        for each in _objects(result.get("configurationKey"))
        if "key" in each
    }
    unknown = {str(key).casefold() for key in result.get("unknownKey") or ()}
    said = []
    for variable in asked:
        key = named_in(version, variable.name).casefold()
        if (told := found.get(key)) is not None:
            value, read_only = told.get("value"), told.get("readonly")
            known = VariableSaid(variable.name, None, None, "Accepted", _text(value), bool(read_only))
            said.append(known)
        else:
            said.append(VariableSaid(variable.name, status="UnknownVariable" if key in unknown else None))
    return said


def read_changes(
    version: Version, asked: Sequence[VariableValue], result: dict[str, Any]
) -> list[VariableSaid]:
    """What became of changes by the result of SetVariables, or of ChangeConfiguration (one key) in 1.6."""
    if version.is_v2:
        return _in_order(version, asked, result.get("setVariableResult"))
    return [VariableSaid(each.name, status=_text(result.get("status"))) for each in asked]


def unsaid(asked: Iterable[Variable | VariableValue]) -> list[VariableSaid]:
    """Variables about which the charger said nothing."""
    return [VariableSaid(each.name, each.evse_id, each.connector_id) for each in asked]


def every_key(result: dict[str, Any]) -> list[VariableSaid]:
    """The whole configuration of a 1.6 charger."""
    return [
        VariableSaid(
            str(each["key"]), None, None, "Accepted", _text(each.get("value")), bool(each.get("readonly"))
        )
        for each in _objects(result.get("configurationKey"))
        if "key" in each
    ]


def _in_order(version: Version, asked: Asked, results: Any) -> list[VariableSaid]:
    told: dict[tuple[str, int, int], list[dict[str, Any]]] = {}
    for each in _objects(results):
        component, variable = each.get("component"), each.get("variable")
        if (
            isinstance(component, dict)
            and isinstance(variable, dict)
            and "name" in component
            and "name" in variable
        ):
            evse = component.get("evse") or _NOWHERE
            place = (
                format_name(component, variable).casefold(),
                evse.get("id") or 0,
                evse.get("connectorId") or 0,
            )
            told.setdefault(place, []).append(each)
    said = []
    for wanted in asked:
        name = named_in(version, wanted.name).casefold()
        answers = told.get((name, wanted.evse_id or 0, wanted.connector_id or 0))
        answer = _NOWHERE if not answers else answers.pop(0) if len(answers) > 1 else answers[0]
        said.append(
            VariableSaid(
                wanted.name,
                wanted.evse_id,
                wanted.connector_id,
                _text(answer.get("attributeStatus")),
                _text(answer.get("attributeValue")),
            )
        )
    return said


_NOWHERE: Final[dict[str, Any]] = {}


def _objects(values: Any) -> list[dict[str, Any]]:
    return [each for each in values if isinstance(each, dict)] if isinstance(values, list) else []


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
