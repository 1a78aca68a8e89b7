"""Where OCPP messages carry passwords of stations."""

from collections.abc import Callable, Mapping
from typing import Any, Final

PASSWORD_KEY: Final = "AuthorizationKey"  # noqa: S105
PASSWORD_VARIABLE: Final = ("SecurityCtrlr", "BasicAuthPassword")

MASK: Final = "***"

Change = Callable[[str], str]


def with_secrets_changed(action: str, payload: Mapping[str, Any], change: Change) -> dict[str, Any]:
    """A command's payload with `change` made to each password that it sets."""
    if action == "ChangeConfiguration" and _is(payload.get("key"), PASSWORD_KEY):
        return {**payload, "value": change(str(payload["value"]))}
    if action == "SetVariables":
        return {
            **payload,
            "setVariableData": [_variable(item, change) for item in payload["setVariableData"]],
        }
    return dict(payload)


def without_secrets(action: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """A station's result with passwords masked that it should never have told (1.6 §9.2: write-only)."""
    keys = result.get("configurationKey")
    if action == "GetConfiguration" and isinstance(keys, list):
        return {**result, "configurationKey": [_masked(item) for item in keys]}
    return dict(result)


def _variable(item: Mapping[str, Any], change: Change) -> Mapping[str, Any]:
    component, variable = PASSWORD_VARIABLE
    if _is(item["component"].get("name"), component) and _is(item["variable"].get("name"), variable):
        return {**item, "attributeValue": change(item["attributeValue"])}
    return item


def _masked(item: Any) -> Any:
    if isinstance(item, Mapping) and _is(item.get("key"), PASSWORD_KEY) and item.get("value"):
        return {**item, "value": MASK}
    return item


def _is(name: Any, wanted: str) -> bool:
    return isinstance(name, str) and name.casefold() == wanted.casefold()
