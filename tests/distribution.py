"""How several workers (`pytest -n`) share the tests out: by the file, because a file's tests share what they start."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_SH, LOCK_UN, flock
from itertools import count
from pathlib import Path
from typing import Final

import pytest
from xdist.scheduler import LoadScopeScheduling

from libs.devstack import Endpoints, Stack, open_stack
from libs.devstack.endpoints import PORTS, SHARE

TOGETHER: Final = {
    # Whole platforms under traffic: one at a time is as much as a small machine carries.
    "tests/chaos/": "platforms",
    "tests/e2e/": "platforms",
    # Memory, or how soon somebody is served, is measured: not beside each other.
    "tests/integration/test_attacks": "measured",
    "tests/integration/test_storm": "measured",
    "tests/integration/test_edge_failures": "measured",
    # One platform for all of them.
    "tests/scenarios/": "scenarios",
}
"""Files whose tests run one after another, by the beginning of their path."""

FIRST: Final = (
    "tests/contract/",
    "tests/unit/",
    "scenarios",
    "platforms",
    "measured",
    "tests/interop/test_interop.py",
    "tests/integration/runtimes/test_conformance.py",
    "tests/integration/test_secured_kafka.py",
    "tests/integration/runtimes/test_crashes.py",
    "tests/integration/test_cli.py",
    "tests/integration/test_sink.py",
    "tests/integration/runtimes/",
    "tests/integration/",
)
"""What needs no servers fails first. Then the longest begin, so that all workers end at about the same time."""


def unit(nodeid: str) -> str:
    """What a test is done together with: its file, or several."""
    path = nodeid.split("::", 1)[0]
    return next((name for beginning, name in TOGETHER.items() if path.startswith(beginning)), path)


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Gives each worker the next unit when it has almost done its last one."""

    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)


def in_order(items: list[pytest.Item]) -> None:
    """Sort the tests in the order in which their units are begun; those of a unit stay as they are."""
    units: dict[str, int] = {}
    order = count()
    for item in items:
        name = unit(item.nodeid)
        if name not in units:
            rank = next((i for i, first in enumerate(FIRST) if name.startswith(first)), len(FIRST))
            units[name] = rank * len(items) + next(order)
    items.sort(key=lambda item: units[unit(item.nodeid)])


def take_ports(worker: str, workers: int) -> None:
    """Have this worker (`gw0`, `gw1`, ...) of so many, and what it starts, use ports that no other worker uses."""
    share = len(PORTS) // workers
    # One that takes a dead one's place has a higher number.
    first = PORTS[int(worker.removeprefix("gw")) % workers * share]
    os.environ[SHARE] = f"{first}-{first + share - 1}"


@contextmanager
def one_stack(folder: Path) -> Iterator[Endpoints]:
    """The stack of all workers that name this folder: who needs it first starts it, and stops it after all others."""
    folder.mkdir(exist_ok=True)
    known = folder / "shared.json"
    started: Stack | None = None
    with (folder / "users").open("w") as users, (folder / "starting").open("w") as starting:
        flock(users, LOCK_SH)
        flock(starting, LOCK_EX)
        if not known.exists():
            started = open_stack(folder / "servers", long_running=True)
            started.start(print).save(known)
        flock(starting, LOCK_UN)
        try:
            yield Endpoints.load(known)
        finally:
            if started is not None:
                flock(users, LOCK_EX)
                known.unlink()
                started.stop()
