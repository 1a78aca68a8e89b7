"""What is kept of one station's commands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec.structs import replace

from libs.events.commands import TOO_MANY_WAITING, CommandDialect, Fate
from libs.ocpp.semantics.abilities import NOTHING_KNOWN, Abilities
from libs.runtime.clock import SECOND
from services.commands.domain.ledger.evidence import Evidence

REMEMBERED_FATES = 64
REMEMBERED_FOR = 24 * 3600 * SECOND
"""A command id asked again is recognised among a station's last 64 concluded ones, for a day."""

REMEMBERED_EVIDENCE = 256
"""How many results that arrive before their request (another topic's lag, replay) are kept per station."""
MOST_EARLY_BYTES: Final = 512 << 10
"""What the charger's words in these may take together; of the oldest beyond it only the fate is kept."""

MOST_WAITING: Final = 256
MOST_WAITING_BYTES: Final = 2 << 20
"""How many commands of a station may wait, and what they may take; what comes beyond is refused at once."""
LONGEST_ID: Final = 255
"""The longest command id, in bytes: of a concluded command nothing but its id is kept."""
MOST_MESSAGE_BYTES: Final = 1 << 20
"""The largest payload that is sent to a charger."""
MOST_RESULT_BYTES: Final = 512 << 10
"""What the results of a command that goes in several messages may take together."""
_OVERHEAD: Final = 512
"""What a waiting command takes beside its texts, at most."""


class Policy(msgspec.Struct, frozen=True):
    """How long things may take, microseconds.

    `window`: from the cause of a dispatch until the edge must have sent it. `grace`: beyond the charger's time
    to answer, for the edge's report to arrive; also how far this processor may lag before a dispatch that was
    refused as too late is counted as lost. `loss_grace`: the time for a report once the connection is known to
    be gone. `retry`, `retry_most`: pause before the same connection is tried again after an edge did not know
    it, doubled each time.
    """

    window: int = 10 * SECOND
    grace: int = 90 * SECOND
    loss_grace: int = 10 * SECOND
    retry: int = 2 * SECOND
    retry_most: int = 60 * SECOND


class Part(msgspec.Struct, frozen=True):
    """What has come of a command that goes in several messages, up to its dispatch `attempt`.

    `done`: items sent; `fate`: REJECTED once any was; `result`: the results together.
    """

    attempt: int
    done: int
    fate: Fate
    reason: str
    result: str


class Waiting(msgspec.Struct, frozen=True):
    """A command without a fate. `attempts`: dispatches made; `misses`: those that found no socket.

    `total`: how many items (variables, tokens) it is about, 0 if it is about something else. `degraded`: what is
    lesser in its last dispatch. `lacks`: what the charger answered that it cannot do, the last time to the dispatch
    `refused_attempt`: something lesser, or less of it, is sent next. `told`: what its earlier messages brought to light
    of the charger; `Ledger.abilities` may not have it yet. `bulk_id`: the bulk command that waits for its fate.
    """

    command_id: str
    action: str
    payload: str
    dialect: CommandDialect
    requested_by: str
    requested_at: int
    expires_at: int
    call_timeout_ms: int
    replaces: str | None = None
    attempts: int = 0
    misses: int = 0
    total: int = 0
    part: Part | None = None
    degraded: str | None = None
    lacks: tuple[str, ...] = ()
    refused_attempt: int = 0
    told: dict[str, str] = {}
    bulk_id: str | None = None


class Flight(msgspec.Struct, frozen=True):
    """The one dispatch that is out, and when to stop waiting for word of it."""

    command_id: str
    epoch: int
    give_up_at: int


class Location(msgspec.Struct, frozen=True):
    """The station's newest known connection."""

    epoch: int
    slot: int
    version: str
    connected: bool


class Concluded(msgspec.Struct, frozen=True):
    """A command that has its fate. `refused`: there was no room for it to wait."""

    command_id: str
    at: int
    refused: bool = False


class Ledger(msgspec.Struct, frozen=True):
    """One station's commands. `missed_epoch`: no dispatch to this connection before `retry_at`.

    `abilities`: what had been learned of the station by then; a change counts for dispatches to come.
    """

    station_id: str
    location: Location | None = None
    queue: tuple[Waiting, ...] = ()
    flight: Flight | None = None
    missed_epoch: int | None = None
    retry_at: int = 0
    early: tuple[Evidence, ...] = ()
    concluded: tuple[Concluded, ...] = ()
    abilities: Abilities = NOTHING_KNOWN

    def waiting(self, command_id: str) -> Waiting | None:
        """The command if it has no fate yet."""
        return next((w for w in self.queue if w.command_id == command_id), None)

    def no_room_for(self, command: Waiting) -> str:
        """Why a command cannot wait here; empty if it can."""
        if utf8_length(command.command_id) > LONGEST_ID:
            return f"its id is longer than {LONGEST_ID} bytes"
        size = _size(command)
        if size > MOST_WAITING_BYTES:
            return f"it takes {size} bytes, more than {MOST_WAITING_BYTES}"
        if len(self.queue) >= MOST_WAITING:
            return f"{TOO_MANY_WAITING}: {len(self.queue)} commands"
        waiting = sum(map(_size, self.queue))
        if waiting + size > MOST_WAITING_BYTES:
            return f"{TOO_MANY_WAITING}: {len(self.queue)} commands of {waiting} bytes"
        return ""

    def grounded(self) -> Iterator[Waiting]:
        """Commands that are not in flight: these may still expire."""
        flying = self.flight.command_id if self.flight else None
        return (w for w in self.queue if w.command_id != flying)

    def reachable(self) -> Location | None:
        """The connection that a command could be sent to, leaving `retry_at` aside."""
        return self.location if self.location is not None and self.location.connected else None


def utf8_length(text: str) -> int:
    """How many bytes a text takes."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def remembered(known: tuple[Concluded, ...], one: Concluded, now: int) -> tuple[Concluded, ...]:
    """`known` with one more. Refused commands do not push out others: these were sent to a charger, perhaps.

    One whose id is too long need not be recognised: it will be refused again.
    """
    if utf8_length(one.command_id) > LONGEST_ID:
        return known
    same = [each for each in known if each.refused is one.refused and each.at + REMEMBERED_FOR > now]
    others = [each for each in known if each.refused is not one.refused and each.at + REMEMBERED_FOR > now]
    return (*others, *same[1 - REMEMBERED_FATES :], one)


def kept_early(early: tuple[Evidence, ...]) -> tuple[Evidence, ...]:
    """The newest of evidence that came before its request, with the charger's words as far as there is room."""
    left = MOST_EARLY_BYTES
    kept = []
    for each in reversed(early[-REMEMBERED_EVIDENCE:]):
        left -= _said(each)
        kept.append(each if left >= 0 else _fate_of(each))
    return tuple(reversed(kept))


def _size(command: Waiting) -> int:
    texts = (
        command.command_id,
        command.action,
        command.payload,
        command.requested_by,
        command.replaces or "",
        command.bulk_id or "",
    )
    return _OVERHEAD + sum(map(utf8_length, texts))


def _said(evidence: Evidence) -> int:
    error = evidence.error
    texts = [evidence.result or "", *evidence.told.values(), *evidence.excess.values()]
    if error is not None:
        texts += [error.code, error.description, error.details]
    return sum(map(utf8_length, texts))


def _fate_of(evidence: Evidence) -> Evidence:
    """Without the charger's words, which are in the log."""
    result = None if evidence.result is None else "{}"
    return replace(evidence, result=result, error=None, told={}, excess={})
