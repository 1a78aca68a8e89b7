"""A charger's variables as one list: what it told last, what it takes, and what became of changes."""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from services.api.equipment.variables import DeviceVariable, VariableTold
from services.api.scoped import Rows

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_DECIMAL: Final = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,9})?")
_BOOLEANS: Final = frozenset({"true", "false"})
SECRETS: Final = frozenset({"authorizationkey", "basicauthpassword"})
"""Variables that have a page of their own: passwords."""

# OCPP 1.6, chapter 9: types of the keys that it knows.
_INTEGERS_16: Final = frozenset(
    {
        "BlinkRepeat", "ClockAlignedDataInterval", "ConnectionTimeOut", "HeartbeatInterval", "LightIntensity",
        "LocalAuthListMaxLength", "MaxEnergyOnInvalidId", "MeterValueSampleInterval", "MinimumStatusDuration",
        "ResetRetries", "SendLocalListMaxLength", "TransactionMessageAttempts", "TransactionMessageRetryInterval",
        "WebSocketPingInterval",
    }
)  # fmt: skip
_BOOLEANS_16: Final = frozenset(
    {
        "AllowOfflineTxForUnknownId", "AuthorizationCacheEnabled", "AuthorizeRemoteTxRequests", "LocalAuthListEnabled",
        "LocalAuthorizeOffline", "LocalPreAuthorize", "StopTransactionOnEVSideDisconnect",
        "StopTransactionOnInvalidId", "UnlockConnectorOnEVSideDisconnect",
    }
)  # fmt: skip

# What a report says of a variable besides its values, by the newest report that tells it.
_CHARACTERISTICS: Final = """
SELECT JSONExtractString(item, 'component', 'name') AS component,
       JSONExtractString(item, 'component', 'instance') AS component_instance,
       toInt32(JSONExtractInt(item, 'component', 'evse', 'id')) AS evse_id,
       toInt32(JSONExtractInt(item, 'component', 'evse', 'connectorId')) AS connector_id,
       JSONExtractString(item, 'variable', 'name') AS variable,
       JSONExtractString(item, 'variable', 'instance') AS variable_instance,
       argMax(JSONExtractRaw(item, 'variableCharacteristics'), (recorded_at, _offset)) AS told
FROM (
    SELECT recorded_at, _offset, arrayJoin(JSONExtractArrayRaw(ifNull(payload, ''), 'reportData')) AS item
    FROM ocpp_lifecycle
    WHERE station_id = %(station_id)s AND action = 'NotifyReport' AND _type = 'OcppCallReceived'
)
GROUP BY component, component_instance, evse_id, connector_id, variable, variable_instance
"""

Place = tuple[str, str, int, int, str, str]


class Limits(msgspec.Struct, frozen=True):
    """What a variable takes. `kind`: OCPP's dataType, "" if nobody said. `choices`: of a list."""

    kind: str = ""
    least: str = ""
    most: str = ""
    choices: tuple[str, ...] = ()
    unit: str = ""


class Setting(msgspec.Struct, frozen=True):
    """A variable in the list. `name`: as commands name it. `key`: it and its place, as one text.

    `writable`: it may be changed here; `why_not` says why it may not.
    """

    key: str
    name: str
    told: DeviceVariable
    limits: Limits
    writable: bool
    why_not: str = ""


class Taken(msgspec.Struct, frozen=True):
    """What became of a change. `verdict`: taken, not_taken, reboot, refused, unanswered or unread."""

    name: str
    wanted: str
    status: str | None
    actual: str | None
    verdict: str


async def characteristics(reader: Rows, station_id: str) -> dict[Place, Limits]:
    """What the charger's reports say of its variables. Raises like `Reader.rows`."""
    rows = await reader.rows(_CHARACTERISTICS, {"station_id": station_id})
    return {_place(row): _limits(row["told"]) for row in rows}


def settings_of(variables: Iterable[DeviceVariable], known: Mapping[Place, Limits]) -> list[Setting]:
    """The list, in the order of `variables`."""
    return [_setting(each, known) for each in variables]


