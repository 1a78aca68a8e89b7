"""The simulator's command: play a scenario, show what happens, print what was really delivered."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from rich.live import Live
from rich.table import Table

from libs.runtime.settings import read_settings
from services.simulator.fleet import Fleet, Stats, clock_of
from services.simulator.scenario import load
from services.simulator.session import SessionTruth
from services.simulator.settings import Settings

REFRESH_S, PROGRESS_S = 0.5, 2.0


def main() -> None:
    """Run the command line."""
    typer.run(simulate)


def simulate(
    *,
    url: Annotated[str | None, typer.Option(help="Where chargers connect: URL/<station id>.")] = None,
    scenario: Annotated[str | None, typer.Option(help="YAML file, or day, smoke, load.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the plan (default: the scenario's).")] = None,
    speed: Annotated[float | None, typer.Option(help="Simulated seconds per real second.")] = None,
    duration: Annotated[float | None, typer.Option(help="Real seconds until sessions are ended.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print sessions and totals as JSON.")] = False,
) -> None:
    """Play a scenario against a central system; exit 0 only if every message was delivered."""
    settings = read_settings(Settings)
    spec = load(scenario or settings.scenario)
    clock = clock_of(spec, speed)
    if duration is not None:
        spec = replace(spec, duration_s=duration * clock.speed)
    fleet = Fleet(
        spec, url or settings.url, clock, seed, timeout_s=settings.timeout_s, drain_s=settings.drain_s
    )
    stats = uvloop.run(_play(fleet))
    if as_json:
        document = {"sessions": [asdict(truth) for truth in fleet.truths()], "stats": asdict(stats)}
        print(json.dumps(document, indent=2))
    else:
        console = Console()
        # Without a terminal nothing is gained by cutting ids to 80 columns.
        console.print(_truths(fleet.truths()), width=None if console.is_terminal else 150)
        print(_line(stats))
    sys.exit(0 if fleet.settled and not (stats.lost or stats.failures) else 1)


async def _play(fleet: Fleet) -> Stats:
    console = Console(stderr=True)
    loop = asyncio.get_running_loop()
    run = asyncio.create_task(fleet.run())
    for number in (signal.SIGINT, signal.SIGTERM):
        # Ctrl-C ends sessions properly; the truths must be final.
        loop.add_signal_handler(number, fleet.end)
    try:
        if console.is_terminal:
            with Live(console=console, refresh_per_second=4) as live:
                while not run.done():
                    live.update(_overview(fleet))
                    await asyncio.wait({run}, timeout=REFRESH_S)
        else:
            while not run.done():
                console.print(_line(fleet.stats()), highlight=False, soft_wrap=True)
                await asyncio.wait({run}, timeout=PROGRESS_S)
        await run
        return fleet.stats()
    finally:
        await fleet.stop()


def _line(stats: Stats) -> str:
    return (
        f"chargers={stats.chargers} online={stats.online} charging={stats.charging} "
        f"power={stats.power_w / 1000:.1f}kW energy={stats.energy_wh}Wh "
        f"sessions={stats.sessions_ended}/{stats.sessions_started} answered={stats.answered} "
        f"refused={stats.refused} queued={stats.queued} lost={stats.lost} reconnects={stats.reconnects}"
    )


def _overview(fleet: Fleet) -> Table:
    stats = fleet.stats()
    table = Table(title=f"{fleet.spec.name}: {fleet.clock.elapsed_us() / 3.6e9:.1f} h", caption=_line(stats))
    for title in ("site", "charging", "power", "per phase"):
        table.add_column(title, justify="left" if title == "site" else "right")
    for site, power_w in sorted(stats.site_power_w.items()):
        amperes = power_w / 690
        table.add_row(site, str(stats.site_charging[site]), f"{power_w / 1000:.1f} kW", f"{amperes:.0f} A")
    return table


def _truths(truths: list[SessionTruth]) -> Table:
    table = Table(title="Delivered, by the chargers' own meters")
    for title in (
        "station",
        "EVSE",
        "transaction",
        "token",
        "started",
        "ended",
        "start Wh",
        "stop Wh",
        "Wh",
        "cost",
    ):
        table.add_column(title, justify="right" if title.endswith("Wh") else "left")
    for truth in truths:
        table.add_row(
            truth.station_id,
            str(truth.evse_id),
            truth.transaction_id,
            truth.id_token,
            *(
                datetime.fromtimestamp(at / 1e6, UTC).strftime("%H:%M:%S")
                for at in (truth.started_at, truth.ended_at)
            ),
            str(truth.meter_start_wh),
            str(truth.meter_stop_wh),
            str(truth.energy_wh),
            "" if truth.total_cost is None else f"{truth.total_cost:g}",
        )
    table.add_section()
    table.add_row("total", *[""] * 7, str(sum(truth.energy_wh for truth in truths)))
    return table
