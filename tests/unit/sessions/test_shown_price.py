"""What the driver is shown of the price: while it charges, and in the answer to the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import orjson
import pytest

from libs.bus.message import Message
from libs.bus.runtime_memory import MemoryRuntime
from libs.events.commands import AnswerCall, CommandConcluded, CommandDialect, Fate, RequestCommand
from libs.events.ocpp_log import OcppCallReceived
from libs.events.record import Record
from libs.events.registry import StationRegistered, TariffVersion, TokenRegistered
from libs.events.sessions import CdrIssued
from libs.events.tariffs import DriverPlan, TariffTerms, flat_terms
from libs.events.topics import COMMANDS_OUTCOMES
from libs.ocpp import schemas
from libs.ocpp.semantics.dialect import from_request
from libs.ocpp.semantics.encoding import encode_command
from libs.ocpp.versions import Version
from services.edge.deferred import pending
from services.sessions.domain.processor import SessionsProcessor
from tests.unit.sessions.exchanges import (
    DAY,
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    STATION,
    event2,
    meter16,
    start16,
    stop16,
)
from tests.unit.sessions.given import Told, kinds, registry

Tables = dict[str, dict[str, Record]]
V2 = pytest.mark.parametrize("version", ["ocpp2.0.1", "ocpp2.1"])


def told(*exchanges: OcppCallReceived, every_s: int = 60, tables: Tables | None = None) -> Told:
    given = Told(tables=tables)
    given.runtime = MemoryRuntime(SessionsProcessor(every_s), registry() if tables is None else tables)
    given.tell(*exchanges)
    return given


def ended(
    wh: int | None = 2_000, *, at: int = NOON + 60 * MINUTE, slot: int = 3, **more: Any
) -> OcppCallReceived:
    return pending(event2("Ended", "t-1", 9, at, wh, reason="Local", **more), slot)


def started(**more: Any) -> OcppCallReceived:
    return event2("Started", "t-1", 0, NOON, 0, tag="CARD", **more)


def answers(given: Told) -> list[AnswerCall]:
    return [r for r in given.records() if isinstance(r, AnswerCall)]


def said(given: Told) -> dict[str, Any]:
    """The one answer."""
    (answer,) = answers(given)
    assert answer.answer is not None
    payload: dict[str, Any] = orjson.loads(answer.answer)
    return payload


def shown(given: Told) -> list[dict[str, Any]]:
    """What stations are sent to show."""
    found = []
    for request in given.records():
        if isinstance(request, RequestCommand):
            assert request.dialect is CommandDialect.VOLTBUS
            action, payload = encode_command(Version.V201, from_request(request.action, request.payload))
            assert action == "CostUpdated"
            assert schemas.validate(Version.V201, action, "request", payload) is None
            found.append(payload)
    return found


# The end -----------------------------------------------------------------------------------------------------------


@V2
def test_the_answer_to_the_end_has_the_total_of_the_charge_record(version: str) -> None:
    given = told(started(version=version))
    call = ended(version=version)
    records = given.tell(call)
    assert kinds(records) == ["SessionEnded", "CdrIssued", "AnswerCall"]
    (cdr,) = given.cdrs
    assert cdr.amount_minor == 91
    assert said(given) == {"totalCost": 0.91}
    assert schemas.validate(Version(version), "TransactionEvent", "response", said(given)) is None
    (answer,) = answers(given)
    assert (answer.cause_id, answer.message_id, answer.connection_epoch, answer.slot) == (
        call.event_id,
        call.message_id,
        call.connection_epoch,
        3,
    )
    emit = given.runtime.emitted[-1]
    assert (emit.topic, emit.key, emit.partition) == ("commands.dispatch", "3", 3)


def test_an_end_that_nobody_waits_for_is_not_answered() -> None:
    given = told(started(), event2("Ended", "t-1", 9, NOON + MINUTE, 2_000))
    assert not answers(given)


def test_other_pending_events_are_left_to_whoever_decides_them() -> None:
    given = told(pending(started(), 0), pending(event2("Updated", "t-1", 1, NOON + MINUTE, 100), 0))
    assert not answers(given)


def test_an_end_that_is_sent_again_gets_the_same_answer_and_no_second_record() -> None:
    given = told(started(), ended())
    again = ended(recorded_at=NOON + 61 * MINUTE)
    assert kinds(given.tell(again)) == ["AnswerCall"]
    first, second = answers(given)
    assert (first.answer, second.answer, second.cause_id) == (
        '{"totalCost":0.91}',
        first.answer,
        again.event_id,
    )


def test_a_second_end_with_another_register_is_disputed_and_has_no_price() -> None:
    given = told(started(), ended(), ended(3_000, recorded_at=NOON + 61 * MINUTE))
    assert [a.answer for a in answers(given)] == ['{"totalCost":0.91}', "{}"]
    assert "stop_conflict" in given.cdrs[-1].review


def test_an_end_after_the_session_was_given_up_has_the_total_of_the_corrected_record() -> None:
    given = told(started(), updated(30, 1_000))
    given.tick(NOON + 8 * DAY)
    given.tell(ended(recorded_at=NOON + 8 * DAY + MINUTE))
    assert [cdr.version for cdr in given.cdrs] == [1, 2]
    assert said(given) == {"totalCost": given.cdrs[-1].amount_minor / 100} == {"totalCost": 0.91}


def _without_tariff() -> Tables:
    return registry(tariffs=())


def _without_site() -> Tables:
    return registry(sites=())


@pytest.mark.parametrize("tables", [_without_tariff, _without_site])
def test_where_there_is_no_tariff_the_answer_is_plain_and_comes_at_once(tables: Callable[[], Tables]) -> None:
    given = told(started(), ended(), tables=tables())
    assert said(given) == {}


@pytest.mark.parametrize(
    "call",
    [ended(None), ended(900_000), ended(-5_000)],
    ids=["no register", "more than the connector delivers", "a register that fell"],
)
def test_what_is_in_review_has_no_price_yet(call: OcppCallReceived) -> None:
    given = told(started(), event2("Updated", "t-1", 1, NOON + MINUTE, 100), call)
    assert given.cdrs[-1].review
    assert said(given) == {}


def test_an_end_without_its_start_has_no_price_yet() -> None:
    given = told(ended())
    assert not given.cdrs
    assert said(given) == {}


def test_what_costs_nothing_is_said_to_be_free() -> None:
    free = (TariffVersion(version=1, valid_from=0, currency="EUR", price_per_kwh_milli=0),)
    assert said(told(started(), ended(), tables=registry(versions=free))) == {"totalCost": 0.0}


@pytest.mark.parametrize(
    ("currency", "price_milli", "total"),
    [("JPY", 30_500, 61.0), ("KWD", 45_500, 0.091), ("EUR", 123_000, 2.46)],
)
def test_the_total_is_in_units_of_the_currency(currency: str, price_milli: int, total: float) -> None:
    versions = (TariffVersion(version=1, valid_from=0, currency=currency, price_per_kwh_milli=price_milli),)
    assert said(told(started(), ended(), tables=registry(versions=versions))) == {"totalCost": total}


# While it charges --------------------------------------------------------------------------------------------------


def updated(minutes: float, wh: int, **more: Any) -> OcppCallReceived:
    return event2("Updated", "t-1", int(minutes * 60), NOON + int(minutes * MINUTE), wh, **more)


@V2
def test_the_cost_so_far_is_shown_once_a_minute_and_only_if_it_changed(version: str) -> None:
    given = told(started(version=version))
    for seconds, wh in (
        (30, 500),
        (40, 600),
        (50, 700),
        (70, 800),
        (100, 850),
        (130, 850),
        (190, 850),
        (250, 900),
    ):
        given.tell(event2("Updated", "t-1", seconds, NOON + seconds * SECOND, wh, version=version))
    # What was told within a minute is shown when it is over.
    given.tick(NOON + 300 * SECOND)
    assert [p["totalCost"] for p in shown(given)] == [0.23, 0.32, 0.39, 0.41]
    assert {p["transactionId"] for p in shown(given)} == {"t-1"}


def test_a_cost_goes_stale_and_is_replaced_by_the_next() -> None:
    given = told(started(), updated(1, 500), updated(2, 1_000))
    first, second = (r for r in given.records() if isinstance(r, RequestCommand))
    assert first.replaces == second.replaces is not None
    assert first.event_id != second.event_id
    assert first.expires_at == first.recorded_at + 30 * SECOND


def requests(given: Told) -> list[RequestCommand]:
    return [r for r in given.records() if isinstance(r, RequestCommand)]


def test_a_change_within_the_window_is_shown_at_its_end_though_nothing_more_is_heard() -> None:
    given = told(started(), updated(5, 500), updated(5.5, 900), every_s=300)
    assert [p["totalCost"] for p in shown(given)] == [0.23]
    assert given.tick(NOON + 10 * MINUTE - SECOND) == []
    given.tick(NOON + 10 * MINUTE)
    assert [p["totalCost"] for p in shown(given)] == [0.23, 0.41]
    first, last = requests(given)
    assert last.recorded_at == NOON + 10 * MINUTE
    assert last.expires_at == last.recorded_at + 30 * SECOND
    assert last.event_id != first.event_id
    # Nothing more is owed, whatever time goes by.
    assert given.tick(NOON + HOUR) == []
    given.tell(updated(70, 1_500))
    assert [p["totalCost"] for p in shown(given)] == [0.23, 0.41, 0.68]


def test_at_the_end_of_the_window_nothing_is_shown_that_was_shown_before() -> None:
    given = told(started(), updated(5, 500), updated(5.2, 500, state="Charging"), every_s=300)
    given.tick(NOON + 10 * MINUTE)
    assert len(shown(given)) == 1


def test_at_the_end_of_the_window_nothing_is_shown_of_a_session_that_is_over() -> None:
    given = told(started(), updated(5, 500), updated(5.5, 900), every_s=300)
    given.tell(event2("Ended", "t-1", 9, NOON + 6 * MINUTE, 2_000, reason="Local"))
    given.tick(NOON + 10 * MINUTE)
    assert len(shown(given)) == 1


def test_of_several_sessions_each_is_shown_its_own_change_at_the_end_of_the_window() -> None:
    given = told(every_s=300)
    for n, name in enumerate(("a", "b"), 1):
        given.tell(
            event2("Started", name, 0, NOON, 0, evse=n, tag=name),
            event2("Updated", name, 1, NOON + 5 * MINUTE, 500 * n, evse=n),
        )
    given.tell(event2("Updated", "a", 2, NOON + 6 * MINUTE, 1_000, evse=1))
    # Another session of the station ends meanwhile.
    given.tell(event2("Updated", "b", 2, NOON + 6 * MINUTE, 2_000, evse=2))
    given.tell(event2("Started", "c", 0, NOON + 7 * MINUTE, 0, evse=3, tag="c"))
    given.tell(event2("Ended", "c", 1, NOON + 8 * MINUTE, 10, evse=3, reason="Local"))
    given.tick(NOON + 10 * MINUTE)
    assert sorted((p["transactionId"], p["totalCost"]) for p in shown(given)) == [
        ("a", 0.23),
        ("a", 0.46),
        ("b", 0.46),
        ("b", 0.91),
    ]


def test_the_last_cost_and_the_total_are_the_same_bill() -> None:
    given = told(started(), updated(30, 1_500), updated(59, 2_000), ended(2_000))
    assert shown(given)[-1]["totalCost"] == said(given)["totalCost"] == 0.91


@pytest.mark.parametrize(
    ("every_s", "tables"),
    [(0, registry()), (60, _without_tariff()), (60, _without_site())],
    ids=["off", "no tariff", "no site"],
)
def test_nothing_is_shown_where_it_is_off_or_has_no_price(every_s: int, tables: Tables) -> None:
    assert not shown(told(started(), updated(1, 500), updated(5, 1_500), every_s=every_s, tables=tables))


def test_what_costs_nothing_yet_is_not_shown() -> None:
    assert not shown(told(started(), updated(1, 0)))


def test_what_is_in_review_is_not_shown() -> None:
    given = told(started(), updated(1, 500), updated(2, 900_000))
    assert [p["totalCost"] for p in shown(given)] == [0.23]


def test_1_6_is_shown_nothing() -> None:
    given = told(start16(7, NOON, 0), meter16(7, NOON + MINUTE, 500), meter16(7, NOON + 5 * MINUTE, 1_500))
    given.tell(stop16(7, NOON + 10 * MINUTE, 2_000))
    assert given.cdrs[0].amount_minor == 91
    assert not shown(given)
    assert not answers(given)


def test_a_station_under_certification_is_sent_nothing_unasked() -> None:
    tables = registry()
    station = tables["registry.stations"][STATION]
    assert isinstance(station, StationRegistered)
    tables["registry.stations"][STATION] = msgspec.structs.replace(station, certification=True)
    given = told(started(), updated(1, 500), ended(), tables=tables)
    assert not shown(given)
    assert said(given) == {"totalCost": 0.91}


def under_plan(**plan: Any) -> Tables:
    """A price for everybody, and a plan for the drivers of a fleet."""
    terms = TariffTerms(elements=flat_terms(50_000).elements, plans=(DriverPlan(group_id="fleet", **plan),))
    version = TariffVersion(version=1, valid_from=0, currency="EUR", price_per_kwh_milli=50_000, terms=terms)
    tables = registry(versions=(version,))
    base: dict[str, Any] = {"event_id": "e", "occurred_at": NOON, "recorded_at": NOON, "cause_id": "e"}
    return tables | {"registry.tokens": {"card": TokenRegistered(**base, id_token="card", group_id="fleet")}}


def test_a_plans_price_is_shown() -> None:
    given = told(started(), updated(30, 1_000), ended(), tables=under_plan(max_price_per_kwh_milli=40_000))
    assert [p["totalCost"] for p in shown(given)] == [0.4]
    assert said(given) == {"totalCost": 0.8}


def test_what_a_bundle_covers_is_not_known_while_somebody_waits() -> None:
    given = told(started(), updated(30, 1_000), ended(), tables=under_plan(prepaid_wh=1_500))
    assert not shown(given)
    assert not given.cdrs
    assert said(given) == {}


def concluded(
    fate: Fate, at: int, action: str = "CostUpdated", requested_by: str = "sessions"
) -> CommandConcluded:
    return CommandConcluded(
        event_id=f"fate-{at}",
        occurred_at=at,
        recorded_at=at,
        cause_id=f"fate-{at}",
        station_id=STATION,
        command_id="c",
        action=action,
        dialect=CommandDialect.VOLTBUS,
        fate=fate,
        reason="",
        requested_at=at,
        requested_by=requested_by,
        attempts=1,
    )


@pytest.mark.parametrize(
    ("fate", "action", "more"),
    [
        (Fate.ACCEPTED, "CostUpdated", 1),
        (Fate.EXPIRED, "CostUpdated", 1),
        (Fate.FAILED, "CostUpdated", 0),
        (Fate.UNKNOWN, "CostUpdated", 0),
        (Fate.FAILED, "ClearCache", 1),
    ],
)
def test_a_station_that_cannot_show_it_is_not_asked_again_in_this_session(
    fate: Fate, action: str, more: int
) -> None:
    given = told(started(), updated(1, 500))
    given.runtime.feed(COMMANDS_OUTCOMES, STATION, concluded(fate, NOON + MINUTE + 2 * SECOND, action))
    given.tell(updated(2, 1_000))
    assert len(shown(given)) == 1 + more
    # It still has the total, and another session is another try.
    given.tell(ended())
    assert said(given) == {"totalCost": 0.91}
    given.tell(
        event2("Started", "t-2", 0, NOON + 70 * MINUTE, 2_000),
        event2("Updated", "t-2", 1, NOON + 72 * MINUTE, 3_000),
    )
    assert len(shown(given)) == 2 + more


@pytest.mark.parametrize("fate", Fate)
def test_what_becomes_of_an_operator_s_own_message_silences_no_price(fate: Fate) -> None:
    given = told(started(), updated(1, 500))
    at = NOON + MINUTE + 2 * SECOND
    given.runtime.feed(COMMANDS_OUTCOMES, STATION, concluded(fate, at, requested_by="anna"))
    given.tell(updated(2, 1_000))
    assert len(shown(given)) == 2


def test_fates_of_other_commands_are_passed_over_by_their_headers() -> None:
    processor = SessionsProcessor()
    assert processor.wants(COMMANDS_OUTCOMES, "CommandConcluded", "CostUpdated")
    assert not processor.wants(COMMANDS_OUTCOMES, "CommandConcluded", "SetLimit")
    fate = concluded(Fate.ACCEPTED, NOON)
    assert fate.subject == "CostUpdated"
    assert processor.key(Message(COMMANDS_OUTCOMES, 0, 0, STATION, fate, NOON)) is None


def test_what_is_shown_changes_nothing_of_what_is_charged() -> None:
    def cdrs(every_s: int) -> list[CdrIssued]:
        steps = (
            started(),
            *(updated(n, n * 200) for n in range(1, 10)),
            event2("Ended", "t-1", 999, NOON + 600 * SECOND, 2_000),
        )
        return told(*steps, every_s=every_s).cdrs

    assert cdrs(60) == cdrs(0)
