"""Many chargers that do nearly nothing, and all come back at once when told to. Prints JSON, a line per phase.

`python -m benchmarks.edge_crowd PORT CHARGERS [--version V] [--deflate]`: they connect, a few hundred at a time, boot,
and stay. On standard input `count` asks how many connections are still open, and anything else is the path of a file
to write and starts the storm: every connection is reset, and each charger connects again at once, boots, tells its
status and starts a transaction; refused, it waits as told and tries again, as it does when it gets no answer. The file
then has the message ids of every call that was answered. The end of standard input ends it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop

from benchmarks.edge_wire import BOOT_2, BOOT_16, Wire, stamp

ABREAST = 200
PATIENCE_S = 30.0
FIRST_PAUSE_S = 1.0


class Crowd:
    def __init__(self, port: int, version: str, deflate: bool) -> None:
        self.port = port
        self.version = version
        self.deflate = deflate
        self.answered: list[str] = []
        self.attempts = 0
        self.refused = 0
        self.lost = 0
        self.serials = 0
        self.failures: dict[str, int] = {}


class Visit(Wire):
    """One connection of a charger: calls one after the other, and then it stays."""

    def __init__(self, crowd: Crowd, name: str, script: Iterator[tuple[str, str]]) -> None:
        super().__init__(name, crowd.version, crowd.deflate)
        crowd.serials += 1
        self._crowd = crowd
        self._script = script
        self._serial = crowd.serials
        self._number = 0
        self._id = ""
        self.open = False
        self.ended: asyncio.Future[float | None] = asyncio.get_running_loop().create_future()
        """None: all calls are answered; else seconds to wait before the next attempt."""

    def on_open(self) -> None:
        self.open = True
        self._next()

    def on_text(self, body: bytes) -> None:
        if body[1:2] != b"3":
            # Not expected of anybody: told, and the charger goes on as real ones do.
            text = body.decode()
            self._crowd.failures[text] = self._crowd.failures.get(text, 0) + 1
        else:
            self._crowd.answered.append(self._id)
        self._next()

    def on_refused(self, status: int, retry_after_s: float) -> None:
        self._crowd.refused += 1
        self._end(max(retry_after_s, FIRST_PAUSE_S))

    def on_lost(self) -> None:
        self.open = False
        if not self.ended.done():
            self._crowd.lost += 1
            self._end(FIRST_PAUSE_S)

    def _end(self, pause: float | None) -> None:
        if not self.ended.done():
            self.ended.set_result(pause)

    def _next(self) -> None:
        call = next(self._script, None)
        if call is None:
            self._end(None)
            return
        self._number += 1
        self._id = f"{self.name}-{self._serial}-{self._number}"
        self.send(f'[2,"{self._id}","{call[0]}",{call[1]}]'.encode())


class Charger:
    def __init__(self, crowd: Crowd, number: int) -> None:
        self._crowd = crowd
        self.name = f"crowd-{crowd.version}-{crowd.port}-{number}"
        self.visit: Visit | None = None

    async def come(self, whole: bool) -> None:
        """Connect and be served, however many attempts it takes; `whole`: with a status and a transaction."""
        loop, crowd = asyncio.get_running_loop(), self._crowd
        while True:
            crowd.attempts += 1
            visit = Visit(crowd, self.name, calls(self.name, crowd.version, whole))
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await loop.create_connection(lambda visit=visit: visit, "127.0.0.1", crowd.port)  # type: ignore[misc]
                    pause = await visit.ended
            except (OSError, TimeoutError):
                crowd.lost += 1
                visit.cut()
                pause = FIRST_PAUSE_S
            if pause is None:
                self.visit = visit
                return
            await asyncio.sleep(pause)


def calls(name: str, version: str, whole: bool) -> Iterator[tuple[str, str]]:
    old, at = version == "ocpp1.6", stamp()
    yield "BootNotification", BOOT_16 if old else BOOT_2
    if not whole:
        return
    if old:
        yield "StatusNotification", '{"connectorId":1,"errorCode":"NoError","status":"Preparing"}'
        yield (
            "StartTransaction",
            f'{{"connectorId":1,"idTag":"TAG","timestamp":"{at}","meterStart":0}}',
        )
    else:
        yield (
            "StatusNotification",
            f'{{"timestamp":"{at}","connectorStatus":"Occupied","evseId":1,"connectorId":1}}',
        )
        yield (
            "TransactionEvent",
            f'{{"eventType":"Started","timestamp":"{at}","triggerReason":"Authorized","seqNo":0,'
            f'"transactionInfo":{{"transactionId":"{name}"}},"evse":{{"id":1,"connectorId":1}},'
            '"idToken":{"idToken":"TAG","type":"ISO14443"}}',
        )


async def gather(chargers: list[Charger]) -> None:
    room = asyncio.Semaphore(ABREAST)

    async def come(charger: Charger) -> None:
        async with room:
            await charger.come(whole=False)

    await asyncio.gather(*map(come, chargers))


async def storm(crowd: Crowd, chargers: list[Charger]) -> list[float]:
    """Seconds from the beginning until each charger was served, sorted."""
    for charger in chargers:
        assert charger.visit is not None
        charger.visit.cut()
    begun = time.perf_counter()

    async def come(charger: Charger) -> float:
        await charger.come(whole=True)
        return time.perf_counter() - begun

    return sorted(await asyncio.gather(*map(come, chargers)))


def tell(crowd: Crowd, took: list[float]) -> None:
    facts = {
        "served": len(took),
        "p50_s": took[len(took) // 2],
        "p99_s": took[len(took) * 99 // 100],
        "all_s": took[-1],
        "answered": len(crowd.answered),
        "attempts": crowd.attempts,
        "refused": crowd.refused,
        "lost": crowd.lost,
        "failures": crowd.failures,
    }
    print(json.dumps(facts), flush=True)


async def run(port: int, count: int, version: str, deflate: bool) -> None:
    crowd = Crowd(port, version, deflate)
    chargers = [Charger(crowd, number) for number in range(count)]
    begun = time.perf_counter()
    await gather(chargers)
    tell(crowd, [time.perf_counter() - begun] * count)
    loop = asyncio.get_running_loop()
    while line := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
        if line == "count":
            held = sum(charger.visit is not None and charger.visit.open for charger in chargers)
            print(json.dumps({"held": held}), flush=True)
            continue
        crowd.attempts = crowd.refused = crowd.lost = 0
        crowd.answered.clear()
        took = await storm(crowd, chargers)
        write(Path(line), crowd.answered)
        tell(crowd, took)


def write(path: Path, answered: list[str]) -> None:
    path.write_text("\n".join(answered))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("chargers", type=int)
    parser.add_argument("--version", default="ocpp1.6")
    parser.add_argument("--deflate", action="store_true")
    given = parser.parse_args()
    uvloop.run(run(given.port, given.chargers, given.version, given.deflate))


if __name__ == "__main__":
    main()
