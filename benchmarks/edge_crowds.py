"""Ten thousand chargers: held while they do nothing, and back all at once. Parts of `benchmarks.edge`."""

from __future__ import annotations

import asyncio
import json
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.edge_rig import (
    BASELINE,
    LOAD_CORE,
    SERVER_CORE,
    Server,
    child,
    edge,
    line_of,
    other,
    raise_file_limit,
    table,
)
from libs.bus.bus import connect
from libs.bus.settings import BusSettings
from libs.bus.tail import read_all
from libs.devstack import Endpoints
from libs.events.ocpp_log import OcppCallReceived
from libs.events.topics import OCPP_LIFECYCLE, OCPP_TRANSACTIONS

HELD_S = 10.0
SPARE_FILES = 1_000
OLD, NEW = "ocpp1.6", "ocpp2.0.1"


@contextmanager
def crowd(server: Server, count: int, *options: str) -> Iterator[subprocess.Popen[str]]:
    with child(["benchmarks.edge_crowd", str(server.port), str(count), *options], LOAD_CORE) as process:
        yield process


def ask(process: subprocess.Popen[str], line: str) -> dict[str, Any]:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    found: dict[str, Any] = json.loads(line_of(process))
    return found


def idle(endpoints: Endpoints, count: int) -> str:
    raise_file_limit(count + SPARE_FILES)
    rows = []
    for name, options in (
        ("Voltbus edge, 1.6", ["--version", OLD]),
        ("Voltbus edge, 2.0.1", ["--version", NEW]),
        ("Voltbus edge, 2.0.1 with compression", ["--version", NEW, "--deflate"]),
        (BASELINE, ["--version", OLD]),
    ):
        with other() if name == BASELINE else edge(endpoints, [SERVER_CORE]) as server:
            empty, begun = server.resident(), sum(server.cpu())
            with crowd(server, count, *options) as process:
                arrived = json.loads(line_of(process))
                arriving = sum(server.cpu()) - begun
                time.sleep(HELD_S / 2)
                before = sum(server.cpu())
                time.sleep(HELD_S)
                spent = sum(server.cpu()) - before
                full = server.resident()
                held = ask(process, "count")["held"]
        rows.append(
            [
                name,
                f"{held:,}",
                f"{arrived['all_s']:.1f} s",
                f"{arriving / count * 1e6:,.0f} µs",
                f"{empty / 2**20:.0f} MiB",
                f"{full / 2**20:.0f} MiB",
                f"{(full - empty) / count / 1024:.1f} KiB",
                f"{spent / HELD_S:.1%}",
            ]
        )
    titles = [
        "central system", "held", "until all had booted", "CPU per arrival", "empty", "with all", "per connection",
        "core used",
    ]  # fmt: skip
    return f"{count:,} chargers that booted and do nothing, one process\n\n{table(titles, rows)}"


async def calls_in_kafka(bus: BusSettings) -> Counter[str]:
    """How often each message id is in the log."""
    found: Counter[str] = Counter()
    async with connect(bus) as connected:
        for topic in (OCPP_LIFECYCLE, OCPP_TRANSACTIONS):
            async for message in read_all(connected, topic):
                if isinstance(message.record, OcppCallReceived):
                    found[message.record.message_id] += 1
    return found


def storm(endpoints: Endpoints, count: int) -> str:
    raise_file_limit(count + SPARE_FILES)
    rows = []
    for name in ("Voltbus edge", BASELINE):
        with (
            other() if name == BASELINE else edge(endpoints, [SERVER_CORE]) as server,
            crowd(server, count) as process,
            tempfile.TemporaryDirectory() as folder,
        ):
            line_of(process)
            path = Path(folder) / "answered"
            found = ask(process, str(path))
            assert not found["failures"], found["failures"]
            assert found["served"] == count
            answered = path.read_text().split()
            kept = "none kept"
            if server.bus is not None:
                logged = asyncio.run(calls_in_kafka(server.bus))
                lost = sum(logged[message_id] == 0 for message_id in answered)
                twice = sum(logged[message_id] > 1 for message_id in answered)
                kept = f"{lost} lost, {twice} twice"
        rows.append(
            [
                name,
                f"{found['served']:,}",
                f"{found['p50_s']:.1f} s",
                f"{found['p99_s']:.1f} s",
                f"{found['all_s']:.1f} s",
                f"{found['refused']:,}",
                f"{found['lost']:,}",
                f"{len(answered):,}",
                kept,
            ]
        )
    titles = [
        "central system", "served", "half", "99%", "all", "told to wait", "no answer", "answered calls", "in Kafka",
    ]  # fmt: skip
    return (
        f"{count:,} chargers lose their connections and all connect again at once, each with boot, status and the "
        f"start of a transaction; refused, a charger waits as told, one process\n\n{table(titles, rows)}"
    )
