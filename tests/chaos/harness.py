"""A platform under traffic while parts of it are killed; what must agree afterwards."""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from operator import itemgetter
from typing import Any

import httpx

from deploy.local.demo import register
from deploy.local.platform import Platform
from deploy.local.reconcile import find_answered_calls, reconcile
from libs.bus.bus import Bus, connect
from libs.bus.tail import read_all
from libs.events.commands import CommandConcluded, RequestCommand
from services.simulator.domain.scenario import Demand, Group, Scenario
from services.simulator.fleet import Fleet, Stats
from services.simulator.link import Answered
from services.simulator.session import SessionTruth
from tests.patience import WAIT_S

ROUNDS = int(os.environ.get("VOLTBUS_CHAOS_ROUNDS", "1"))
SEED = int(os.environ.get("VOLTBUS_CHAOS_SEED", "2026"))
SPEED = 360.0
ROUND_S = 8.0
SETTLE_S = WAIT_S

MAKES = ("Norvolt", "Ampera", "AmperaAC", "Kaskade", "Drifter", "Relais")


def scenario() -> Scenario:
    """Two chargers of each make; everybody charges once or twice."""
    return Scenario(
        fleet=tuple(Group(make, 2, site="depot") for make in MAKES),
        name="chaos",
        duration_s=ROUND_S * SPEED,
        speed=SPEED,
        sample_interval_s=60,
        tokens=20,
        demand=Demand(sessions_per_evse=1.5, energy_wh=(2_000, 9_000), stay_s=(900, 2_400)),
    )


class Ledger:
    """Everything that chargers and operators have done on one platform, over all its rounds."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.truths: list[SessionTruth] = []
        self.answered: list[Answered] = []
        self.commands: list[str] = []
        self._registered = False
        self._updating: asyncio.Event

    async def round(self, seed: int, *kills: Callable[[], None]) -> None:
        """Traffic for some seconds; each of `kills` is called at a random moment of it; then check.

        Not before the campaign's stations have their commands: one that a dead edge may have sent has the fate UNKNOWN,
        and its campaign waits for a day.
        """
        self._updating = asyncio.Event()
        draw = random.Random(seed)
        await self._register()
        fleet = Fleet(scenario(), self.platform.edge_url, seed=seed, timeout_s=15, drain_s=90)
        keeper = asyncio.create_task(self._keep())
        moments = [(draw.uniform(1, ROUND_S), kill) for kill in kills]
        operator = asyncio.create_task(self._send_commands(draw, [*fleet.chargers]))
        try:
            _, stats = await asyncio.gather(self._kill_at(moments), self._play(fleet, f"1.0.{seed}"))
            operator.cancel()
            assert fleet.settled, stats
            assert stats.lost == 0, stats
            self.truths += fleet.truths()
            assert self.truths
            # With the chargers still there, so that what waits for them comes to an end.
            await self._check([*self.answered, *fleet.answered])
            self.answered += fleet.answered
        finally:
            operator.cancel()
            await fleet.stop()
            keeper.cancel()

    async def _check(self, answered: list[Answered]) -> None:
        """Energy agrees everywhere, every answered call is stored once, every command has one fate."""
        clickhouse = self.platform.clickhouse
        taken = set(self.commands)
        async with connect(self.platform.bus) as bus:
            energy = await reconcile(self.truths, bus, clickhouse, SETTLE_S)
            assert energy.agrees, energy.differences()
            wanted = ((call.station_id, call.message_id) for call in answered)
            calls = await find_answered_calls(wanted, clickhouse, SETTLE_S)
            assert calls.agrees, calls
            async with asyncio.timeout(SETTLE_S):
                while not (requested := await _requested(bus)) <= set(fates := await _fates(bus)):  # noqa: ASYNC110
                    await asyncio.sleep(1)
        assert taken - requested == set()
        assert set(fates.values()) <= {1}, [command for command, times in fates.items() if times > 1]

    async def _register(self) -> None:
        if not self._registered:
            async with self._api() as api:
                await register(api, scenario())
            self._registered = True

    async def _play(self, fleet: Fleet, firmware: str) -> Stats:
        """Let everybody charge while a firmware campaign runs; both come to their end."""
        stations = [
            next(id for id in fleet.chargers if id.startswith(make)).casefold() for make in ("NRV", "AMP")
        ]
        campaign = {
            "name": firmware,
            "target_version": firmware,
            "location": f"https://firmware.example.org/fw-{firmware}.bin",
            "stations": stations,
        }
        day = asyncio.create_task(fleet.run())
        async with self._api() as api:
            started = await _until(lambda: api.post("campaigns", json=campaign), lambda answer: True)
            path = f"campaigns/{started['campaign_id']}"
            try:
                await _until(
                    lambda: api.get(f"{path}/stations"),
                    lambda page: len(page["items"]) == 2 and all(map(_has_it, page["items"])),
                )
                self._updating.set()
                await day
                progress = await _until(lambda: api.get(path), lambda answer: bool(answer["finished"]))
            except TimeoutError:
                raise AssertionError((await api.get(f"{path}/stations")).text) from None
        assert progress["installed"] == len(stations), progress
        return fleet.stats()

    def _api(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=f"{self.platform.api_url}/api/v1/",
            headers={"Authorization": f"Bearer {self.platform.secrets.api_key}"},
            timeout=30,
        )

    async def _keep(self) -> None:
        while True:
            await asyncio.to_thread(self.platform.keep, print)
            await asyncio.sleep(0.3)

    async def _kill_at(self, moments: list[tuple[float, Callable[[], None]]]) -> None:
        await self._updating.wait()
        begun = asyncio.get_running_loop().time()
        for moment, kill in sorted(moments, key=itemgetter(0)):
            await asyncio.sleep(max(0.0, begun + moment - asyncio.get_running_loop().time()))
            await asyncio.to_thread(kill)

    async def _send_commands(self, draw: random.Random, stations: list[str]) -> None:
        async with self._api() as api:
            while True:
                station = draw.choice(stations).casefold()
                body = {
                    "action": "TriggerMessage",
                    "payload": {"requestedMessage": "Heartbeat"},
                    "ttl_s": draw.choice([2, 10, 20]),
                }
                if sent := await _tried(api.post(f"stations/{station}/commands", json=body)):
                    self.commands.append(sent["command_id"])
                await asyncio.sleep(draw.uniform(0.05, 0.4))


async def _requested(bus: Bus) -> set[str]:
    records = [message.record async for message in read_all(bus, "commands.requested")]
    return {record.event_id for record in records if isinstance(record, RequestCommand)}


async def _fates(bus: Bus) -> Counter[str]:
    records = [message.record async for message in read_all(bus, "commands.outcomes")]
    return Counter(record.command_id for record in records if isinstance(record, CommandConcluded))


def _has_it(row: dict[str, Any]) -> bool:
    """Whether a station of a campaign has been told to update."""
    return row["status"] not in {"", "PENDING", "REQUESTED"}


async def _until(request: Callable[[], Awaitable[httpx.Response]], done: Callable[[Any], bool]) -> Any:
    """Ask until there is an answer, and it is the one waited for. Raises TimeoutError after a while."""
    async with asyncio.timeout(SETTLE_S):
        while (answer := await _tried(request())) is None or not done(answer):  # noqa: ASYNC110
            await asyncio.sleep(0.5)
    return answer


async def _tried(request: Awaitable[httpx.Response]) -> Any:
    """The answer's JSON; None if there is none, because a part that is needed is away."""
    try:
        answer = await request
    except httpx.TransportError:
        return None
    return answer.json() if answer.is_success else None
