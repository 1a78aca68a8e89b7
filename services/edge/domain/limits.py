"""Counting what an outsider does at will, so that the log is not written by him."""

import msgspec

OVERFLOW_IDENTITY = "*"


class RefusalCount(msgspec.Struct, frozen=True):
    """Handshakes refused alike since `first_at` (microseconds)."""

    identity: str
    address: str
    reason: str
    status: int
    count: int
    first_at: int


class RefusalLog:
    """Refused handshakes, one count per identity, address and reason and window.

    The first of a kind is reported at once, the rest of its window together at the window's end. Of more than
    `max_kinds` kinds in a window the surplus is counted by reason alone, under identity and address `*`.
    """

    def __init__(self, window_us: int, max_kinds: int) -> None:
        self._window_us = window_us
        self._max_kinds = max_kinds
        self._kinds: dict[tuple[str, str, str, int], tuple[int, int, int]] = {}

    def __len__(self) -> int:
        return len(self._kinds)

    def note(self, identity: str, address: str, reason: str, status: int, now: int) -> RefusalCount | None:
        """Count one refusal; returns what is to be reported at once."""
        kind = (identity, address, reason, status)
        known = self._kinds.get(kind)
        if known is None and len(self._kinds) >= self._max_kinds:
            kind = (OVERFLOW_IDENTITY, OVERFLOW_IDENTITY, reason, status)
            known = self._kinds.get(kind)
        if known is None:
            self._kinds[kind] = (now, 0, now)
            return RefusalCount(*kind, 1, now)
        opened, count, first = known
        self._kinds[kind] = (opened, count + 1, now if count == 0 else first)
        return None

    def due(self, now: int) -> list[RefusalCount]:
        """End every window that is over at `now`; returns what was counted in them."""
        over = [kind for kind, (opened, _, _) in self._kinds.items() if now - opened >= self._window_us]
        reports = []
        for kind in over:
            _, count, first = self._kinds.pop(kind)
            if count:
                reports.append(RefusalCount(*kind, count, first))
                # The kind goes on: the next report is due a window from now.
                self._kinds[kind] = (now, 0, now)
        return reports


class GarbageMeter:
    """Unusable frames of one station: the first `limit` of a window are recorded. `unrecorded`: how many were not."""

    def __init__(self, limit: int, window_us: int) -> None:
        self._limit = limit
        self._window_us = window_us
        self._opened = 0
        self._count = 0
        self.unrecorded = 0

    def record(self, now: int) -> bool:
        """Count one; says whether it is to be recorded."""
        if now - self._opened >= self._window_us:
            self._opened, self._count = now, 0
        self._count += 1
        if self._count > self._limit:
            self.unrecorded += 1
            return False
        return True
