"""Which answers are deferred, and which of the answers that come count."""

import asyncio
from typing import Any

import orjson
import pytest
from prometheus_client import REGISTRY

from libs.events.commands import AnswerCall
from libs.events.ocpp_log import AnswerSource, CallError, OcppCallReceived
from libs.runtime.settings import read_settings
from services.edge.deferred import (
    Decision,
    DeferredCall,
    answered,
    answers_us,
    parse_deferrals,
    pending,
    wait_for,
)
from services.edge.settings import EdgeSettings

FALLBACK = {"status": "Failed"}
GOOD = {"status": "Accepted", "ocspResult": "MAMCAQY="}


def dropped(reason: str) -> float:
    return REGISTRY.get_sample_value("voltbus_edge_answers_dropped_total", {"reason": reason}) or 0.0


def call(action: str = "GetCertificateStatus", **fields: Any) -> OcppCallReceived:
    base: dict[str, Any] = {
        "event_id": "call-1",
        "occurred_at": 1,
        "recorded_at": 2,
        "cause_id": "call-1",
        "station_id": "cp1",
        "connection_epoch": 7,
        "edge_id": "e",
        "version": "ocpp2.0.1",
        "message_id": "m-1",
        "action": action,
        "payload": "{}",
        "answer": "{}",
    }
    return OcppCallReceived(**(base | fields))


def answer(payload: object = None, **fields: Any) -> AnswerCall:
    base: dict[str, Any] = {
        "event_id": "answer-1",
        "occurred_at": 3,
        "recorded_at": 3,
        "cause_id": "call-1",
        "station_id": "cp1",
        "slot": 0,
        "connection_epoch": 7,
        "message_id": "m-1",
        "action": "GetCertificateStatus",
        "answer": None if payload is None else orjson.dumps(payload).decode(),
    }
    return AnswerCall(**(base | fields))


def test_what_is_deferred_is_written_by_action_and_field() -> None:
    found = parse_deferrals(" GetCertificateStatus:5, Authorize.iso15118CertificateHashData:2.5 ")
    assert wait_for(found, "GetCertificateStatus", {}) == 5
    assert wait_for(found, "Authorize", {"idToken": {}}) is None
    assert wait_for(found, "Authorize", {"iso15118CertificateHashData": []}) == 2.5
    assert wait_for(found, "DataTransfer", {}) is None
    assert parse_deferrals("") == {}


def test_the_end_of_a_transaction_waits_where_somebody_stands_there() -> None:
    found = parse_deferrals("TransactionEvent.eventType=Ended:3,TransactionEvent.idToken:5")
    assert wait_for(found, "TransactionEvent", {"eventType": "Ended"}) == 3
    assert wait_for(found, "TransactionEvent", {"eventType": "Updated"}) is None
    assert wait_for(found, "TransactionEvent", {"eventType": "Ended", "idToken": {}, "offline": False}) == 3
    assert wait_for(found, "TransactionEvent", {"eventType": "Started", "idToken": {}, "offline": True}) == 5
    assert wait_for(found, "TransactionEvent", {"eventType": "Ended", "idToken": {}, "offline": True}) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Heartbeat:5", "no action whose answer can be deferred"),
        ("Nonsense:5", "no action whose answer can be deferred"),
        ("Authorize", "not written Action:seconds"),
        ("Authorize:soon", "not written Action:seconds"),
        ("Authorize:0", "up to 60 seconds"),
        ("Authorize:61", "up to 60 seconds"),
        ("Authorize:nan", "up to 60 seconds"),
    ],
)
def test_what_cannot_be_deferred_is_said(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_deferrals(text)


def test_the_setting_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOLTBUS_TRANSACTION_KEY", "a key for this test")
    assert read_settings(EdgeSettings).deferred == {}
    monkeypatch.setenv("VOLTBUS_DEFERRED", "DataTransfer:3")
    assert read_settings(EdgeSettings).deferred == {"DataTransfer": ((None, None, 3.0),)}
    monkeypatch.setenv("VOLTBUS_DEFERRED", "Heartbeat:3")
    with pytest.raises(SystemExit):
        read_settings(EdgeSettings)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (b'[3,"a",{}]', True),
        (b' [ 4 , "a"]', True),
        (b'[2,"a","Heartbeat",{}]', False),
        (b'[6,"a","X",{}]', False),
        (b"[33,", False),
        (b"", False),
    ],
)
def test_only_answers_to_us_overtake_a_waiting_call(frame: bytes, expected: bool) -> None:
    assert answers_us(frame) is expected


