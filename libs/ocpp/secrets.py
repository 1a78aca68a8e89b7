"""Where OCPP messages carry passwords of stations, and shared secrets of their networks."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from libs.ocpp.frames import salvage

PASSWORD_KEY: Final = "AuthorizationKey"  # noqa: S105
PASSWORD_VARIABLE: Final = ("SecurityCtrlr", "BasicAuthPassword")

MASK: Final = "***"

_NAMES: Final = frozenset(
    # 1.6; 2.x SecurityCtrlr; 2.1 NetworkConfiguration.
    {PASSWORD_KEY.casefold(), "basicauthpassword", "apnpassword", "vpnpassword", "vpnkey"}
)
_VALUES: Final = frozenset({"value", "attributevalue"})
_TELLING: Final = frozenset({"GetConfiguration", "GetVariables", "ChangeConfiguration", "SetVariables"})
_PROFILE: Final[Mapping[str, frozenset[str]]] = {
    "": frozenset({"basicAuthPassword"}),
    "apn": frozenset({"apnPassword"}),
    "vpn": frozenset({"password", "key"}),
}
"""What is secret in a NetworkConnectionProfile and in its parts."""

_MENTION: Final = re.compile("|".join(sorted(_NAMES)).encode(), re.IGNORECASE)
# Letters that JSON writes as escapes, by which a name could be written in another way.
_ESCAPED: Final = re.compile(rb"\\u00[4-7]")
_ANSWER: Final = re.compile(rb"[^\[\"{]*\[[\s\"']*[34](?![0-9])")

Change = Callable[[str], str]


def with_secrets_changed(action: str, payload: Mapping[str, Any], change: Change) -> dict[str, Any]:
    """A command's payload with `change` made to each password that it sets; OCPP's and version-free commands.

    What breaks the command's schema is left as it is.
    """
    match action, payload:
        case "ChangeConfiguration", {"key": key, "value": str(value)} if _is_secret(key):
            return {**payload, "value": change(value)}
        case "SetVariables", {"values": list(values)}:
            return {**payload, "values": [_version_free(item, change) for item in values]}
        case "SetVariables", {"setVariableData": list(values)}:
            return {**payload, "setVariableData": [_variable(item, change) for item in values]}
        case "SetNetworkProfile", {"connectionData": Mapping() as profile}:
            return {**payload, "connectionData": _profile(profile, change)}
    return dict(payload)


def without_secrets(action: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """A station's result with passwords masked that it should never have told (1.6 §9.2: write-only).

    Results are taken as they come: whatever form this one has, the value beside a password's name is masked.
    """
    return _masked_members(result) if action in _TELLING else dict(result)


def shown_frame(frame: bytes, most: int) -> str:
    """What may be kept of a frame that is of no use: its beginning, at most `most` characters.

    Of an answer to a CALL of ours, and of anything that names a password, only message type and id, where these can be
    read: an answer that comes late or is broken may hold what the station should never have told.
    """
    # In UTF-16 every other byte is zero.
    plain = frame.replace(b"\0", b"")
    if not (_ANSWER.match(plain) or _MENTION.search(plain) or _ESCAPED.search(plain)):
        return frame[:most].decode("utf-8", "replace")
    kind, message_id, _ = salvage(frame)
    return "" if kind is None else f'[{kind},"{message_id}"'


def _profile(profile: Mapping[str, Any], change: Change) -> dict[str, Any]:
    changed = _members(profile, _PROFILE[""], change)
    for part in ("apn", "vpn"):
        if isinstance(within := profile.get(part), Mapping):
            changed[part] = _members(within, _PROFILE[part], change)
    return changed


def _members(item: Mapping[str, Any], secret: frozenset[str], change: Change) -> dict[str, Any]:
    return {
        name: change(value) if name in secret and isinstance(value, str) else value
        for name, value in item.items()
    }


def _variable(item: Any, change: Change) -> Any:
    match item:
        case {"variable": {"name": name}, "attributeValue": str(value)} if _is_secret(name):
            return {**item, "attributeValue": change(value)}
    return item


def _version_free(item: Any, change: Change) -> Any:
    match item:
        case {"name": name, "value": str(value)} if _is_secret(name):
            return {**item, "value": change(value)}
    return item


def _masked(told: Any) -> Any:
    if isinstance(told, list):
        return [_masked(each) for each in told]
    return _masked_members(told) if isinstance(told, Mapping) else told


def _masked_members(told: Mapping[str, Any]) -> dict[str, Any]:
    about_one = any(
        _is_secret(value.get("name") if isinstance(value, Mapping) else value) for value in told.values()
    )
    return {
        name: MASK
        if value and (_is_secret(name) or (about_one and name.strip().casefold() in _VALUES))
        else _masked(value)
        for name, value in told.items()
    }


def _is_secret(name: Any) -> bool:
    """Whether a key, a variable, or a version-free `Component.Variable[instance]` is one of those names."""
    if not isinstance(name, str):
        return False
    return name.rpartition(".")[2].partition("[")[0].strip().casefold() in _NAMES
