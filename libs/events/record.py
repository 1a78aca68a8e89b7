"""The bases of every record.

Timestamps are microseconds since the Unix epoch (UTC), energy is Wh, `*_milli` are thousandths of a unit,
`*_ma` milliampere, `*_minor` minor currency units. Records are frozen: `msgspec.structs.replace` makes a
changed copy.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec


class NestedRecord(msgspec.Struct, frozen=True, gc=False):
    """A record inside another record."""


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What every event and command has.

    `event_id`: this record. `occurred_at`: by the source's own clock. `recorded_at`: by the platform's.
    `cause_id`: event_id of the record that led to this one; its own where it came from outside.
    """

    event_id: str
    occurred_at: int
    recorded_at: int
    cause_id: str

    @property
    def subject(self) -> str | None:
        """What the record is about within its kind, for readers that choose by headers alone; None: nothing finer.

        It travels as CloudEvents' `subject`.
        """
        return None


ENVELOPE: Final[tuple[str, ...]] = Record.__struct_fields__
"""Names of the fields that every record has."""

UNWRITTEN: Final[Mapping[str, Any]] = {"event_id": "", "occurred_at": 0, "recorded_at": 0, "cause_id": ""}
"""The envelope of a record that was never written."""
