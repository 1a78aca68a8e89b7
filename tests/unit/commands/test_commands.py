"""The command ledger: one fate per command, one dispatch in flight per station, nothing sent twice blindly."""

from __future__ import annotations

import json
from typing import Any

from msgspec.structs import replace

from libs.bus.message import Emit
from libs.bus.runtime_memory import MemoryRuntime
from libs.events.commands import CommandConcluded, CommandDialect, DispatchCommand, Fate, RequestCommand
from libs.events.ids import derive_id
from libs.events.ocpp_log import (
    CallError,
    CallOutcome,
    DispatchRefused,
    OcppCallSent,
    RefusalReason,
    StationLocated,
)
from libs.ocpp.semantics.commands import SetLimit, UpdateFirmware
from libs.ocpp.semantics.dialect import to_request
from services.commands.domain.ledger.evidence import evidence_of_call
from services.commands.domain.ledger.ledger import Ledger, Policy
from services.commands.domain.ledger.processor import CommandsProcessor

STATION = "cp1"
SECOND = 1_000_000
T0 = 1_700_000_000 * SECOND
POLICY = Policy()


def at(seconds: float) -> int:
    return T0 + int(seconds * SECOND)


def request(name: str, seconds: float, ttl_s: float = 60, **changes: Any) -> RequestCommand:
    fields: dict[str, Any] = {
        "event_id": name,
        "occurred_at": at(seconds),
        "recorded_at": at(seconds),
        "cause_id": name,
        "station_id": STATION,
        "action": "Reset",
        "payload": '{"type":"Soft"}',
        "dialect": CommandDialect.OCPP,
        "requested_by": "operator",
        "expires_at": at(seconds + ttl_s),
    }
    return RequestCommand(**{**fields, **changes})


def located(
    epoch: int, seconds: float, *, connected: bool = True, slot: int = 3, version: str = "ocpp1.6"
) -> StationLocated:
    event_id = derive_id(f"connection:{epoch}", str(connected))
    return StationLocated(
        event_id=event_id,
        occurred_at=at(seconds),
        recorded_at=at(seconds),
        cause_id=event_id,
        station_id=STATION,
        edge_id=f"edge-{slot}",
        slot=slot,
        connection_epoch=epoch,
        version=version,
        connected=connected,
    )


def sent(
    command_id: str,
    seconds: float,
    *,
    attempt: int = 1,
    outcome: CallOutcome = CallOutcome.RESULT,
    result: str | None = '{"status":"Accepted"}',
    action: str = "Reset",
    error: CallError | None = None,
) -> OcppCallSent:
    dispatch_id = derive_id(command_id, f"dispatch:{attempt}")
    return OcppCallSent(
        event_id=derive_id(dispatch_id, "sent"),
        occurred_at=at(seconds),
        recorded_at=at(seconds),
        cause_id=dispatch_id,
        station_id=STATION,
        connection_epoch=1,
        edge_id="edge-3",
        command_id=command_id,
        version="ocpp1.6",
        message_id="m",
        action=action,
        payload="{}",
        outcome=outcome,
        result=result if outcome is CallOutcome.RESULT else None,
        error=error,
        sent_at=at(seconds),
        round_trip_us=1000,
    )


def refused(
    command_id: str, seconds: float, reason: RefusalReason, *, attempt: int = 1, epoch: int = 1
) -> DispatchRefused:
    dispatch_id = derive_id(command_id, f"dispatch:{attempt}")
    return DispatchRefused(
        event_id=derive_id(dispatch_id, "refused"),
        occurred_at=at(seconds),
        recorded_at=at(seconds),
        cause_id=dispatch_id,
        station_id=STATION,
        connection_epoch=epoch,
        edge_id="edge-3",
        command_id=command_id,
        slot=3,
        reason=reason,
        detail="type: unknown",
    )


Given = RequestCommand | StationLocated | OcppCallSent | DispatchRefused
TOPICS = {
    RequestCommand: "commands.requested",
    StationLocated: "edge.connections",
    OcppCallSent: "ocpp.commands",
    DispatchRefused: "ocpp.commands",
}


