"""Calls whose answer a processor decides later: the session does not wait for it."""

from libs.bus.message import Message
from libs.events.ids import derive_id
from libs.events.ocpp_log import AnswerSource, OcppCallAnswered, OcppCallReceived
from libs.events.topics import OCPP_TRANSACTIONS
from services.edge.deferred import pending
from services.sessions.domain.processor import SessionsProcessor
from tests.unit.sessions.exchanges import NOON, SECOND, event2
from tests.unit.sessions.given import Told, kinds


def answer_to(call: OcppCallReceived, answer: str) -> OcppCallAnswered:
    return OcppCallAnswered(
        event_id=derive_id(call.event_id, "answered"),
        occurred_at=NOON,
        recorded_at=NOON,
        cause_id=call.event_id,
        station_id=call.station_id,
        connection_epoch=call.connection_epoch,
        edge_id=call.edge_id,
        version=call.version,
        message_id=call.message_id,
        action=call.action,
        answer=answer,
        source=AnswerSource.PROCESSOR,
    )


def test_a_pending_event_begins_a_session_and_its_answer_changes_nothing() -> None:
    call = pending(event2("Started", "t-1", 0, NOON, tag="CARD"), 0)
    told = Told([call])
    assert kinds(told.records()) == ["SessionStarted"]
    state = told.state
    told.runtime.feed(
        OCPP_TRANSACTIONS, call.station_id, answer_to(call, '{"idTokenInfo":{"status":"NoCredit"}}')
    )
    assert not told.runtime.dead
    assert told.state == state
    assert kinds(told.tell(event2("Ended", "t-1", 1, NOON + 60 * SECOND))) == ["SessionEnded", "CdrIssued"]


def test_answers_and_others_calls_are_passed_over_by_their_headers() -> None:
    processor = SessionsProcessor()
    assert processor.wants(OCPP_TRANSACTIONS, "OcppCallReceived", "TransactionEvent")
    assert not processor.wants(OCPP_TRANSACTIONS, "OcppCallReceived", "Authorize")
    assert not processor.wants(OCPP_TRANSACTIONS, "OcppCallAnswered", "TransactionEvent")
    call = event2("Started", "t-1", 0, NOON)
    record = answer_to(call, "{}")
    assert processor.key(Message(OCPP_TRANSACTIONS, 0, 0, call.station_id, record, NOON)) is None
