"""What is kept of one bulk command."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Final

import msgspec

from libs.events.bulk import BulkMessage, BulkStationStatus, BulkStatus

MOST_STATIONS: Final = 10_000
MOST_BYTES: Final = 640 << 10
"""What the texts of a request may take. One that takes more, or has more stations, is not done."""
MOST_MESSAGES: Final = 16
MOST_CONCURRENCY: Final = 1_000
REMEMBERED_STEERING: Final = 32
"""So many requests to stop, go on or retry are recognised when they come again."""


NO_MESSAGE: Final = 255


class Mark(IntEnum):
    """How far a station is, as one byte."""

    WAITING = 0
    SENT = 1
    ACCEPTED = 2
    REJECTED = 3
    FAILED = 4
    TIMED_OUT = 5
    SKIPPED = 6


UNSUCCESSFUL: Final = frozenset({Mark.REJECTED, Mark.FAILED, Mark.TIMED_OUT})
MARK_OF: Final = {
    BulkStationStatus.ACCEPTED: Mark.ACCEPTED,
    BulkStationStatus.REJECTED: Mark.REJECTED,
    BulkStationStatus.FAILED: Mark.FAILED,
    BulkStationStatus.TIMED_OUT: Mark.TIMED_OUT,
}
"""Of what the ledger tells."""

Marks = Annotated[bytes, msgspec.Meta(extra={"packed": "B"})]
"""A number from 0 to 255 for each station, in the order of stations."""


class Flight(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A station, by its place, that has the command of a round, and when to stop waiting for word of it."""

    place: int
    round: int
    give_up_at: int


class Bulk(msgspec.Struct, frozen=True):
    """A bulk command: each station's `mark`, and which of `messages` it is sent (`message`; NO_MESSAGE for none).

    `judged`, `unsuccessful`: stations that are through since it started or went on. `steered`: ids of what stopped it,
    let it go on or retried it. `told_at`: `recorded_at` of the newest word: its own must not seem to come
    in another order. Times are microseconds, `ttl` and `call_timeout` milliseconds.
    """

    bulk_id: str
    requested_by: str
    messages: tuple[BulkMessage, ...]
    stations: tuple[str, ...]
    message: Marks
    marks: Marks
    concurrency: int
    stop_at_percent: int | None
    stop_after: int
    ttl_ms: int
    call_timeout_ms: int
    status: BulkStatus = BulkStatus.RUNNING
    reason: str = ""
    round: int = 1
    flights: tuple[Flight, ...] = ()
    judged: int = 0
    unsuccessful: int = 0
    steered: tuple[str, ...] = ()
    told_at: int = 0

    def count(self, mark: Mark) -> int:
        """Stations that are so far."""
        return self.marks.count(mark)

    def marked(self, place: int, mark: Mark) -> Marks:
        """The marks with that of one station changed."""
        return self.marks[:place] + bytes((mark,)) + self.marks[place + 1 :]
