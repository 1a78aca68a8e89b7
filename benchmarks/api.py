"""The API with 100,000 stations: what requests and its background work cost the event loop: `python -m benchmarks.api`.

No servers: the read models are filled from memory, and ClickHouse's rows are handed out by a stand-in. "Held" is the
longest time for which nothing else had its turn. CPU is that of the whole work.
"""

import asyncio
import gc
import json
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from libs.bus.message import Message
from libs.events.commands import CommandConcluded, CommandDialect, Fate
from libs.events.contract import load_contract
from libs.events.ocpp_log import StationLocated
from libs.events.record import Record
from libs.events.registry import Assignment, StationRegistered
from libs.events.topics import COMMANDS_OUTCOMES, EDGE_CONNECTIONS, REGISTRY_STATIONS
from libs.runtime.service import tune_gc
from services.api.commands.desk import CommandDesk
from services.api.live.hub import Hub, Wording
from services.api.live.latest import Live
from services.api.live.state import StateQuery, list_states
from services.api.registry.stations import StationQuery, list_stations
from services.api.registry.table import TABLES, Registry

MANY = 100_000
SITES = 2_000
CHANGED = 100
OUTCOMES = 1_000
RESULT_BYTES = 250_000
ROUNDS = 20
BEGUN = datetime(2026, 11, 1, tzinfo=UTC)


class Tables(dict[str, dict[str, Record]]):
    """Stands in for the tables that follow Kafka."""

    def __init__(self) -> None:
        super().__init__({topic: {} for topic in TABLES})
        self._callbacks: dict[str, list[Callable[[str, Record | None], None]]] = {
            topic: [] for topic in TABLES
        }

    def on_change(self, topic: str, callback: Callable[[str, Record | None], None]) -> None:
        self._callbacks[topic].append(callback)

    def put(self, topic: str, key: str, record: Record) -> None:
        self[topic][key] = record
        for callback in self._callbacks[topic]:
            callback(key, record)


