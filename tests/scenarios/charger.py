"""A charger that follows a script: it speaks raw OCPP-J, and is strict with what either side sends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson
from websockets.exceptions import ConnectionClosed

from libs.ocpp import schemas
from libs.ocpp.versions import Version
from tests.integration.edge_process import BOOT_2, BOOT_16, Charger
from tests.patience import WAIT_S, until

Json = dict[str, Any]


class Refusal(NamedTuple):
    """A CALLERROR: as received, or to answer with."""

    code: str
    description: str = ""


Answer = Json | Refusal | Callable[[Json], Json]


class ScriptedCharger:
    """One station on its socket.

    What it sends and what it is sent must conform to the version's schemas. CALLs of the central system wait until
    the script takes them with `expect`; `unexpected` tells which nobody took. `last_id`: of its own last CALL.
    """

    def __init__(self, wire: Charger, station_id: str, version: str) -> None:
        self.station_id = station_id
        self.version = Version(version)
        self.wire = wire
        self.last_id = ""
        self.result_errors: list[Any] = []
        self._answers: dict[str, asyncio.Future[Any]] = {}
        self._calls: asyncio.Queue[list[Any]] = asyncio.Queue()
        self._reader = asyncio.create_task(self._read())

    async def call(self, action: str, payload: Json | None = None, *, strict: bool = True) -> Json:
        """Send a CALL; the payload of its CALLRESULT. `strict=False`: the payload may break the schema."""
        frame = await self._exchange(action, payload or {}, strict)
        assert frame[0] == 3, f"{action} was refused: {frame}"
        self._conforms(action, "response", frame[2])
        answer: Json = frame[2]
        return answer

    async def refused(self, action: str, payload: Json | None = None, *, strict: bool = True) -> Refusal:
        """Send a CALL that is answered with a CALLERROR."""
        frame = await self._exchange(action, payload or {}, strict)
        assert frame[0] == 4, f"{action} was not refused: {frame}"
        assert isinstance(frame[4], dict)
        return Refusal(frame[2], frame[3])

    async def send(self, action: str, payload: Json) -> None:
        """Send a SEND of 2.1, which nobody answers."""
        self._conforms(action, "request", payload)
        await self.wire.send([6, self.wire.next_id(), action, payload])

    async def expect(self, action: str, answer: Answer, *, strict: bool = True) -> Json:
        """Take the central system's next CALL, which must be `action`, and answer it; its payload.

        `answer` may depend on the payload. `strict=False`: it may break the schema.
        """
        async with asyncio.timeout(WAIT_S):
            _, message_id, asked, payload = await self._calls.get()
        assert asked == action, f"asked {asked}: {payload}"
        self._conforms(action, "request", payload)
        assert None not in payload.values()
        given: Json = payload
        if callable(answer):
            answer = answer(given)
        if isinstance(answer, Refusal):
            await self.wire.send([4, message_id, answer.code, answer.description, {}])
        else:
            if strict:
                self._conforms(action, "response", answer)
            await self.wire.send([3, message_id, answer])
        return given

    async def boot(self, **fields: Any) -> Json:
        """Say who it is; the answer."""
        boot = BOOT_2 if self.version.is_v2 else BOOT_16
        return await self.call("BootNotification", {**boot, **fields})

    async def complaints(self, count: int) -> list[Any]:
        """Wait for that many CALLRESULTERRORs of the central system; all of them."""
        await until(lambda: len(self.result_errors) >= count, "a CALLRESULTERROR")
        return self.result_errors

    def unexpected(self) -> list[list[Any]]:
        """CALLs of the central system that nobody has taken."""
        waiting: list[list[Any]] = []
        while not self._calls.empty():
            waiting.append(self._calls.get_nowait())
        return waiting

    async def closed(self) -> int:
        """Wait until the central system has closed the socket; the close code."""
        await until(self._reader.done, "the socket is closed")
        return self.wire.socket.close_code or 0

    async def leave(self) -> None:
        """Close the socket as a charger does that restarts."""
        await self.wire.socket.close()
        await self._reader

    async def _exchange(self, action: str, payload: Json, strict: bool) -> list[Any]:
        if strict:
            self._conforms(action, "request", payload)
        message_id = self.last_id = self.wire.next_id()
        answer = self._answers[message_id] = asyncio.get_running_loop().create_future()
        await self.wire.send([2, message_id, action, payload])
        async with asyncio.timeout(WAIT_S):
            frame: list[Any] = await answer
        return frame

    async def _read(self) -> None:
        try:
            async for text in self.wire.socket:
                frame = orjson.loads(text)
                if frame[0] in (2, 6):
                    self._calls.put_nowait(frame)
                elif frame[0] == 5:
                    self.result_errors.append(frame)
                else:
                    self._answers.pop(frame[1]).set_result(frame)
        except ConnectionClosed:
            pass
        finally:
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(ConnectionError("the socket was closed before the answer"))
                    answer.exception()

    def _conforms(self, action: str, kind: schemas.Kind, payload: Json) -> None:
        violation = schemas.validate(self.version, action, kind, payload)
        assert violation is None, f"{action} {kind}: {violation} in {payload}"
