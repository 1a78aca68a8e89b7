"""The copy of the schemas on the bus, whatever else somebody wrote there."""

from __future__ import annotations

from functools import partial

import msgspec
import pytest

from libs.bus import reading
from libs.bus.errors import ContractMismatchError
from libs.bus.schemas import SCHEMAS_TOPIC, RegisteredSchema, read_schemas
from libs.bus.settings import BusSettings
from libs.testing.memory_kafka import MemoryBroker, MemoryConsumer, MemoryProducer

SETTINGS = BusSettings(kafka="nowhere", registry_url="http://nowhere")
SCHEMA = RegisteredSchema("a-value", 1, {"type": "string"})


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> MemoryBroker:
    broker = MemoryBroker()
    monkeypatch.setattr(reading, "AIOKafkaConsumer", partial(MemoryConsumer, broker))
    return broker


async def test_what_is_no_schema_is_passed_over(broker: MemoryBroker) -> None:
    topic = SETTINGS.topic(SCHEMAS_TOPIC)
    broker.create(topic, 1)
    producer = MemoryProducer(broker)
    for number, value in enumerate(
        [b"{", b"[]", b"\xff", b'{"subject": 1}', None, msgspec.json.encode(SCHEMA)]
    ):
        await producer.send_and_wait(topic, value, str(number).encode())
    assert await read_schemas(SETTINGS) == [SCHEMA]


async def test_without_the_topic_the_contract_is_not_applied(broker: MemoryBroker) -> None:
    with pytest.raises(ContractMismatchError, match="contract apply"):
        await read_schemas(SETTINGS)
