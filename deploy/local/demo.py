"""The demonstration: 40 virtual chargers of six makes through an accelerated day on a platform of their own.

A site's limit bites, a firmware campaign runs, operators send commands, an edge process is killed in mid-flow;
at the end what the chargers' own meters delivered is compared with every place that counts energy.
"""

import asyncio
import shutil
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
from rich.table import Table

from deploy.local.platform import Platform, from_here, run_until_interrupted
from deploy.local.reconcile import (
    AnsweredCalls,
    Reconciliation,
    ShownTotals,
    check_totals,
    find_answered_calls,
    reconcile,
)
from deploy.local.screen import Screen
from deploy.local.settings import on_free_ports
from libs.bus.bus import connect
from libs.clickhouse.client import ClickHouseClient
from libs.devstack.process import Reporter
from services.simulator.domain.scenario import Scenario
from services.simulator.fleet import Fleet
from services.simulator.scenario import load

DATA: Final = Path(".voltbus") / "demo"
LIMITS_A: Final = {"depot": 100.0}
TARGET_FIRMWARE: Final = "9.0.0"
CAMPAIGN_STATIONS: Final = ("nrv-0001", "nrv-0002", "ama-0001", "rel-0001")
_SETTLED_LONG_AGO: Final = timedelta(days=1)
_REFRESH_S: Final = 0.25
_NOT_TOLD: Final = frozenset({"PENDING", "REQUESTED"})

# Share of the day at which something happens.
COMMANDS_AT: Final = 0.15
CAMPAIGN_AT: Final = 0.30
KILL_AT: Final = 0.72

COMMANDS: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    ("nrv-0001", "GetConfiguration", {"key": ["HeartbeatInterval"]}),
    ("ksk-0001", "TriggerMessage", {"requestedMessage": "StatusNotification", "connectorId": 1}),
    ("rel-0002", "ChangeAvailability", {"connectorId": 0, "type": "Operative"}),
    ("amp-0001", "GetBaseReport", {"requestId": 7, "reportBase": "FullInventory"}),
    ("drf-0001", "TriggerMessage", {"requestedMessage": "Heartbeat"}),
    ("nrv-0003", "UnlockConnector", {"connectorId": 2}),
)


def run_demo(report: Reporter) -> int:
    """Run the demonstration; returns the process's exit status: 0 only if every figure agrees."""
    shutil.rmtree(DATA, ignore_errors=True)
    platform = Platform(on_free_ports(DATA))
    report(f"starting Kafka, the schema registry, ClickHouse and {len(platform.services)} service processes")
    platform.start(report)
    report("unknown chargers and tokens are let in here; elsewhere they are refused")
    interactive = sys.stdout.isatty() and sys.stdin.isatty()
    try:
        agrees = asyncio.run(_Demo(platform).run())
        if interactive:
            print("\nStill running for you to look around; Ctrl-C stops it.")
            run_until_interrupted(platform, report)
    finally:
        platform.stop()
    return 0 if agrees else 1