class ClickHouse:
    """Stands in for the reader of ClickHouse: hands out a state of each station, as its driver makes them."""

    def __init__(self) -> None:
        names = [f"cp-{number:06}" for number in range(MANY)]
        self.rows_by_station = {
            name: self.row(name, BEGUN + timedelta(seconds=n)) for n, name in enumerate(names)
        }

    @staticmethod
    def row(station_id: str, changed_at: datetime) -> dict[str, Any]:
        lists = {
            "evse_id": [1, 2],
            "connector_id": [1, 1],
            "status": ["Available", "Charging"],
            "error_code": ["NoError", "NoError"],
            "since": [changed_at, changed_at],
        }
        texts = dict.fromkeys(("version", "vendor", "model", "serial", "firmware_version"), "known")
        connectors = {f"connectors.{name}": values for name, values in lists.items()}
        stated = {"station_id": station_id, "connected": True, "last_boot_at": None, "changed_at": changed_at}
        return {**stated, **texts, **connectors}

    async def rows(self, sql: str, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Sorting and choosing is ClickHouse's work, and not counted."""
        with pausing_cpu():
            asked = params or {"since": 0, "after": "", "most": MANY}
            since = datetime.fromtimestamp(asked["since"] / 1e6, UTC)
            found = [
                dict(row)
                for name, row in self.rows_by_station.items()
                if name > asked["after"] and row["changed_at"] >= since
            ]
            return found[: asked["most"]]


class Watch:
    """CPU of some work, and the longest time for which the loop was held."""

    cpu_away = 0.0

    def __init__(self) -> None:
        self.cpu = self.held = 0.0

    async def over(self, work: Awaitable[Any]) -> None:
        done = asyncio.Event()
        watching = asyncio.create_task(self._watch(done))
        await asyncio.sleep(0)
        began, away = time.thread_time(), Watch.cpu_away
        await work
        self.cpu = time.thread_time() - began - (Watch.cpu_away - away)
        done.set()
        await watching

    async def _watch(self, done: asyncio.Event) -> None:
        while not done.is_set():
            before, away = time.thread_time(), Watch.cpu_away
            await asyncio.sleep(0)
            self.held = max(self.held, time.thread_time() - before - (Watch.cpu_away - away))


class pausing_cpu:
    def __enter__(self) -> None:
        self._began = time.thread_time()

    def __exit__(self, *_: object) -> None:
        Watch.cpu_away += time.thread_time() - self._began


def stamp(at: int = 1) -> dict[str, Any]:
    return {"event_id": "e", "occurred_at": at, "recorded_at": at, "cause_id": "c"}


def filled(tables: Tables) -> None:
    for number in range(MANY):
        name = f"cp-{(number * 7_919) % MANY:06}"
        at = (Assignment(id=f"site-{number % SITES}", valid_from=1),)
        tables.put(
            REGISTRY_STATIONS,
            name,
            StationRegistered(**stamp(), station_id=name, name=f"Post {number}", sites=at),
        )
        where = StationLocated(
            **stamp(),
            station_id=name,
            edge_id="e",
            slot=0,
            connection_epoch=1,
            version="ocpp1.6",
            connected=True,
        )
        tables.put(EDGE_CONNECTIONS, name, where)


def show(what: str, cpu: float, held: float) -> None:
    print(f"{what:58} {cpu * 1000:9.2f} ms {held * 1000:9.2f} ms", flush=True)


async def requests(api: Any) -> None:
    async def measure(what: str, ask: Callable[[], Awaitable[Any]]) -> None:
        watches = []
        for _ in range(ROUNDS):
            watches.append(Watch())
            await watches[-1].over(ask())
        middle = sorted(watches, key=lambda watch: watch.cpu)[ROUNDS // 2]
        show(what, middle.cpu, middle.held)

    def states(**asked: Any) -> Callable[[], Awaitable[Any]]:
        return lambda: list_states(api, StateQuery(**asked))

    def stations(**asked: Any) -> Callable[[], Awaitable[Any]]:
        return lambda: list_stations(api, StationQuery(**asked))

    cursor = (await list_states(api, StateQuery(limit=1000))).next_cursor
    await measure("GET /state", states())
    await measure("GET /state, a later page", states(cursor=cursor))
    await measure("GET /state?site_id (50 stations)", states(site_id="site-7"))
    await measure("GET /state?connected=false (none is)", states(connected=False))
    await measure("GET /stations", stations())
    await measure("GET /stations?q (one is)", stations(q="post 99999"))


async def completion(live: Live) -> None:
    clickhouse: Any = ClickHouse()
    every_s = 0.001

    async def first() -> None:
        task = asyncio.create_task(live.complete(clickhouse, every_s))
        while len(live.states.records) < MANY:  # noqa: ASYNC110
            await asyncio.sleep(0)
        task.cancel()

    watch = Watch()
    await watch.over(first())
    show(f"live states: the first reading of {MANY:,}", watch.cpu, watch.held)

    async def second() -> None:
        later = BEGUN + timedelta(seconds=MANY)
        for number in range(CHANGED):
            name = f"cp-{number * 997 % MANY:06}"
            clickhouse.rows_by_station[name] = ClickHouse.row(name, later + timedelta(seconds=number))
        newest = int((BEGUN + timedelta(seconds=MANY)).timestamp() * 1e6)
        await live._read(clickhouse, newest - 120_000_000)

    watch = Watch()
    await watch.over(second())
    show(f"live states: a later reading, {CHANGED} changed", watch.cpu, watch.held)


def memory() -> None:
    writer: Any = None
    desk = CommandDesk(writer, most_bytes=64 << 20)
    hub = Hub(Wording(load_contract()), clients=1, per_key=1, per_address=1, ring=5_000, ring_bytes=64 << 20)
    for what, take in (("command desk", desk.take), ("event stream", hub.publish)):
        gc.collect()
        tracemalloc.start()
        for number in range(OUTCOMES):
            # As chargers send it: not all of it is ASCII.
            result = json.dumps({"data": f"{number} \u20ac" + "x" * RESULT_BYTES}, ensure_ascii=False)
            outcome = CommandConcluded(
                **stamp(),
                station_id="cp-1",
                command_id=f"c-{number}",
                action="DataTransfer",
                dialect=CommandDialect.OCPP,
                fate=Fate.ACCEPTED,
                reason="",
                result=result,
                requested_at=1,
                requested_by="api",
                attempts=1,
            )
            take(Message(COMMANDS_OUTCOMES, 0, number, "cp-1", outcome, 0))
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        print(
            f"{what}: {OUTCOMES:,} outcomes of {RESULT_BYTES // 1000} kB hold {held / 2**20:.0f} MiB",
            flush=True,
        )


async def main() -> None:
    tables: Any = Tables()
    changes: Any = None
    registry = Registry(tables, changes, 5, least_profile=0)
    began = time.thread_time()
    filled(tables)
    filling = time.thread_time() - began
    print(f"{MANY:,} stations read in {filling:.2f} s of CPU\n\n{'':58} {'CPU':>12} {'held':>12}")
    tune_gc()
    live = Live()
    api = SimpleNamespace(registry=registry, live=live)
    await completion(live)
    await requests(api)
    print()
    memory()


if __name__ == "__main__":
    asyncio.run(main())
