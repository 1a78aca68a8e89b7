"""Hostile messages of every action and version, through edge, Avro and processors: answered, no dead letter, no cost.

The messages are made from the schemas (`tests/unit/ocpp/costly.py`). The suite tries some of each action, a long run
(`make fuzz`) all.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from random import Random

import orjson
import pytest

from libs.bus.message import Message
from libs.events.codec import Codec
from libs.events.ocpp_log import OcppCallReceived
from libs.events.registry import BootStatus
from libs.ocpp import schemas
from libs.ocpp.frames import CallReceived, Refused, SendReceived
from libs.ocpp.inbound import CheckedCall, check_call
from libs.ocpp.routing import ROUTES, Policy
from libs.ocpp.rpc import Role, RpcMachine
from libs.ocpp.versions import Version
from services.edge.domain.answers import Asked, answer
from services.edge.domain.location import Holding
from services.edge.domain.rules import ReadModels, Rules, Standing
from services.edge.records import Scribe
from tests.contract.hostile import CONTRACT, T0
from tests.contract.test_bounds import Fold
from tests.contract.test_processors import PROCESSORS
from tests.unit.ocpp.costly import Costly, costly, good
from tests.unit.ocpp.payloads import FUZZ_SECONDS, Payload, largest

SIZE = 30_000
OF_EACH_ACTION = 1_000_000 if FUZZ_SECONDS else 2
GOOD = ("MeterValues", "NotifyReport")
TIMES = 10
"""What a byte of any frame may cost, in bytes of a good one."""
FIXED = 4_096
"""Bytes that what a frame costs whatever its size would pay for."""
ATTEMPTS = 5
STANDING = Standing(BootStatus.ACCEPTED, 300, True)
MODELS = ReadModels({}, {}, Rules(transaction_key=b"k" * 16))
CODEC = Codec(CONTRACT, {name: number for number, name in enumerate(CONTRACT.topics, 1)})


class Platform:
    """One station's edge and all processors, without sockets and Kafka."""

    def __init__(self, version: Version) -> None:
        self.version = version
        self.folds = [(processor, Fold(processor)) for processor in PROCESSORS]
        self._machine = RpcMachine(version, Role.CSMS)
        self._scribe = Scribe(Holding("cp1", "edge-1", 7), 1, version)
        self._count = 0

    def take(self, action: str, payload: Payload) -> tuple[float, float]:
        """Serve a frame as an edge and the processors do; returns the CPU seconds of either for a byte of it."""
        self._count += 1
        message_id, route = f"m{self._count}", ROUTES[self.version][action]
        frame = orjson.dumps([6 if route.is_send else 2, message_id, action, payload])
        begun = time.process_time()
        raw = self._serve(frame)
        served = time.process_time()
        if raw is not None:
            self._process(route.topic, raw)
        ended = time.process_time()
        size = FIXED + len(frame)
        return (served - begun) / size, (ended - served) / size

    def usual(self, action: str) -> tuple[float, float]:
        """What a byte of a good frame of that action costs, the middle of some."""
        payload = good(self.version, action, "request", SIZE)
        costs = [self.take(action, payload) for _ in range(ATTEMPTS + 1)][1:]
        edge, processors = (sorted(each)[ATTEMPTS // 2] for each in zip(*costs, strict=True))
        return edge, processors

    def _serve(self, frame: bytes) -> bytes | None:
        """The record that goes to Kafka, if the call is not refused."""
        received = self._machine.receive(frame)
        if isinstance(received, Refused):
            assert received.reply_text is not None
            return None
        assert isinstance(received, CallReceived | SendReceived)
        version, action = self.version, received.action
        checked = check_call(version, action, received.payload)
        text = None
        if isinstance(received, CallReceived):
            if not isinstance(checked, CheckedCall):
                assert self._machine.fail(received.message_id, checked.code, checked.message)
                return None
            asked = Asked(version, "cp1", action, checked.payload, STANDING, MODELS, self._now)
            told = answer(ROUTES[version][action], asked)
            assert schemas.validate(version, action, "response", told) is None
            self._machine.answer(received.message_id, told)
            text = orjson.dumps(told).decode()
        if not isinstance(checked, CheckedCall):
            return None
        record = self._scribe.call(received, checked, STANDING, text, self._now)
        return CODEC.encode(ROUTES[version][action].topic, record)

    def _process(self, topic: str, raw: bytes) -> None:
        record = CODEC.decode(raw)
        assert isinstance(record, OcppCallReceived)
        for processor, fold in self.folds:
            if topic not in processor.inputs or not processor.wants(topic, "OcppCallReceived", record.action):
                continue
            message = Message(topic, 0, self._count, "cp1", record, self._now)
            if processor.key(message) is not None:
                fold.handle(message)

    @property
    def _now(self) -> int:
        return T0 + self._count * 1_000_000

    @property
    def dead(self) -> dict[str, list[str]]:
        """What became a dead letter, by processor."""
        return {p.name: [repr(error)[:300] for _, error in fold.dead] for p, fold in self.folds if fold.dead}


def cases(version: Version) -> Iterator[tuple[str, Costly]]:
    pick = Random(7)
    for action, route in ROUTES[version].items():
        if not route.to_csms or route.policy is Policy.NONE:
            continue
        found = list(costly(version, action, "request", SIZE))
        found.append(Costly("largest", largest(version, action, "request")))
        found.append(Costly("good", good(version, action, "request", SIZE)))
        for each in pick.sample(found, min(OF_EACH_ACTION, len(found))):
            yield action, each


@pytest.mark.parametrize("version", Version)
def test_nothing_that_a_charger_sends_is_left_unanswered_becomes_a_dead_letter_or_costs_much(
    version: Version,
) -> None:
    platform = Platform(version)
    usual = [platform.usual(action) for action in GOOD if action in ROUTES[version]]
    limits = tuple(TIMES * max(each) for each in zip(*usual, strict=True))
    dear = []
    for action, each in cases(version):
        cost, attempts = platform.take(action, each.payload), 1
        # A machine that is busy is asked again.
        while not _within(cost, limits) and attempts < ATTEMPTS:
            cost, attempts = platform.take(action, each.payload), attempts + 1
        if not _within(cost, limits):
            dear.append(
                (action, each.what, *(round(c / m * TIMES, 1) for c, m in zip(cost, limits, strict=True)))
            )
    assert not platform.dead
    assert not dear


def _within(cost: tuple[float, float], limits: tuple[float, ...]) -> bool:
    return all(each <= most for each, most in zip(cost, limits, strict=True))
