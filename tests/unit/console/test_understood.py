"""What is said of a message beside how it was sent."""

from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import orjson
import pytest

from libs.events.ocpp_log import CallError, CallOutcome, FrameRejected, OcppCallReceived, OcppCallSent
from libs.ocpp.quirks.book import in_force
from libs.ocpp.quirks.examples import problems
from libs.ocpp.quirks.rules import Example, QuirkRule
from services.console.understood import Understood, as_test_case, understood

AT = 1_770_000_000_000_000
UTC = ZoneInfo("UTC")
ENVELOPE: dict[str, Any] = {
    "event_id": "e", "cause_id": "e", "occurred_at": AT, "recorded_at": AT, "station_id": "cp-1", "connection_epoch": 1,
    "edge_id": "edge-1", "version": "ocpp1.6", "message_id": "m-1",
}  # fmt: skip


def received(action: str, payload: Any, **changes: Any) -> OcppCallReceived:
    text = payload if isinstance(payload, str) else orjson.dumps(payload).decode()
    return OcppCallReceived(**ENVELOPE | {"action": action, "payload": text, "answer": "{}"} | changes)


def sent(action: str, payload: Any, **changes: Any) -> OcppCallSent:
    fields = ENVELOPE | {
        "action": action, "payload": orjson.dumps(payload).decode(), "command_id": "c", "sent_at": AT,
        "outcome": CallOutcome.RESULT, "result": "{}", "round_trip_us": 1500,
    }  # fmt: skip
    return OcppCallSent(**fields | changes)


def test_a_good_message_is_shown_as_sent_with_what_it_means() -> None:
    text = '{"connectorId": 1,  "status":"Available","errorCode":"NoError"}'
    told = understood(received("StatusNotification", text), UTC)
    assert told.raw == text
    assert (told.faults, told.repairs, told.quirks, told.unread) == ((), (), (), "")
    assert [event["type"] for event in told.events] == ["ConnectorStatusReported"]


def test_a_repair_is_named_and_shown_where_it_was_made() -> None:
    payload = {"connectorId": 1, "status": "available", "errorCode": "NoError"}
    told = understood(received("StatusNotification", payload, quirks=("enum_spelling",)), UTC)
    assert [fault.path for fault in told.faults] == ["/status"]
    assert [(each.pointer, each.before, each.after) for each in told.repairs] == [
        ("/status", '"available"', '"Available"')
    ]
    assert told.quirks == ("enum_spelling",)


def test_what_breaks_the_schema_is_named_by_pointer() -> None:
    payload = {"connectorId": "one", "status": 7}
    error = CallError(code="TypeConstraintViolation", details="{}")
    told = understood(received("StatusNotification", payload, answer=None, error=error), UTC)
    assert {"/connectorId", "/status"} <= {fault.path for fault in told.faults}
    assert told.events == ()


def test_a_refused_frame_is_shown_and_looked_at_as_far_as_it_goes() -> None:
    def rejected(frame: str) -> Understood:
        fields = {name: value for name, value in ENVELOPE.items() if name != "message_id"}
        record = FrameRejected(
            **fields, code="FormationViolation", reason="no", frame=frame, frame_bytes=9, answered=True
        )
        return understood(record, UTC)

    assert [each.path for each in rejected('[2,"1","BootNotification",{"chargePointModel":1}]').faults][:1]
    for hostile in (
        '[2,"1","Boot',
        "\u202e",
        "[2]",
        "null",
        '[2,"1","Nothing",{}]',
        '[2,"1","Heartbeat",[]]',
    ):
        assert rejected(hostile) == Understood(hostile, unread="no")


@pytest.mark.parametrize(
    "payload",
    ["null", "[]", "7", "{", '{"meterValue":[[]]}', '{"connectorId":1,"meterValue":null}', "[" * 500],
)
def test_garbage_in_the_log_is_shown_nevertheless(payload: str) -> None:
    for version in ("ocpp1.6", "ocpp2.0.1", "ocpp9.9"):
        told = understood(received("MeterValues", payload, version=version, quirks=("value_dropped",)), UTC)
        assert told.raw == payload
        assert told.unread


def test_a_test_case_hides_tokens_alike_and_proves_itself() -> None:
    payload = {"connectorId": 1, "idTag": "CARD-7", "meterStart": 10, "timestamp": "2026-02-02T02:40:00Z"}
    answer = {"transactionId": 5, "idTagInfo": {"status": "Accepted", "parentIdTag": "card-7"}}
    record = received("StartTransaction", payload, answer=orjson.dumps(answer).decode())
    told = as_test_case(record, UTC, tokens=False)
    assert told["payload"]["idTag"] == told["answer"]["idTagInfo"]["parentIdTag"] == "TOKEN-1"
    assert (told["version"], told["action"]) == ("ocpp1.6", "StartTransaction")
    assert "card-7" not in orjson.dumps(told).decode().casefold()
    example = msgspec.convert(told["example"], Example)
    rule = QuirkRule(name="copied", about="", examples=(example,))
    assert problems(rule, in_force()) == []
    assert as_test_case(record, UTC, tokens=True)["payload"] == payload


def test_a_test_case_of_a_message_that_is_refused_says_so() -> None:
    error = CallError(code="TypeConstraintViolation", details="{}")
    record = received("StatusNotification", {"connectorId": "one"}, answer=None, error=error)
    told = as_test_case(record, UTC, tokens=False)
    assert told["error"]["code"] == "TypeConstraintViolation"
    rule = QuirkRule(name="copied", about="", examples=(msgspec.convert(told["example"], Example),))
    assert problems(rule, in_force()) == []


def test_passwords_are_in_no_test_case() -> None:
    change = sent("ChangeConfiguration", {"key": "AuthorizationKey", "value": "73656372657421"})
    assert as_test_case(change, UTC, tokens=True)["payload"]["value"] == "***"
    told = {"configurationKey": [{"key": "AuthorizationKey", "readonly": False, "value": "73656372657421"}]}
    asked = sent("GetConfiguration", {}, result=orjson.dumps(told).decode())
    assert "7365" not in orjson.dumps(as_test_case(asked, UTC, tokens=True)).decode()
    start = sent("RequestStartTransaction", {"idToken": {"idToken": "CARD-7", "type": "ISO14443"}})
    assert as_test_case(start, UTC, tokens=False)["payload"]["idToken"]["idToken"] == "TOKEN-1"
