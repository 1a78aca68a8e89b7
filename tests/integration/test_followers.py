"""Followers on real Kafka go on through whatever happens, and nobody is ready with stale tables."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from prometheus_client import REGISTRY

from libs.bus import follower
from libs.bus.admin import delete_topics
from libs.bus.bus import Bus, connect
from libs.bus.connection import connection
from libs.bus.errors import ContractMismatchError
from libs.bus.follower import Follower, FollowerEndedError
from libs.bus.producer import Producer
from libs.bus.settings import BusSettings
from libs.bus.tables import TableSet
from libs.devstack import Endpoints
from libs.events.contract import Contract, load_contract
from libs.events.ids import new_id
from libs.events.record import Record
from libs.events.registry import TokenRegistered
from libs.runtime.clock import now_us
from tests.integration.bus import bus_settings, make_topics
from tests.integration.follower_faults import end_follower, newer_record, registry_before, write_raw
from tests.integration.runtimes.bench import drop_contract
from tests.integration.runtimes.tally import CONTRACT, LIFECYCLE, STATIONS, opened, registered
from tests.patience import until

TOKENS = "registry.tokens"


class Consumer(AIOKafkaConsumer):  # type: ignore[misc]
    """Those that were made, so that tests can do to them what brokers do."""

    made: ClassVar[list[Consumer]] = []

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.made.append(self)


@pytest.fixture
def consumers(monkeypatch: pytest.MonkeyPatch) -> list[Consumer]:
    Consumer.made.clear()
    monkeypatch.setattr(follower, "AIOKafkaConsumer", Consumer)
    return Consumer.made


@pytest.fixture
async def settings(stack: Endpoints, namespace: str) -> AsyncIterator[BusSettings]:
    settings = bus_settings(stack, namespace)
    await make_topics(settings, CONTRACT)
    yield settings
    await drop_contract(settings)


@pytest.fixture
async def bus(settings: BusSettings) -> AsyncIterator[Bus]:
    async with connect(settings, CONTRACT) as bus:
        yield bus


@asynccontextmanager
async def writing(bus: Bus) -> AsyncIterator[Callable[..., Any]]:
    """Gives a function that registers stations."""
    producer = Producer(bus, "test")
    await producer.start()

    async def write(*stations: str) -> None:
        for station in stations:
            await producer.send_and_wait(STATIONS, station, registered(station))

    try:
        yield write
    finally:
        await producer.stop()


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"{name}_total", labels) or 0.0


@pytest.mark.parametrize("status", [403, 500])
async def test_a_table_waits_for_the_registry_and_misses_nothing(
    bus: Bus, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "STALE_S", 1.0)
    value = await newer_record(bus, "newer")
    async with (
        registry_before(bus.settings) as (registry, behind),
        connect(behind, CONTRACT) as other,
        writing(bus) as write,
        TableSet(other, "test", (STATIONS,)) as tables,
    ):
        assert tables.ready
        registry.status = status
        old = bus.codec.encode(STATIONS, registered("after"))
        await write_raw(bus.settings, STATIONS, (b"newer", value), (b"after", old))
        await until(lambda: registry.refused > 0 and not tables.ready, "tables that know that they are stale")
        # The other partition goes on.
        others = [f"other-{number}" for number in range(8)]
        await write(*others)
        await until(lambda: len(set(others) & set(tables[STATIONS])) >= 2, "the other partition")
        assert not {"newer", "after"} & set(tables[STATIONS])
        registry.status = None
        await until(lambda: {"newer", "after", *others} <= set(tables[STATIONS]), "everything")
        await until(lambda: tables.ready, "ready again")


async def test_a_callback_that_raises_stops_neither_the_others_nor_the_table(bus: Bus) -> None:
    seen: list[str] = []

    def fail(key: str, record: Record | None) -> None:
        raise RuntimeError(key)

    tables = TableSet(bus, "callbacks", (STATIONS,))
    tables.on_change(STATIONS, fail)
    tables.on_change(STATIONS, lambda key, record: seen.append(key))
    async with tables, writing(bus) as write:
        await write("a", "b", "c")
        await until(lambda: sorted(seen) == ["a", "b", "c"], "the second callback")
        assert tables.ready
        assert set(tables[STATIONS]) == {"a", "b", "c"}
    assert counted("voltbus_follower_callback_errors", follower="callbacks", topic=STATIONS) == 3


async def test_a_follower_keeps_its_place_through_metadata_without_its_topic(
    bus: Bus, consumers: list[Consumer]
) -> None:
    seen: list[str] = []
    async with writing(bus) as write:
        await write("a", "b", "c")
        async with Follower(bus, "test", (STATIONS,), lambda message: seen.append(message.key)) as news:
            assert news.caught_up
            (consumer,) = consumers
            cluster = consumer._client.cluster
            forgotten = cluster._partitions
            cluster._partitions = {}  # what an answer without the topic leaves
            for listener in list(cluster._listeners):
                listener(cluster)
            assert cluster.partitions_for_topic(bus.settings.topic(STATIONS)) is None
            await write("d")
            await until(lambda: "d" in seen, "what came after")
            await write("e")
            await until(lambda: "e" in seen, "what came after that")
            assert forgotten
            assert sorted(seen) == ["a", "b", "c", "d", "e"]


async def test_a_topic_that_was_made_anew_is_read_anew_and_what_is_gone_is_gone(bus: Bus) -> None:
    changes: list[tuple[str, bool]] = []
    tables = TableSet(bus, "anew", (STATIONS,))
    tables.on_change(STATIONS, lambda key, record: changes.append((key, record is not None)))
    async with writing(bus) as write:
        await write("a", "b", "c", "d", "e", "f")
        async with tables:
            assert set(tables[STATIONS]) == {"a", "b", "c", "d", "e", "f"}
            await delete_topics(bus.settings, [STATIONS])
            await make_topics(bus.settings, CONTRACT)
            async with connect(bus.settings, CONTRACT) as again, writing(again) as write_again:
                await write_again("a", "g")
            await until(lambda: set(tables[STATIONS]) == {"a", "g"}, "the new log")
            await until(lambda: tables.ready, "ready again")
    assert {key for key, there in changes if not there} >= {"b", "c", "d", "e", "f"}
    assert counted("voltbus_follower_places_lost", follower="anew", topic=STATIONS) >= 1


async def test_who_follows_news_goes_on_with_what_is_left_when_records_expire_unread(
    bus: Bus, consumers: list[Consumer]
) -> None:
    seen: list[str] = []
    place = TopicPartition(bus.settings.topic(LIFECYCLE), 0)
    raw = bus.codec.encode(LIFECYCLE, opened("x"))
    await write_raw(bus.settings, LIFECYCLE, *((b"before", raw) for _ in range(3)))
    take = lambda message: seen.append(message.key)  # noqa: E731
    async with Follower(bus, "late", (LIFECYCLE,), take, start="end") as news:
        (consumer,) = consumers
        # As one that was away for longer than records are kept.
        news._places[place].position = 0
        admin = AIOKafkaAdminClient(**connection(bus.settings))
        await admin.start()
        await admin.delete_records({place: RecordsToDelete(before_offset=2)})
        await admin.close()
        consumer.seek(place, 0)
        await until(lambda: seen == ["before"], "what is left")
        await write_raw(bus.settings, LIFECYCLE, (b"after", raw))
        await until(lambda: seen == ["before", "after"], "what comes")
        await until(lambda: news.ready, "ready")
    assert counted("voltbus_follower_places_lost", follower="late", topic=LIFECYCLE) == 1


async def test_records_that_are_no_use_are_passed_over(bus: Bus) -> None:
    event_id, at = new_id(), now_us()
    token = TokenRegistered(
        event_id=event_id, occurred_at=at, recorded_at=at, cause_id=event_id, id_token="t"
    )
    full = Contract({**CONTRACT.topics, TOKENS: load_contract().topics[TOKENS]}, CONTRACT.schemas)
    await make_topics(bus.settings, full)
    async with connect(bus.settings, full) as wide:
        foreign = wide.codec.encode(TOKENS, token)
        good = wide.codec.encode(STATIONS, registered("good"))
        async with TableSet(wide, "useless", (STATIONS,)) as tables:
            await write_raw(
                bus.settings,
                STATIONS,
                (b"foreign", foreign), (b"garbage", b"garbage"), (b"\xff\xfe", good), (b"good", good),
            )  # fmt: skip
            await until(lambda: "good" in tables[STATIONS], "what is good")
            assert tables.ready
            assert set(tables[STATIONS]) == {"good"}
    await delete_topics(bus.settings, [TOKENS, f"{TOKENS}.dead"])
    for reason, times in (("foreign", 2), ("undecodable", 1)):
        assert counted("voltbus_dead_letters", processor="useless", topic=STATIONS, reason=reason) == times


async def test_who_follows_a_topic_that_is_not_there_says_so(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("libs.bus.reading._MISSING_S", 2.0)
    await delete_topics(bus.settings, [STATIONS])
    with pytest.raises(ContractMismatchError, match="there is no topic"):
        async with TableSet(bus, "test", (STATIONS,)):
            pass


async def test_a_follower_that_ends_by_itself_ends_whoever_relies_on_it(bus: Bus) -> None:
    tables = TableSet(bus, "mortal", (STATIONS,))

    async def rely() -> None:
        async with tables:
            end_follower("mortal")
            await asyncio.Event().wait()

    with pytest.raises(FollowerEndedError):
        await rely()
    assert not tables.ready