class Ledgers:
    """The processor with the given records behind it; `feed` says what the next one leads to."""

    def __init__(self, *given: Given) -> None:
        self.runtime: MemoryRuntime[Ledger] = MemoryRuntime(CommandsProcessor(POLICY))
        for record in given:
            self.feed(record)

    def feed(self, record: Given) -> list[Emit]:
        out = self.runtime.feed(TOPICS[type(record)], STATION, record)
        assert self.runtime.dead == []
        return out

    def tick(self, seconds: float) -> list[Emit]:
        return self.runtime.tick(at(seconds))


def dispatches(out: list[Emit]) -> list[DispatchCommand]:
    return [emit.record for emit in out if isinstance(emit.record, DispatchCommand)]


def fates(out: list[Emit]) -> list[tuple[str, Fate]]:
    return [(e.record.command_id, e.record.fate) for e in out if isinstance(e.record, CommandConcluded)]


def one_fate(out: list[Emit]) -> CommandConcluded:
    (concluded,) = (e.record for e in out if isinstance(e.record, CommandConcluded))
    return concluded


def test_dispatches_to_the_slot_that_holds_the_station() -> None:
    ledgers = Ledgers(located(7, 0, slot=5))

    (emit,) = ledgers.feed(request("c1", 1, ttl_s=60))

    assert (emit.topic, emit.key, emit.partition) == ("commands.dispatch", "5", 5)
    assert emit.record == DispatchCommand(
        event_id=derive_id("c1", "dispatch:1"),
        occurred_at=at(1),
        recorded_at=at(1),
        cause_id="c1",
        station_id=STATION,
        command_id="c1",
        slot=5,
        connection_epoch=7,
        attempt=1,
        action="Reset",
        payload='{"type":"Soft"}',
        send_by=at(11),
        call_timeout_ms=30000,
    )


def test_send_by_never_exceeds_the_expiry() -> None:
    (dispatch,) = dispatches(Ledgers(located(1, 0)).feed(request("c1", 1, ttl_s=4)))
    assert dispatch.send_by == at(5)


def test_the_chargers_word_is_the_fate() -> None:
    ledgers = Ledgers(located(1, 0), request("c1", 1), request("c2", 1))

    accepted = ledgers.feed(sent("c1", 2))
    rejected = ledgers.feed(sent("c2", 3, result='{"status":"Rejected"}'))

    concluded = one_fate(accepted)
    assert concluded.fate is Fate.ACCEPTED
    assert concluded.event_id == derive_id("c1", "concluded")
    assert concluded.cause_id == sent("c1", 2).event_id
    assert (concluded.requested_at, concluded.requested_by) == (at(1), "operator")
    assert (concluded.attempts, concluded.result) == (1, '{"status":"Accepted"}')
    assert fates(rejected) == [("c2", Fate.REJECTED)]


def test_errors_timeouts_and_lost_connections() -> None:
    error = CallError(code="NotSupported", description="", details="{}")
    cases = {
        CallOutcome.ERROR: Fate.FAILED,
        CallOutcome.TIMEOUT: Fate.UNKNOWN,
        CallOutcome.CONNECTION_LOST: Fate.UNKNOWN,
        CallOutcome.UNKNOWN: Fate.UNKNOWN,
    }
    for outcome, fate in cases.items():
        ledgers = Ledgers(located(1, 0), request("c1", 1))
        out = ledgers.feed(
            sent("c1", 2, outcome=outcome, error=error if outcome is CallOutcome.ERROR else None)
        )
        assert fates(out) == [("c1", fate)]
    assert (
        "NotSupported"
        in one_fate(
            Ledgers(located(1, 0), request("c1", 1)).feed(
                sent("c1", 2, outcome=CallOutcome.ERROR, error=error)
            )
        ).reason
    )


def test_after_an_answer_that_cannot_be_read_nobody_knows() -> None:
    for text in ("", "[1]", "{"):
        out = Ledgers(located(1, 0), request("c1", 1)).feed(sent("c1", 2, result=text))
        assert fates(out) == [("c1", Fate.UNKNOWN)]


def test_one_in_flight_first_come_first_served() -> None:
    ledgers = Ledgers(located(1, 0))
    assert len(dispatches(ledgers.feed(request("c1", 1)))) == 1
    assert ledgers.feed(request("c2", 1)) == []
    assert ledgers.feed(request("c3", 2)) == []

    out = ledgers.feed(sent("c1", 3))

    assert fates(out) == [("c1", Fate.ACCEPTED)]
    (dispatch,) = dispatches(out)
    assert (dispatch.command_id, dispatch.send_by) == ("c2", at(13))
    assert [d.command_id for d in dispatches(ledgers.feed(sent("c2", 4)))] == ["c3"]


