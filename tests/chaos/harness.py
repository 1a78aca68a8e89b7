"""A platform under traffic while parts of it are killed; what must agree afterwards."""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable

import httpx

from deploy.local.platform import Platform
from deploy.local.reconcile import find_answered_calls, reconcile
from libs.bus.bus import connect
from libs.bus.tail import read_all
from libs.events.commands import CommandConcluded, RequestCommand
from services.simulator.domain.scenario import Demand, Group, Scenario
from services.simulator.fleet import Fleet, Stats
from services.simulator.link import Answered
from services.simulator.session import SessionTruth

ROUNDS = int(os.environ.get("VOLTBUS_CHAOS_ROUNDS", "1"))
SEED = int(os.environ.get("VOLTBUS_CHAOS_SEED", "2026"))
SPEED = 360.0
ROUND_S = 8.0
SETTLE_S = 90.0

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

    async def round(self, seed: int, kill: Callable[[], None], times: int = 1) -> None:
        """Traffic for some seconds; `kill` is called at `times` random moments of it; then check."""
        draw = random.Random(seed)
        fleet = Fleet(scenario(), self.platform.edge_url, seed=seed, timeout_s=15, drain_s=90)
        keeper = asyncio.create_task(self._keep())
        moments = sorted(draw.uniform(1, ROUND_S) for _ in range(times))
        operator = asyncio.create_task(self._send_commands(draw, [*fleet.chargers]))
        try:
            _, stats = await asyncio.gather(self._kill_at(moments, kill), self._play(fleet))
        finally:
            operator.cancel()
            await fleet.stop()
            keeper.cancel()
        assert fleet.settled, stats
        assert stats.lost == 0, stats
        self.truths += fleet.truths()
        self.answered += fleet.answered
        assert fleet.truths()
        await self.check()

    async def check(self) -> None:
        """Energy agrees everywhere, every answered call is stored once, every command has one fate."""
        keeper = asyncio.create_task(self._keep())
        try:
            async with connect(self.platform.bus) as bus:
                energy = await reconcile(self.truths, bus, self.platform.clickhouse, SETTLE_S)
                assert energy.agrees, energy.differences()
                calls = await find_answered_calls(
                    ((call.station_id, call.message_id) for call in self.answered),
                    self.platform.clickhouse,
                    SETTLE_S,
                )
                assert calls.agrees, calls
                async with asyncio.timeout(SETTLE_S):
                    while True:
                        requested = {
                            message.record.event_id
                            async for message in read_all(bus, "commands.requested")
                            if isinstance(message.record, RequestCommand)
                        }
                        fates = Counter(
                            [
                                message.record.command_id
                                async for message in read_all(bus, "commands.outcomes")
                                if isinstance(message.record, CommandConcluded)
                            ]
                        )
                        if requested <= set(fates):
                            break
                        await asyncio.sleep(1)
            assert set(self.commands) <= requested
            assert set(fates.values()) <= {1}, [command for command, times in fates.items() if times > 1]
        finally:
            keeper.cancel()

    async def _play(self, fleet: Fleet) -> Stats:
        await fleet.run()
        return fleet.stats()

    async def _keep(self) -> None:
        while True:
            await asyncio.to_thread(self.platform.keep, print)
            await asyncio.sleep(0.3)

    async def _kill_at(self, moments: list[float], kill: Callable[[], None]) -> None:
        begun = asyncio.get_running_loop().time()
        for moment in moments:
            await asyncio.sleep(max(0.0, begun + moment - asyncio.get_running_loop().time()))
            await asyncio.to_thread(kill)

    async def _send_commands(self, draw: random.Random, stations: list[str]) -> None:
        url = f"{self.platform.api_url}/api/v1/"
        headers = {"Authorization": f"Bearer {self.platform.secrets.api_key}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as api:
            while True:
                station = draw.choice(stations).casefold()
                body = {
                    "action": "TriggerMessage",
                    "payload": {"requestedMessage": "Heartbeat"},
                    "ttl_s": draw.choice([2, 10, 20]),
                }
                answer = await api.post(f"stations/{station}/commands", json=body)
                if answer.status_code == 202:
                    self.commands.append(answer.json()["command_id"])
                await asyncio.sleep(draw.uniform(0.05, 0.4))
