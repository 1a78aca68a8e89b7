"""Where evidence comes from, and what makes a record be emitted."""

from __future__ import annotations

import msgspec


class Source(msgspec.Struct, frozen=True, gc=False):
    """The record that a step was read from: its id, when it was recorded, and where it is in the log."""

    event_id: str
    recorded_at: int
    partition: int
    offset: int


class Cause(msgspec.Struct, frozen=True, gc=False):
    """What makes a record be emitted: another record's event_id and times, or a tick's moment as both.

    `trigger`: why the charger told it, if it said so.
    """

    event_id: str
    occurred_at: int
    recorded_at: int
    trigger: str = ""
