"""Version-free commands as a `RequestCommand` carries them (dialect VOLTBUS): a name and JSON text."""

from __future__ import annotations

import msgspec

from libs.ocpp.semantics.commands import Command


def to_request(command: Command) -> tuple[str, str]:
    """Return the action (the command's class name) and the payload (its fields, JSON object text)."""
    fields = msgspec.to_builtins(command)
    return fields.pop("type"), msgspec.json.encode(fields).decode()


def from_request(action: str, payload: str) -> Command:
    """Return the command that `to_request` wrote. Raises ``ValueError`` for text that is not one."""
    fields = msgspec.json.decode(payload)
    if not isinstance(fields, dict):
        raise ValueError("a command's payload is a JSON object")
    command: Command = msgspec.convert({**fields, "type": action}, Command)
    return command
