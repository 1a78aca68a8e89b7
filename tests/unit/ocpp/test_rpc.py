"""The RPC rules, each with its clause."""

from typing import Any

import orjson
import pytest

from libs.ocpp import frames
from libs.ocpp.errors import ErrorCode
from libs.ocpp.frames import (
    CallReceived,
    ErrorReceived,
    Ignored,
    Refused,
    Replay,
    ResultErrorReceived,
    ResultReceived,
    SendReceived,
)
from libs.ocpp.rpc import CallOutstanding, Role, RpcMachine, RpcMisuse
from libs.ocpp.versions import Version

V16, V201, V21 = Version.V16, Version.V201, Version.V21
HEARTBEAT = '[2,"h1","Heartbeat",{}]'


def csms(version: Version = V16) -> RpcMachine:
    return RpcMachine(version, Role.CSMS)


def refused(machine: RpcMachine, frame: str | bytes) -> tuple[Any, Refused]:
    received = machine.receive(frame)
    assert isinstance(received, Refused), received
    return received.reply_text and orjson.loads(received.reply_text), received


@pytest.mark.parametrize("version", Version)
@pytest.mark.parametrize("encode", [str, str.encode])
def test_call_and_answer(version: Version, encode: Any) -> None:
    """OCPP-J 1.6 §4.2.1, §4.2.2."""
    machine = csms(version)
    received = machine.receive(encode(HEARTBEAT))
    assert received == CallReceived("h1", "Heartbeat", {}, encode(HEARTBEAT))
    assert machine.unanswered == ("h1",)
    assert machine.answer("h1", {"currentTime": "x"}) == '[3,"h1",{"currentTime":"x"}]'
    assert not machine.unanswered


@pytest.mark.parametrize("version", Version)
def test_both_sides_call_each_other_with_crossing_messages(version: Version) -> None:
    """Rule 3: one CALL outstanding per direction, the directions may cross."""
    central, station = RpcMachine(version, Role.CSMS), RpcMachine(version, Role.STATION)
    down = central.call("Reset", {"type": "Hard"}, "c1")
    up = station.call("Heartbeat", {}, "s1")
    assert isinstance(central.receive(up), CallReceived)
    assert isinstance(station.receive(down), CallReceived)
    result = station.receive(central.answer("s1", {"currentTime": "x"}))
    assert isinstance(result, ResultReceived)
    assert result.call.action == "Heartbeat"
    result = central.receive(station.answer("c1", {"status": "Accepted"}))
    assert isinstance(result, ResultReceived)
    assert (result.payload, result.call.payload) == ({"status": "Accepted"}, {"type": "Hard"})
    assert central.outstanding is None
    assert station.outstanding is None


def test_one_call_outstanding() -> None:
    """Rule 3."""
    machine = csms()
    machine.call("Reset", {"type": "Hard"}, "c1")
    with pytest.raises(CallOutstanding):
        machine.call("ClearCache", {}, "c2")
    assert machine.outstanding is not None
    assert machine.outstanding.message_id == "c1"


def test_a_timeout_frees_the_slot_and_a_late_answer_is_dropped() -> None:
    """Rule 3."""
    machine = csms()
    machine.call("ClearCache", {}, "c1")
    call = machine.timeout("c1")
    assert call is not None
    assert call.action == "ClearCache"
    assert machine.timeout("c1") is None
    machine.call("ClearCache", {}, "c2")
    assert machine.timeout("c1") is None, "a late timer must not free the next CALL's slot"
    assert machine.receive('[3,"c1",{"status":"Accepted"}]') == Ignored("late answer", "c1", call)
    assert machine.receive('[3,"c1",{}]') == Ignored("answer to nothing outstanding", "c1")
    assert isinstance(machine.receive('[3,"c2",{}]'), ResultReceived)


@pytest.mark.parametrize(
    "frame",
    ['[3,"x",{}]', '[4,"x","GenericError","",{}]', '[4,"-1","FormationViolation","",{}]', "[3]", "[4,null]"],
)
def test_answers_to_nothing_are_ignored(frame: str) -> None:
    """Rule 3."""
    machine = csms()
    machine.call("ClearCache", {}, "c1")
    assert isinstance(machine.receive(frame), Ignored)
    assert machine.outstanding is not None


