"""Dead letters.

One class per Avro schema of the same name; the schemas carry each field's meaning and unit.
"""

from libs.events.record import NestedRecord, Record


class Header(NestedRecord, frozen=True, kw_only=True):
    """A Kafka header."""

    name: str
    value: bytes


class RecordDeadLettered(Record, frozen=True, kw_only=True):
    """A record that a processor could not handle, kept as it was."""

    record_key: str
    processor: str
    source_topic: str
    source_partition: int
    source_offset: int
    error_type: str
    error: str
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[Header, ...] = ()
