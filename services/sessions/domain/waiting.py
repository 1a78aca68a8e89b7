"""Charge documents of a station that wait: for what a bundle covers, or for those before them.

A station's documents are issued in the order in which they were decided, each from the evidence of then. So neither
what they say nor the chain of their hashes depends on when an answer comes.
"""

from __future__ import annotations

import msgspec

from services.sessions.domain.grants import Grant
from services.sessions.domain.plans import AWAIT_GRANT, awaits, carried
from services.sessions.domain.session import Session


class Waiting(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A revision of a session that was announced, not charged: its evidence and cause; `grant`: the answer."""

    session: Session
    event_id: str
    occurred_at: int
    recorded_at: int
    grant: Grant | None = None

    @property
    def until(self) -> int:
        """When it is issued in any case, as soon as it is the first."""
        return self.recorded_at + AWAIT_GRANT

    @property
    def ready(self) -> bool:
        """Whether it lacks nothing but its turn."""
        return self.grant is not None or not awaits(self.session)

    def asks(self, grant: Grant) -> bool:
        """Whether `grant` is the answer that it needs."""
        asked = self.session.asked
        return asked is not None and asked.ask_id == grant.ask_id

    def answered(self, grant: Grant) -> Waiting:
        """With `grant`, if that is the answer that it needs."""
        return (
            msgspec.structs.replace(self, grant=grant) if self.asks(grant) and awaits(self.session) else self
        )

    def carrying(self, issued: Session) -> Waiting:
        """After the documents of `issued`, which was before it."""
        return msgspec.structs.replace(self, session=carried(self.session, issued))
