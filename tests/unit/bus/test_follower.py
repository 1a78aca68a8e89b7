"""What a follower asks of Kafka, on a Kafka in memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from libs.bus import follower
from libs.bus.bus import Bus
from libs.bus.follower import Follower
from libs.bus.message import Message
from libs.bus.settings import BusSettings
from libs.testing.memory_kafka import MemoryBroker, MemoryConsumer, MemoryProducer

TOPIC = "registry.stations"


class Noting(MemoryConsumer):
    """Notes how much it is asked for at once."""

    asked: list[int]

    async def getmany(
        self, *places: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> Any:
        self.asked.append(max_records or 0)
        return await super().getmany(*places, timeout_ms=timeout_ms, max_records=max_records)


async def test_however_much_is_there_only_few_records_are_unpacked_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker, asked, taken = MemoryBroker({TOPIC: 2}), list[int](), list[Message]()
    producer = MemoryProducer(broker)
    for number in range(1_500):
        await producer.send_and_wait(TOPIC, None, b"%d" % number, number % 2)

    def consumer(**options: Any) -> AIOKafkaConsumer:
        made = Noting(broker, **options)
        made.asked = asked
        return cast(AIOKafkaConsumer, made)

    monkeypatch.setattr(follower, "AIOKafkaConsumer", consumer)
    contract = SimpleNamespace(record_names=lambda _: ())
    bus = cast(Bus, SimpleNamespace(settings=BusSettings(), contract=contract))
    async with Follower(bus, "test", (TOPIC,), taken.append):
        assert [message.offset for message in taken if message.partition == 1] == list(range(750))
        assert len(taken) == 1_500
    assert max(asked) <= 64
