"""Version-free commands as a `RequestCommand` carries them (dialect VOLTBUS): a name and JSON text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, get_args

import msgspec

from libs.ocpp.semantics.commands import Command

# One class at a time: msgspec looks through a union of all of them anew at each call.
_KINDS: Final[Mapping[str, type[Command]]] = {kind.__name__: kind for kind in get_args(Command)}


def to_request(command: Command) -> tuple[str, str]:
    """Return the action (the command's class name) and the payload (its fields, JSON object text)."""
    fields = msgspec.to_builtins(command)
    return fields.pop("type"), msgspec.json.encode(fields).decode()


def from_request(action: str, payload: str) -> Command:
    """Return the command that `to_request` wrote. Raises ``ValueError`` for text that is not one."""
    kind = _KINDS.get(action)
    if kind is None:
        raise ValueError(f"{action!r} is no version-free command")
    return msgspec.json.decode(payload, type=kind)