def test_the_same_command_twice_is_one_command() -> None:
    ledgers = Ledgers(located(1, 0), request("c1", 1))
    assert ledgers.feed(request("c1", 1)) == []
    ledgers.feed(sent("c1", 2))
    assert ledgers.feed(request("c1", 3)) == []
    assert ledgers.feed(sent("c1", 2)) == []
    assert ledgers.tick(1000) == []


def test_waits_for_an_offline_station() -> None:
    ledgers = Ledgers(request("c1", 1, ttl_s=600))
    (dispatch,) = dispatches(ledgers.feed(located(1, 300)))
    assert dispatch.send_by == at(310)


def test_expires_when_the_station_stays_away() -> None:
    ledgers = Ledgers(located(1, 0), located(1, 1, connected=False), request("c1", 2, ttl_s=60))
    assert ledgers.tick(61) == []

    concluded = one_fate(ledgers.tick(62))

    assert (concluded.fate, concluded.attempts, concluded.recorded_at) == (Fate.EXPIRED, 0, at(62))
    assert "not connected" in concluded.reason
    assert ledgers.feed(located(2, 100)) == []


def test_expires_behind_a_slow_command() -> None:
    ledgers = Ledgers(located(1, 0), request("c1", 1), request("c2", 1, ttl_s=5))
    concluded = one_fate(ledgers.tick(6))
    assert (concluded.command_id, concluded.fate) == ("c2", Fate.EXPIRED)
    assert "busy" in concluded.reason


def test_expired_on_arrival() -> None:
    out = Ledgers(located(1, 0)).feed(request("c1", 10, ttl_s=-1))
    assert fates(out) == [("c1", Fate.EXPIRED)]


def test_rerouted_at_once_when_a_newer_connection_is_known() -> None:
    ledgers = Ledgers(located(1, 0, slot=3), request("c1", 1), located(2, 1.5, slot=4))

    (dispatch,) = dispatches(ledgers.feed(refused("c1", 2, RefusalReason.NOT_HERE)))

    assert (dispatch.slot, dispatch.connection_epoch, dispatch.attempt) == (4, 2, 2)
    assert dispatch.event_id == derive_id("c1", "dispatch:2")
    assert one_fate(ledgers.feed(sent("c1", 3, attempt=2))).attempts == 2


def test_not_here_waits_for_a_newer_connection() -> None:
    ledgers = Ledgers(located(1, 0), request("c1", 1))
    assert ledgers.feed(refused("c1", 2, RefusalReason.NOT_HERE)) == []
    (dispatch,) = dispatches(ledgers.feed(located(2, 2.5, slot=9)))
    assert (dispatch.slot, dispatch.attempt) == (9, 2)


def test_not_here_is_tried_again_with_growing_pauses_until_expiry() -> None:
    ledgers = Ledgers(located(1, 0), request("c1", 1, ttl_s=40))
    ledgers.feed(refused("c1", 1, RefusalReason.NOT_HERE))
    moments = []
    for attempt in range(2, 6):
        ticked = ledgers.tick(35)
        for dispatch in dispatches(ticked):
            moments.append(dispatch.recorded_at)
            seconds = (dispatch.recorded_at - T0) / SECOND
            ledgers.feed(refused("c1", seconds, RefusalReason.NOT_HERE, attempt=attempt))
    assert moments == [at(3), at(7), at(15), at(31)]
    assert fates(ledgers.tick(41)) == [("c1", Fate.EXPIRED)]


def test_too_late_is_dispatched_again_while_there_is_time() -> None:
    ledgers = Ledgers(located(1, 0), request("c1", 1, ttl_s=60))
    (dispatch,) = dispatches(ledgers.feed(refused("c1", 20, RefusalReason.TOO_LATE)))
    assert (dispatch.attempt, dispatch.send_by) == (2, at(30))
    concluded = one_fate(ledgers.feed(refused("c1", 62, RefusalReason.TOO_LATE, attempt=2)))
    assert (concluded.fate, concluded.occurred_at, concluded.recorded_at) == (Fate.EXPIRED, at(61), at(62))


