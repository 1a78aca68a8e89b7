"""Two RPC machines, a central system and a station, over a line that loses, repeats, mutilates and invents frames.

Every step is predicted by a model of the rules, written here once more in the plainest way.
"""

from __future__ import annotations

from collections import deque
from copy import deepcopy
from typing import Any

import orjson
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

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
from libs.ocpp.routing import ROUTES
from libs.ocpp.rpc import CallOutstanding, Role, RpcMachine, RpcMisuse
from libs.ocpp.versions import Version
from tests.unit.ocpp.payloads import examples
from tests.unit.ocpp.test_rpc_model import conforms, noise

ACTIONS = {Role.CSMS: ("ClearCache", "Reset"), Role.STATION: ("Heartbeat", "StatusNotification")}
sides = st.sampled_from(list(Role))


class End:
    """One end of the line: its machine, what it must be like, and the frames on their way to the other end."""

    def __init__(self, version: Version, role: Role) -> None:
        self.machine = RpcMachine(version, role)
        self.line: deque[str | bytes] = deque()
        self.waiting: str | None = None
        self.late: list[str] = []
        self.fates: dict[str, str] = {}
        self.sent: list[str] = []
        self.open: dict[str, str | bytes] = {}
        self.answered: dict[str, tuple[str | bytes, str]] = {}

    def must_become(self, message_id: str, frame: str | bytes) -> type[Any]:
        """Predict what a well-formed CALL of the peer is taken for."""
        if message_id in self.open:
            return Ignored if self.open[message_id] == frame else Refused
        if message_id in self.answered and self.answered[message_id][0] == frame:
            return Replay
        return Refused if len(self.open) == frames.MAX_OPEN else CallReceived


