"""Bulk commands: so many stations at once are asked, and each that is through makes room for the next.

It hands commands to the ledger and counts the fates that the ledger tells. A command's id is derived from the bulk
command, the round and the station: a replay asks for the same commands, which the ledger knows. It gives up a command
only when the ledger should long have told its fate; one that is told later counts still.
"""

from __future__ import annotations

from typing import Final

from libs.bus.message import Message
from libs.bus.processor import Processor, Step, Tables, Tick
from libs.events.bulk import (
    BulkStationProgressed,
    BulkStatus,
    RequestBulkCommand,
    SteerBulkCommand,
)
from libs.events.ids import derive_id
from libs.events.topics import (
    COMMANDS_BULK,
    COMMANDS_BULK_PROGRESS,
    COMMANDS_BULK_STATIONS,
    COMMANDS_REQUESTED,
)
from libs.runtime.clock import SECOND
from services.commands.domain.bulk.bulk import MARK_OF, Bulk
from services.commands.domain.bulk.turn import Turn, begun, refusal_of, refused

KEPT_FOR: Final = 30 * 24 * 3600 * SECOND
"""So long after the last word it can be retried; then it is forgotten."""


class BulkProcessor(Processor[Bulk]):
    """Bulk commands and stations' fates to commands and counts, keyed by bulk command."""

    name = "bulk"
    inputs = (COMMANDS_BULK, COMMANDS_BULK_STATIONS)
    outputs = (COMMANDS_REQUESTED, COMMANDS_BULK_STATIONS, COMMANDS_BULK_PROGRESS)
    state = Bulk
    linger_s = 0.1
    max_state_bytes = 1 << 20

    def key(self, message: Message) -> str | None:
        """The bulk command; what is only told to others is passed over."""
        record = message.record
        if isinstance(record, BulkStationProgressed):
            return message.key if record.status in MARK_OF else None
        return message.key if isinstance(record, RequestBulkCommand | SteerBulkCommand) else None

    def step(self, state: Bulk | None, event: Message | Tick, tables: Tables) -> Step[Bulk]:
        """Begin once; count fates; stop, go on, retry; ask as many as there is room for."""
        if isinstance(event, Tick):
            return _ticked(state, event.at)
        record = event.record
        if isinstance(record, RequestBulkCommand):
            if state is not None:
                return Step(state)
            if why := refusal_of(record):
                return Step(None, (refused(record, why),), ("request",))
            turn = begun(record)
        elif state is None:
            return Step(None)
        else:
            assert isinstance(record, BulkStationProgressed | SteerBulkCommand)
            turn = Turn(state, record.recorded_at, record.event_id)
            if isinstance(record, BulkStationProgressed):
                turn.count(record)
            else:
                turn.steer(record)
            if turn.bulk is state:
                return Step(state)
        turn.settle()
        return Step(turn.bulk, tuple(turn.out))

    def due(self, state: Bulk) -> int | None:
        """When to give up the command that was to have its fate first, or to forget what is over."""
        if state.flights:
            return min(flight.give_up_at for flight in state.flights)
        return None if state.status is BulkStatus.RUNNING else state.told_at + KEPT_FOR


def _ticked(state: Bulk | None, at: int) -> Step[Bulk]:
    if state is None or not state.flights:
        return Step(None)
    turn = Turn(state, at, derive_id(state.bulk_id, f"tick:{at}"))
    turn.give_up()
    turn.settle()
    return Step(turn.bulk, tuple(turn.out))
