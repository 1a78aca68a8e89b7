"""Central systems as processes of their own, load on them, and what both cost."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx

from libs.bus.admin import apply_contract, delete_topics
from libs.bus.settings import BusSettings
from libs.devstack import Endpoints
from libs.devstack.endpoints import free_ports
from libs.events.contract import dead_letter_topic, load_contract
from libs.events.ids import new_id

SERVER_CORE, LOAD_CORE = {0}, {1}
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
READY_S = 60
EDGE = "Voltbus edge, each call in Kafka before its answer"
BASELINE = "`ocpp` ChargePoint, in memory"
FLOOR = "bare `websockets` server, constant answers"

Figures = dict[str, float]


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def raise_file_limit(wanted: int) -> None:
    """Let this process and its children open that many files; RuntimeError if the system's bound is lower."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise RuntimeError(
            f"this needs {wanted} open files, and the hard limit is {hard}: `ulimit -Hn {wanted}`"
        )
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextmanager
def child(arguments: list[str], core: set[int], **environment: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        env=os.environ | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    os.sched_setaffinity(process.pid, core)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()


def wait_for(url: str, process: subprocess.Popen[str]) -> None:
    """Until the process answers there."""
    deadline = time.monotonic() + READY_S
    while True:
        try:
            if httpx.get(url, timeout=1).status_code < 500:
                return
        except httpx.TransportError:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{url} is not served; the process has status {process.poll()}")
        time.sleep(0.1)


class Server(NamedTuple):
    """A central system: its port, its processes, and the bus that it writes to, if it does."""

    port: int
    pids: list[int]
    bus: BusSettings | None = None

    def cpu(self) -> list[float]:
        return [cpu_seconds(pid) for pid in self.pids]

    def resident(self) -> int:
        return sum(map(resident_bytes, self.pids))


def fresh_bus(endpoints: Endpoints) -> BusSettings:
    return BusSettings(
        kafka=endpoints.bootstrap, registry_url=endpoints.registry_url, namespace=f"bench{new_id()[:6]}"
    )


@contextmanager
def edge(endpoints: Endpoints, cores: list[set[int]], **settings: object) -> Iterator[Server]:
    """Edge processes on one port and a bus of their own, one for each set of cores."""
    bus = fresh_bus(endpoints)
    asyncio.run(apply_contract(bus))
    port, *http_ports = free_ports(1 + len(cores))
    given = {
        "kafka": bus.kafka,
        "registry_url": bus.registry_url,
        "namespace": bus.namespace,
        "edge_port": port,
        "transaction_key": "only for this benchmark",
        "unknown_stations": "accept",
        "least_security_profile": 0,
        "unknown_tokens": "accept",
        "log_level": "WARNING",
    } | settings
    with ExitStack() as stack:
        processes = []
        for slot, (http_port, core) in enumerate(zip(http_ports, cores, strict=True)):
            own = given | {"slot": slot, "http_port": http_port}
            environment = {f"VOLTBUS_{name.upper()}": str(value) for name, value in own.items()}
            processes.append(stack.enter_context(child(["services.edge"], core, **environment)))
        for http_port, process in zip(http_ports, processes, strict=True):
            wait_for(f"http://127.0.0.1:{http_port}/health/ready", process)
        yield Server(port, [process.pid for process in processes], bus)
    topics = [*load_contract().topics]
    asyncio.run(delete_topics(bus, [*topics, *map(dead_letter_topic, topics)]))


@contextmanager
def other(module: str = "edge_baseline") -> Iterator[Server]:
    """Another central system: by default the `ocpp` library's ChargePoint."""
    (port,) = free_ports(1)
    with child([f"benchmarks.{module}", str(port)], SERVER_CORE) as server:
        wait_for(f"http://127.0.0.1:{port}/", server)
        yield Server(port, [server.pid])


def measure(
    server: Server,
    chargers: int,
    seconds: float,
    version: str = "ocpp1.6",
    rate: float | None = None,
    load_core: set[int] = LOAD_CORE,
) -> Figures:
    """Put the session mix on it: in a closed loop, or with `rate` calls per second in an open one."""
    empty = server.resident()
    arguments = ["benchmarks.edge_load", str(server.port), str(chargers), str(seconds), "--version", version]
    if rate is not None:
        arguments += ["--rate", str(rate)]
    with child(arguments, load_core) as load:
        expect(load, "booted")
        full = server.resident()
        expect(load, "begin")
        before = server.cpu()
        expect(load, "end")
        spent = [after - begun for begun, after in zip(before, server.cpu(), strict=True)]
        found: Figures = json.loads(line_of(load))
    found["cpu_us"] = sum(spent) / found["calls"] * 1e6
    found["core_used"] = sum(spent) / seconds
    found["kib_per_connection"] = (full - empty) / chargers / 1024
    return found | {f"core_used_{n}": cpu / seconds for n, cpu in enumerate(spent)}


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"the load ended with status {process.wait()}")
    return line


def expect(process: subprocess.Popen[str], word: str) -> None:
    line = line_of(process)
    assert line == f"{word}\n", line


def median(rounds: list[Figures]) -> Figures:
    """The round whose CPU per call is in the middle."""
    return sorted(rounds, key=lambda found: found["cpu_us"])[len(rounds) // 2]


def table(titles: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(titles) + " |", "|---|" + "--:|" * (len(titles) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])