class LossyLine(RuleBasedStateMachine):
    @initialize(version=st.sampled_from(Version))
    def connect(self, version: Version) -> None:
        self.version = version
        self.number = 0
        self.ends = {role: End(version, role) for role in Role}

    @rule(luck=st.integers(0, 9))
    def reconnect(self, luck: int) -> None:
        """A new connection knows nothing of the old one."""
        if luck:
            return
        self.ends = {role: End(self.version, role) for role in Role}

    @rule(side=sides, which=st.integers(0, 1))
    def call(self, side: Role, which: int) -> None:
        end = self.ends[side]
        self.number += 1
        message_id = f"{side}-{self.number}"
        if end.waiting is not None:
            with pytest.raises(CallOutstanding):
                end.machine.call(ACTIONS[side][which], {}, message_id)
            return
        text = end.machine.call(ACTIONS[side][which], {"n": self.number}, message_id)
        end.waiting = message_id
        end.sent = [*end.sent[-11:], text]
        end.line.append(text)

    @rule(side=sides, count=st.integers(1, frames.KEPT_ANSWERS + 2))
    def get_on_well(self, side: Role, count: int) -> None:
        for _ in range(count):
            self.call(side, 0)
            other = Role.STATION if side is Role.CSMS else Role.CSMS
            for receiver in (other, side):
                while self.ends[receiver].open:
                    self.answer(receiver, False, True)
                while any(self.ends[role].line for role in Role):
                    self.receive(Role.CSMS)
                    self.receive(Role.STATION)

    @precondition(lambda self: self.version is Version.V21)
    @rule()
    def send(self) -> None:
        station = self.ends[Role.STATION]
        self.number += 1
        station.line.append(station.machine.send("NotifyPeriodicEventStream", {}, f"send-{self.number}"))

    @rule(side=sides, back=st.integers(0, 11))
    def retry(self, side: Role, back: int) -> None:
        end = self.ends[side]
        if end.sent:
            end.line.append(end.sent[back % len(end.sent)])

    @rule(side=sides, back=st.integers(0, 11))
    def reuse_an_id(self, side: Role, back: int) -> None:
        end = self.ends[side]
        if end.sent:
            message_id = orjson.loads(end.sent[back % len(end.sent)])[1]
            end.line.append(orjson.dumps([2, message_id, ACTIONS[side][0], {"another": True}]))

    @rule(side=sides)
    def time_out(self, side: Role) -> None:
        end = self.ends[side]
        if end.waiting is None:
            assert end.machine.timeout(f"{side}-{self.number}") is None
            return
        late = end.machine.timeout(end.waiting)
        assert late is not None
        assert late.message_id == end.waiting
        end.late = [*end.late, end.waiting][-frames.KEPT_ANSWERS :]
        self._end_call(end, "timeout")

    @rule(side=sides)
    def lose(self, side: Role) -> None:
        if self.ends[side].line:
            self.ends[side].line.popleft()

    @rule(side=sides)
    def repeat_later(self, side: Role) -> None:
        line = self.ends[side].line
        if line:
            line.append(line[0])

    @rule(side=sides, keep=st.floats(0, 1))
    def mutilate(self, side: Role, keep: float) -> None:
        line = self.ends[side].line
        if line:
            line[0] = line[0][: int(keep * len(line[0]))]

    @rule(side=sides, frame=noise)
    def invent(self, side: Role, frame: str | bytes) -> None:
        self.ends[side].line.append(frame)

    @rule(side=sides, kind=st.sampled_from([3, 4, 5]), number=st.integers(0, 40))
    def forge_an_answer(self, side: Role, kind: int, number: int) -> None:
        other = Role.STATION if side is Role.CSMS else Role.CSMS
        forged = [kind, f"{other}-{number}", *([{}] if kind == 3 else ["GenericError", "", {}])]
        self.ends[side].line.append(orjson.dumps(forged))

    @rule(side=sides, newest=st.booleans(), well=st.booleans())
    def answer(self, side: Role, newest: bool, well: bool) -> None:
        end = self.ends[side]
        if not end.open:
            with pytest.raises(RpcMisuse):
                end.machine.answer("nothing", {})
            return
        message_id = list(end.open)[-1 if newest else 0]
        frame = end.open.pop(message_id)
        if well:
            text = end.machine.answer(message_id, {"to": message_id})
            end.answered.pop(message_id, None)
            end.answered[message_id] = (frame, text)
            while len(end.answered) > frames.KEPT_ANSWERS:
                del end.answered[next(iter(end.answered))]
        else:
            text = end.machine.fail(message_id, ErrorCode.INTERNAL_ERROR)
        end.line.append(text)
        for again in (end.machine.answer, end.machine.fail):
            with pytest.raises(RpcMisuse):
                again(message_id, {})  # type: ignore[arg-type]

    @rule(side=sides)
    def receive(self, side: Role) -> None:
        end, other = self.ends[side], self.ends[Role.STATION if side is Role.CSMS else Role.CSMS]
        if not other.line:
            return
        frame = other.line.popleft()
        expected = self._expected(end, frame)
        received = end.machine.receive(frame)
        assert expected is None or type(received) is expected, (frame, received)
        match received:
            case CallReceived():
                assert received.message_id not in end.open
                end.answered.pop(received.message_id, None)
                end.open[received.message_id] = frame
            case Replay():
                stored = end.answered[received.message_id]
                assert stored == (frame, received.answer_text)
                end.line.append(received.answer_text)
            case ResultReceived() | ErrorReceived():
                assert received.message_id == received.call.message_id == end.waiting
                if isinstance(received, ResultReceived):
                    self._answer_unusable(end, received)
                self._end_call(end, "answered")
            case Refused():
                if received.call is not None:
                    assert received.call.message_id == end.waiting
                    self._end_call(end, "unreadable")
                if received.reply_text is not None:
                    conforms(received.reply_text)
                    end.line.append(received.reply_text)
            case Ignored():
                if received.call is not None:
                    end.late.remove(received.call.message_id)
            case ResultErrorReceived():
                assert self.version is Version.V21
                assert received.message_id in end.answered
            case SendReceived():
                assert self.version is Version.V21
                assert side is Role.CSMS

    def _expected(self, end: End, frame: str | bytes) -> type[Any] | None:
        try:
            parsed = orjson.loads(frame)
        except ValueError:
            return Refused
        match parsed:
            case [2, str(message_id), str(action), dict()] if (
                action in ACTIONS[Role.STATION if end.machine.role is Role.CSMS else Role.CSMS]
            ) and 0 < len(message_id) <= 36:
                return end.must_become(message_id, frame)
            case [3, str(message_id), dict()] | [4, str(message_id), *_] if message_id != end.waiting:
                return Ignored
            case [3, str(), dict()]:
                return ResultReceived
            case [4, str(), *_]:
                return ErrorReceived
        return None

    def _answer_unusable(self, end: End, received: ResultReceived) -> None:
        refusal = end.machine.refuse_result(received.message_id, ErrorCode.FORMAT_VIOLATION, "odd")
        assert (refusal is None) is (self.version is not Version.V21)
        if refusal is not None and self.number % 2:
            conforms(refusal)
            end.line.append(refusal)

    def _end_call(self, end: End, fate: str) -> None:
        assert end.waiting is not None
        assert end.waiting not in end.fates, "one fate for every CALL"
        end.fates[end.waiting] = fate
        end.waiting = None

    @invariant()
    def the_machines_are_as_the_model_says(self) -> None:
        for end in getattr(self, "ends", {}).values():
            machine = end.machine
            outstanding = machine.outstanding
            assert (None if outstanding is None else outstanding.message_id) == end.waiting
            assert machine.unanswered == tuple(end.open)
            assert len(end.open) <= frames.MAX_OPEN
            # What it keeps shows in what it says, here to a copy, which forgets what it has said.
            probe = deepcopy(machine, {id(routes): routes for routes in ROUTES.values()})
            replays = [probe.receive(frame) for frame, _ in end.answered.values()]
            assert replays == [Replay(each, text) for each, (_, text) in end.answered.items()]
            for message_id in end.late:
                late = probe.receive(f'[3,"{message_id}",{{}}]')
                assert isinstance(late, Ignored)
                assert late.call is not None


def test_no_loss_repetition_or_forgery_breaks_a_rule() -> None:
    run_state_machine_as_test(
        LossyLine, settings=settings(max_examples=examples(40), stateful_step_count=60, deadline=None)
    )
