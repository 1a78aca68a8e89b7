"""Version-free commands as requests carry them."""

from __future__ import annotations

import json

import pytest

from libs.ocpp.semantics.commands import (
    ClearLimit,
    Command,
    RemoteStart,
    RemoteStop,
    Reset,
    SetDefaultLimit,
    SetLimit,
    UpdateFirmware,
)
from libs.ocpp.semantics.dialect import from_fields, from_request, to_fields, to_request

COMMANDS: list[Command] = [
    SetLimit(evse_id=1, transaction_id="7", limit_milliamp=6000, profile_id=1001, stack_level=0),
    SetDefaultLimit(evse_id=0, limit_milliamp=6000, profile_id=1000, stack_level=0),
    ClearLimit(profile_id=1001),
    RemoteStart(evse_id=None, id_token="TAG", remote_start_id=3),
    RemoteStop(transaction_id="7"),
    UpdateFirmware(location="http://files/f.bin", retrieve_at=1, request_id=2),
    Reset(kind="soft"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_round_trip(command: Command) -> None:
    action, payload = to_request(command)
    assert action == type(command).__name__
    assert "type" not in json.loads(payload)
    assert from_request(action, payload) == command
    assert to_fields(command) == (action, json.loads(payload))
    assert from_fields(action, json.loads(payload)) == command


@pytest.mark.parametrize(
    ("action", "payload"),
    [
        ("Sing", "{}"),
        ("Reset", "[]"),
        ("Reset", "{"),
        ("Reset", '{"kind":"gently"}'),
        ("RemoteStop", "{}"),
    ],
)
def test_what_is_no_command_is_a_value_error(action: str, payload: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (whatever is wrong, the request is at fault)
        from_request(action, payload)