@pytest.mark.parametrize(
    ("version", "frame", "reply"),
    [
        # Rule 2: unknown message types
        (V16, '[7,"x"]', None),
        (V21, '[7,"x"]', None),
        (V16, '["2","x","Heartbeat",{}]', None),
        (V16, '[true,"x"]', None),
        (V16, '[6,"x","NotifyPeriodicEventStream",{}]', None),
        (V201, '[7,"x"]', [4, "x", "MessageTypeNotSupported", "unknown message type", {}]),
        (
            V201,
            '[5,"x","GenericError","",{}]',
            [4, "x", "MessageTypeNotSupported", "unknown message type", {}],
        ),
        (V201, "[7]", [4, "-1", "MessageTypeNotSupported", "unknown message type", {}]),
    ],
)
def test_unknown_message_types(version: Version, frame: str, reply: list[Any] | None) -> None:
    received = csms(version).receive(frame)
    if reply is None:
        assert isinstance(received, Ignored)
    else:
        assert isinstance(received, Refused)
        assert orjson.loads(received.reply_text or "") == reply


@pytest.mark.parametrize(
    "frame",
    [
        "{",
        "",
        " ",
        "not json",
        "[2,",
        b"\xff\xfe",
        '[2,"\ud800","Heartbeat",{}]',
        '[2,"\\ud800","Heartbeat",{}]',
        "[" * 5000 + "]" * 5000,
        "\x00",
    ],
)
def test_broken_json_is_answered_and_survived(frame: str | bytes) -> None:
    """The BENY row; rule 4: "-1" where the id cannot be read."""
    for version, code in ((V16, "FormationViolation"), (V201, "FormatViolation"), (V21, "FormatViolation")):
        machine = csms(version)
        reply, received = refused(machine, frame)
        assert reply[:3] == [4, "-1", code]
        assert received.code is ErrorCode.FORMAT_VIOLATION
        assert isinstance(machine.receive(HEARTBEAT), CallReceived)


@pytest.mark.parametrize(
    "frame",
    [
        '[2,"id7","MeterValues",{"a":NaN}]',
        '[2,"id7","MeterValues",{"a":}]',
        ' [ 2 , "id7" , "MeterValues", {"a":1}',
        b'[2,"id7","MeterValues",{"a":"\xff"}]',
        '[2,"id7","MeterValues",{"a":1e999}]',
        '[2,"id7","MeterValues",{"a":"' + "x" * frames.MAX_FRAME + '"}]',
    ],
)
def test_a_broken_call_with_a_readable_id_is_answered_under_it(frame: str | bytes) -> None:
    reply, received = refused(csms(V201), frame)
    assert reply[:3] == [4, "id7", "FormatViolation"]
    assert (received.message_id, received.action) == ("id7", "MeterValues")


def test_a_broken_retry_of_an_open_call_does_not_pre_empt_its_answer() -> None:
    machine = csms()
    machine.receive(HEARTBEAT)
    reply, _ = refused(machine, '[2,"h1","Heartbeat",{')
    assert reply[1] == "-1"
    assert machine.unanswered == ("h1",)


@pytest.mark.parametrize("frame", ["[]", "{}", "3", '"x"', "null", '[2,"","Heartbeat",{}]', "[2]"])
@pytest.mark.parametrize("version", Version)
def test_frames_without_a_readable_id(version: Version, frame: str) -> None:
    """Rule 4; 2.x part 4 §4.2.3."""
    reply, received = refused(csms(version), frame)
    assert reply[1:3] == ["-1", "FormationViolation" if version is V16 else "RpcFrameworkError"]
    assert received.message_id is None


@pytest.mark.parametrize("message_id", [None, 5, "x" * 37, [], {}, True])
def test_unusable_message_ids(message_id: Any) -> None:
    """Rule 4: at most 36 characters."""
    reply, _ = refused(csms(V201), orjson.dumps([2, message_id, "Heartbeat", {}]))
    assert reply[1:3] == ["-1", "RpcFrameworkError"]


