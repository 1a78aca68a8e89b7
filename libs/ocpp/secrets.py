"""Where OCPP messages carry passwords of stations, and shared secrets of their networks."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from libs.ocpp.frames import salvage
from libs.security.sealing import is_sealed

PASSWORD_KEY: Final = "AuthorizationKey"  # noqa: S105
PASSWORD_VARIABLE: Final = ("SecurityCtrlr", "BasicAuthPassword")

MASK: Final = "***"

# OCPP's own names (AuthorizationKey, BasicAuthPassword, ApnPassword, VpnKey, ...) and what makers call theirs: how each
# goes on after its first letter. That letter stands in the pattern in either case, and nothing but the rest ignores
# case: only so does `re` pass over a text of other letters in a few nanoseconds for each, and not in hundreds.
_RESTS: Final[Mapping[str, str]] = {
    "p": r"ass[_\- ]?(?:word|wd|phrase|code)|sk(?:(?![a-z])|(?<![a-z]psk))|rivate[_\- ]?key",
    "s": r"ecret|hared[_\- ]?key|im[_\- ]?pin",
    "c": r"redential",
    "a": r"uth(?:ori[sz]ation)?[_\- ]?key|ccess[_\- ]?(?:key|token)|pi[_\- ]?key",
    "e": r"ncryption[_\- ]?key",
    "v": r"pn[_\- ]?key",
    "w": r"(?:i-?fi|lan|ep|pa)[_\- ]?key",
}
_WORDS: Final = "|".join(
    f"{first}(?i:{rest})" for letter, rest in _RESTS.items() for first in (letter, letter.upper())
)
_NAMED: Final = re.compile(_WORDS)
# Of a secret, but none itself.
_ABOUT: Final = re.compile(r"(?:length|enabled|required|supported|policy|attempts)$", re.IGNORECASE)
_VALUES: Final = frozenset({"value", "attributevalue", "actualvalue", "data"})
_TELLING: Final = frozenset(
    {"GetConfiguration", "GetVariables", "ChangeConfiguration", "SetVariables", "DataTransfer"}
)
_FREE: Final = frozenset(
    {"DataTransfer", "NotifyReport", "NotifyMonitoringReport", "NotifyEvent", "SecurityEventNotification"}
)
"""Messages of stations in which there may be values of their own choice."""
_PROFILE: Final[Mapping[str, frozenset[str]]] = {
    "": frozenset({"basicAuthPassword"}),
    "apn": frozenset({"apnPassword"}),
    "vpn": frozenset({"password", "key"}),
}
"""What is secret in a NetworkConnectionProfile and in its parts."""

_MENTION: Final = re.compile(_WORDS.encode())
_PAIR: Final = re.compile(rf"((?:{_WORDS})[^\s=:&;,\"']*[\"']?\s*[=:]\s*)(\"[^\"]*\"?|'[^']*'?|[^\s&;,\"']+)")
# Letters that JSON writes as escapes, by which a name could be written in another way.
_ESCAPED: Final = re.compile(rb"\\u00[4-7]")
_ANSWER: Final = re.compile(rb"[^\[\"{]*\[[\s\"']*[34](?![0-9])")

TextMapper = Callable[[str], str]


def with_secrets_changed(action: str, payload: Mapping[str, Any], change: TextMapper) -> dict[str, Any]:
    """A command's payload with `change` made to each password that it sets; OCPP's and version-free commands.

    What breaks the command's schema is left as it is.
    """
    match action, payload:
        case "ChangeConfiguration", {"key": key, "value": str(value)} if is_secret_name(key):
            return {**payload, "value": change(value)}
        case "SetVariables", {"values": list(values)}:
            return {**payload, "values": [_version_free(item, change) for item in values]}
        case "SetVariables", {"setVariableData": list(values)}:
            return {**payload, "setVariableData": [_variable(item, change) for item in values]}
        case "SetNetworkProfile", {"connectionData": Mapping() as profile}:
            return {**payload, "connectionData": _profile(profile, change)}
        case "DataTransfer", {"data": data}:
            subject = payload.get("messageId", payload.get("message_id"))
            return {**payload, "data": _transferred(data, change, whole=is_secret_name(subject))}
    return dict(payload)


def kept_payload(action: str, payload: str) -> str:
    """What is kept of a station's message (JSON text): values beside a secret's name are masked."""
    if action not in _FREE or not (_NAMED.search(payload) or _ESCAPED.search(payload.encode())):
        return payload
    read = orjson.loads(payload)
    masked = _masked_texts(read, within=False, guess=action != "SecurityEventNotification")
    return payload if masked == read else orjson.dumps(masked).decode()


def without_secrets(action: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """A station's result with passwords masked that it should never have told (1.6 §9.2: write-only).

    Results are taken as they come: whatever form this one has, the value beside a password's name is masked.
    """
    if action == "DataTransfer":
        masked: dict[str, Any] = _masked_texts(result, within=False, guess=True)
        return masked
    return _masked_members(result) if action in _TELLING else dict(result)


def told_without_secrets(action: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """A command's payload with each secret written over, at its length: to say what is wrong with it."""
    told = with_secrets_changed(action, payload, lambda secret: "*" * len(secret))
    # A secret of another type than the schema's is none that can be set, and is not repeated either.
    hidden: dict[str, Any] = _with_numbers_hidden(told)
    return hidden


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