def test_an_invalid_payload_fails() -> None:
    concluded = one_fate(
        Ledgers(located(1, 0), request("c1", 1)).feed(refused("c1", 2, RefusalReason.INVALID))
    )
    assert concluded.fate is Fate.FAILED
    assert "type: unknown" in concluded.reason


def test_an_old_refusal_says_nothing_about_the_newer_dispatch() -> None:
    ledgers = Ledgers(located(1, 0), request("c1", 1), located(2, 1.5))
    first = refused("c1", 2, RefusalReason.NOT_HERE)
    assert len(dispatches(ledgers.feed(first))) == 1
    assert ledgers.feed(first) == []
    assert fates(ledgers.feed(sent("c1", 3, attempt=2))) == [("c1", Fate.ACCEPTED)]


def test_silence_is_unknown_and_never_sent_again() -> None:
    ledgers = Ledgers(located(1, 0), request("c1", 1, ttl_s=10_000), request("c2", 1, ttl_s=10_000))
    assert ledgers.tick(130) == []

    out = ledgers.tick(131)  # 10 s to send, 30 s to answer, 90 s of grace

    assert fates(out) == [("c1", Fate.UNKNOWN)]
    assert [d.command_id for d in dispatches(out)] == ["c2"]
    assert ledgers.feed(sent("c1", 200)) == []


def test_silence_ends_sooner_once_the_connection_is_gone() -> None:
    for loss in (located(2, 5, slot=4), located(1, 5, connected=False)):
        ledgers = Ledgers(located(1, 0), request("c1", 1), loss)
        assert ledgers.tick(14) == []
        assert fates(ledgers.tick(15)) == [("c1", Fate.UNKNOWN)]


def test_older_and_repeated_connections_are_ignored() -> None:
    ledgers = Ledgers(located(5, 0, slot=1))
    for stale in (located(4, 1, slot=9), located(5, 0, slot=1), located(4, 2, connected=False)):
        assert ledgers.feed(stale) == []
    assert dispatches(ledgers.feed(request("c1", 3)))[0].slot == 1
    ledgers.feed(sent("c1", 4))
    ledgers.feed(located(5, 5, connected=False))
    ledgers.feed(located(5, 0, slot=1))
    assert ledgers.feed(request("c2", 6)) == []


def test_a_removed_station_is_nowhere() -> None:
    ledgers = Ledgers(located(1, 0))
    from libs.bus.message import Message

    ledgers.runtime.handle(Message("edge.connections", 0, 9, STATION, None, at(1)))
    assert ledgers.feed(request("c1", 2)) == []


def test_a_result_before_its_request_is_remembered() -> None:
    ledgers = Ledgers(sent("c1", 2, attempt=3), refused("c2", 2, RefusalReason.INVALID))

    first = one_fate(ledgers.feed(request("c1", 1)))
    second = one_fate(ledgers.feed(request("c2", 1)))

    assert (first.fate, first.attempts, first.recorded_at) == (Fate.ACCEPTED, 3, at(2))
    assert (second.fate, second.attempts) == (Fate.FAILED, 1)
    state = ledgers.runtime.state_of(STATION)
    assert state is not None
    assert state.early == ()


def test_replay_without_the_old_location_gives_the_same_fate() -> None:
    live = Ledgers(located(1, 0), request("c1", 1))
    before = one_fate(live.feed(sent("c1", 2)))
    replay = Ledgers(request("c1", 1))
    assert one_fate(replay.feed(sent("c1", 2))) == before


def test_version_free_commands_are_translated_when_sent() -> None:
    command = SetLimit(evse_id=2, transaction_id="77", limit_milliamp=16000, profile_id=1002, stack_level=0)
    action, payload = to_request(command)
    asked = request("c1", 1, action=action, payload=payload, dialect=CommandDialect.VOLTBUS)

    (old,) = dispatches(Ledgers(located(1, 0, version="ocpp1.6")).feed(asked))
    (new,) = dispatches(Ledgers(located(1, 0, version="ocpp2.0.1")).feed(asked))

    assert (old.action, new.action) == ("SetChargingProfile", "SetChargingProfile")
    assert json.loads(old.payload)["csChargingProfiles"]["transactionId"] == 77
    assert json.loads(new.payload)["chargingProfile"]["transactionId"] == "77"