def test_message_id_of_36_characters() -> None:
    assert isinstance(csms().receive(orjson.dumps([2, "x" * 36, "Heartbeat", {}])), CallReceived)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ('[2,"x","Nonsense",{}]', ErrorCode.NOT_IMPLEMENTED),  # §4.2.3: not known by the receiver
        ('[2,"x","TransactionEvent",{}]', ErrorCode.NOT_IMPLEMENTED),  # another version's
        ('[2,"x","Reset",{}]', ErrorCode.NOT_SUPPORTED),  # known, but not for this side
        ('[2,"x",7,{}]', ErrorCode.FORMAT_VIOLATION),
        ('[2,"x","Heartbeat"]', ErrorCode.FORMAT_VIOLATION),
        ('[2,"x","Heartbeat",{},1]', ErrorCode.FORMAT_VIOLATION),
        ('[2,"x","Heartbeat",[]]', ErrorCode.FORMAT_VIOLATION),
        ('[2,"x","Heartbeat","{}"]', ErrorCode.FORMAT_VIOLATION),
    ],
)
def test_unusable_calls(frame: str, code: ErrorCode) -> None:
    machine = csms()
    reply, received = refused(machine, frame)
    assert reply[:2] == [4, "x"]
    assert reply[4] == {}
    assert received.code is code
    assert machine.unanswered == ()


def test_null_stands_for_no_payload() -> None:
    """OCPP-J 1.6 §4.2.1."""
    received = csms().receive('[2,"x","Heartbeat",null]')
    assert isinstance(received, CallReceived)
    assert (received.payload, received.payload_json) == ({}, "{}")


def test_duplicate_keys_and_huge_numbers_are_no_rpc_matter() -> None:
    machine = csms()
    for number, frame in enumerate(
        ['{"a":1,"a":2}', f'{{"transactionId":{2**63 - 1}}}', f'{{"n":{10**30}}}']
    ):
        assert isinstance(machine.receive(f'[2,"{number}","MeterValues",{frame}]'), CallReceived)


def test_nesting_is_capped() -> None:
    """Rule 9."""
    for depth, fits in ((frames.MAX_DEPTH, True), (frames.MAX_DEPTH + 1, False)):
        payload = '{"a":' * depth + "1" + "}" * depth
        received = csms().receive(f'[2,"x","DataTransfer",{payload}]')
        assert isinstance(received, CallReceived) is fits
    wide = '{"a":[' + ",".join(["[]"] * 500) + "]}"
    assert isinstance(csms().receive(f'[2,"x","DataTransfer",{wide}]'), CallReceived)


def test_a_retry_with_the_same_id_gets_the_stored_answer() -> None:
    """Rule 4."""
    machine = csms()
    machine.receive(HEARTBEAT)
    answer = machine.answer("h1", {"currentTime": "x"})
    assert machine.receive(HEARTBEAT) == Replay("h1", answer)
    assert machine.receive(HEARTBEAT) == Replay("h1", answer)
    assert machine.unanswered == ()


def test_a_retry_while_the_first_is_being_answered_is_ignored() -> None:
    """Rule 4: the answer to the first serves both."""
    machine = csms()
    machine.receive(HEARTBEAT)
    assert isinstance(machine.receive(HEARTBEAT), Ignored)
    machine.answer("h1", {})
    with pytest.raises(RpcMisuse):
        machine.answer("h1", {})


def test_an_id_reused_for_another_call_is_a_new_call() -> None:
    machine = csms()
    machine.receive('[2,"1","Heartbeat",{}]')
    other = '[2,"1","Authorize",{"idTag":"T"}]'
    received = machine.receive(other)
    assert isinstance(received, Refused), "while the first is open its answer would be ambiguous"
    assert received.reply_text is None
    machine.answer("1", {})
    assert isinstance(machine.receive(other), CallReceived)
    answer = machine.answer("1", {"idTagInfo": {"status": "Accepted"}})
    assert machine.receive(other) == Replay("1", answer)


