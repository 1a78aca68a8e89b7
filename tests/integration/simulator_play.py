"""Scenarios of one charger, how they are played, and what has to have arrived afterwards."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

from services.simulator.domain.scenario import Arrival, Group, Scenario
from services.simulator.fleet import Fleet
from tests.integration.simulator_central import Central
from tests.patience import WAIT_S, until

STATIONS = {
    "Norvolt": "NRV-0001",
    "Ampera": "AMP-0001",
    "AmperaAC": "AMA-0001",
    "Kaskade": "KSK-0001",
    "Drifter": "DRF-0001",
    "Relais": "REL-0001",
}
TRANSACTIONAL = {"StartTransaction", "StopTransaction", "MeterValues", "TransactionEvent"}
HOUR = 3_600.0


def arrival(make: str, at_s: float = 0, *, energy_wh: int = 3_000, evse_id: int = 1, **more: Any) -> Arrival:
    defaults: dict[str, Any] = {"max_power_w": 11_040, "id_token": "TAG00001"}
    return Arrival(STATIONS[make], evse_id, at_s, energy_wh, **(defaults | more))


def one(make: str, *arrivals: Arrival, speed: float = 1_800, hours: float = 3, **more: Any) -> Scenario:
    group = Group(make, 1, "yard", outages_per_day=0, reuse_message_ids=more.pop("reuse_message_ids", False))
    return Scenario((group,), speed=speed, duration_s=hours * HOUR, arrivals=arrivals, **more)


@asynccontextmanager
async def playing(scenario: Scenario, central: Central, **more: Any) -> AsyncIterator[Fleet]:
    """A fleet that runs; at the end it is settled, and nothing went wrong inside it."""
    fleet = Fleet(scenario, central.url, **({"timeout_s": 20.0, "drain_s": WAIT_S} | more))
    run = asyncio.create_task(fleet.run())
    try:
        yield fleet
        fleet.end()
        await run
        assert fleet.settled
        assert fleet.journal.failures == []
    finally:
        run.cancel()
        await fleet.stop()


async def play(scenario: Scenario, central: Central, sessions: int, **more: Any) -> Fleet:
    """Run until so many sessions have ended and every queue is empty."""
    async with playing(scenario, central, **more) as fleet:
        await until(lambda: len(fleet.truths()) >= sessions and fleet.settled)
    return fleet


def registers_16(central: Central, station_id: str) -> dict[str, tuple[int, int]]:
    """(meterStart, meterStop) by transaction id; the first StopTransaction counts."""
    starts = {str(number): key[4] for key, number in central.transactions.items() if key[0] == station_id}
    stops: dict[str, int] = {}
    for call in central.of(station_id, "StopTransaction"):
        stops.setdefault(str(call.payload["transactionId"]), call.payload["meterStop"])
    return {number: (start, stops[number]) for number, start in starts.items()}


def registers_201(central: Central, station_id: str) -> dict[str, tuple[int, int]]:
    """(first, last) register by transaction id, after checking that no seqNo is missing or said twice."""
    events: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for call in central.of(station_id, "TransactionEvent"):
        transaction = events[call.payload["transactionInfo"]["transactionId"]]
        seen = transaction.setdefault(call.payload["seqNo"], call.payload)
        assert seen == call.payload
    found = {}
    for transaction_id, transaction in events.items():
        assert sorted(transaction) == list(range(len(transaction)))
        values = [
            transaction[seq]["meterValue"][0]["sampledValue"][0]["value"] for seq in sorted(transaction)
        ]
        assert values == sorted(values)
        assert transaction[0]["eventType"] == "Started"
        assert transaction[len(transaction) - 1]["eventType"] == "Ended"
        found[transaction_id] = (values[0], values[-1])
    return found


def assert_truths_arrived(fleet: Fleet, central: Central) -> None:
    for charger in fleet.chargers.values():
        registers = registers_16 if charger.make.version == "1.6" else registers_201
        told = registers(central, charger.station.id)
        truths = [truth for truth in fleet.truths() if truth.station_id == charger.station.id]
        assert {truth.transaction_id: (truth.meter_start_wh, truth.meter_stop_wh) for truth in truths} == told
        assert sum(truth.energy_wh for truth in truths) == sum(stop - start for start, stop in told.values())


def assert_retries_keep_content(central: Central, station_id: str) -> None:
    """An unanswered transaction message is the next one to be sent, with the same content."""
    calls = [call for call in central.of(station_id) if call.action in TRANSACTIONAL]
    for call, following in pairwise(calls):
        if not call.answered:
            assert (following.action, following.payload) == (call.action, call.payload)
            assert following.message_id != call.message_id


class Dropping:
    """Drops one transaction message in `every`, the same one at most twice."""

    def __init__(self, seed: int, every: int = 3) -> None:
        self.random, self.every = random.Random(seed), every
        self.dropped: dict[str, int] = defaultdict(int)

    def __call__(self, station_id: str, action: str, payload: dict[str, Any], seen: int) -> str:
        key = f"{station_id} {action} {payload}"
        if action not in TRANSACTIONAL or self.random.randrange(self.every) or self.dropped[key] == 2:
            return "answer"
        self.dropped[key] += 1
        return "drop"
