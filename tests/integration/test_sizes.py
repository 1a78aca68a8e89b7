"""The largest record goes through Kafka, and what is larger harms nobody."""

from __future__ import annotations

import secrets

import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord

from libs.bus.connection import connection
from libs.bus.dead_letters import dead_letter, replay_dead_letters
from libs.bus.settings import DEAD_LETTER_BYTES, MAX_RECORD_BYTES
from libs.bus.tail import read_all
from libs.devstack import Endpoints
from libs.events.codec import CodecError
from libs.events.commands import CommandDialect, RequestCommand
from libs.events.contract import dead_letter_topic
from libs.events.ids import new_id
from tests.integration.processor_rig import Rig, open_rig

TOPIC = "commands.requested"
KEY = "cp1"


def command(payload_bytes: int) -> RequestCommand:
    event_id = new_id()
    return RequestCommand(
        event_id=event_id, occurred_at=0, recorded_at=1_000_000, cause_id=event_id, station_id=KEY, action="Reset",
        payload=secrets.token_hex(payload_bytes // 2 + 1)[:payload_bytes], dialect=CommandDialect.OCPP,
        requested_by="test", expires_at=0,
    )  # fmt: skip


def largest(rig: Rig) -> int:
    """How long the payload of the largest command is that may be written."""
    around = len(rig.bus.codec.encode(TOPIC, command(MAX_RECORD_BYTES))) - MAX_RECORD_BYTES
    return MAX_RECORD_BYTES - around - len(KEY)


async def test_the_largest_record_is_acknowledged_and_a_larger_one_leaves_the_producer_as_it_was(
    stack: Endpoints, namespace: str
) -> None:
    async with open_rig(stack, namespace) as rig:
        fits = command(largest(rig))
        await rig.publish(TOPIC, KEY, fits)
        with pytest.raises(CodecError, match="too large"):
            await rig.publish(TOPIC, KEY, command(len(fits.payload) + 1))
        await rig.publish(TOPIC, KEY, command(10))
        written = [message.record async for message in read_all(rig.bus, TOPIC)]
    assert written[0] == fits
    assert len(written) == 2


async def test_the_dead_letter_of_the_largest_record_is_kept_and_can_be_replayed(
    stack: Endpoints, namespace: str
) -> None:
    async with open_rig(stack, namespace) as rig:
        fits = command(largest(rig))
        value = rig.bus.codec.encode(TOPIC, fits)
        source = ConsumerRecord(TOPIC, 0, 7, 1, 0, KEY.encode(), value, None, 3, len(value), [])
        letter = dead_letter("commands", TOPIC, source, ValueError("x" * 10_000))
        raw = AIOKafkaProducer(**connection(rig.bus.settings), max_request_size=DEAD_LETTER_BYTES)
        await raw.start()
        dead = dead_letter_topic(TOPIC)
        await raw.send_and_wait(
            rig.bus.settings.topic(dead), rig.bus.codec.encode(dead, letter), KEY.encode()
        )
        await raw.stop()
        assert await replay_dead_letters(rig.bus, TOPIC) == 1
        written = [message.record async for message in read_all(rig.bus, TOPIC)]
    assert written == [fits]
