"""The hub: filters, slow clients, resumption."""

import asyncio
import json
import tracemalloc
from collections.abc import AsyncGenerator, AsyncIterator
from typing import cast

import msgspec
import pytest

from libs.bus.message import Message
from libs.events.contract import load_contract
from libs.events.load import Allocation, LoadPlanMade
from libs.events.record import Record
from libs.events.registry import TariffRegistered, TariffVersion
from libs.events.sessions import SessionStarted
from services.api.domain.errors import TooMany
from services.api.http.problems import Unavailable
from services.api.live.hub import Filter, Hub, Whose, Wording, known_kinds

STAMP = {"event_id": "e", "occurred_at": 1, "recorded_at": 1_767_225_600_000_000, "cause_id": "c"}


ANNA = Whose("anna", "10.0.0.1")


def hub(
    clients: int = 10,
    ring: int = 10,
    ring_bytes: int = 1 << 20,
    *,
    per_key: int = 1000,
    per_address: int = 1000,
) -> Hub:
    bounds = {"clients": clients, "per_key": per_key, "per_address": per_address}
    return Hub(Wording(load_contract()), **bounds, ring=ring, ring_bytes=ring_bytes)


def started(station_id: str = "a") -> SessionStarted:
    return SessionStarted(
        **STAMP,  # type: ignore[arg-type]
        station_id=station_id,
        session_id="s\nevent: forged",
        evse_id=1,
        transaction_id="t",
        version="ocpp1.6",
        started_at=1_767_225_600_000_001,
    )


def message(record: Record | None, topic: str = "sessions.events") -> Message:
    return Message(topic, 0, 0, "k", record, 0)


class Client:
    """A client of the hub that reads when it is told to."""

    def __init__(self, center: Hub, wanted: Filter | None = None, last_event_id: str | None = None) -> None:
        self.chunks = center.events(center.subscribe(wanted or Filter(), ANNA, last_event_id))

    async def frames(self) -> list[dict[str, str]]:
        """What it can read now without waiting."""
        found: list[dict[str, str]] = []
        while True:
            reading = asyncio.ensure_future(anext(self.chunks, None))
            for _ in range(10):
                await asyncio.sleep(0)
            if not reading.done():
                # Whoever waits is not disturbed: it goes on with the next reading.
                self.chunks = _with(reading, self.chunks)
                return found
            chunk = reading.result()
            if chunk is None:
                return found
            if not chunk.startswith(b":"):
                lines = chunk.decode().rstrip("\n").split("\n")
                found.append(dict(line.split(": ", 1) for line in lines))


