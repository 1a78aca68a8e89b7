"""Hostile messages of every action and version, through edge, Avro and processors: answered, no dead letter, no cost.

The messages are made from the schemas (`tests/unit/ocpp/costly.py`). The suite tries some of each action and counts the
steps of the schema check, which are the same on any machine; a long run (`make fuzz`) tries all and takes the CPU time.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from random import Random

import orjson
import pytest

from libs.bus.message import Message
from libs.events.codec import Codec
from libs.events.ocpp_log import OcppCallReceived
from libs.events.registry import BootStatus
from libs.ocpp import schemas
from libs.ocpp.frames import MAX_FRAME, CallReceived, Refused, SendReceived
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
from tests.unit.ocpp.minimal import minimal
from tests.unit.ocpp.payloads import FUZZ_SECONDS, Payload, largest

SIZE = 30_000
OF_EACH_ACTION = 1_000_000 if FUZZ_SECONDS else 2
TIMES = 10
"""What a byte of any frame may cost, in bytes of a good one of the same action."""
FIXED = 2_048
"""Bytes of good samples that cost what a frame costs whatever its size: 60 us, and 0.03 for a byte."""
ATTEMPTS = 5
STEPS = 1.5
"""Calls of functions that the schema check may need for a byte: a quarter of a microsecond each, or less."""
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
        """What a byte of a good frame of that action costs: of its conforming frames the dearest."""
        payloads = [good(self.version, action, "request", SIZE)]
        payloads += [
            each.payload
            for each in costly(self.version, action, "request", SIZE)
            if schemas.is_valid(self.version, action, "request", each.payload)
        ]
        costs = [[self.take(action, payload) for _ in range(ATTEMPTS)] for payload in payloads]
        least = [[min(each) for each in zip(*attempts, strict=True)] for attempts in costs]
        edge, processors = map(max, zip(*least, strict=True))
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
    if not FUZZ_SECONDS:
        for action, each in cases(version):
            platform.take(action, each.payload)
        assert not platform.dead
        return
    # As `tune_gc` has it in the services: what was loaded before is not searched for cycles.
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    try:
        dear = _dear(platform)
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
    assert not platform.dead
    assert not dear


def _dear(platform: Platform) -> list[tuple[object, ...]]:
    """What costs more than ten times as much as a good message, for edge and processors."""
    version = platform.version
    known: dict[str, tuple[float, float]] = {}
    dear: list[tuple[object, ...]] = []
    for action, each in cases(version):
        if action not in known:
            known[action] = platform.usual(action)
        limits = tuple(TIMES * usual for usual in known[action])
        cost, attempts = platform.take(action, each.payload), 1
        # A machine that is busy is asked again.
        while not _within(cost, limits) and attempts < ATTEMPTS:
            cost, attempts = platform.take(action, each.payload), attempts + 1
        if not _within(cost, limits):
            dear.append(
                (action, each.what, *(round(c / m * TIMES, 1) for c, m in zip(cost, limits, strict=True)))
            )
    return dear


@pytest.mark.parametrize("version", Version)
def test_the_schema_check_takes_steps_in_proportion_to_the_message(version: Version) -> None:
    dear = []
    for action, each in cases(version):
        size = FIXED + len(orjson.dumps(each.payload))
        check_call(version, action, minimal(version, action, "request") | {"unlisted": 0})
        steps = _steps(partial(check_call, version, action, each.payload))
        if steps > STEPS * size:
            dear.append((action, each.what, round(steps / size, 2)))
    assert not dear


MANY = [
    (version, action, what)
    for version, action, holder in (
        (Version.V16, "MeterValues", "meterValue"),
        (Version.V16, "StopTransaction", "transactionData"),
        (Version.V201, "MeterValues", "meterValue"),
        (Version.V201, "TransactionEvent", "meterValue"),
    )
    for what in (holder, f"{holder}/0/sampledValue")
]


@pytest.mark.parametrize(("version", "action", "what"), MANY)
def test_as_many_elements_as_a_frame_has_room_for_cost_no_more_than_in_proportion(
    version: Version, action: str, what: str
) -> None:
    """The size of a frame is the bound of elements: the smallest conforming ones, and the smallest that are none."""
    fewest = f"{what}: "
    for conforming in (True, False):
        counts = []
        for size in (MAX_FRAME // 16, MAX_FRAME - 1_000):
            found = [
                each for each in costly(version, action, "request", size) if each.what.startswith(fewest)
            ]
            chosen = [
                each.payload
                for each in found
                if schemas.is_valid(version, action, "request", each.payload) is conforming
            ]
            payload = chosen[0] if conforming else next(e.payload for e in found if e.what == f"{what}: b'0'")
            platform = Platform(version)
            platform.take(action, good(version, action, "request", 1_000))
            counts.append(_steps(partial(platform.take, action, payload)))
            assert not platform.dead
        assert counts[1] <= 18 * counts[0], (conforming, counts)


def _steps(work: Callable[[], object]) -> int:
    """How many calls of functions `work` makes, of Python's and of C's."""
    count, before = 0, sys.getprofile()

    def on(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(on)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def _within(cost: tuple[float, float], limits: tuple[float, ...]) -> bool:
    return all(each <= most for each, most in zip(cost, limits, strict=True))
