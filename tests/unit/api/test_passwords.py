"""What a station's answer to its new password proves."""

from __future__ import annotations

import pytest

from libs.events.commands import CommandConcluded, CommandDialect, Fate
from libs.events.ocpp_log import CallError
from libs.ocpp.errors import UNUSABLE_ANSWER
from services.api.passwords import took_password


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