async def _with(first: "asyncio.Future[bytes | None]", rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    chunk = await first
    if chunk is not None:
        yield chunk
        async for each in rest:
            yield each


def kinds(frames: list[dict[str, str]]) -> list[str]:
    return [frame["event"] for frame in frames]


def test_moments_are_written_out_at_every_depth() -> None:
    words = Wording(load_contract())
    price = TariffVersion(version=1, valid_from=1_767_225_600_000_001, currency="EUR", price_per_kwh_milli=1)
    tariff = TariffRegistered(**STAMP, tariff_id="t", versions=(price,))  # type: ignore[arg-type]
    said = words.of(tariff)
    assert said["recorded_at"] == "2026-01-01T00:00:00.000000Z"
    assert said["versions"][0]["valid_from"] == "2026-01-01T00:00:00.000001Z"
    assert said["versions"][0]["price_per_kwh_milli"] == 1


async def test_data_cannot_forge_an_event() -> None:
    center = hub()
    client = Client(center)
    center.publish(message(started()))
    (frame,) = await client.frames()
    assert frame["event"] == "SessionStarted"
    assert json.loads(frame["data"])["data"]["session_id"] == "s\nevent: forged"


async def test_a_client_gets_what_it_asked_for() -> None:
    center = hub()
    by_record = Client(center, Filter(frozenset({"SessionStarted"})))
    by_topic = Client(center, Filter(frozenset({"load.plans"})))
    by_station = Client(center, Filter(stations=frozenset({"b"})))
    share = Allocation(station_id="b", evse_id=1, transaction_id="t", current_ma=1)
    plan = LoadPlanMade(**STAMP, site_id="s", plan_no=1, allocations=(share,), waiting=0)  # type: ignore[arg-type]
    for each in (message(started("a")), message(started("b")), message(plan, "load.plans"), message(None)):
        center.publish(each)
    assert kinds(await by_record.frames()) == ["SessionStarted"] * 2
    assert kinds(await by_topic.frames()) == ["LoadPlanMade"]
    assert kinds(await by_station.frames()) == ["SessionStarted", "LoadPlanMade"]
    assert {"SessionStarted", "billing.cdrs"} <= known_kinds(load_contract())


async def test_a_slow_client_is_told_and_dropped_and_the_others_go_on() -> None:
    center = hub(ring=2)
    slow, quick = Client(center), Client(center)
    seen = []
    for _ in range(3):
        center.publish(message(started()))
        seen += await quick.frames()
    assert kinds(await slow.frames()) == ["dropped"]
    assert kinds(seen) == ["SessionStarted"] * 3
    assert kinds(await slow.frames()) == []


async def test_a_client_that_comes_back_gets_what_it_missed() -> None:
    center = hub(ring=3)
    client = Client(center)
    for _ in range(2):
        center.publish(message(started()))
    first, second = await client.frames()
    for _ in range(2):
        center.publish(message(started()))
    assert len(await Client(center, None, second["id"]).frames()) == 2
    assert len(await Client(center, None, first["id"]).frames()) == 3
    assert await Client(center, Filter(stations=frozenset({"z"})), first["id"]).frames() == []
    center.publish(message(started()))
    assert kinds(await Client(center, None, first["id"]).frames()) == ["gap", *["SessionStarted"] * 3]


@pytest.mark.parametrize("last", ["", "x", "x-1", "-", "-1", "0-9999999"])
async def test_an_id_of_elsewhere_is_a_gap_and_not_a_replay(last: str) -> None:
    center = hub()
    center.publish(message(started()))
    assert kinds(await Client(center, None, last).frames()) == ["gap"]


async def test_closing_ends_every_stream() -> None:
    center = hub(clients=1)
    client = center.subscribe(Filter(), ANNA)
    with pytest.raises(Unavailable):
        center.subscribe(Filter(), ANNA)
    center.close()
    chunks = [chunk async for chunk in center.events(client)]
    assert chunks[0] == b": connected\n\n"
    assert chunks[-1].startswith(b"event: closing\n")
    with pytest.raises(Unavailable):
        center.subscribe(Filter(), ANNA)


@pytest.mark.parametrize("read", [False, True])
async def test_large_events_and_many_clients_take_no_more_bytes_than_the_ring_may(read: bool) -> None:
    most = 4 << 20
    center = hub(clients=100, ring=5_000, ring_bytes=most)
    clients = [Client(center) for _ in range(100 if read else 0)]
    for client in clients:
        await client.frames()
    session = started()
    tracemalloc.start()
    try:
        for number in range(200):
            # 250 kB in letters of which Python keeps four bytes each.
            long = f"{number}{chr(0x1F600)}{'x' * 250_000}"
            center.publish(message(msgspec.structs.replace(session, transaction_id=long)))
            assert center.bytes <= most
            if clients:
                await clients[number % 100].frames()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert center.bytes <= most
    assert held < 2 * most


async def test_nobody_can_take_the_streams_of_others() -> None:
    center = hub(clients=6, per_key=3, per_address=4)
    open_now = [center.subscribe(Filter(), ANNA) for _ in range(3)]
    with pytest.raises(TooMany, match="key"):
        center.subscribe(Filter(), Whose("anna", "10.0.0.2"))
    open_now.append(center.subscribe(Filter(), Whose("ben", "10.0.0.1")))
    with pytest.raises(TooMany, match="address"):
        center.subscribe(Filter(), Whose("carl", "10.0.0.1"))
    open_now += [center.subscribe(Filter(), Whose("ben", "10.0.0.2")) for _ in range(2)]
    with pytest.raises(Unavailable):
        center.subscribe(Filter(), Whose("carl", "10.0.0.3"))
    # One that ends makes room for its own.
    chunks = cast(AsyncGenerator[bytes, None], center.events(open_now[0]))
    await anext(chunks)
    await chunks.aclose()
    assert center.subscribe(Filter(), ANNA)


async def test_a_stream_ends_when_its_key_does_not_count_any_more_though_nothing_happens() -> None:
    center = hub()
    counts = [True]
    chunks = center.events(
        center.subscribe(Filter(), ANNA, None, lambda: (lambda _: True) if counts[0] else None)
    )
    assert (await anext(chunks)).startswith(b": connected")
    watching = asyncio.create_task(center.watch())
    waiting = asyncio.ensure_future(anext(chunks))
    await asyncio.sleep(0)
    counts[0] = False
    assert b"event: revoked" in await waiting
    with pytest.raises(StopAsyncIteration):
        await anext(chunks)
    watching.cancel()


async def test_nothing_more_is_shown_to_whose_key_was_revoked() -> None:
    center = hub()
    chunks = center.events(center.subscribe(Filter(), ANNA, None, lambda: None))
    await anext(chunks)
    center.publish(message(started()))
    assert b"event: revoked" in await anext(chunks)


async def test_who_is_passed_over_by_many_events_is_not_dropped_for_it() -> None:
    center = hub(ring=10)
    client = Client(center, Filter(stations=frozenset({"b"})))
    assert await client.frames() == []
    for _ in range(100):
        center.publish(message(started("a")))
    center.publish(message(started("b")))
    assert kinds(await client.frames()) == ["SessionStarted"]
