"""Certificates that answer CSRs: one is sent at a time, whichever process is asked."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

from libs.bus.bus import Bus
from libs.bus.errors import BusUnavailableError, ClaimLostError
from libs.bus.lookup import records_of
from libs.bus.message import Emit
from libs.bus.sole_writer import SoleWriter
from libs.events.commands import Fate, RequestCommand
from libs.events.topics import COMMANDS_REQUESTED
from libs.runtime.clock import SECOND, now_us
from services.api.commands.desk import CommandDesk
from services.api.domain.command_status import status_of
from services.api.domain.errors import Conflict
from services.api.rows import Row

Stored = Callable[[str], Awaitable[Row | None]]

_LOOK_BACK_US: Final = 3600 * SECOND
"""How far back the topic is read: by then ClickHouse knows a command."""
LONGEST_PAUSE_S: Final = 0.5


class Certificates:
    """Writes the commands that take certificates to stations; `cause_id` of each is the request that it answers.

    `stored`: what ClickHouse knows of a command (by id) and its fate; raises ClickHouseError.
    """

    def __init__(
        self, bus: Bus, writer: SoleWriter, desk: CommandDesk, stored: Stored, *, timeout_s: float
    ) -> None:
        self._bus = bus
        self._writer = writer
        self._desk = desk
        self._stored = stored
        self._timeout_s = timeout_s
        self._one_at_a_time = asyncio.Lock()

    async def write(self, command: RequestCommand, known: str | None) -> None:
        """Write the command, unless a certificate for its request is on its way, or was taken.

        `known`: the last command for it that ClickHouse knows of. Raises Conflict; BusUnavailableError if Kafka did
        not acknowledge it in time: whether it was written is not known; ClickHouseError.
        """
        try:
            async with asyncio.timeout(self._timeout_s), self._one_at_a_time:
                await self._write(command, known)
        except TimeoutError as error:
            raise BusUnavailableError(
                f"{COMMANDS_REQUESTED}: not acknowledged in {self._timeout_s} s"
            ) from error

    async def stop(self) -> None:
        """Let another process have its turn without waiting."""
        await self._writer.release()

    async def _write(self, command: RequestCommand, known: str | None) -> None:
        station_id = command.station_id
        while True:
            if not self._writer.holds:
                await self._writer.claim()
            # Of what others wrote before this claim all is in the topic, and after it they write nothing.
            for record in await records_of(
                self._bus, COMMANDS_REQUESTED, station_id, now_us() - _LOOK_BACK_US
            ):
                if isinstance(record, RequestCommand) and (record.action, record.cause_id) == (
                    command.action,
                    command.cause_id,
                ):
                    known = record.event_id
            if known is not None and (fate := await self._fate(known)) in (None, Fate.ACCEPTED):
                raise Conflict(f"a certificate was sent for this request: the command is {status_of(fate)}")
            try:
                await self._writer.write([Emit(COMMANDS_REQUESTED, station_id, command)])
            except ClaimLostError:
                await asyncio.sleep(random.uniform(0, LONGEST_PAUSE_S))  # noqa: S311
                continue
            return

    async def _fate(self, command_id: str) -> Fate | None:
        outcome = self._desk.outcome(command_id)
        if outcome is not None:
            return outcome.fate
        row = await self._stored(command_id)
        return None if row is None or row["fate"] is None else Fate(row["fate"])
