"""Passwords as they are given, and what a station's answer to a new one proves."""

from __future__ import annotations

import pytest

from libs.events.commands import CommandConcluded, CommandDialect, Fate
from libs.events.ocpp_log import CallError
from libs.ocpp.errors import UNUSABLE_ANSWER
from libs.ocpp.passwords import password_digest, readings
from services.api.domain.credentials import password_of
from services.api.domain.errors import Invalid
from services.api.equipment.password_changes import took_password


def concluded(fate: Fate, result: str | None = None, error: CallError | None = None) -> CommandConcluded:
    return CommandConcluded(
        event_id="e",
        occurred_at=1,
        recorded_at=1,
        cause_id="c",
        station_id="s",
        command_id="c",
        action="SetVariables",
        dialect=CommandDialect.OCPP,
        fate=fate,
        reason="",
        result=result,
        error=error,
        requested_at=1,
        requested_by="operator",
        attempts=1,
    )


@pytest.mark.parametrize(
    ("outcome", "took"),
    [
        (concluded(Fate.ACCEPTED, '{"status":"Accepted"}'), True),
        (concluded(Fate.ACCEPTED, '{"status":" accepted"}'), True),
        (concluded(Fate.ACCEPTED, '{"setVariableResult":[{"attributeStatus":"Accepted"}]}'), True),
        (concluded(Fate.ACCEPTED, '{"setVariableResult":{"attributeStatus":"Accepted"}}'), True),
        (concluded(Fate.ACCEPTED, '{"status":"RebootRequired"}'), None),
        (concluded(Fate.REJECTED, '{"status":"Rejected"}'), False),
        (concluded(Fate.REJECTED, '{"setVariableResult":[{"attributeStatus":"UnknownVariable"}]}'), False),
        (concluded(Fate.REJECTED, '{"status":"OK"}'), None),
        (concluded(Fate.FAILED, '{"setVariableResult":"Accepted"}'), None),
        (concluded(Fate.FAILED, '{"setVariableResult":[]}'), None),
        (concluded(Fate.FAILED, "[]"), None),
        (concluded(Fate.FAILED, error=CallError(code="NotSupported", details="{}")), False),
        (concluded(Fate.FAILED, error=CallError(code="FormatViolation", details=UNUSABLE_ANSWER)), None),
        (concluded(Fate.FAILED), False),
        (concluded(Fate.EXPIRED), False),
        (concluded(Fate.UNKNOWN), None),
    ],
)
def test_only_a_clear_answer_settles_a_change(outcome: CommandConcluded, took: bool | None) -> None:
    assert took_password(outcome) is took


@pytest.mark.parametrize("size", [16, 20])
def test_hex_digits_are_the_bytes_that_they_write_whichever_field_they_stand_in(size: int) -> None:
    """A charger that is configured with them sends the bytes, or the digits in either case: all of them get in."""
    password = bytes(range(256 - size, 256))
    for kept_one in (password_of(password.hex(), None), password_of(None, password.hex().upper())):
        assert kept_one == password
        assert kept_one is not None
        digest = password_digest("00" * 16, kept_one)
        for sent in (password, password.hex().encode(), password.hex().upper().encode()):
            assert digest in {password_digest("00" * 16, read) for read in readings(sent)}


@pytest.mark.parametrize("text", ["a" * 31, "deadbeef" * 3, "0123456789abcdef", "g" * 32, "ab" * 15 + "xy"])
def test_other_text_is_text(text: str) -> None:
    assert password_of(text, None) == text.encode()


def test_a_refusal_says_which_field_hex_digits_belong_in() -> None:
    for text, digits, path in (("short", None, "/password"), (None, "00", "/password_hex")):
        with pytest.raises(Invalid, match="password_hex") as refused:
            password_of(text, digits)
        assert refused.value.path == path
