"""The queue of transaction messages that survives lost connections."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True, eq=False)
class Entry:
    """A transaction-related call that stays queued until it is answered; its payload never changes once sent.

    `transaction` identifies the transaction within the charger, `finish` completes the payload just before the
    first sending (1.6: the transaction id that only the answer to StartTransaction reveals), and `answered`
    receives the answer's payload.
    """

    action: str
    payload: dict[str, Any]
    transaction: int
    finish: Callable[[dict[str, Any]], None] | None = None
    answered: Callable[[dict[str, Any]], None] | None = None
    message_id: str = ""
    refusals: int = 0

    @property
    def sent(self) -> bool:
        """Whether it has been sent at least once."""
        return bool(self.message_id)


class Outbox:
    """A first-in, first-out queue whose head leaves only when it was answered, or given up."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, entry: Entry) -> None:
        """Queue `entry` last."""
        self._entries.append(entry)

    def head(self) -> Entry | None:
        """The entry to send next, None when there is none."""
        return self._entries[0] if self._entries else None

    def done(self, entry: Entry) -> None:
        """Remove the head. Raises ValueError if `entry` is not the head."""
        if not self._entries or self._entries[0] is not entry:
            raise ValueError("only the head of the queue can be done")
        self._entries.popleft()

    def holds(self, transaction: int) -> bool:
        """Whether a message of that transaction waits."""
        return any(entry.transaction == transaction for entry in self._entries)

    def end_first(self) -> None:
        """Reorder as `ended_before_updated` does."""
        self._entries = deque(ended_before_updated(self._entries))


def ended_before_updated(entries: Iterable[Entry]) -> list[Entry]:
    """The order in which some 2.0.1 chargers replay: each transaction's Updated events after its Ended event.

    Nothing overtakes an entry that was already sent, nor a transaction's Started event (E31: seqNo has a gap
    that is filled later).
    """
    queue = list(entries)
    unsent = [entry for entry in queue if not entry.sent]
    ended = {entry.transaction for entry in unsent if entry.payload.get("eventType") == "Ended"}
    late = {
        id(entry)
        for entry in unsent
        if entry.transaction in ended and entry.payload.get("eventType") == "Updated"
    }
    return sorted(queue, key=lambda entry: id(entry) in late)
