"""Every action of every version, in both directions, over payloads made from its schemas."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.events.codec import Codec
from libs.events.contract import load_contract
from libs.events.ocpp_log import CallOutcome, OcppCallReceived, OcppCallSent
from libs.events.registry import BootStatus, TokenRegistered, TokenStatus
from libs.events.topics import OCPP_COMMANDS
from libs.ocpp import frames, schemas
from libs.ocpp.errors import ErrorCode
from libs.ocpp.frames import CallReceived, Refused, ResultErrorReceived, ResultReceived, SendReceived
from libs.ocpp.inbound import CheckedCall, check_call, check_result
from libs.ocpp.routing import ROUTES, Policy
from libs.ocpp.rpc import Role, RpcMachine
from libs.ocpp.schemas import Kind, Violation
from libs.ocpp.semantics import read_call
from libs.ocpp.semantics.commands import Command
from libs.ocpp.semantics.encoding import encode_command
from libs.ocpp.semantics.sent_calls import read_sent, read_verdict
from libs.ocpp.versions import Version
from services.edge.domain.answers import Asked, answer
from services.edge.domain.location import Holding
from services.edge.domain.rules import ReadModels, Rules, Standing, UnknownTokens
from services.edge.records import Scribe
from tests.unit.ocpp.minimal import minimal
from tests.unit.ocpp.payloads import INT32, Fault, broken, every_fault, examples, largest, valid

NOW = 1_800_000_000_000_000
RULES = {each: Rules(transaction_key=b"k" * 16, unknown_tokens=each) for each in UnknownTokens}
SCRIBE = Scribe(Holding("cp1", "edge-1", 7), 1, Version.V16)
CODEC = Codec(load_contract(), {"ocpp.transactions": 1, "ocpp.lifecycle": 2, OCPP_COMMANDS: 3})

TO_CSMS = [(v, a) for v in Version for a, route in ROUTES[v].items() if route.to_csms]
TO_STATION = [(v, a) for v in Version for a, route in ROUTES[v].items() if route.to_station]
REQUESTS: list[tuple[Version, str, Kind]] = [(v, a, "request") for v in Version for a in ROUTES[v]]
RESPONSES: list[tuple[Version, str, Kind]] = [
    (v, a, "response") for v in Version for a, route in ROUTES[v].items() if not route.is_send
]

# OCPP-J 1.6 §4.2.3 and 2.x part 4 §4.3, for the codes that a payload's faults have.
SPELT: Final = {
    ErrorCode.FORMAT_VIOLATION: ("FormationViolation", "FormatViolation"),
    ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION: (
        "OccurenceConstraintViolation",
        "OccurrenceConstraintViolation",
    ),
    ErrorCode.TYPE_CONSTRAINT_VIOLATION: ("TypeConstraintViolation", "TypeConstraintViolation"),
    ErrorCode.PROPERTY_CONSTRAINT_VIOLATION: ("PropertyConstraintViolation", "PropertyConstraintViolation"),
}

few = settings(
    max_examples=examples(2),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
WRITERS: list[Callable[[Any], str]] = [
    lambda payload: orjson.dumps(payload).decode(),
    json.dumps,
    lambda payload: json.dumps(payload, ensure_ascii=False, indent=1),
]
texts = st.sampled_from(WRITERS)
heads = st.sampled_from(['[%d,"%s","%s",%s]', ' [ %d , "%s",\n"%s" ,%s ]\t'])
standings = st.sampled_from(
    [Standing(BootStatus.ACCEPTED, 300, True), Standing(BootStatus.PENDING, 60, True)]
)


@pytest.mark.parametrize(("version", "action"), TO_CSMS)
@few
@given(data=st.data())
def test_a_valid_call_is_taken_as_it_is_answered_well_and_recorded_exactly(
    version: Version, action: str, data: st.DataObject
) -> None:
    payload = data.draw(valid(version, action, "request"))
    text = data.draw(texts)(payload)
    route = ROUTES[version][action]
    machine = RpcMachine(version, Role.CSMS, max_frame=8 * frames.MAX_FRAME)
    received = machine.receive((data.draw(heads) % (6 if route.is_send else 2, "m1", action, text)).encode())
    assert type(received) is (SendReceived if route.is_send else CallReceived)
    assert received.payload == payload

    checked = check_call(version, action, received.payload)
    assert checked == CheckedCall(payload), "conforming payloads carry no quirk"
    standing = data.draw(standings)
    given_answer = None if route.is_send else _answer(version, action, payload, standing, data)
    answer_text = None if given_answer is None else orjson.dumps(given_answer).decode()
    record = SCRIBE.call(received, checked, standing, answer_text, NOW)
    stored = _through_avro(route.topic, record)
    assert (stored.payload, stored.answer, stored.quirks) == (text, answer_text, ())
    read_call(version, action, payload, given_answer, NOW)

    if given_answer is None:
        assert machine.unanswered == ()
        return
    station = RpcMachine(version, Role.STATION)
    station.call(action, payload, "m1")
    told = station.receive(machine.answer("m1", given_answer))
    assert isinstance(told, ResultReceived)
    assert told.payload == given_answer


@pytest.mark.parametrize(("version", "action"), TO_CSMS)
@few
@given(data=st.data())
def test_a_broken_call_gets_the_right_code_or_is_bent_by_name(
    version: Version, action: str, data: st.DataObject
) -> None:
    fault = data.draw(broken(version, action, "request"))
    route = ROUTES[version][action]
    _has_code(version, action, "request", fault)
    checked = check_call(version, action, fault.payload)
    if isinstance(checked, CheckedCall):
        assert checked.quirks
        given_answer = (
            None if route.is_send else _answer(version, action, checked.payload, data.draw(standings), data)
        )
        read_call(version, action, checked.payload, given_answer, NOW)
        return
    assert checked.code in _told(fault), (fault, checked)
    if route.is_send:
        return
    machine = RpcMachine(version, Role.CSMS, max_frame=8 * frames.MAX_FRAME)
    machine.receive(orjson.dumps([2, "m1", action, fault.payload]))
    description = f"{checked.path or '/'}: {checked.message}"
    kind, message_id, code, said, details = orjson.loads(machine.fail("m1", checked.code, description))
    assert (kind, message_id, code, details) == (4, "m1", SPELT[checked.code][version.is_v2], {})
    assert 0 < len(said) <= 255


@pytest.mark.parametrize(("version", "action"), TO_STATION)
@few
@given(data=st.data())
def test_a_valid_command_is_sent_and_its_valid_result_taken(
    version: Version, action: str, data: st.DataObject
) -> None:
    payload = data.draw(valid(version, action, "request"))
    result = data.draw(valid(version, action, "response"))
    central, station = (RpcMachine(version, role, max_frame=8 * frames.MAX_FRAME) for role in Role)
    received = station.receive(central.call(action, payload, "c1"))
    assert isinstance(received, CallReceived)
    assert received.payload == payload
    told = central.receive(station.answer("c1", result))
    assert isinstance(told, ResultReceived)
    assert told.payload == result
    assert check_result(version, action, result) == CheckedCall(result), "conforming results carry no quirk"
    record = OcppCallSent(
        event_id="e",
        occurred_at=NOW,
        recorded_at=NOW,
        cause_id="e",
        station_id="cp1",
        connection_epoch=7,
        edge_id="edge-1",
        command_id="c",
        version=version,
        message_id="c1",
        action=action,
        payload=orjson.dumps(payload).decode(),
        outcome=CallOutcome.RESULT,
        result=orjson.dumps(told.payload).decode(),
        sent_at=NOW,
        round_trip_us=1,
    )
    assert CODEC.decode(CODEC.encode(OCPP_COMMANDS, record)) == record
    read_sent(record)
    with suppress(ValueError):  # it conforms, and has no result for an item
        read_verdict(record)


@pytest.mark.parametrize(("version", "action"), TO_STATION)
@few
@given(data=st.data())
def test_a_broken_result_is_refused_or_bent_by_name(
    version: Version, action: str, data: st.DataObject
) -> None:
    fault = data.draw(broken(version, action, "response"))
    _has_code(version, action, "response", fault)
    checked = check_result(version, action, fault.payload)
    if isinstance(checked, CheckedCall):
        assert checked.quirks
        return
    assert checked.code in _told(fault), (fault, checked)
    central, station = (RpcMachine(version, role, max_frame=8 * frames.MAX_FRAME) for role in Role)
    station.receive(central.call(action, minimal(version, action, "request"), "c1"))
    central.receive(station.answer("c1", fault.payload))
    refusal = central.refuse_result("c1", checked.code, checked.message)
    if version is not Version.V21:
        assert refusal is None
        return
    assert refusal is not None
    told = station.receive(refusal)
    assert isinstance(told, ResultErrorReceived)
    assert (told.message_id, told.code, told.details) == ("c1", checked.code, {})


@pytest.mark.parametrize(("version", "action", "kind"), REQUESTS + RESPONSES)
def test_each_single_fault_has_its_code(version: Version, action: str, kind: Kind) -> None:
    assert schemas.validate(version, action, kind, largest(version, action, kind)) is None
    for fault in every_fault(version, action, kind):
        _has_code(version, action, kind, fault)


@pytest.mark.parametrize("version", Version)
@pytest.mark.parametrize("kind", get_args(Command), ids=lambda kind: kind.__name__)
@few
@given(data=st.data())
def test_no_version_free_command_leaves_an_empty_optional(
    version: Version, kind: type[msgspec.Struct], data: st.DataObject
) -> None:
    """Rule 8, for whatever the fields of the command are."""
    command = data.draw(_structs(kind))
    try:
        action, payload = encode_command(version, command)
    except ValueError:  # the version has no words for it
        return
    assert ROUTES[version][action].to_station
    assert not list(empties(payload)), payload


@pytest.mark.parametrize(("version", "action"), TO_STATION)
def test_a_command_of_the_central_system_is_refused_when_a_station_calls_it(
    version: Version, action: str
) -> None:
    if ROUTES[version][action].to_csms:
        return
    received = RpcMachine(version, Role.CSMS).receive(orjson.dumps([2, "m1", action, {}]))
    assert isinstance(received, Refused)
    assert orjson.loads(received.reply_text or "")[:3] == [4, "m1", "NotSupported"]


def _structs(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Make instances of a struct from its annotations; lists that must be given hold something."""
    hints = get_type_hints(kind, include_extras=True)
    fields = {
        field.name: _values(hints[field.name], field.required) for field in msgspec.structs.fields(kind)
    }
    return st.builds(kind, **fields)


