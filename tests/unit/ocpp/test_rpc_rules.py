"""The rules of OCPP-J that a central system keeps, one test for each; the details are in the tests of the parts."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from libs.events.registry import BootStatus
from libs.ocpp import frames
from libs.ocpp.errors import ErrorCode, canonical
from libs.ocpp.frames import (
    CallReceived,
    ErrorReceived,
    Ignored,
    Received,
    Refused,
    Replay,
    ResultErrorReceived,
    ResultReceived,
    SendReceived,
)
from libs.ocpp.inbound import CheckedCall, check_call
from libs.ocpp.routing import ROUTES
from libs.ocpp.rpc import CallOutstanding, Role, RpcMachine
from libs.ocpp.transactions import transaction_id_16
from libs.ocpp.versions import Version, negotiate, station_id_from_path
from services.edge.domain.acceptance import AskedFor, asks_for, may_call, why_not_send
from services.edge.server import DEFLATE

V16, V201, V21 = Version.V16, Version.V201, Version.V21
AT = "2026-01-01T00:00:00Z"
HEARTBEAT = '[2,"h1","Heartbeat",{}]'
CODES = {
    V16: {
        "NotImplemented",
        "NotSupported",
        "InternalError",
        "ProtocolError",
        "SecurityError",
        "FormationViolation",
        "PropertyConstraintViolation",
        "OccurenceConstraintViolation",
        "TypeConstraintViolation",
        "GenericError",
    },
}
CODES[V201] = CODES[V21] = CODES[V16] - {"FormationViolation", "OccurenceConstraintViolation"} | {
    "FormatViolation",
    "OccurrenceConstraintViolation",
    "MessageTypeNotSupported",
    "RpcFrameworkError",
}


def csms(version: Version) -> RpcMachine:
    return RpcMachine(version, Role.CSMS)


def reply_of(received: Received) -> Any:
    assert isinstance(received, Refused), received
    return None if received.reply_text is None else orjson.loads(received.reply_text)


def test_rule_1_identity_is_the_last_segment_decoded_and_bounded() -> None:
    assert station_id_from_path("/ocpp/1.6//a%20b") == "a b"
    assert station_id_from_path("/ocpp/" + "x" * 48) == "x" * 48
    for bad in ("/ocpp/" + "x" * 49, "/ocpp/a:b", "/ocpp/a%3ab", "/"):
        with pytest.raises(ValueError, match="identity"):
            station_id_from_path(bad)


def test_rule_1_the_subprotocol_alone_selects_the_version_in_the_clients_order() -> None:
    assert [negotiate([str(version)]) for version in Version] == list(Version)
    assert negotiate(["ocpp1.5", "ocpp2.1", "ocpp1.6"]) is V21
    assert negotiate(["ocpp2.0", "soap"]) is None


@pytest.mark.parametrize("version", Version)
@pytest.mark.parametrize("kind", [0, 1, 7, 8, 99, -2, 2.0, "2", None, True, [2]])
def test_rule_2_unknown_message_types_by_version(version: Version, kind: Any) -> None:
    received = csms(version).receive(orjson.dumps([kind, "m", "Heartbeat", {}]))
    if version is V201:
        assert reply_of(received)[:3] == [4, "m", "MessageTypeNotSupported"]
    else:
        assert isinstance(received, Ignored)


@pytest.mark.parametrize("version", [V16, V201])
@pytest.mark.parametrize("kind", [5, 6])
def test_rule_2_the_message_types_of_2_1_are_unknown_before_it(version: Version, kind: int) -> None:
    received = csms(version).receive(orjson.dumps([kind, "m", "NotifyPeriodicEventStream", {}]))
    assert isinstance(received, Ignored if version is V16 else Refused)


def test_rule_2_send_and_callresulterror_go_both_ways_in_2_1() -> None:
    central, station = csms(V21), RpcMachine(V21, Role.STATION)
    received = central.receive(station.send("NotifyPeriodicEventStream", {"id": 1}, "s1"))
    assert isinstance(received, SendReceived)
    # The central system may send nothing; a station that gets a SEND all the same does not answer it.
    assert reply_of(station.receive('[6,"s2","NotifyPeriodicEventStream",{}]')) is None
    for caller, called, action in ((central, station, "ClearCache"), (station, central, "Heartbeat")):
        called.receive(caller.call(action, {}, "c1"))
        assert isinstance(caller.receive(called.answer("c1", {"odd": 1})), ResultReceived)
        told = called.receive(caller.refuse_result("c1", ErrorCode.FORMAT_VIOLATION, "odd") or "")
        assert told == ResultErrorReceived("c1", "FormatViolation", "odd", {})


@pytest.mark.parametrize("version", Version)
def test_rule_3_one_call_outstanding_per_direction(version: Version) -> None:
    central, station = csms(version), RpcMachine(version, Role.STATION)
    down, up = central.call("ClearCache", {}, "c1"), station.call("Heartbeat", {}, "s1")
    for machine, action in ((central, "ClearCache"), (station, "Heartbeat")):
        with pytest.raises(CallOutstanding):
            machine.call(action, {}, "x")
    assert isinstance(central.receive(up), CallReceived), "the directions cross"
    assert isinstance(station.receive(down), CallReceived)


@pytest.mark.parametrize("version", Version)
@pytest.mark.parametrize("answer", ['[3,"c1",{}]', '[4,"c1","GenericError","",{}]', '[3,"c1",'])
def test_rule_3_a_timeout_frees_the_slot_and_the_late_answer_is_dropped(
    version: Version, answer: str
) -> None:
    machine = csms(version)
    machine.call("ClearCache", {}, "c1")
    late = machine.timeout("c1")
    machine.call("ClearCache", {}, "c2")
    received = machine.receive(answer)
    if answer.endswith("]"):
        assert received == Ignored("late answer", "c1", late)
    else:
        assert reply_of(received) is None
    assert machine.outstanding is not None
    assert machine.outstanding.message_id == "c2"


@pytest.mark.parametrize("version", Version)
def test_rule_4_a_retry_gets_the_stored_answer_and_an_unreadable_id_minus_1(version: Version) -> None:
    machine = csms(version)
    machine.receive(HEARTBEAT)
    answer = machine.answer("h1", {"currentTime": AT})
    assert machine.receive(HEARTBEAT) == Replay("h1", answer)
    for unreadable in ('[2,5,"Heartbeat",{}]', f'[2,"{"x" * 37}","Heartbeat",{{}}]', "[2", "{}", ""):
        assert reply_of(machine.receive(unreadable))[:2] == [4, "-1"]
    assert isinstance(machine.receive(f'[2,"{"x" * 36}","Heartbeat",{{}}]'), CallReceived)


@pytest.mark.parametrize("version", Version)
def test_rule_4_description_is_cut_at_255_and_details_are_an_object(version: Version) -> None:
    machine = csms(version)
    machine.receive(HEARTBEAT)
    kind, message_id, code, description, details = orjson.loads(
        machine.fail("h1", ErrorCode.INTERNAL_ERROR, "ß" * 999)
    )
    assert (kind, message_id, code, len(description), details) == (4, "h1", "InternalError", 255, {})


@pytest.mark.parametrize("version", Version)
@pytest.mark.parametrize("code", ErrorCode)
def test_rule_5_codes_are_spelt_as_the_version_has_them(version: Version, code: ErrorCode) -> None:
    machine = csms(version)
    machine.receive(HEARTBEAT)
    assert orjson.loads(machine.fail("h1", code))[2] in CODES[version]


@pytest.mark.parametrize("version", Version)
@pytest.mark.parametrize("spelt", sorted(CODES[V16] | CODES[V21]))
def test_rule_5_both_spellings_are_understood_in_every_version(version: Version, spelt: str) -> None:
    machine = csms(version)
    machine.call("ClearCache", {}, "c1")
    received = machine.receive(orjson.dumps([4, "c1", spelt, "", {}]))
    assert isinstance(received, ErrorReceived)
    assert received.code == canonical(spelt)
    assert received.code in set(ErrorCode)


@pytest.mark.parametrize("version", Version)
@pytest.mark.parametrize("status", [BootStatus.PENDING, BootStatus.REJECTED])
def test_rule_6_before_acceptance_2_x_may_boot_and_send_what_it_was_asked_for(
    version: Version, status: BootStatus
) -> None:
    for action, route in ROUTES[version].items():
        if route.to_csms:
            assert may_call(route, status) is (version is V16 or action == "BootNotification")
            wanted = asks_for("TriggerMessage", {"requestedMessage": action})
            assert wanted is not None
            asked_for = AskedFor()
            asked_for.add(wanted, 0)
            assert asked_for.take(ROUTES[version][wanted].action, 1)


@pytest.mark.parametrize("version", Version)
def test_rule_6_a_rejected_station_is_asked_nothing_and_a_pending_one_starts_nothing(
    version: Version,
) -> None:
    down = [action for action, route in ROUTES[version].items() if route.to_station]
    assert all(why_not_send(action, BootStatus.REJECTED) for action in down)
    refused = {action for action in down if why_not_send(action, BootStatus.PENDING)}
    start = "Remote" if version is V16 else "Request"
    assert refused == {f"{start}StartTransaction", f"{start}StopTransaction"}


def test_rule_7_errata_of_1_6() -> None:
    stop = {"transactionId": -1, "timestamp": AT, "meterStop": 1}
    assert check_call(V16, "StopTransaction", stop) == CheckedCall(stop), "-1 is valid, reason is optional"
    for unit in ("Celsius", "Celcius"):
        sample = {"value": "1", "unit": unit, "measurand": "Temperature"}
        values = {"connectorId": 1, "meterValue": [{"timestamp": AT, "sampledValue": [sample]}]}
        assert check_call(V16, "MeterValues", values) == CheckedCall(values)
    issued = {transaction_id_16(b"key", "cp1", 1, "TAG", AT, meter) for meter in range(2000)}
    assert len(issued) == 2000
    assert all(0 < number < 2**31 for number in issued)


@pytest.mark.parametrize("version", Version)
def test_rule_8_what_we_refuse_says_so_in_five_elements_without_null(version: Version) -> None:
    """That no answer and no command holds an empty optional is proved where they are made."""
    machine = csms(version)
    machine.receive(HEARTBEAT)
    for text in (
        machine.fail("h1", ErrorCode.INTERNAL_ERROR),
        machine.refuse_result("c", ErrorCode.FORMAT_VIOLATION) or machine.call("ClearCache", {}, "c"),
    ):
        assert "null" not in text
        assert len(orjson.loads(text)) in (4, 5)


@pytest.mark.parametrize("version", Version)
def test_rule_8_only_custom_data_is_open(version: Version) -> None:
    boot: dict[str, Any] = {"chargePointVendor": "v", "chargePointModel": "m"}
    if version.is_v2:
        boot = {"reason": "PowerUp", "chargingStation": {"vendorName": "v", "model": "m"}}
        custom = {**boot, "customData": {"vendorId": "v", "any": [{"thing": None}]}}
        assert check_call(version, "BootNotification", custom) == CheckedCall(custom)
    assert not isinstance(check_call(version, "BootNotification", {**boot, "more": 1}), CheckedCall)


@pytest.mark.parametrize("version", Version)
def test_rule_9_frame_size_and_nesting_are_capped(version: Version) -> None:
    machine = RpcMachine(version, Role.CSMS, max_frame=1000)
    assert isinstance(machine.receive(HEARTBEAT + " " * (1000 - len(HEARTBEAT))), CallReceived)
    assert reply_of(machine.receive(HEARTBEAT.replace("h1", "h2") + " " * 1000))[:2] == [4, "h2"]
    deep = '{"vendorId":' * frames.MAX_DEPTH + "1" + "}" * frames.MAX_DEPTH
    assert isinstance(csms(version).receive(f'[2,"d","DataTransfer",{deep}]'), CallReceived)
    deeper = f'[2,"d","DataTransfer",{{"a":{deep}}}]'
    assert reply_of(csms(version).receive(deeper))[:2] == [4, "d"]


@pytest.mark.parametrize("bits", [True, 15, None], ids=["any window", "15 bits", "says nothing"])
def test_rule_9_deflate_is_agreed_on_and_inflation_is_capped(bits: bool | int | None) -> None:
    client = ClientProtocol(
        parse_uri("ws://localhost/ocpp/cp1"),
        extensions=[ClientPerMessageDeflateFactory(client_max_window_bits=bits)],
    )
    server = ServerProtocol(extensions=[DEFLATE], max_size=10_000)
    client.send_request(client.connect())
    server.receive_data(b"".join(client.data_to_send()))
    (request,) = server.events_received()
    assert isinstance(request, Request)
    server.send_response(server.accept(request))
    client.receive_data(b"".join(server.data_to_send()))
    (response,) = client.events_received()
    assert isinstance(response, Response)
    agreed = response.headers["Sec-WebSocket-Extensions"]
    assert agreed.startswith("permessage-deflate")
    assert "server_no_context_takeover" in agreed, "no memory is kept between messages"

    client.send_text(HEARTBEAT.encode())
    server.receive_data(b"".join(client.data_to_send()))
    (frame,) = server.events_received()
    assert isinstance(frame, Frame)
    assert (frame.opcode, bytes(frame.data)) == (Opcode.TEXT, HEARTBEAT.encode())

    client.send_text(b"[" + b" " * 5_000_000 + b"]")
    bomb = b"".join(client.data_to_send())
    assert len(bomb) < 10_000
    server.receive_data(bomb)
    assert server.state is not State.OPEN
    assert server.close_sent is not None
    assert server.close_sent.code == CloseCode.MESSAGE_TOO_BIG
