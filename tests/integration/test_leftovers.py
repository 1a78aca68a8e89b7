"""A test that fails, or is killed, leaves none of the processes running that it started."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from libs.devstack.process import PARENT_DEATH_SIGNAL
from tests.patience import WAIT_S, until

ROOT = Path(__file__).parents[2]
CARELESS = """
import os, pathlib, signal
from libs.bus.settings import BusSettings
from tests.integration.edge_process import EdgeProcess
from tests.integration.service_process import ServiceProcess
from tests.patience import until

async def test_careless() -> None:
    nowhere = BusSettings(kafka="127.0.0.1:1", registry_url="http://127.0.0.1:1")
    service, edge = ServiceProcess("commands", nowhere), EdgeProcess(nowhere, edge_processes=2)
    service.start()
    edge.launch()
    await until(lambda: len(edge.children()) == 2, "the edge has started its own")
    pids = [service.pid, edge.pid, *edge.children()]
    pathlib.Path({noted!r}).write_text(" ".join(map(str, pids)))
    {end}
"""


@pytest.mark.skipif(not PARENT_DEATH_SIGNAL, reason="only Linux ends a process with the one that started it")
@pytest.mark.parametrize(
    ("end", "status"),
    [("assert False", 1), ("os.kill(os.getpid(), signal.SIGKILL)", -9)],
    ids=["fails", "is killed"],
)
async def test_a_test_that_ends_badly_leaves_no_process_behind(tmp_path: Path, end: str, status: int) -> None:
    noted, careless = tmp_path / "pids", tmp_path / "test_careless.py"
    careless.write_text(CARELESS.format(noted=str(noted), end=end))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""}
    ran = await asyncio.create_subprocess_exec(*command, str(careless), cwd=ROOT, env=environment)
    assert await asyncio.wait_for(ran.wait(), WAIT_S) == status
    pids = [int(pid) for pid in noted.read_text().split()]
    assert len(pids) == 4
    await until(lambda: not [pid for pid in pids if Path(f"/proc/{pid}").exists()], "all have ended")