def test_a_pending_call_has_no_answer_and_its_answer_names_it() -> None:
    record = pending(call(), 3)
    assert (record.pending, record.answer, record.slot) == (True, None, 3)
    first = answered(record, Decision(AnswerSource.PROCESSOR, GOOD), 9)
    assert (first.cause_id, first.answer, first.error) == ("call-1", orjson.dumps(GOOD).decode(), None)
    error = CallError(code="InternalError", details="{}")
    second = answered(record, Decision(AnswerSource.PROCESSOR, {}, error), 9)
    assert (second.event_id, second.answer, second.error) == (first.event_id, None, error)


async def test_the_first_fitting_answer_counts_and_no_other() -> None:
    waiting = DeferredCall(pending(call(), 3), FALLBACK)
    late, invalid = dropped("late"), dropped("invalid")
    for other in (answer(GOOD, cause_id="call-2"), answer(GOOD, message_id="m-2")):
        waiting.offer(other)
    assert dropped("late") == late + 2
    for unfit in (
        answer(),
        answer({"status": "Perhaps"}),
        answer([]),
        answer(answer="{"),
        answer(error=CallError(code="NoSuchCode", details="{}")),
        answer(error=CallError(code="InternalError", details="[]")),
    ):
        waiting.offer(unfit)
    assert dropped("invalid") == invalid + 6
    waiting.offer(answer(GOOD))
    waiting.offer(answer({"status": "Failed"}))
    assert dropped("late") == late + 3
    assert await waiting.decision(0, asyncio.Event()) == Decision(AnswerSource.PROCESSOR, GOOD)


async def test_an_error_is_an_answer_too() -> None:
    waiting = DeferredCall(pending(call(), 3), FALLBACK)
    error = CallError(code="InternalError", description="no", details="{}")
    waiting.offer(answer(error=error))
    decision = await waiting.decision(0, asyncio.Event())
    assert decision is not None
    assert (decision.source, decision.error) == (AnswerSource.PROCESSOR, error)


async def test_what_is_said_of_a_transaction_is_added_to_what_the_edge_says_of_the_token() -> None:
    known = {"idTokenInfo": {"status": "Accepted"}}
    for said, whole in (
        ({"totalCost": 12.5}, known | {"totalCost": 12.5}),
        ({}, known),
        ({"idTokenInfo": {"status": "NoCredit"}}, {"idTokenInfo": {"status": "NoCredit"}}),
    ):
        waiting = DeferredCall(pending(call("TransactionEvent"), 3), known)
        waiting.offer(answer(said, action="TransactionEvent"))
        assert await waiting.decision(0, asyncio.Event()) == Decision(AnswerSource.PROCESSOR, whole)


async def test_at_the_deadline_the_edge_answers_alone_and_later_answers_are_dropped() -> None:
    waiting = DeferredCall(pending(call(), 3), FALLBACK)
    late = dropped("late")
    assert await waiting.decision(-1, asyncio.Event()) == Decision(AnswerSource.FALLBACK, FALLBACK)
    waiting.offer(answer(GOOD))
    assert dropped("late") == late + 1


async def test_a_lost_socket_ends_the_wait_without_an_answer() -> None:
    waiting = DeferredCall(pending(call(), 3), FALLBACK)
    lost = asyncio.Event()
    deciding = asyncio.create_task(waiting.decision(60, lost))
    await asyncio.sleep(0)
    lost.set()
    assert await deciding is None
