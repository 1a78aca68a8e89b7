"""Where OCPP messages carry passwords of stations."""

from collections.abc import Callable, Mapping
from typing import Any, Final

PASSWORD_KEY: Final = "AuthorizationKey"  # noqa: S105
PASSWORD_VARIABLE: Final = ("SecurityCtrlr", "BasicAuthPassword")

MASK: Final = "***"

Change = Callable[[str], str]


def with_secrets_changed(action: str, payload: Mapping[str, Any], change: Change) -> dict[str, Any]:
    """A command's payload with `change` made to each password that it sets; OCPP's and version-free commands."""
    if action == "ChangeConfiguration" and _is(payload.get("key"), PASSWORD_KEY):
        return {**payload, "value": change(str(payload["value"]))}
    if action == "SetVariables" and "values" in payload:
        return {**payload, "values": [_version_free(item, change) for item in payload["values"]]}
    if action == "SetVariables":
        return {
            **payload,
            "setVariableData": [_variable(item, change) for item in payload["setVariableData"]],
        }
    return dict(payload)


def without_secrets(action: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """A station's result with passwords masked that it should never have told (1.6 §9.2: write-only)."""
    keys, variables = result.get("configurationKey"), result.get("getVariableResult")
    if action == "GetConfiguration" and isinstance(keys, list):
        return {**result, "configurationKey": [_masked(item) for item in keys]}
    if action == "GetVariables" and isinstance(variables, list):
        return {**result, "getVariableResult": [_masked_variable(item) for item in variables]}
    return dict(result)


def _variable(item: Mapping[str, Any], change: Change) -> Mapping[str, Any]:
    component, variable = PASSWORD_VARIABLE
    if _is(item["component"].get("name"), component) and _is(item["variable"].get("name"), variable):
        return {**item, "attributeValue": change(item["attributeValue"])}
    return item


def _masked_variable(item: Any) -> Any:
    try:
        return _variable(item, lambda _: MASK) if item.get("attributeValue") else item
    # Results are taken as they come.
    except (AttributeError, KeyError, TypeError):
        return item


def _version_free(item: Mapping[str, Any], change: Change) -> Mapping[str, Any]:
    if _is(item["name"], PASSWORD_KEY) or _is(item["name"], ".".join(PASSWORD_VARIABLE)):
        return {**item, "value": change(item["value"])}
    return item


def _masked(item: Any) -> Any:
    if isinstance(item, Mapping) and _is(item.get("key"), PASSWORD_KEY) and item.get("value"):
        return {**item, "value": MASK}
    return item


def _is(name: Any, wanted: str) -> bool:
    return isinstance(name, str) and name.casefold() == wanted.casefold()
