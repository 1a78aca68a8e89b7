"""What a session asked of the bundle of its driver group's plan, and what it was granted."""

from __future__ import annotations

import msgspec


class Asked(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The last question: its id, and what was asked of which ledger."""

    ask_id: str
    group_id: str
    tariff_id: str
    tariff_version: int
    month: str
    timezone: str
    bundle_wh: int
    billed_wh: int

    @property
    def ledger(self) -> tuple[str, str, str]:
        """Whose bundle of which month."""
        return self.group_id, self.tariff_id, self.month


class Grant(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The answer to a question, and where in the log it is. `wh`: None for what it had before (the month is closed)."""

    ask_id: str
    wh: int | None
    partition: int
    offset: int


class EarlyGrant(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An answer that came before what it answers: the log is folded anew, and clocks of edges differ."""

    grant: Grant
    recorded_at: int
