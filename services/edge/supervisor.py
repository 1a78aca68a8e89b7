"""Several edge processes on one port, one slot each; a process that dies is started again."""

import asyncio
import os
import sys
from typing import Final

from libs.runtime.logging import get_logger
from libs.runtime.service import Health
from services.edge.settings import EdgeSettings

log = get_logger(__name__)

_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 15.0
_STEADY_S: Final = 30.0


async def supervise(settings: EdgeSettings, health: Health, stop: asyncio.Event) -> None:
    """Run `edge_processes` processes, on slots and HTTP ports from the settings' on, until `stop` is set."""
    keepers = [_Keeper(settings, ordinal) for ordinal in range(settings.edge_processes)]
    for ordinal, keeper in enumerate(keepers):
        health.ready(f"process_{ordinal}", keeper.runs)
    async with asyncio.TaskGroup() as group:
        for keeper in keepers:
            group.create_task(keeper.keep(stop))


class _Keeper:
    """Keeps one process running."""

    def __init__(self, settings: EdgeSettings, ordinal: int) -> None:
        self._end_s = settings.stop_timeout_s + 5
        self._slot = settings.slot + ordinal
        self._environment = {
            **os.environ,
            "VOLTBUS_EDGE_PROCESSES": "1",
            "VOLTBUS_SLOT": str(self._slot),
            # The supervisor itself serves on http_port.
            "VOLTBUS_HTTP_PORT": str(settings.http_port + 1 + ordinal if settings.http_port else 0),
        }
        if settings.edge_id:
            self._environment["VOLTBUS_EDGE_ID"] = f"{settings.edge_id}-{ordinal}"
        self._process: asyncio.subprocess.Process | None = None

    def runs(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.returncode is None

    async def keep(self, stop: asyncio.Event) -> None:
        """Start the process, and again whenever it ends, until `stop` is set; then end it."""
        loop = asyncio.get_running_loop()
        stopping = asyncio.create_task(stop.wait())
        pause = _FIRST_PAUSE_S
        while not stop.is_set():
            begun = loop.time()
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "services.edge", env=self._environment
            )
            ended = asyncio.create_task(self._process.wait())
            await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                await self._end(self._process, ended)
                return
            pause = _FIRST_PAUSE_S if loop.time() - begun > _STEADY_S else min(2 * pause, _LONGEST_PAUSE_S)
            log.error("edge_process_ended", slot=self._slot, status=ended.result(), restart_in_s=pause)
            await asyncio.wait({stopping}, timeout=pause)

    async def _end(self, process: asyncio.subprocess.Process, ended: "asyncio.Task[int]") -> None:
        if process.returncode is None:
            process.terminate()
        # It ends itself in time; this is for one that cannot even do that.
        await asyncio.wait({ended}, timeout=self._end_s)
        if process.returncode is None:
            process.kill()
            await ended