def test_what_a_version_lacks_fails_by_name_and_the_next_goes_on() -> None:
    uuid_transaction = SetLimit(
        evse_id=2, transaction_id="a-b", limit_milliamp=16000, profile_id=1, stack_level=0
    )
    action, payload = to_request(uuid_transaction)
    ledgers = Ledgers(
        request("c1", 1, action=action, payload=payload, dialect=CommandDialect.VOLTBUS),
        request("c2", 1, action="Sing", payload="{}", dialect=CommandDialect.VOLTBUS),
        request("c3", 1, action="Reset", payload="nonsense", dialect=CommandDialect.VOLTBUS),
        request("c4", 1),
    )

    out = ledgers.feed(located(1, 2, version="ocpp1.6"))

    assert fates(out) == [("c1", Fate.FAILED), ("c2", Fate.FAILED), ("c3", Fate.FAILED)]
    assert "transaction id" in next(e.record.reason for e in out if isinstance(e.record, CommandConcluded))
    assert [d.command_id for d in dispatches(out)] == ["c4"]


def test_firmware_updates_are_translated() -> None:
    action, payload = to_request(UpdateFirmware(location="http://x/f.bin", retrieve_at=at(0), request_id=9))
    asked = request("c1", 1, action=action, payload=payload, dialect=CommandDialect.VOLTBUS)
    (dispatch,) = dispatches(Ledgers(located(1, 0, version="ocpp2.0.1")).feed(asked))
    assert json.loads(dispatch.payload)["requestId"] == 9


def test_an_unknown_version_fails_the_version_free_command() -> None:
    action, payload = to_request(UpdateFirmware(location="http://x", retrieve_at=at(0), request_id=9))
    asked = request("c1", 1, action=action, payload=payload, dialect=CommandDialect.VOLTBUS)
    assert fates(Ledgers(located(1, 0, version="ocpp9")).feed(asked)) == [("c1", Fate.FAILED)]


def test_a_dialect_of_a_later_version_fails_and_is_never_sent() -> None:
    asked = request("c1", 1, dialect=CommandDialect.UNKNOWN)
    concluded = one_fate(Ledgers(located(1, 0)).feed(asked))
    assert concluded.fate is Fate.FAILED
    assert "does not know the command's dialect" in concluded.reason


def test_memory_of_fates_is_bounded() -> None:
    ledgers = Ledgers(located(1, 0))
    for number in range(100):
        ledgers.feed(request(f"c{number}", number))
        ledgers.feed(sent(f"c{number}", number + 0.5))
    state = ledgers.runtime.state_of(STATION)
    assert state is not None
    assert len(state.concluded) == 64


def test_a_newer_command_replaces_those_of_its_kind_that_still_wait() -> None:
    runtime = MemoryRuntime(CommandsProcessor())
    runtime.feed("edge.connections", STATION, located(1, 0))
    for number, replaces in enumerate(("limit:1", "limit:1", "limit:2", None, "limit:1"), start=1):
        runtime.feed("commands.requested", STATION, request(f"c{number}", number, replaces=replaces))
    fates = {r.command_id: r for e in runtime.emitted if isinstance(r := e.record, CommandConcluded)}
    assert set(fates) == {"c2"}  # c1 is with the charger, c3 and c4 are of other kinds
    assert (fates["c2"].fate, fates["c2"].reason) == (Fate.EXPIRED, "replaced by a newer command")
    runtime.feed("ocpp.commands", STATION, sent("c1", 6))
    runtime.feed("ocpp.commands", STATION, sent("c3", 7))
    runtime.feed("ocpp.commands", STATION, sent("c4", 8))
    order = [r.command_id for e in runtime.emitted if isinstance(r := e.record, DispatchCommand)]
    assert order == ["c1", "c3", "c4", "c5"]


def test_an_answer_is_read_as_it_is_bent_to_its_schema() -> None:
    item = '{"attributeStatus":"accepted","component":{"name":"C"},"variable":{"name":"V"}}'
    for version, action, result in (
        ("ocpp1.6", "ChangeConfiguration", '{"status":"accepted"}'),
        ("ocpp2.0.1", "SetVariables", f'{{"setVariableResult":{item}}}'),
    ):
        call = replace(sent("c1", 3, action=action, result=result), version=version)
        evidence = evidence_of_call(call)
        assert (evidence.fate, evidence.result) == (Fate.ACCEPTED, result)