def _values(hint: Any, required: bool) -> st.SearchStrategy[Any]:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        bounded, meta = arguments
        if bounded is int:
            return st.integers(meta.ge or 0, INT32 - 1 if meta.le is None else meta.le)
        return _values(bounded, required)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        return st.lists(_values(arguments[0], True), min_size=int(required), max_size=2).map(tuple)
    if arguments:
        return st.one_of([_values(each, required) for each in arguments])
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return _structs(hint)
    simple: dict[Any, st.SearchStrategy[Any]] = {
        str: st.text("ab:1", min_size=1, max_size=5),
        int: st.integers(0, INT32 - 1),
    }
    return simple.get(hint, st.from_type(hint))


def empties(value: Any, path: str = "") -> Iterator[str]:
    """Find null, empty objects and empty lists below the top of a payload, but not in customData, which is open."""
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, child in children:
        if child is None or child in ({}, []):
            yield f"{path}/{key}"
        if key != "customData":
            yield from empties(child, f"{path}/{key}")


def _answer(
    version: Version, action: str, payload: dict[str, Any], standing: Standing, data: st.DataObject
) -> dict[str, Any]:
    """Give the answer of the action's policy, and see that it conforms and holds nothing empty (rule 8)."""
    route = ROUTES[version][action]
    assert route.policy is not Policy.NONE
    token = payload.get("idTag") or payload.get("idToken", {}).get("idToken")
    tokens = {} if token is None else {token.casefold(): _token(token, data)}
    models = ReadModels({}, tokens, RULES[data.draw(st.sampled_from(UnknownTokens))])
    given_answer = answer(route, Asked(version, "cp1", action, payload, standing, models, NOW))
    assert schemas.validate(version, action, "response", given_answer) is None, given_answer
    assert not list(empties(given_answer))
    return given_answer


def _token(id_token: str, data: st.DataObject) -> TokenRegistered:
    return TokenRegistered(
        event_id="e",
        occurred_at=NOW,
        recorded_at=NOW,
        cause_id="e",
        id_token=id_token,
        status=data.draw(st.sampled_from(TokenStatus)),
        valid_until=data.draw(st.none() | st.integers(0, 2 * NOW)),
        group_id=data.draw(st.none() | st.text(st.characters(codec="utf-8"), max_size=40)),
    )


def _told(fault: Fault) -> set[ErrorCode]:
    """Return how a fault may be called after the bends: null stands for nothing, an object for a list of itself."""
    if fault.what.startswith(("null for", "object for array")):
        return {fault.code, ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION}
    return {fault.code}


def _has_code(version: Version, action: str, kind: Kind, fault: Fault) -> None:
    violation = schemas.validate(version, action, kind, fault.payload)
    assert isinstance(violation, Violation), fault
    assert violation.code is fault.code, (fault, violation)
    assert 0 < len(violation.message) <= 200


def _through_avro(topic: str, record: OcppCallReceived) -> OcppCallReceived:
    stored = CODEC.decode(CODEC.encode(topic, record))
    assert stored == record
    assert isinstance(stored, OcppCallReceived)
    return stored
