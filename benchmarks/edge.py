"""Calls answered by one edge process, beside the `ocpp` library's ChargePoint in the same run.

`python -m benchmarks.edge [--chargers N] [--seconds S] [--stack endpoints.json]`. The server runs on one core; Kafka
and the load share the other, so that the server is the bottleneck only as far as they keep up: CPU per call is the
figure that does not depend on them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from libs.bus.admin import apply_contract
from libs.bus.settings import BusSettings
from libs.events.ids import new_id
from libs.testing.localstack import Endpoints, open_stack
from libs.testing.localstack.endpoints import free_ports

SERVER_CORE, LOAD_CORE = {0}, {1}
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


@contextmanager
def child(arguments: list[str], core: set[int], **environment: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments], env=os.environ | environment, stdout=subprocess.PIPE, text=True
    )
    os.sched_setaffinity(process.pid, core)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            if httpx.get(url, timeout=1).status_code < 500:
                return
        except httpx.TransportError:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError(url)
        time.sleep(0.1)


def measure(server: subprocess.Popen[str], port: int, chargers: int, seconds: float) -> dict[str, float]:
    empty = resident_bytes(server.pid)
    arguments = ["benchmarks.edge_load", str(port), str(chargers), str(seconds)]
    with child(arguments, LOAD_CORE) as load:
        assert load.stdout is not None
        assert load.stdout.readline() == "booted\n"
        full = resident_bytes(server.pid)
        load.stdout.readline()
        before = cpu_seconds(server.pid)
        load.stdout.readline()
        spent = cpu_seconds(server.pid) - before
        found: dict[str, float] = json.loads(load.stdout.readline())
    found["cpu_us"] = spent / found["calls"] * 1e6
    found["core_used"] = spent / seconds
    found["kib_per_connection"] = (full - empty) / chargers / 1024
    return found


def edge(endpoints: Endpoints, chargers: int, seconds: float) -> dict[str, float]:
    settings = BusSettings(
        kafka=endpoints.bootstrap, registry_url=endpoints.registry_url, namespace=f"bench{new_id()[:6]}"
    )
    asyncio.run(apply_contract(settings))
    http_port, port = free_ports(2)
    environment = {
        "VOLTBUS_KAFKA": settings.kafka,
        "VOLTBUS_REGISTRY_URL": settings.registry_url,
        "VOLTBUS_NAMESPACE": settings.namespace,
        "VOLTBUS_HTTP_PORT": str(http_port),
        "VOLTBUS_EDGE_PORT": str(port),
        "VOLTBUS_TRANSACTION_KEY": "only for this benchmark",
        "VOLTBUS_UNKNOWN_STATIONS": "accept",
        "VOLTBUS_UNKNOWN_TOKENS": "accept",
        "VOLTBUS_LOG_LEVEL": "WARNING",
    }
    with child(["services.edge"], SERVER_CORE, **environment) as server:
        wait_for(f"http://127.0.0.1:{http_port}/health/ready")
        return measure(server, port, chargers, seconds)


def baseline(chargers: int, seconds: float) -> dict[str, float]:
    (port,) = free_ports(1)
    with child(["benchmarks.edge_baseline", str(port)], SERVER_CORE) as server:
        wait_for(f"http://127.0.0.1:{port}/")
        return measure(server, port, chargers, seconds)


def table(rows: dict[str, dict[str, float]]) -> str:
    lines = [
        "| central system | calls/s | CPU per call | core used | p50 | p95 | p99 | memory per connection | errors |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {name} | {r['calls_per_s']:,.0f} | {r['cpu_us']:.0f} µs | {r['core_used']:.0%} | {r['p50_ms']:.1f} ms "
        f"| {r['p95_ms']:.1f} ms | {r['p99_ms']:.1f} ms | {r['kib_per_connection']:.0f} KiB | {r['errors']:.0f} |"
        for name, r in rows.items()
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chargers", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--stack", type=Path, help="endpoints.json of a running stack")
    parser.add_argument("--only", choices=["edge", "baseline"])
    given = parser.parse_args()
    rows: dict[str, dict[str, float]] = {}
    with ExitStack() as stack:
        if given.stack is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            servers = open_stack(Path(folder), clickhouse=False, long_running=True)
            stack.callback(servers.stop)
            endpoints = servers.start(lambda line: print(line, file=sys.stderr))
        else:
            endpoints = Endpoints.load(given.stack)
        if given.only != "baseline":
            rows["Voltbus edge, each call in Kafka before its answer"] = edge(
                endpoints, given.chargers, given.seconds
            )
        if given.only != "edge":
            rows["`ocpp` ChargePoint, in memory"] = baseline(given.chargers, given.seconds)
    print(f"{given.chargers} chargers in a closed loop, {given.seconds:.0f} s, one core\n")
    print(table(rows))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    main()
