"""What the edge can take, beside the `ocpp` library's ChargePoint or a named other in the same run.

`python -m benchmarks.edge [PART ...] [--chargers N] [--seconds S] [--rounds R] [--crowd N] [--stack endpoints.json]`.
Parts: `mix` (calls per second on one core), `rate` (times at half of the maximum rate), `versions` (2.x beside 1.6),
`processes` (two beside one), `idle` (memory of those that do nothing), `storm` (all come back at once). Default: all.

The server runs on one core, the load on the other, Kafka where there is room: the server is the bottleneck only as far
as they keep up. CPU per call is the figure that does not depend on them. With `--rounds` the contenders take turns, and
a row is the round whose CPU per call is in the middle.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks import edge_crowds
from benchmarks.edge_rig import (
    BASELINE,
    EDGE,
    FLOOR,
    LOAD_CORE,
    SERVER_CORE,
    Figures,
    edge,
    measure,
    median,
    other,
    table,
)
from libs.devstack import Endpoints, open_stack

BOTH_CORES = SERVER_CORE | LOAD_CORE
TIMES = ["p50", "p95", "p99"]


def times(found: Figures) -> list[str]:
    return [f"{found[f'{name}_ms']:.1f} ms" for name in TIMES]


def take_turns(rounds: int, contenders: dict[str, Callable[[], Figures]]) -> dict[str, Figures]:
    found: dict[str, list[Figures]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            found[name].append(run())
    return {name: median(rounds_of) for name, rounds_of in found.items()}


class Bench:
    def __init__(self, endpoints: Endpoints, given: argparse.Namespace) -> None:
        self.endpoints = endpoints
        self.chargers: int = given.chargers
        self.seconds: float = given.seconds
        self.rounds: int = given.rounds
        self.crowd: int = given.crowd

    def _edge(self, version: str = "ocpp1.6", rate: float | None = None) -> Figures:
        with edge(self.endpoints, [SERVER_CORE]) as server:
            return measure(server, self.chargers, self.seconds, version, rate)

    def _baseline(self, rate: float | None = None) -> Figures:
        with other() as server:
            return measure(server, self.chargers, self.seconds, rate=rate)

    def _floor(self) -> Figures:
        with other("edge_floor") as server:
            return measure(server, self.chargers, self.seconds)

    def mix(self) -> str:
        found = take_turns(self.rounds, {EDGE: self._edge, BASELINE: self._baseline, FLOOR: self._floor})
        titles = [
            "central system",
            "calls/s",
            "CPU per call",
            "core used",
            *TIMES,
            "memory per connection",
            "errors",
        ]
        rows = [
            [
                name,
                f"{r['calls_per_s']:,.0f}",
                f"{r['cpu_us']:.0f} µs",
                f"{r['core_used']:.0%}",
                *times(r),
                f"{r['kib_per_connection']:.0f} KiB",
                f"{r['errors']:.0f}",
            ]
            for name, r in found.items()
        ]
        ours, theirs = found[EDGE], found[BASELINE]
        return (
            f"{self.chargers} chargers in a closed loop, {self.seconds:.0f} s, one core\n\n"
            f"{table(titles, rows)}\n\n"
            f"{ours['calls_per_s'] / theirs['calls_per_s']:.1f} times the calls, "
            f"{theirs['cpu_us'] / ours['cpu_us']:.1f} times less CPU per call; "
            f"the load took {ours['load_cpu_us']:.0f} µs of its core per call of the edge."
        )

    def rate(self) -> str:
        """Half of the rate that each of them reached in a closed loop just before."""
        rows = []
        for name, run in ((EDGE, self._edge), (BASELINE, self._baseline)):
            most = run()["calls_per_s"]
            found = run(rate=most / 2)
            rows.append(
                [
                    name,
                    f"{most:,.0f}/s",
                    f"{most / 2:,.0f}/s",
                    f"{found['calls_per_s']:,.0f}/s",
                    *times(found),
                    f"{found['late_p99_ms']:.1f} ms",
                    f"{found['errors'] + found['unanswered']:.0f}",
                ]
            )
        titles = [
            "central system",
            "maximum",
            "due",
            "answered",
            *TIMES,
            "load's own lateness (p99)",
            "errors",
        ]
        return (
            f"{self.chargers} chargers in an open loop: calls fall due at random moments, at half of the maximum rate; "
            f"times from when a call was due, {self.seconds:.0f} s, one core\n\n{table(titles, rows)}"
        )

    def versions(self) -> str:
        versions = ["ocpp1.6", "ocpp2.0.1", "ocpp2.1"]
        found = take_turns(
            self.rounds,
            {version: lambda version=version: self._edge(version) for version in versions},  # type: ignore[misc]
        )
        base = found["ocpp1.6"]["cpu_us"]
        rows = [
            [
                version,
                f"{r['calls_per_s']:,.0f}",
                f"{r['cpu_us']:.0f} µs",
                f"{r['cpu_us'] / base:.2f}",
                f"{r['errors']:.0f}",
            ]
            for version, r in found.items()
        ]
        return (
            f"the same session mix in each version, {self.chargers} chargers in a closed loop, {self.seconds:.0f} s, "
            f"one core\n\n{table(['version', 'calls/s', 'CPU per call', 'beside 1.6', 'errors'], rows)}"
        )

    def processes(self) -> str:
        """Load and Kafka share the cores with the second process, so that CPU per call has to tell what it adds."""

        def processes(cores: list[set[int]]) -> Figures:
            with edge(self.endpoints, cores) as server:
                return measure(server, self.chargers, self.seconds, load_core=BOTH_CORES)

        found = take_turns(
            self.rounds,
            {
                "one": lambda: processes([SERVER_CORE]),
                "two": lambda: processes([SERVER_CORE, LOAD_CORE]),
            },
        )
        one, two = found["one"], found["two"]
        rows = [
            [
                name,
                f"{r['calls_per_s']:,.0f}",
                f"{r['cpu_us']:.0f} µs",
                " + ".join(f"{r[f'core_used_{n}']:.0%}" for n in range(count)),
                f"{r['load_cpu_us']:.0f} µs",
                f"{count * 1e6 / r['cpu_us']:,.0f}",
            ]
            for count, (name, r) in enumerate(found.items(), 1)
        ]
        titles = [
            "processes",
            "calls/s",
            "CPU per call",
            "cores used",
            "load's CPU per call",
            "calls/s if alone",
        ]
        left = 2 - two["core_used"]
        return (
            f"{self.chargers} chargers in a closed loop, {self.seconds:.0f} s, two cores for everything\n\n"
            f"{table(titles, rows)}\n\n"
            f"Measured {two['calls_per_s'] / one['calls_per_s']:.2f} times the calls; by CPU per call, with the cores "
            f"to themselves, {2 * one['cpu_us'] / two['cpu_us']:.2f} times. With two, load, Kafka and all else "
            f"had {left:.2f} of the two cores: "
            + ("they are the limit here." if two["core_used"] < 1.9 else "the edge is the limit here.")
        )

    def idle(self) -> str:
        return edge_crowds.idle(self.endpoints, self.crowd)

    def storm(self) -> str:
        return edge_crowds.storm(self.endpoints, self.crowd)


PARTS = {
    "mix": Bench.mix,
    "rate": Bench.rate,
    "versions": Bench.versions,
    "processes": Bench.processes,
    "idle": Bench.idle,
    "storm": Bench.storm,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--chargers", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--crowd", type=int, default=10_000)
    parser.add_argument("--stack", type=Path, help="endpoints.json of a running stack")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    with ExitStack() as stack:
        if given.stack is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            servers = open_stack(Path(folder), clickhouse=False, long_running=True)
            stack.callback(servers.stop)
            endpoints = servers.start(lambda line: print(line, file=sys.stderr))
        else:
            endpoints = Endpoints.load(given.stack)
        bench = Bench(endpoints, given)
        for part in given.parts or PARTS:
            print(f"## {part}: {PARTS[part](bench)}\n", flush=True)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    main()
