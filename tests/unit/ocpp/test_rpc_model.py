"""The RPC machine against its tables, against itself, and against noise."""

from collections import deque
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.ocpp import frames
from libs.ocpp.errors import ErrorCode
from libs.ocpp.frames import (
    CallReceived,
    ErrorReceived,
    Ignored,
    Received,
    Refused,
    Replay,
    ResultErrorReceived,
    ResultReceived,
)
from libs.ocpp.rpc import CallOutstanding, Role, RpcMachine, RpcMisuse
from libs.ocpp.rpc_states import INCOMING, OUTGOING, Effect, Inbound, InboundEvent, Slot, SlotEvent
from libs.ocpp.versions import Version
from tests.unit.ocpp.payloads import examples

FRAME = '[2,"m","Heartbeat",{}]'


@pytest.mark.parametrize("state", Slot)
@pytest.mark.parametrize("event", SlotEvent)
def test_the_slot_follows_its_table(state: Slot, event: SlotEvent) -> None:
    machine = RpcMachine(Version.V21, Role.CSMS)
    if state is Slot.WAITING:
        machine.call("ClearCache", {}, "c")
    frame = {
        SlotEvent.RESULT: '[3,"c",{}]',
        SlotEvent.ERROR: '[4,"c","GenericError","",{}]',
        SlotEvent.UNREADABLE: '[3,"c",1]',
        SlotEvent.STRAY: '[3,"stray",{}]',
    }.get(event)
    effect: Effect
    if event is SlotEvent.CALL:
        try:
            machine.call("ClearCache", {}, "d")
            effect = Effect.SEND
        except CallOutstanding:
            effect = Effect.REFUSE
    elif event is SlotEvent.TIMEOUT:
        effect = Effect.IGNORE if machine.timeout("c") is None else Effect.DELIVER
    else:
        assert frame is not None
        effect = _effect(machine.receive(frame))
    after = Slot.FREE if machine.outstanding is None else Slot.WAITING
    # With nothing waiting, every answer is a stray one.
    row = OUTGOING.get((state, event)) or OUTGOING[state, SlotEvent.STRAY]
    assert (after, effect) == row


@pytest.mark.parametrize(("state", "event"), INCOMING)
def test_a_message_id_follows_its_table(state: Inbound, event: InboundEvent) -> None:
    machine = RpcMachine(Version.V21, Role.CSMS)
    if state is not Inbound.NEW:
        machine.receive(FRAME)
    if state is Inbound.ANSWERED:
        machine.answer("m", {})
    effect = Effect.SEND
    if event is InboundEvent.ANSWER:
        machine.answer("m", {})
    elif event is InboundEvent.FAIL:
        machine.fail("m", ErrorCode.GENERIC_ERROR)
    elif event is InboundEvent.FORGET:
        effect = Effect.DROP
        for number in range(frames.KEPT_ANSWERS):
            machine.receive(f'[2,"{number}","Heartbeat",{{}}]')
            machine.answer(str(number), {})
    else:
        frame = {
            InboundEvent.REUSED: '[2,"m","BootNotification",{}]',
            InboundEvent.RESULT_ERROR: '[5,"m","GenericError","",{}]',
        }.get(event, FRAME)
        effect = _effect(machine.receive(frame))
    assert (_state_of_m(machine), effect) == INCOMING[state, event]


def _effect(received: Received) -> Effect:
    if isinstance(received, CallReceived | ResultReceived | ErrorReceived | ResultErrorReceived):
        return Effect.DELIVER
    if isinstance(received, Replay):
        return Effect.REPLAY
    return Effect.REFUSE if isinstance(received, Refused) else Effect.IGNORE


def _state_of_m(machine: RpcMachine) -> Inbound:
    if "m" in machine.unanswered:
        return Inbound.OPEN
    remembered = machine.receive('[5,"m","GenericError","",{}]')
    return Inbound.ANSWERED if isinstance(remembered, ResultErrorReceived) else Inbound.NEW