def test_a_retry_of_what_was_answered_for_the_moment_is_a_new_call() -> None:
    machine = csms(V21)
    machine.receive(HEARTBEAT)
    machine.answer("h1", {"currentTime": "2026-01-01T00:00:00Z"}, lasting=False)
    complaint = '[5,"h1","PropertyConstraintViolation","",{}]'
    assert isinstance(machine.receive(complaint), ResultErrorReceived), "it is still known as answered"
    assert isinstance(machine.receive(HEARTBEAT), CallReceived)
    assert isinstance(machine.receive(HEARTBEAT), Ignored), "while it is open its answer serves both"
    answer = machine.answer("h1", {"currentTime": "2026-01-01T00:05:00Z"}, lasting=False)
    assert "00:05" in answer


def test_a_retry_after_an_error_is_a_new_call() -> None:
    machine = csms()
    machine.receive(HEARTBEAT)
    machine.fail("h1", ErrorCode.INTERNAL_ERROR)
    assert isinstance(machine.receive(HEARTBEAT), CallReceived)


def test_stored_answers_are_bounded() -> None:
    machine = csms()
    for number in range(frames.KEPT_ANSWERS + 1):
        machine.receive(f'[2,"{number}","Heartbeat",{{}}]')
        machine.answer(str(number), {})
    assert isinstance(machine.receive('[2,"1","Heartbeat",{}]'), Replay)
    assert isinstance(machine.receive('[2,"0","Heartbeat",{}]'), CallReceived)


def test_calls_that_timed_out_are_remembered_up_to_a_bound() -> None:
    machine = csms()
    for number in range(frames.KEPT_ANSWERS + 1):
        machine.call("Reset", {"type": "Soft"}, f"c{number}")
        machine.timeout(f"c{number}")
    late = [machine.receive(f'[3,"c{number}",{{}}]') for number in (0, 1)]
    assert [isinstance(each, Ignored) and each.call is not None for each in late] == [False, True]


def test_overlapping_calls_are_tolerated_and_bounded() -> None:
    """Rule 3 binds the peer; real chargers replay their queue without waiting."""
    machine = csms()
    for number in range(frames.MAX_OPEN):
        assert isinstance(machine.receive(f'[2,"{number}","Heartbeat",{{}}]'), CallReceived)
    _, refusal = refused(machine, '[2,"more","Heartbeat",{}]')
    assert refusal.code is ErrorCode.GENERIC_ERROR
    machine.answer("0", {})
    assert isinstance(machine.receive('[2,"more","Heartbeat",{}]'), CallReceived)


@pytest.mark.parametrize(
    ("version", "spelt"), [(V16, "OccurenceConstraintViolation"), (V201, "OccurrenceConstraintViolation")]
)
def test_errors_are_spelt_by_version_and_bounded(version: Version, spelt: str) -> None:
    """Rules 4 and 5: errorDescription at most 255 characters, errorDetails always an object."""
    machine = csms(version)
    machine.receive(HEARTBEAT)
    frame = machine.fail("h1", ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION, "d" * 999)
    assert orjson.loads(frame) == [4, "h1", spelt, "d" * 255, {}]


@pytest.mark.parametrize(
    ("frame", "code", "description", "details"),
    [
        ('[4,"c","FormationViolation","why",{"a":1}]', "FormatViolation", "why", {"a": 1}),
        ('[4,"c","OccurenceConstraintViolation","",{}]', "OccurrenceConstraintViolation", "", {}),
        ('[4,"c","NotSupported"]', "NotSupported", "", {}),
        ('[4,"c","VendorError",null,null]', "VendorError", "", {}),
        ('[4,"c",null,"x","text"]', "GenericError", "x", {}),
        ('[4,"c"]', "GenericError", "", {}),
    ],
)
def test_errors_are_read_leniently(frame: str, code: str, description: str, details: dict[str, Any]) -> None:
    """Rule 5: both spellings are accepted; real stations leave elements out."""
    machine = csms()
    machine.call("ClearCache", {}, "c")
    received = machine.receive(frame)
    assert isinstance(received, ErrorReceived)
    assert (received.code, received.description, received.details) == (code, description, details)
    assert machine.outstanding is None


def test_bottomless_error_details_are_left_out() -> None:
    for depth, kept in ((frames.MAX_DEPTH, True), (frames.MAX_DEPTH + 1, False), (900, False)):
        machine = csms(V21)
        machine.call("ClearCache", {}, "c")
        details = '{"a":' * depth + "1" + "}" * depth
        received = machine.receive(f'[4,"c","GenericError","",{details}]')
        assert isinstance(received, ErrorReceived)
        assert bool(received.details) is kept
        assert orjson.dumps(received.details)


