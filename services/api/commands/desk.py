"""Commands: handed to the ledger, their outcomes awaited and remembered."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from libs.bus.message import Message
from libs.events.commands import CommandConcluded, RequestCommand
from libs.events.topics import COMMANDS_REQUESTED, SECURITY_ALERTS
from services.api.domain.errors import Invalid
from services.api.domain.volume import Volume
from services.api.http import metrics
from services.api.http.audit_entry import before_write, note
from services.api.recent import RecentRecords
from services.api.writer import Writer

Write = Callable[[RequestCommand], Awaitable[None]]

_KEYS: Final = 20_000


class CommandDesk:
    """Commands of this process and outcomes of all; the recent ones in memory, `most_bytes` of either.

    Operators are told of one who asks for `many` within an hour (0: never).
    """

    def __init__(self, writer: Writer, *, most_bytes: int, many: int = 0) -> None:
        self._writer = writer
        self._volume = Volume(many)
        self._requests = RecentRecords(RequestCommand, most_bytes)
        self._outcomes = RecentRecords(CommandConcluded, most_bytes)
        self._keys: OrderedDict[str, str] = OrderedDict()
        self._waiting: dict[str, set[asyncio.Future[CommandConcluded | None]]] = {}
        self._closed = False

    async def send(
        self,
        request: RequestCommand,
        traceparent: str | None = None,
        *,
        key: str | None = None,
        write: Write | None = None,
    ) -> bool:
        """Write the command, unless it was written before; False then.

        `key`: what it is asked for under, if that can be repeated. `write`: how, if not like all others. Raises
        Invalid if the key was used here for another command, BusUnavailableError if Kafka did not acknowledge it, and
        what `write` raises.
        """
        if key is not None and self._keys.setdefault(key, request.event_id) != request.event_id:
            raise Invalid("this Idempotency-Key was used for another command", "Idempotency-Key")
        if len(self._keys) > _KEYS:
            self._keys.popitem(last=False)
        note(command=request.action, command_id=request.event_id)
        if request.event_id in self._requests:
            return False
        await before_write()
        if write is None:
            await self._writer.write(COMMANDS_REQUESTED, request.station_id, request, traceparent)
        else:
            await write(request)
        metrics.COMMANDS.labels(request.dialect.value).inc()
        self._requests.put(request.event_id, request)
        if (alert := self._volume.note(request)) is not None:
            await self._writer.write(SECURITY_ALERTS, alert.station_id, alert)
        return True

    def take(self, message: Message) -> None:
        """Take note of an outcome."""
        record = message.record
        if not isinstance(record, CommandConcluded) or record.command_id in self._outcomes:
            return
        self._outcomes.put(record.command_id, record)
        for future in self._waiting.pop(record.command_id, ()):
            if not future.done():
                future.set_result(record)

    def request(self, command_id: str) -> RequestCommand | None:
        """The command if it was sent from here lately."""
        return self._requests.get(command_id)

    def outcome(self, command_id: str) -> CommandConcluded | None:
        """The outcome if it came lately."""
        return self._outcomes.get(command_id)

    @asynccontextmanager
    async def awaiting(self, command_id: str) -> AsyncIterator["Awaited"]:
        """Listen for an outcome; to be entered before the command is sent."""
        future: asyncio.Future[CommandConcluded | None] = asyncio.get_running_loop().create_future()
        if (known := self._outcomes.get(command_id)) is not None or self._closed:
            future.set_result(known)
        self._waiting.setdefault(command_id, set()).add(future)
        try:
            yield Awaited(future)
        finally:
            futures = self._waiting.get(command_id, set())
            futures.discard(future)
            if not futures:
                self._waiting.pop(command_id, None)

    def close(self) -> None:
        """End all waiting: whoever waits is told that there is no outcome yet."""
        self._closed = True
        for futures in self._waiting.values():
            for future in futures:
                if not future.done():
                    future.set_result(None)


class Awaited:
    """An outcome to come."""

    def __init__(self, future: "asyncio.Future[CommandConcluded | None]") -> None:
        self._future = future

    async def outcome(self, timeout_s: float) -> CommandConcluded | None:
        """The outcome; None if there is none in time."""
        with metrics.COMMANDS_WAITING.track_inprogress():
            done, _ = await asyncio.wait({self._future}, timeout=timeout_s)
        return self._future.result() if done else None