class _Side:
    """One end of a lossless, ordered line; remembers what became of each of its CALLs."""

    def __init__(self, version: Version, role: Role, action: str) -> None:
        self.machine = RpcMachine(version, role)
        self.action = action
        self.line: deque[str] = deque()
        self.outcomes: dict[str, list[str]] = {}
        self.handled: list[str] = []

    def call(self) -> None:
        message_id = f"{self.machine.role}-{len(self.outcomes)}"
        try:
            self.line.append(self.machine.call(self.action, {}, message_id))
        except CallOutstanding:
            return
        self.outcomes[message_id] = []

    def retry(self) -> None:
        call = self.machine.outstanding
        if call is not None:
            self.line.append(orjson.dumps([2, call.message_id, call.action, call.payload]).decode())

    def time_out(self) -> None:
        call = self.machine.outstanding
        if call is not None:
            assert self.machine.timeout(call.message_id) == call
            self.outcomes[call.message_id].append("timeout")

    def answer(self, well: bool) -> None:
        for message_id in self.machine.unanswered[:1]:
            if well:
                self.line.append(self.machine.answer(message_id, {"to": message_id}))
            else:
                self.line.append(self.machine.fail(message_id, ErrorCode.INTERNAL_ERROR))

    def take(self, other: "_Side") -> None:
        if not other.line:
            return
        received = self.machine.receive(other.line.popleft())
        if isinstance(received, CallReceived):
            self.handled.append(received.message_id)
        elif isinstance(received, Replay):
            self.line.append(received.answer_text)
        elif isinstance(received, ResultReceived):
            assert received.payload == {"to": received.message_id}
            self.outcomes[received.message_id].append("result")
        elif isinstance(received, ErrorReceived):
            self.outcomes[received.message_id].append("error")
        else:
            assert isinstance(received, Ignored), received


STEPS = ["call", "take", "answer", "fail", "retry", "time_out"]


@settings(max_examples=examples(150), deadline=None)
@given(
    version=st.sampled_from(list(Version)),
    steps=st.lists(st.tuples(st.booleans(), st.sampled_from(STEPS)), max_size=80),
)
def test_two_machines_agree_in_any_interleaving(version: Version, steps: list[tuple[bool, str]]) -> None:
    central = _Side(version, Role.CSMS, "ClearCache")
    station = _Side(version, Role.STATION, "Heartbeat")

    def step(of_central: bool, name: str) -> None:
        side, other = (central, station) if of_central else (station, central)
        if name == "take":
            side.take(other)
        elif name in ("answer", "fail"):
            side.answer(name == "answer")
        else:
            getattr(side, name)()

    for of_central, name in steps:
        step(of_central, name)
    while central.line or station.line or central.machine.unanswered or station.machine.unanswered:
        for of_central in (True, False):
            step(of_central, "take")
            step(of_central, "answer")

    for side, other in ((central, station), (station, central)):
        assert side.machine.outstanding is None
        assert all(len(outcome) == 1 for outcome in side.outcomes.values()), "one fate for every CALL"
        retried = "retry" in {name for _, name in steps}
        if not retried:
            assert other.handled == list(side.outcomes), "every CALL is handled once, in order"
        assert set(other.handled) == set(side.outcomes)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
rpc_like = st.tuples(
    st.sampled_from([2, 3, 4, 5, 6, 7, "2", None]),
    st.sampled_from(["m", "c", "", "-1", 5, None, "x" * 40]),
    st.sampled_from(["Heartbeat", "MeterValues", "Reset", "NotifyPeriodicEventStream", "?"]) | json_values,
    json_values,
).flatmap(lambda t: st.sampled_from([list(t[:n]) for n in (1, 2, 3, 4)] + [[*t, 1], [*t[:3], {}]]))
noise = (
    st.text(max_size=200)
    | st.binary(max_size=200)
    | json_values.map(lambda value: orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS))
    | rpc_like.map(orjson.dumps)
    | rpc_like.flatmap(lambda v: st.integers(0, 60).map(lambda n: orjson.dumps(v)[:n]))
)


@settings(max_examples=examples(150), deadline=None)
@given(
    version=st.sampled_from(list(Version)),
    role=st.sampled_from(list(Role)),
    received=st.lists(noise, max_size=6),
    waiting=st.booleans(),
)
def test_receive_never_raises(
    version: Version, role: Role, received: list[str | bytes], waiting: bool
) -> None:
    machine = RpcMachine(version, role)
    if waiting:
        machine.call("DataTransfer", {}, "c")
    for frame in received:
        judged = machine.receive(frame)
        if isinstance(judged, Refused) and judged.reply_text is not None:
            conforms(judged.reply_text)
        elif isinstance(judged, CallReceived):
            assert isinstance(judged.payload_json, str)
            with pytest.raises(RpcMisuse):
                machine.answer(judged.message_id + "?", {})


def conforms(reply: str) -> None:
    """Rule 4."""
    frame: list[Any] = orjson.loads(reply)
    kind, message_id, code, description, details = frame
    assert kind in (4, 5)
    assert 0 < len(message_id) <= 36
    assert code
    assert len(description) <= 255
    assert details == {}