@pytest.mark.parametrize(
    "frame", ['[3,"c"]', '[3,"c",[]]', '[3,"c",{},1]', '[3,"c",{"a":]', '[4,"c","x",', '[3,"c",{"a":NaN}]']
)
@pytest.mark.parametrize("version", Version)
def test_an_unreadable_answer_fails_the_call(version: Version, frame: str) -> None:
    machine = csms(version)
    machine.call("ClearCache", {}, "c")
    reply, received = refused(machine, frame)
    assert received.call is not None
    assert received.call.message_id == "c"
    assert machine.outstanding is None
    if version is V21:  # only 2.1 can say so
        assert reply[:3] == [5, "c", "FormatViolation"]
    else:
        assert reply is None


def test_result_error_of_2_1() -> None:
    machine = csms(V21)
    machine.receive(HEARTBEAT)
    machine.answer("h1", {})
    received = machine.receive('[5,"h1","TypeConstraintViolation","no time",{}]')
    assert received == ResultErrorReceived("h1", "TypeConstraintViolation", "no time", {})
    assert isinstance(machine.receive('[5,"h2","GenericError","",{}]'), Ignored)
    assert orjson.loads(machine.refuse_result("c1", ErrorCode.FORMAT_VIOLATION) or "")[0] == 5
    assert csms(V201).refuse_result("c1", ErrorCode.FORMAT_VIOLATION) is None


def test_send_of_2_1() -> None:
    station, central = RpcMachine(V21, Role.STATION), csms(V21)
    frame = station.send("NotifyPeriodicEventStream", {"id": 1}, "n1")
    received = central.receive(frame)
    assert isinstance(received, SendReceived)
    assert (received.payload, received.payload_json) == ({"id": 1}, '{"id":1}')
    assert central.unanswered == ()
    assert station.outstanding is None
    for action in ("NotifyPeriodicEventStream", "Heartbeat"):
        with pytest.raises(RpcMisuse):
            central.send(action, {}, "n1")
    with pytest.raises(RpcMisuse):
        station.call("NotifyPeriodicEventStream", {}, "n2")


@pytest.mark.parametrize(
    "frame", ['[6,"n","Heartbeat",{}]', '[6,"n"]', "[6]", '[6,"n","NotifyPeriodicEventStream",1]']
)
def test_a_bad_send_is_never_answered(frame: str) -> None:
    reply, _ = refused(csms(V21), frame)
    assert reply is None


@pytest.mark.parametrize(
    ("version", "role", "action", "message_id"),
    [
        (V16, Role.CSMS, "Heartbeat", "x"),
        (V16, Role.STATION, "Reset", "x"),
        (V16, Role.CSMS, "SetVariables", "x"),
        (V201, Role.CSMS, "Nonsense", "x"),
        (V201, Role.CSMS, "Reset", ""),
        (V201, Role.CSMS, "Reset", "x" * 37),
    ],
)
def test_misuse_changes_nothing(version: Version, role: Role, action: str, message_id: str) -> None:
    machine = RpcMachine(version, role)
    with pytest.raises(RpcMisuse):
        machine.call(action, {}, message_id)
    with pytest.raises(RpcMisuse):
        machine.answer("never seen", {})
    with pytest.raises(RpcMisuse):
        machine.fail("never seen", ErrorCode.GENERIC_ERROR)
    assert machine.outstanding is None


@pytest.mark.parametrize(
    ("frame", "payload"),
    [
        ('[2,"x","MeterValues",{"a" : 1.0, "b":"]"}]', '{"a" : 1.0, "b":"]"}'),
        (' [ 2 , "x" , "MeterValues" ,\n{"a":1e0} ] ', '{"a":1e0}'),
        ('[2,"q\\"x","MeterValues",{"é":"ß"}]', '{"é":"ß"}'),
    ],
)
def test_the_payload_text_is_verbatim(frame: str, payload: str) -> None:
    for received in (csms().receive(frame), csms().receive(frame.encode())):
        assert isinstance(received, CallReceived)
        assert received.payload_json == payload