def fault(setting: Setting, value: str) -> tuple[str, str] | None:
    """Why the charger would not take `value`, as a word and what belongs to it; None if it may."""
    limits = setting.limits
    kind, choices = limits.kind, limits.choices
    members = {each.strip() for each in value.split(",") if each.strip()}
    checks = {
        "integer": bool(_INTEGER.fullmatch(value)),
        "decimal": bool(_DECIMAL.fullmatch(value)),
        "boolean": value.casefold() in _BOOLEANS,
    }
    lists = {
        "OptionList": value in choices,
        "MemberList": members <= set(choices),
        "SequenceList": members <= set(choices),
    }
    if not checks.get(kind, True):
        return kind, ""
    if choices and not lists.get(kind, True):
        return "choice", ", ".join(choices)
    number, least, most = _number(value), _number(limits.least), _number(limits.most)
    if kind not in ("integer", "decimal") or number is None:
        return None
    if least is not None and number < least:
        return "least", limits.least
    return ("most", limits.most) if most is not None and number > most else None


def judged(wanted: str, said: VariableTold, read: VariableTold | None) -> Taken:
    """What became of one change, by the charger's word on it and by what it told when it was asked again."""
    actual = None if read is None else read.value
    if said.status is None:
        verdict = "unanswered"
    elif said.status == "RebootRequired":
        verdict = "reboot"
    elif said.status != "Accepted":
        verdict = "refused"
    elif actual is None:
        verdict = "unread"
    else:
        verdict = "taken" if same(wanted, actual) else "not_taken"
    return Taken(said.name, wanted, said.status, actual, verdict)


def same(one: str, other: str) -> bool:
    """Whether two values mean the same: as numbers, as booleans, as lists with or without blanks, or as they are."""
    if one.strip() == other.strip():
        return True
    numbers = _number(one), _number(other)
    if None not in numbers:
        return numbers[0] == numbers[1]
    if one.strip().casefold() in _BOOLEANS:
        return one.strip().casefold() == other.strip().casefold()
    return "," in one and [each.strip() for each in one.split(",")] == [
        each.strip() for each in other.split(",")
    ]


def _setting(told: DeviceVariable, known: Mapping[Place, Limits]) -> Setting:
    name = told.variable
    if told.component:
        name = (
            f"{_with(told.component, told.component_instance)}.{_with(told.variable, told.variable_instance)}"
        )
    place = (
        told.component,
        told.component_instance,
        told.evse_id,
        told.connector_id,
        told.variable,
        told.variable_instance,
    )
    limits = known.get(place) or Limits(kind=_kind_16(told))
    why = ""
    if told.variable.casefold() in SECRETS:
        why = "secret"
    elif told.attribute != "Actual":
        why = "attribute"
    elif told.mutability == "ReadOnly":
        why = "read_only"
    key = f"{name}@{told.evse_id}.{told.connector_id}/{told.attribute}"
    return Setting(key, name, told, limits, not why, why)


def _kind_16(told: DeviceVariable) -> str:
    if told.component:
        return ""
    return "integer" if told.variable in _INTEGERS_16 else "boolean" if told.variable in _BOOLEANS_16 else ""


def _with(name: str, instance: str) -> str:
    return f"{name}[{instance}]" if instance else name


def _place(row: Mapping[str, Any]) -> Place:
    names = ("component", "component_instance", "evse_id", "connector_id", "variable", "variable_instance")
    one, two, three, four, five, six = (row[name] for name in names)
    return one, two, three, four, five, six


def _limits(told: str) -> Limits:
    try:
        found = msgspec.json.decode(told.encode()) if told else {}
    except msgspec.DecodeError:
        return Limits()
    if not isinstance(found, dict):
        return Limits()

    def text(name: str) -> str:
        value = found.get(name)
        return "" if value is None else str(value)

    choices = tuple(each.strip() for each in text("valuesList").split(",") if each.strip())
    return Limits(text("dataType"), text("minLimit"), text("maxLimit"), choices, text("unit"))


def _number(text: str) -> Decimal | None:
    try:
        found = Decimal(text.strip())
    except InvalidOperation:
        return None
    return found if found.is_finite() else None
