"""Version-free commands as a `RequestCommand` carries them (dialect VOLTBUS): a name and a JSON object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, get_args

import msgspec

from libs.ocpp.semantics.commands import Command

# One class at a time: msgspec looks through a union of all of them anew at each call.
_KINDS: Final[Mapping[str, type[Command]]] = {kind.__name__: kind for kind in get_args(Command)}


def to_fields(command: Command) -> tuple[str, dict[str, Any]]:
    """Return the action (the command's class name) and the payload (its fields, a JSON object)."""
    action, text = to_request(command)
    return action, msgspec.json.decode(text)


def from_fields(action: str, payload: Mapping[str, Any]) -> Command:
    """Return the command that `to_fields` took apart. Raises ``ValueError`` for what is none."""
    return msgspec.convert(payload, _kind(action))


def to_request(command: Command) -> tuple[str, str]:
    """As `to_fields`, with the payload as JSON text."""
    fields = msgspec.to_builtins(command)
    return fields.pop("type"), msgspec.json.encode(fields).decode()


def from_request(action: str, payload: str) -> Command:
    """Return the command that `to_request` wrote. Raises ``ValueError`` for text that is not one."""
    return msgspec.json.decode(payload, type=_kind(action))


def _kind(action: str) -> type[Command]:
    if action not in _KINDS:
        raise ValueError(f"{action!r} is no version-free command")
    return _KINDS[action]
