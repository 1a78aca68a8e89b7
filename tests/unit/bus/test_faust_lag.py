"""How far behind a member of the Faust runtime says it is."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from libs.bus import metrics
from libs.bus.bus import Bus
from libs.bus.failures import FailureLimit
from libs.bus.faust_member import Member
from libs.bus.processor import Processor
from libs.bus.schemas import SchemaRegistry
from libs.bus.settings import BusSettings
from libs.bus.state_codec import StateCodec
from libs.events.codec import Codec
from libs.events.contract import load_contract
from tests.metrics import value_of

SETTINGS = BusSettings()
CONTRACT = load_contract()
HOME = TP(SETTINGS.topic("ocpp.lifecycle"), 0)


class Projection(Processor[None]):
    name = "lag-of-a-projection"
    inputs = ("ocpp.lifecycle",)
    outputs = ()


class Consumer:
    """A consumer as Faust's: it was taken up at `started_at` and has fetched up to `position` of `end`."""

    def __init__(self, started_at: int, position: int, end: int) -> None:
        state = SimpleNamespace(timestamp=1, lso=end, _position=position)
        assignment = SimpleNamespace(tps={HOME}, state_value=lambda _: state)
        kafka = SimpleNamespace(
            _subscription=SimpleNamespace(subscription=SimpleNamespace(assignment=assignment))
        )
        self._thread = SimpleNamespace(_ensure_consumer=lambda: kafka)
        self.started_at = {HOME: started_at}

    def assignment(self) -> set[TP]:
        return {HOME}


@pytest.fixture
async def member() -> Any:
    bus = Bus(SETTINGS, CONTRACT, Codec(CONTRACT, {}), SchemaRegistry(SETTINGS))
    processor = Projection()
    limits = defaultdict[int, FailureLimit](lambda: FailureLimit(1, 1.0))
    return Member(bus, processor, StateCodec(processor), {}, group="g", limits=limits)


def lag() -> float:
    return value_of(metrics.LAG.labels(Projection.name, "ocpp.lifecycle", 0))


async def test_before_its_first_record_a_partition_lags_by_what_came_since_it_was_taken_up(
    member: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        member, "_app", SimpleNamespace(consumer=Consumer(started_at=90, position=95, end=100))
    )
    member._observe_lag()  # noqa: SLF001
    assert lag() == 10


async def test_from_its_first_record_on_it_lags_by_what_is_not_handled(
    member: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        member, "_app", SimpleNamespace(consumer=Consumer(started_at=90, position=95, end=100))
    )
    member._processed[HOME] = 93  # noqa: SLF001
    member._observe_lag()  # noqa: SLF001
    assert lag() == 7
