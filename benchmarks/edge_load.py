"""Chargers that repeat a session mix over sockets. Prints JSON.

`python -m benchmarks.edge_load PORT CHARGERS SECONDS [--version V] [--rate CALLS_PER_S]`: each charger boots, then
repeats heartbeat, status, start, four meter values, stop. Without a rate the loop is closed: a charger sends its next
call when the last is answered. With one it is open: calls fall due at random moments, at random chargers, and one that
falls due while its charger still waits for an answer waits too; times count from when it was due.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import deque
from collections.abc import Iterator
from random import Random

import orjson
import uvloop

from benchmarks.edge_wire import BOOT_2, BOOT_16, Wire, stamp

POWER_16 = (
    '{"value":"11040","measurand":"Power.Active.Import","unit":"W"},'
    '{"value":"16.0","measurand":"Current.Import","unit":"A","phase":"L1"}'
)
POWER_2 = (
    '{"value":11040,"measurand":"Power.Active.Import","unitOfMeasure":{"unit":"W"}},'
    '{"value":16.0,"measurand":"Current.Import","unitOfMeasure":{"unit":"A"},"phase":"L1"}'
)
ENERGY = '"measurand":"Energy.Active.Import.Register"'
TICK_S = 0.001
BOOT_TIMEOUT_S = 120
DRAIN_S = 1.0


class Load:
    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.lateness: list[float] = []
        self.errors = 0
        self.booted = 0
        self.waiting = 0
        self.closed_loop = True
        self.stopped = False
        self.counted_from = self.counted_until = float("inf")


class Charger(Wire):
    def __init__(self, load: Load, name: str, version: str) -> None:
        super().__init__(name, version)
        self._load = load
        self._sent_at = 0.0
        self._busy = True
        self._due: deque[float] = deque()
        self._calls = self._script_16() if version == "ocpp1.6" else self._script_2()
        self._answer = b""
        self._number = 0

    def on_open(self) -> None:
        self._send_next(time.perf_counter())

    def on_refused(self, status: int, retry_after_s: float) -> None:
        self._load.errors += 1

    def on_lost(self) -> None:
        self._load.errors += not self._load.stopped

    def on_text(self, body: bytes) -> None:
        load, now = self._load, time.perf_counter()
        moment = now if load.closed_loop else self._sent_at
        if load.counted_from <= moment < load.counted_until:
            load.latencies.append(now - self._sent_at)
        if body[1:2] != b"3":
            load.errors += 1
        if self._number == 1:
            load.booted += 1
        self._answer = body
        if load.closed_loop:
            if not load.stopped:
                self._send_next(now)
        elif self._due:
            load.waiting -= 1
            self._send_next(self._due.popleft())
        else:
            self._busy = False

    def fall_due(self, at: float) -> None:
        """Send a call now, or when those before it are answered."""
        if self._busy:
            self._load.waiting += 1
            self._due.append(at)
        else:
            self._busy = True
            self._send_next(at)

    def _send_next(self, at: float) -> None:
        self._sent_at = at
        self.send(next(self._calls))

    def _call(self, action: str, payload: str) -> bytes:
        self._number += 1
        return f'[2,"{self.name}-{self._number}","{action}",{payload}]'.encode()

    def _script_16(self) -> Iterator[bytes]:
        yield self._call("BootNotification", BOOT_16)
        wh = 0
        while True:
            yield self._call("Heartbeat", "{}")
            yield self._call(
                "StatusNotification", '{"connectorId":1,"errorCode":"NoError","status":"Preparing"}'
            )
            at = stamp()
            yield self._call(
                "StartTransaction",
                f'{{"connectorId":1,"idTag":"TAG","timestamp":"{at}","meterStart":{wh}}}',
            )
            transaction = orjson.loads(self._answer)[2]["transactionId"]
            for _ in range(4):
                wh += 500
                yield self._call(
                    "MeterValues",
                    f'{{"connectorId":1,"transactionId":{transaction},"meterValue":[{{"timestamp":"{at}",'
                    f'"sampledValue":[{{"value":"{wh}",{ENERGY},"unit":"Wh","context":"Sample.Periodic"}},'
                    f"{POWER_16}]}}]}}",
                )
            yield self._call(
                "StopTransaction",
                f'{{"transactionId":{transaction},"timestamp":"{at}","meterStop":{wh},"idTag":"TAG"}}',
            )

    def _script_2(self) -> Iterator[bytes]:
        yield self._call("BootNotification", BOOT_2)
        wh = session = 0
        while True:
            session += 1
            yield self._call("Heartbeat", "{}")
            at = stamp()
            yield self._call(
                "StatusNotification",
                f'{{"timestamp":"{at}","connectorStatus":"Occupied","evseId":1,"connectorId":1}}',
            )
            info = f'"timestamp":"{at}","transactionInfo":{{"transactionId":"{self.name}-{session}"'
            evse = '"evse":{"id":1,"connectorId":1}'
            token = '"idToken":{"idToken":"TAG","type":"ISO14443"}'
            energy = f'{ENERGY},"unitOfMeasure":{{"unit":"Wh"}}'
            yield self._call(
                "TransactionEvent",
                f'{{"eventType":"Started","triggerReason":"Authorized","seqNo":0,{info}}},{evse},{token},'
                f'"meterValue":[{{"timestamp":"{at}","sampledValue":[{{"value":{wh},{energy},'
                f'"context":"Transaction.Begin"}}]}}]}}',
            )
            for seq_no in range(1, 5):
                wh += 500
                yield self._call(
                    "TransactionEvent",
                    f'{{"eventType":"Updated","triggerReason":"MeterValuePeriodic","seqNo":{seq_no},{info},'
                    f'"chargingState":"Charging"}},{evse},"meterValue":[{{"timestamp":"{at}",'
                    f'"sampledValue":[{{"value":{wh},{energy},"context":"Sample.Periodic"}},{POWER_2}]}}]}}',
                )
            yield self._call(
                "TransactionEvent",
                f'{{"eventType":"Ended","triggerReason":"StopAuthorized","seqNo":5,{info},'
                f'"stoppedReason":"Local"}},{evse},{token},"meterValue":[{{"timestamp":"{at}",'
                f'"sampledValue":[{{"value":{wh},{energy},"context":"Transaction.End"}}]}}]}}',
            )


class Pace:
    """Lets calls fall due at random moments, `rate` of them per second."""

    def __init__(self, load: Load, chargers: list[Charger], rate: float) -> None:
        self._load = load
        self._chargers = chargers
        self._rate = rate
        self._random = Random(1)
        self._due = time.perf_counter()

    def tick(self) -> None:
        if self._load.stopped:
            return
        now, random = time.perf_counter(), self._random
        while self._due <= now:
            if self._load.counted_from <= self._due:
                self._load.lateness.append(now - self._due)
            random.choice(self._chargers).fall_due(self._due)
            self._due += random.expovariate(self._rate)
        asyncio.get_running_loop().call_later(TICK_S, self.tick)


def percentile(values: list[float], share: float) -> float:
    """Of sorted seconds, in milliseconds."""
    return values[int(len(values) * share)] * 1000 if values else 0.0


async def run(port: int, count: int, seconds: float, version: str, rate: float | None) -> dict[str, float]:
    loop, load = asyncio.get_running_loop(), Load()
    # In the open loop chargers wait after their boot for what falls due.
    load.closed_loop = rate is None
    chargers = [Charger(load, f"bench-{version}-{port}-{number}", version) for number in range(count)]
    for charger in chargers:
        await loop.create_connection(lambda charger=charger: charger, "127.0.0.1", port)  # type: ignore[misc]
    async with asyncio.timeout(BOOT_TIMEOUT_S):
        while load.booted < count:
            assert not load.errors, f"{load.errors} chargers were refused or lost"
            await asyncio.sleep(0.05)
    print("booted", flush=True)
    if rate is not None:
        Pace(load, chargers, rate).tick()
    await asyncio.sleep(1)
    print("begin", flush=True)
    begun, used = time.perf_counter(), time.process_time()
    load.counted_from, load.counted_until = begun, begun + seconds
    await asyncio.sleep(seconds)
    took, used = time.perf_counter() - begun, time.process_time() - used
    print("end", flush=True)
    load.stopped = True
    await asyncio.sleep(DRAIN_S)
    for charger in chargers:
        charger.cut()
    spent, late = sorted(load.latencies), sorted(load.lateness)
    return {
        "calls": len(spent),
        "errors": load.errors,
        "unanswered": load.waiting,
        "calls_per_s": len(spent) / took,
        "load_cpu_us": used / max(len(spent), 1) * 1e6,
        "p50_ms": percentile(spent, 0.5),
        "p95_ms": percentile(spent, 0.95),
        "p99_ms": percentile(spent, 0.99),
        "late_p99_ms": percentile(late, 0.99),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("chargers", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--version", default="ocpp1.6")
    parser.add_argument("--rate", type=float)
    given = parser.parse_args()
    found = uvloop.run(run(given.port, given.chargers, given.seconds, given.version, given.rate))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