def _profile(profile: Mapping[str, Any], change: TextMapper) -> dict[str, Any]:
    changed = _members(profile, _PROFILE[""], change)
    for part in ("apn", "vpn"):
        if isinstance(within := profile.get(part), Mapping):
            changed[part] = _members(within, _PROFILE[part], change)
    return changed


def _members(item: Mapping[str, Any], secret: frozenset[str], change: TextMapper) -> dict[str, Any]:
    return {
        name: change(value) if name in secret and isinstance(value, str) else value
        for name, value in item.items()
    }


def _variable(item: Any, change: TextMapper) -> Any:
    match item:
        case {"variable": {"name": name}, "attributeValue": str(value)} if is_secret_name(name):
            return {**item, "attributeValue": change(value)}
    return item


def _version_free(item: Any, change: TextMapper) -> Any:
    match item:
        case {"name": name, "value": str(value)} if is_secret_name(name):
            return {**item, "value": change(value)}
    return item


def _masked(told: Any) -> Any:
    if isinstance(told, list):
        return [_masked(each) for each in told]
    return _masked_members(told) if isinstance(told, Mapping) else told


def _masked_members(told: Mapping[str, Any]) -> dict[str, Any]:
    about_one = any(
        is_secret_name(value.get("name") if isinstance(value, Mapping) else value) for value in told.values()
    )
    return {
        name: MASK
        if value and (is_secret_name(name) or (about_one and name.strip().casefold() in _VALUES))
        else _masked(value)
        for name, value in told.items()
    }


def _masked_texts(told: Any, *, within: bool, guess: bool) -> Any:
    """`told` with texts masked that stand beside a secret's name, at any depth; `within`: they do.

    `guess`: of a text that mentions one, without saying where its value is, nothing is kept.
    """
    if isinstance(told, str):
        return MASK if within and told else _masked_text(told, guess)
    if isinstance(told, list):
        return [_masked_texts(each, within=within, guess=guess) for each in told]
    if not isinstance(told, Mapping):
        return told
    about_one = within or any(map(_names_secret, told.values()))
    return {
        name: _masked_texts(
            value,
            within=is_secret_name(name)
            or (about_one and (name.strip().casefold() in _VALUES or _holds_values(value))),
            guess=guess,
        )
        if name.strip().casefold() in _VALUES or not isinstance(value, str)
        else (MASK if value and is_secret_name(name) else _masked_pairs(value))
        for name, value in told.items()
    } | {
        name: MASK for name, value in told.items() if is_secret_name(name) and isinstance(value, int | float)
    }


def _names_secret(value: Any) -> bool:
    return is_secret_name(value.get("name") if isinstance(value, Mapping) else value)


def _holds_values(value: Any) -> bool:
    """Whether it is a list of attributes, as a variable has them in reports."""
    return isinstance(value, list) and all(isinstance(each, Mapping) for each in value)


def _masked_text(text: str, guess: bool) -> str:
    if not _NAMED.search(text):
        return text
    try:
        read = orjson.loads(text)
    except orjson.JSONDecodeError:
        read = None
    if isinstance(read, dict | list):
        masked = _masked_texts(read, within=False, guess=guess)
        return text if masked == read else orjson.dumps(masked).decode()
    masked_text = _masked_pairs(text)
    return MASK if guess and masked_text == text else masked_text


def _masked_pairs(text: str) -> str:
    return _PAIR.sub(rf"\1{MASK}", text)


def _transferred(data: Any, change: TextMapper, *, whole: bool) -> Any:
    """What a maker's own message carries: all of a text that mentions a secret, else members that are one."""
    if isinstance(data, str):
        return change(data) if data and (whole or is_sealed(data) or _NAMED.search(data)) else data
    if isinstance(data, list):
        return [_transferred(each, change, whole=whole) for each in data]
    if isinstance(data, Mapping):
        about_one = whole or any(map(_names_secret, data.values()))
        return {
            name: _transferred(
                value,
                change,
                whole=is_secret_name(name) or (about_one and name.strip().casefold() in _VALUES),
            )
            for name, value in data.items()
        }
    return data


def _with_numbers_hidden(told: Any) -> Any:
    if isinstance(told, list):
        return [_with_numbers_hidden(each) for each in told]
    if not isinstance(told, Mapping):
        return told
    about_one = any(map(_names_secret, told.values()))
    return {
        name: 0
        if isinstance(value, int | float)
        and (is_secret_name(name) or (about_one and name.strip().casefold() in _VALUES))
        else _with_numbers_hidden(value)
        for name, value in told.items()
    }


def is_secret_name(name: Any) -> bool:
    """Whether a key, a variable, or a version-free `Component.Variable[instance]` is named as secrets are."""
    if not isinstance(name, str):
        return False
    plain = name.rpartition(".")[2].partition("[")[0].strip()
    return _NAMED.search(plain) is not None and _ABOUT.search(plain) is None
