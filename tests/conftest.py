"""Fixtures for every test: the real servers, and a name to share them under."""

import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from libs.devstack import Endpoints, Stack, open_stack
from tests.distribution import Scheduling, in_order, one_stack, take_ports

StackFactory = Callable[..., Stack]

# Servers write each record through to the disk, which a busy machine may take seconds for. In memory it takes none, and
# as much is kept: what is killed here is a process, never the machine.
MEMORY = Path("/dev/shm")
if (
    os.access(MEMORY, os.W_OK)
    and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
    and shutil.disk_usage(MEMORY).free > 4 << 30
):
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

# Where Python may not keep what it has compiled, each process that a test starts compiles everything again: half of its
# start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# The suite tries the same cases every time, so that who changed something else is not stopped by what chance found;
# `make truth` and `make fuzz` look for new ones (VOLTBUS_NEW_CASES).
# No case fails because the machine is busy.
settings.register_profile(
    "new", derandomize=False, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("same", settings.get_profile("new"), derandomize=True)
settings.load_profile("new" if os.environ.get("VOLTBUS_NEW_CASES") else "same")


WORKER = os.environ.get("PYTEST_XDIST_WORKER")
if WORKER is not None:
    take_ports(WORKER, int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    config.option.loadscopereorder = False
    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    in_order(items)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    """Endpoints of Kafka, registry and ClickHouse, shared by all tests of the run: never kill these.

    `VOLTBUS_TEST_STACK` names the `endpoints.json` of a running stack to use instead of a new one.
    """
    running = os.environ.get("VOLTBUS_TEST_STACK")
    if running:
        yield Endpoints.load(Path(running))
        return
    own = tmp_path_factory.getbasetemp()
    with one_stack((own if WORKER is None else own.parent) / "stack") as endpoints:
        yield endpoints


@pytest.fixture
def private_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackFactory]:
    """Factory of stacks that belong to one test, which may kill their parts.

    `private_stack(brokers=1 or 3, registry=True, clickhouse=True)` returns it running; it stops after the test.
    """
    started: list[Stack] = []

    def start(brokers: int = 1, registry: bool = True, clickhouse: bool = True) -> Stack:
        servers = open_stack(tmp_path_factory.mktemp("stack"), brokers, registry, clickhouse)
        started.append(servers)
        servers.start(print)
        return servers

    yield start
    for servers in started:
        for server in (*servers.brokers, servers.registry, servers.clickhouse):
            if server is not None:
                server.kill()  # nobody needs the data: seconds faster than an orderly end
        servers.stop()


@pytest.fixture
def namespace() -> str:
    """Return a unique short name, such as `t3f9a1`, to prefix topics, groups and databases with."""
    return f"t{secrets.token_hex(3)}"
