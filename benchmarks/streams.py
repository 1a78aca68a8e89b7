"""A thousand browsers that look at stations, one stream of hints each, beside as many streams of the API.

`python -m benchmarks.streams`. No servers: the hub is fed from memory, and each stream is a response as it is served,
which writes to a stand-in for a socket that is always free. "held" is memory by tracemalloc. "to the socket" is the
time from an event's arrival in the process to its bytes at the socket: waiting for the event loop is in it, the
network and the browser are not.
"""

import asyncio
import gc
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any, Final

from sse_starlette import EventSourceResponse

from libs.bus.message import Message
from libs.events.contract import load_contract
from libs.events.telemetry import StationStateChanged
from libs.events.topics import TELEMETRY_HEALTH
from services.api.live.hub import Filter, Hub, Parts, Whose, Wording
from services.console.hints import hints
from services.console.pages.live import HEARTBEAT_S

STREAMS: Final = 1_000
STATIONS: Final = 500
"""Each is looked at by two."""
EVENTS: Final = 5_000
RATE: Final = 500
"""A second."""

Sent = Callable[[dict[str, Any]], Awaitable[None]]
Make = Callable[[Hub, int], Any]


def record(number: int) -> StationStateChanged:
    now = time.time_ns() // 1000
    return StationStateChanged(
        event_id=str(number),
        occurred_at=now,
        recorded_at=now,
        cause_id=str(number),
        station_id=f"cp-{number % STATIONS}",
        connected=True,
    )


def hub() -> Hub:
    return Hub(
        Wording(load_contract()),
        clients=STREAMS,
        per_key=STREAMS,
        per_address=STREAMS,
        ring=5_000,
        ring_bytes=64 << 20,
    )


def as_hints(center: Hub, number: int) -> Any:
    names = frozenset({f"station/cp-{number % STATIONS}"})
    subscription = center.subscribe(Parts(names), Whose(f"user-{number}", "10.0.0.1"))
    return hints(center, subscription, names)


def as_events(center: Hub, number: int) -> Any:
    wanted = Filter(stations=frozenset({f"cp-{number % STATIONS}"}))
    return center.events(center.subscribe(wanted, Whose(f"user-{number}", "10.0.0.1")))


async def measured(name: str, make: Make) -> None:
    center = hub()
    arrived: dict[str, float] = {}
    waits: list[float] = []
    written = 0

    def socket(station: str) -> Sent:
        async def send(message: dict[str, Any]) -> None:
            nonlocal written
            body = message.get("body", b"")
            written += len(body)
            if b"event: changed" in body or b"event: StationStateChanged" in body:
                waits.append(time.perf_counter() - arrived[station])

        return send

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    gc.collect()
    tracemalloc.start()
    tasks = []
    for number in range(STREAMS):
        response = EventSourceResponse(make(center, number), ping=HEARTBEAT_S, sep="\n")
        scope = {"type": "http", "method": "GET"}
        tasks.append(
            asyncio.create_task(response(scope, receive, socket(f"cp-{number % STATIONS}")))  # type: ignore[arg-type]
        )
    await asyncio.sleep(2)
    gc.collect()
    held = tracemalloc.get_traced_memory()[0] / STREAMS
    tracemalloc.stop()

    written, waits[:] = 0, []
    cpu, begun = time.process_time(), time.perf_counter()
    for number in range(EVENTS):
        event = record(number)
        arrived[event.station_id] = time.perf_counter()
        center.publish(Message(TELEMETRY_HEALTH, 0, number, event.station_id, event, 0))
        ahead = begun + (number + 1) / RATE - time.perf_counter()
        await asyncio.sleep(max(0, ahead))
    took = time.perf_counter() - begun
    cpu = time.process_time() - cpu
    waits.sort()
    p95 = waits[int(len(waits) * 0.95)] * 1000
    print(
        f"| {name} | {held / 1024:.1f} kB | {p95:.1f} ms | {len(waits) / took:,.0f} | {written / took / 1024:,.0f} kB |"
        f" {100 * cpu / took:.0f} % |",
        flush=True,
    )
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def main() -> None:
    print(f"{STREAMS:,} streams, {RATE} events a second of {STATIONS} stations, each looked at by two\n")
    print("| stream | held by each | p95 to the socket | messages/s | bytes/s | CPU of one core |")
    print("|---|--:|--:|--:|--:|--:|", flush=True)
    await measured("the console's hints", as_hints)
    await measured("baseline: the API's events, as `/stream` sends them", as_events)


if __name__ == "__main__":
    asyncio.run(main())
