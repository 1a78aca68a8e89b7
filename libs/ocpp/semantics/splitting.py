"""Splitting commands about more items than a charger takes in one message (2.x B_08, 1.6 §9.1 and §9.2)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile
from typing import Any, Final, get_args

import msgspec
from msgspec.structs import replace

from libs.ocpp.semantics import commands as c
from libs.ocpp.semantics.abilities import Abilities
from libs.ocpp.semantics.encoding import encode_command
from libs.ocpp.semantics.variables import named_in
from libs.ocpp.versions import Version

_ENVELOPE_BYTES: Final = 64
"""Of a CALL around its payload, without the action's name: type, message id, brackets, quotes."""

_LISTS: Final = {
    "GetVariables": "getVariableData",
    "SetVariables": "setVariableData",
    "GetConfiguration": "key",
    "SendLocalList": "localAuthorizationList",
}
ITEMISED: Final = frozenset({*_LISTS, "ChangeConfiguration"})
"""Actions about a number of items."""

ENDS_AT_REFUSAL: Final = frozenset({c.SendLocalList.__name__})
"""Commands of which nothing more is sent once a part was refused: the parts build on each other."""

# Items in a message, bytes in a message.
_LIMITS: Final[Mapping[tuple[bool, type], tuple[str, str]]] = {
    (False, c.GetVariables): ("GetConfigurationMaxKeys", ""),
    (False, c.SendLocalList): ("SendLocalListMaxLength", ""),
    (True, c.GetVariables): (
        "DeviceDataCtrlr.ItemsPerMessage[GetVariables]",
        "DeviceDataCtrlr.BytesPerMessage[GetVariables]",
    ),
    (True, c.SetVariables): (
        "DeviceDataCtrlr.ItemsPerMessage[SetVariables]",
        "DeviceDataCtrlr.BytesPerMessage[SetVariables]",
    ),
    (True, c.SendLocalList): ("LocalAuthListCtrlr.ItemsPerMessage", "LocalAuthListCtrlr.BytesPerMessage"),
}
_SINGLE_ITEM: Final[Mapping[str, type]] = {
    "GetConfiguration": c.GetVariables,
    "GetVariables": c.GetVariables,
    "SetVariables": c.SetVariables,
}
Several = c.GetVariables | c.SetVariables | c.SendLocalList
SEVERAL: Final = frozenset(kind.__name__ for kind in get_args(Several))
"""Names of the commands that may go in several messages."""


def items_asked(command: c.Command) -> int:
    """How many items a command is about; 0 for one that is about something else."""
    return len(_items(command)) if isinstance(command, Several) else 0


def items_in(action: str, payload: Mapping[str, Any]) -> int:
    """How many items a CALL is about."""
    if action == "ChangeConfiguration":
        return 1
    items = payload.get(_LISTS[action], ()) if action in _LISTS else ()
    return len(items) if isinstance(items, list) else 0


def single_item_limit(version: Version, action: str) -> dict[str, str]:
    """The limit of one item per message, as `Abilities.variables`, for a charger that finds messages too large.

    Empty for actions that are never split.
    """
    command = _SINGLE_ITEM.get(action)
    limits = None if command is None else _LIMITS.get((version.is_v2, command))
    return {} if limits is None else {limits[0]: "1"}


def next_part(version: Version, command: c.Command, abilities: Abilities, done: int) -> c.Command:
    """The part of a command that comes after ``done`` items and fits into one message.

    A question that begins with what limits the number and size of its own messages asks that first, on its own, of a
    charger of which it is not known.

    Raises ``ValueError`` for a local list whose version is too low to have one below it for each entry that comes
    later: each message has a version of its own, the last one the list's, and how many messages there will be
    depends on the sizes of entries.
    """
    if not isinstance(command, Several):
        return command
    rest = len(_items(command)) - done
    most = _most(version, command, abilities, done)
    part = _part(command, done, most)
    size = abilities.number(version, _LIMITS[True, type(command)][1]) if version.is_v2 else None
    while size is not None and most > 1 and _bytes(*encode_command(version, part)) > size:
        most -= 1
        part = _part(command, done, most)
    if isinstance(part, c.SendLocalList):
        later = rest - most
        if part.list_version <= later:
            raise ValueError(f"{later} entries for later messages need a list_version above {later}")
        part = replace(part, list_version=part.list_version - later)
    return part


def _items(command: Several) -> tuple[Any, ...]:
    match command:
        case c.GetVariables(variables=variables):
            return variables
        case c.SetVariables(values=values):
            return values
        case c.SendLocalList(entries=entries):
            return entries


def _most(version: Version, command: Several, abilities: Abilities, done: int) -> int:
    rest = len(_items(command)) - done
    if not version.is_v2 and isinstance(command, c.SetVariables):
        return 1
    limits = _LIMITS[version.is_v2, type(command)]
    most = abilities.number(version, limits[0])
    if most is None and isinstance(command, c.GetVariables):
        after = command.variables[done:]
        about_itself = len(list(takewhile(lambda each: named_in(version, each.name) in limits, after)))
        most = about_itself or None
    return min(most or rest, rest)


def _part(command: Several, done: int, most: int) -> Several:
    some = _items(command)[done : done + most]
    match command:
        case c.GetVariables():
            return c.GetVariables(some)
        case c.SetVariables():
            return c.SetVariables(some)
        case c.SendLocalList():
            # What comes after the first part of a whole list adds to it.
            return replace(command, full=command.full and done == 0, entries=some)


def _bytes(action: str, payload: dict[str, Any]) -> int:
    return len(msgspec.json.encode(payload)) + len(action) + _ENVELOPE_BYTES
