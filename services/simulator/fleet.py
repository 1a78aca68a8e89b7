"""A whole fleet of virtual chargers in one process."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from services.simulator.clock import Clock
from services.simulator.domain.plan import plan
from services.simulator.domain.profiles import instant_us
from services.simulator.domain.scenario import Arrival, Outage, Scenario, Station
from services.simulator.link import Answered, Commands, Journal, Refused, World
from services.simulator.operations import Operated
from services.simulator.session import SessionTruth
from services.simulator.v16.commands import Commands16
from services.simulator.v16.reports import Charger16
from services.simulator.v201.commands import Commands201
from services.simulator.v201.reports import Charger201

VERSIONS: dict[str, tuple[type[Operated], Commands]] = {
    "1.6": (Charger16, Commands16),
    "2.0.1": (Charger201, Commands201),
}
"""What a charger of each OCPP version reports, and how it answers commands."""


@dataclass(frozen=True, slots=True)
class Stats:
    """What a fleet does now, and what it has done since it started.

    `costs_shown`: how often drivers were shown the cost so far; `totals_shown`: how many were shown the total.
    """

    chargers: int
    connected: int
    online: int
    charging: int
    power_w: int
    site_power_w: dict[str, int]
    site_charging: dict[str, int]
    sessions_started: int
    sessions_ended: int
    energy_wh: int
    costs_shown: int
    totals_shown: int
    answered: int
    refused: int
    queued: int
    lost: int
    mismatched: int
    reconnects: int
    failures: int


class Fleet:
    """The chargers of a scenario, at a central system under `url` (each at `url`/<station id>).

    `run` plays the scenario and returns once every session is over and every queue is empty, or `drain_s` real
    seconds after the end; `stop` disconnects. Both may be called at any time, `stop` more than once.
    """

    def __init__(
        self,
        spec: Scenario,
        url: str,
        clock: Clock | None = None,
        seed: int | None = None,
        *,
        timeout_s: float = 30.0,
        drain_s: float = 60.0,
        on_answered: Callable[[Answered], None] | None = None,
    ) -> None:
        self.spec = spec
        self.clock = clock or clock_of(spec)
        self.seed = spec.seed if seed is None else seed
        self.plan = plan(spec, self.seed)
        self.journal = Journal(on_answered=on_answered)
        world = World(spec, url, self.clock, self.seed, self.journal, timeout_s)
        self.chargers: dict[str, Operated] = {
            station.id: _charger(station, world) for station in spec.stations
        }
        self._drain_s = drain_s
        self._over = asyncio.Event()
        self._outages: list[asyncio.Task[None]] = []

    @property
    def answered(self) -> list[Answered]:
        """Every call whose CALLRESULT a charger received, in order of arrival."""
        return self.journal.answered

    @property
    def refused(self) -> list[Refused]:
        """Every call that was answered with a CALLERROR."""
        return self.journal.refused

    @property
    def settled(self) -> bool:
        """No session runs and every transaction message is answered."""
        return all(charger.settled for charger in self.chargers.values())

    def truths(self) -> list[SessionTruth]:
        """The sessions that have ended, by station and time."""
        return [
            session.truth(charger.station)
            for charger in self.chargers.values()
            for session in charger.sessions
            if session.ended_us is not None
        ]

    async def run(self) -> None:
        """Play the scenario to its end (or until `end` or `stop`), then settle everything."""
        self.clock.start()
        draw = random.Random(f"{self.seed}:connect")  # noqa: S311 a simulation, not a secret
        coming: dict[str, list[Arrival]] = defaultdict(list)
        for arrival in self.plan.arrivals:
            coming[arrival.station_id].append(arrival)
        for charger in self.chargers.values():
            charger.start(coming[charger.station.id], draw.uniform(0, min(1.0, len(self.chargers) / 200)))
        self._outages = [asyncio.create_task(self._outage(outage)) for outage in self.plan.outages]
        try:
            async with asyncio.timeout(self.spec.duration_s / self.clock.speed):
                await self._over.wait()
        except TimeoutError:
            pass
        await self.finish()

    def end(self) -> None:
        """Let `run` come to its end now."""
        self._over.set()

    async def finish(self) -> None:
        """End every session, restore every connection, and wait until the queues are empty (or `drain_s`)."""
        self._over.set()
        for task in self._outages:
            task.cancel()
        await asyncio.gather(*self._outages, return_exceptions=True)
        for charger in self.chargers.values():
            charger.close_shop()
        deadline = time.monotonic() + self._drain_s
        while not self.settled and time.monotonic() < deadline:  # noqa: ASYNC110 many queues, one bounded wait
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """Disconnect every charger. What was not settled by then stays undelivered."""
        self._over.set()
        for task in self._outages:
            task.cancel()
        await asyncio.gather(*(charger.close() for charger in self.chargers.values()))

    async def _outage(self, outage: Outage) -> None:
        charger = self.chargers[outage.station_id]
        await self.clock.sleep_until(outage.at_s)
        charger.network_down()
        try:
            await self.clock.sleep(outage.duration_s)
        finally:
            charger.network_up()

    def stats(self) -> Stats:
        """A snapshot; `energy_wh` counts what the meters have counted, running sessions included."""
        power: Counter[str] = Counter()
        charging: Counter[str] = Counter()
        started = ended = energy = queued = costs = totals = 0
        for charger in self.chargers.values():
            site = charger.station.site
            power[site] += 0
            queued += len(charger.outbox)
            started += len(charger.sessions)
            for session in charger.sessions:
                ended += session.ended_us is not None
                stop = session.evse.meter.register_wh if session.ended_us is None else session.meter_stop_wh
                energy += stop - session.meter_start_wh
                costs += session.costs_shown
                totals += session.total_cost is not None
            for evse in charger.evses.values():
                power[site] += evse.power_w
                charging[site] += evse.session is not None
        journal = self.journal
        return Stats(
            chargers=len(self.chargers),
            connected=sum(charger.connected for charger in self.chargers.values()),
            online=sum(charger.online for charger in self.chargers.values()),
            charging=sum(charging.values()),
            power_w=sum(power.values()),
            site_power_w=dict(power),
            site_charging=dict(charging),
            sessions_started=started,
            sessions_ended=ended,
            energy_wh=energy,
            costs_shown=costs,
            totals_shown=totals,
            answered=len(journal.answered),
            refused=len(journal.refused),
            queued=queued,
            lost=len(journal.lost),
            mismatched=len(journal.mismatched),
            reconnects=journal.reconnects,
            failures=len(journal.failures),
        )


def _charger(station: Station, world: World) -> Operated:
    charger, commands = VERSIONS[station.make.version]
    return charger(station, world, commands)


def clock_of(spec: Scenario, speed: float | None = None) -> Clock:
    """The clock that a scenario asks for. Raises ValueError when its `start` is no timestamp."""
    start_us = None if spec.start is None else instant_us(spec.start)
    return Clock(speed or spec.speed, spec.stamp, start_us)
