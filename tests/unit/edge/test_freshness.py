"""Nothing is refused by a registry that has not been read up to the moment of the question."""

from __future__ import annotations

import asyncio
import json

import pytest

from libs.bus.errors import BusUnavailableError
from libs.events.ocpp_log import OcppCallReceived
from libs.events.registry import TokenRegistered
from services.edge.freshness import Freshness
from tests.unit.edge.noted_station import Station, sent, turns


class Topic:
    """What is read when `catch_up` is let go; `begun` counts the readings."""

    def __init__(self) -> None:
        self.begun = 0
        self.error: Exception | None = None
        self._waiting: list[asyncio.Future[None]] = []

    async def catch_up(self) -> None:
        self.begun += 1
        self._waiting.append(asyncio.get_running_loop().create_future())
        await self._waiting[-1]

    async def read(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if self.error is None:
                each.set_result(None)
            else:
                each.set_exception(self.error)
        await turns()


async def test_who_asks_while_it_is_read_waits_for_a_reading_that_begins_later() -> None:
    topic = Topic()
    freshness = Freshness(topic.catch_up, 10)
    first = asyncio.create_task(freshness.reached())
    await turns()
    others = [asyncio.create_task(freshness.reached()) for _ in range(1000)]
    await turns()
    assert topic.begun == 1
    await topic.read()
    assert first.done()
    assert not any(each.done() for each in others)
    assert topic.begun == 2
    await topic.read()
    assert await asyncio.gather(first, *others) == [True] * 1001
    assert topic.begun == 2


async def test_what_cannot_be_told_is_said_and_asked_again() -> None:
    topic = Topic()
    freshness = Freshness(topic.catch_up, 10)
    topic.error = BusUnavailableError("away")
    asked = asyncio.create_task(freshness.reached())
    await turns()
    await topic.read()
    assert not await asked
    topic.error = None
    asked = asyncio.create_task(freshness.reached())
    await turns()
    await topic.read()
    assert await asked


async def test_the_wait_is_bounded() -> None:
    topic = Topic()
    freshness = Freshness(topic.catch_up, 0.01)
    assert not await freshness.reached()
    assert not await freshness.reached()


CALLS = {
    "Authorize": {"idTag": "T"},
    "StartTransaction": {
        "connectorId": 1,
        "idTag": "T",
        "timestamp": "2026-01-01T00:00:00Z",
        "meterStart": 0,
    },
    "StopTransaction": {
        "transactionId": 1,
        "idTag": "T",
        "timestamp": "2026-01-01T00:00:00Z",
        "meterStop": 0,
    },
}


@pytest.mark.parametrize("action", list(CALLS))
async def test_a_token_that_was_registered_a_moment_ago_is_accepted(action: str) -> None:
    topic, tokens = Topic(), dict[str, TokenRegistered]()
    station = await Station.connected(tokens=tokens, catch_up=topic.catch_up)
    call, after = [2, "a", action, CALLS[action]], b'[2,"b","Heartbeat",{}]'
    station.socket.data_received(sent(json.dumps(call).encode()) + sent(after))
    await turns()
    assert topic.begun == 1
    assert station.bus.calls == []
    assert not station.connection.idle
    tokens["t"] = TokenRegistered(event_id="e", occurred_at=1, recorded_at=1, cause_id="c", id_token="T")
    await topic.read()
    # Nothing overtakes it.
    assert station.bus.calls == ["a"]
    for _ in range(2):
        station.bus.acknowledge()
        await turns()
    assert station.answers == ["a", "b"]
    (record,) = [r for r in station.bus.records if isinstance(r, OcppCallReceived) and r.action == action]
    assert json.loads(record.answer or "")["idTagInfo"]["status"] == "Accepted"
    assert station.gate.used == 0
    await station.lose()


async def test_a_token_that_nobody_registered_is_refused_once_that_is_known() -> None:
    topic = Topic()
    station = await Station.connected(tokens={}, catch_up=topic.catch_up)
    station.socket.data_received(sent(b'[2,"a","Authorize",{"idTag":"T"}]'))
    await turns()
    await topic.read()
    station.bus.acknowledge()
    await turns()
    (record,) = [r for r in station.bus.records if isinstance(r, OcppCallReceived)]
    assert json.loads(record.answer or "")["idTagInfo"]["status"] == "Invalid"
    assert station.answers == ["a"]
    await station.lose()


async def test_a_socket_that_is_lost_while_it_is_read_ends_in_order() -> None:
    topic = Topic()
    station = await Station.connected(tokens={}, catch_up=topic.catch_up)
    station.socket.data_received(sent(b'[2,"a","Authorize",{"idTag":"T"}]'))
    await turns()
    station.socket.connection_lost(None)
    await topic.read()
    for _ in range(3):
        station.bus.acknowledge()
        await turns()
    await asyncio.wait_for(station.task, 1)
    assert station.gate.used == 0
