"""A charger that answers commands by a table while it makes calls of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from tests.integration.edge_process import BOOT_2, BOOT_16, Charger, EdgeProcess, charger
from tests.patience import WAIT_S

Answer = Callable[[dict[str, Any]], dict[str, Any] | str]
"""A command's payload to the result's, or to the code of an error."""


class Device:
    """`asked`: commands as they came. `answers` may be changed at any time."""

    def __init__(self, wire: Charger, answers: Mapping[str, Answer]) -> None:
        self.wire = wire
        self.answers = dict(answers)
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._waiting: dict[str, asyncio.Future[list[Any]]] = {}

    async def run(self) -> None:
        while True:
            frame = await self.wire.receive(600)
            if frame[0] != 2:
                self._waiting.pop(frame[1]).set_result(frame)
                continue
            _, message_id, action, payload = frame
            self.asked.append((action, payload))
            answer = self.answers[action](payload) if action in self.answers else "NotImplemented"
            if isinstance(answer, dict):
                await self.wire.send([3, message_id, answer])
            else:
                await self.wire.send([4, message_id, answer, "", {}])

    async def call(self, action: str, payload: dict[str, Any]) -> Any:
        """The answer's payload, or the whole frame of a CALLERROR."""
        message_id = self.wire.next_id()
        waiting = self._waiting[message_id] = asyncio.get_running_loop().create_future()
        await self.wire.send([2, message_id, action, payload])
        frame = await asyncio.wait_for(waiting, WAIT_S)
        return frame[2] if frame[0] == 3 else frame

    def of(self, action: str) -> list[dict[str, Any]]:
        """Payloads of the commands with that action."""
        return [payload for each, payload in self.asked if each == action]


@asynccontextmanager
async def device(
    process: EdgeProcess, station: str, answers: Mapping[str, Answer], version: str = "ocpp2.0.1"
) -> AsyncIterator[Device]:
    """A booted charger."""
    async with charger(process, station, version) as wire:
        made = Device(wire, answers)
        running = asyncio.create_task(made.run())
        try:
            await made.call("BootNotification", BOOT_16 if version == "ocpp1.6" else BOOT_2)
            yield made
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
