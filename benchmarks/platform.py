"""CPU of the whole platform per charger call, with an empty and with a long history.

`python -m benchmarks.platform [--chargers N] [--seconds S] [--past N]`: starts a platform of its own, lets chargers
repeat the session mix in a closed loop, waits until ClickHouse has everything, and adds up the CPU of every process,
Kafka, registry and ClickHouse included. Then past sessions are put into ClickHouse and the same is measured again.
Telemetry's processors run in processes of their own, so that each has its row: `telemetry` is measurements.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.edge_rig import cpu_seconds
from deploy.local.platform import Platform, Service
from deploy.local.settings import on_free_ports
from libs.clickhouse.client import ClickHouseClient
from services.telemetry.settings import Part

IDLE_S = 5.0
# A partition that Kafka does not have: the sink's positions stay as they are.
HISTORY_PARTITION = 60_000

EARLIER = "- toIntervalSecond(60 * (n + 1))"
HISTORY = {
    "_partition": f"{HISTORY_PARTITION}",
    "_offset": "toInt64(n)",
    "station_id": "concat('past-', toString(n % 5000))",
    "session_id": "concat('past-', toString(n))",
    "transaction_id": "concat('past-', toString(n))",
    "cdr_id": "concat('past-', toString(n))",
    "recorded_at": f"recorded_at {EARLIER}",
    "started_at": f"started_at {EARLIER}",
    "ended_at": f"ended_at {EARLIER}",
}
"""How a past session differs from the one that it is copied from."""


def split_telemetry(platform: Platform) -> list[Service]:
    """Give each processor of telemetry a process; returns those that the platform does not know of."""
    platform.services["telemetry"].settings["VOLTBUS_TELEMETRY"] = Part.MEASUREMENTS
    more = []
    for part in (Part.HEALTH, Part.SECURITY):
        environment = {**platform.environment(), "VOLTBUS_TELEMETRY": part}
        name = f"telemetry-{part}"
        service = Service(name, "services.telemetry", environment, platform.folder / "logs")
        platform.services[name] = service
        more.append(service)
    return more


def processes(platform: Platform) -> dict[str, int]:
    pids = {name: service.pid for name, service in platform.services.items()}
    return pids | {part.name: part.pid for part in platform.stack.parts}


def spent(platform: Platform) -> dict[str, float]:
    return {name: cpu_seconds(pid) for name, pid in processes(platform).items()}


def less(after: dict[str, float], before: dict[str, float]) -> dict[str, float]:
    return {name: seconds - before[name] for name, seconds in after.items()}


def stored_calls(client: ClickHouseClient) -> int:
    (row,) = client.rows("SELECT count() AS n FROM raw_messages WHERE direction = 'from station'")
    return int(row["n"])


def settle(client: ClickHouseClient, quiet_s: float = 5.0) -> int:
    """Wait until no more rows arrive; returns how many calls are stored."""
    calls, since = stored_calls(client), time.monotonic()
    while time.monotonic() - since < quiet_s:
        time.sleep(0.5)
        if (now := stored_calls(client)) != calls:
            calls, since = now, time.monotonic()
    return calls


def measure(
    platform: Platform, client: ClickHouseClient, chargers: int, seconds: float
) -> tuple[int, dict[str, float]]:
    """Calls handled, and CPU seconds by process above what it spends idle."""
    began = spent(platform)
    time.sleep(IDLE_S)
    idle = {name: value / IDLE_S for name, value in less(spent(platform), began).items()}
    calls, before, started = stored_calls(client), spent(platform), time.monotonic()
    load = ["benchmarks.edge_load", str(platform.settings.edge_port), str(chargers), str(seconds)]
    subprocess.run([sys.executable, "-m", *load], check=True, stdout=subprocess.DEVNULL)
    handled = settle(client) - calls
    took = time.monotonic() - started
    return handled, {n: max(0.0, s - idle[n] * took) for n, s in less(spent(platform), before).items()}


def add_history(client: ClickHouseClient, count: int) -> None:
    """Copies of one ended session and its charge record under other ids, over the past years."""
    for table, where in (("sessions_events", "_type = 'SessionEnded'"), ("billing_cdrs", "true")):
        columns = [row["name"] for row in client.rows(f"DESCRIBE TABLE {table}")]
        values = ", ".join(f"{HISTORY.get(name, f'`{name}`')} AS `{name}`" for name in columns)
        client.execute(
            f"INSERT INTO {table} SELECT {values} FROM (SELECT * FROM {table} WHERE {where} LIMIT 1) AS one "
            f"CROSS JOIN (SELECT number AS n FROM numbers({count})) AS numbers"
        )


def run(platform: Platform, chargers: int, seconds: float, past: int) -> Table:
    client = ClickHouseClient(platform.clickhouse)
    try:
        fresh = measure(platform, client, chargers, seconds)
        print(f"{fresh[0]:,} calls; adding {past:,} past sessions", file=sys.stderr)
        add_history(client, past)
        settle(client)
        late = measure(platform, client, chargers, seconds)
    finally:
        client.close()
    table = Table(title="CPU per charger call, session mix, µs")
    for title in ("process", "empty history", f"{past:,} past sessions"):
        table.add_column(title, justify="left" if title == "process" else "right")
    for name in fresh[1]:
        table.add_row(name, *(f"{cpu[name] / calls * 1e6:.1f}" for calls, cpu in (fresh, late)))
    table.add_section()
    table.add_row(
        "whole platform", *(f"{sum(cpu.values()) / calls * 1e6:.0f}" for calls, cpu in (fresh, late))
    )
    table.add_row("calls", *(f"{calls:,}" for calls, _ in (fresh, late)))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chargers", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--past", type=int, default=1_000_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        platform = Platform(on_free_ports(Path(folder)), long_running=True)
        telemetry = split_telemetry(platform)
        try:
            platform.start(lambda line: print(line, file=sys.stderr))
            table = run(platform, given.chargers, given.seconds, given.past)
        finally:
            for service in telemetry:
                service.stop()
            platform.stop()
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