class _Demo:
    """One run against a started platform."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.scenario = load("day")
        self.fleet = Fleet(self.scenario, platform.edge_url, drain_s=90)
        self.screen = Screen(LIMITS_A)
        self.api = httpx.AsyncClient(
            base_url=f"{platform.api_url}/api/v1/",
            headers={"Authorization": f"Bearer {platform.secrets.api_key}"},
            timeout=30,
        )
        self.campaign_id = ""
        self.campaign_finished = False

    async def run(self) -> bool:
        """Play the day, then compare. True if every figure agrees."""
        async with self.api:
            await register(self.api, self.scenario)
            with self.screen:
                self.screen.say(f"registered {len(self.scenario.stations)} stations on 4 sites")
                await self._play()
            return await self._check()

    async def _play(self) -> None:
        day = asyncio.create_task(self.fleet.run())
        keeper = asyncio.create_task(self._keep())
        acts = [
            asyncio.create_task(self._at(share, act))
            for share, act in (
                (COMMANDS_AT, self._send_commands),
                (CAMPAIGN_AT, self._start_campaign),
                (KILL_AT, self._kill_edge),
            )
        ]
        try:
            while not day.done():
                self.screen.show(self._hour(), self.fleet.stats())
                await asyncio.wait({day}, timeout=_REFRESH_S)
            await day
            await asyncio.gather(*acts)
            await self._await_campaign()
            self.screen.show(self._hour(), self.fleet.stats())
        finally:
            keeper.cancel()
            await self.fleet.stop()

    def _hour(self) -> float:
        return min(24.0, self.fleet.clock.elapsed_us() / 3.6e9)

    async def _at(self, share: float, act: Callable[[], Awaitable[None]]) -> None:
        await self.fleet.clock.sleep_until(share * self.scenario.duration_s)
        await act()

    async def _keep(self) -> None:
        while True:
            await asyncio.to_thread(self.platform.keep, self.screen.say)
            await asyncio.sleep(0.5)

    async def _send_commands(self) -> None:
        async def send(station: str, action: str, payload: dict[str, Any]) -> None:
            body = {"action": action, "payload": payload, "ttl_s": 30, "wait_s": 20}
            answer = await self.api.post(f"stations/{station}/commands", json=body)
            outcome = answer.json()
            fate = outcome.get("status") or answer.status_code
            self.screen.say(f"operator sends {action} to {station}: {fate}")

        await asyncio.gather(*(send(*command) for command in COMMANDS))

    async def _start_campaign(self) -> None:
        answer = await self.api.post(
            "campaigns",
            json={
                "name": "Demonstration",
                "target_version": TARGET_FIRMWARE,
                "location": f"https://firmware.example.org/fw-{TARGET_FIRMWARE}.bin",
                "stations": list(CAMPAIGN_STATIONS),
                "deadline": (datetime.now(UTC) + timedelta(minutes=5)).isoformat(),
            },
        )
        answer.raise_for_status()
        self.campaign_id = answer.json()["campaign_id"]
        self.screen.say(
            f"firmware campaign to {TARGET_FIRMWARE} for {len(CAMPAIGN_STATIONS)} stations begins"
        )

    async def _await_campaign(self) -> None:
        body = await self._poll(
            f"campaigns/{self.campaign_id}", lambda campaign: bool(campaign["finished"]), 60
        )
        self.campaign_finished = body is not None
        if body is not None:
            self.screen.say(
                f"firmware campaign finished: {body['installed']} installed, {body['failed']} failed"
            )
            return
        page = await self._poll(f"campaigns/{self.campaign_id}/stations", lambda page: True, 5)
        for row in page["items"] if page is not None else ():
            self.screen.say(f"firmware campaign not finished: {row['station_id']} is {row['status']}")

    async def _poll(self, path: str, done: Callable[[Any], bool], most_s: float) -> Any:
        """What the API answers when it is `done`; None after so many seconds without."""
        with suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                while True:
                    with suppress(httpx.TransportError):
                        answer = await self.api.get(path)
                        if answer.is_success and done(answer.json()):
                            return answer.json()
                    await asyncio.sleep(0.5)
        return None

    async def _kill_edge(self) -> None:
        # Nobody knows whether a station that a dead edge was telling to update has heard it: its campaign waits for it.
        await self._poll(
            f"campaigns/{self.campaign_id}/stations",
            lambda page: all(row["status"] not in _NOT_TOLD for row in page["items"]),
            10,
        )
        victim = self.platform.services["edge-0"]
        self.screen.say(
            f"kill -9 of edge-0 (pid {victim.pid}) with {self.fleet.stats().charging} cars charging"
        )
        await asyncio.to_thread(victim.kill)

    async def _check(self) -> bool:
        console = self.screen.console
        console.print("\nThe day is over. Waiting for processors and ClickHouse to have everything ...")
        async with connect(self.platform.bus) as bus:
            energy = await reconcile(self.fleet.truths(), bus, self.platform.clickhouse)
            totals = await check_totals(self.fleet.truths(), bus)
        answered = ((call.station_id, call.message_id) for call in self.fleet.answered)
        calls = await find_answered_calls(answered, self.platform.clickhouse)
        limits = await asyncio.to_thread(self._limits)
        stats = self.fleet.stats()
        console.print(energy.table())
        for line in energy.differences():
            console.print(f"  {line}", markup=False)
        console.print(_calls_line(calls), markup=False)
        console.print(_totals_line(totals), markup=False)
        console.print(limits, markup=False)
        agrees = (
            energy.agrees
            and calls.agrees
            and not totals.wrong
            and not stats.lost
            and self.fleet.settled
            and self.campaign_finished
        )
        console.print(
            f"\n{_verdict(energy, calls, totals, agrees)}\n", style="bold green" if agrees else "bold red"
        )
        console.print(self._look_around())
        return agrees

    def _limits(self) -> str:
        client = ClickHouseClient(self.platform.clickhouse)
        try:
            (row,) = client.rows(
                "SELECT count() AS plans, max(waiting) AS waiting, max(length(allocations.evse_id)) AS most "
                "FROM load_plans WHERE site_id = 'depot'"
            )
        finally:
            client.close()
        return (
            f"depot, limited to {LIMITS_A['depot']:.0f} A per phase: {row['plans']} plans, up to {row['most']} cars "
            f"sharing, up to {row['waiting']} waiting for a share, highest draw {self.screen.peaks_a['depot']:.0f} A\n"
            "(a newcomer draws 6 A until its share arrives, the others their old shares until the smaller ones do;\n"
            "at this speed that takes simulated minutes)"
        )

    def _look_around(self) -> Table:
        table = Table(title="Look around", show_header=False)
        stack = self.platform.stack.endpoints
        table.add_row("console", self.platform.console_url)
        table.add_row("", self.platform.first_sign_in())
        table.add_row("API documentation", f"{self.platform.api_url}/api/v1/docs")
        table.add_row("API key", self.platform.secrets.api_key)
        table.add_row("ClickHouse", f"{stack.clickhouse_host}:{stack.clickhouse_port}")
        table.add_row("", f"user voltbus, password {self.platform.secrets.clickhouse_password}")
        table.add_row("", "SELECT * FROM voltbus.sessions ORDER BY energy_wh DESC LIMIT 10")
        table.add_row("Kafka", stack.bootstrap)
        table.add_row("logs", str(from_here(self.platform.folder / "logs")))
        table.add_row("the same, kept running", "make up")
        return table


async def register(api: httpx.AsyncClient, scenario: Scenario) -> None:
    """Enter a scenario's sites, tariff, stations and tokens; raises httpx.HTTPStatusError if one is refused."""
    since = (datetime.now(UTC) - _SETTLED_LONG_AGO).isoformat()

    async def post(path: str, **body: Any) -> None:
        (await api.post(path, json=body)).raise_for_status()

    await post(
        "tariffs",
        tariff_id="standard",
        name="Standard",
        currency="EUR",
        price_per_kwh_milli=45_670,
        valid_from=since,
    )
    sites = sorted({station.site for station in scenario.stations})
    for site in sites:
        limit_ma = int(LIMITS_A[site] * 1000) if site in LIMITS_A else None
        await post(
            "sites",
            site_id=site,
            name=site.title(),
            limit_ma=limit_ma,
            tariff_id="standard",
            tariff_valid_from=since,
        )
    await asyncio.gather(
        *(
            post("stations", station_id=s.id, site_id=s.site, site_valid_from=since, phases=s.make.phases)
            for s in scenario.stations
        ),
        *(post("tokens", id_token=token) for token in scenario.id_tokens),
    )


def _calls_line(calls: AnsweredCalls) -> str:
    return (
        f"calls that chargers saw answered: {calls.answered}; "
        f"missing in ClickHouse: {len(calls.missing)}, more than once: {len(calls.doubled)}"
    )


def _totals_line(totals: ShownTotals) -> str:
    return (
        f"drivers at 2.0.1 chargers who were shown the total when they left: {totals.shown}; "
        f"another than the charge record's: {len(totals.wrong)}"
    )


def _verdict(energy: Reconciliation, calls: AnsweredCalls, totals: ShownTotals, agrees: bool) -> str:
    if agrees:
        return f"Every place agrees to the Wh: {energy.truth.energy_wh:,} Wh in {len(energy.truth.energies)} sessions."
    if energy.agrees and calls.agrees and not totals.wrong:
        return "The energy agrees, but not every message was delivered or not every update came to its end."
    return "THE FIGURES DO NOT AGREE."
