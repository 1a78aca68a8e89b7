"""A record as it travels: key, headers (CloudEvents Kafka binding, W3C trace context) and position."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import msgspec

from libs.events.record import Record
from libs.runtime.clock import iso

Headers = list[tuple[str, bytes]]

TYPE_HEADER = "ce_type"
TYPE_PREFIX = b"voltbus."
SUBJECT_HEADER = "ce_subject"
LONGEST_HEADER: Final = 256
"""Subjects and trace contexts come from outside. Longer ones do not travel: all headers share 64 KiB."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """One record read from a topic (named as in the contract). `record` is None for a tombstone.

    `timestamp_us` is Kafka's timestamp (millisecond resolution, as microseconds).
    """

    topic: str
    partition: int
    offset: int
    key: str
    record: Record | None
    timestamp_us: int
    traceparent: str | None = None


class Emit(msgspec.Struct, frozen=True):
    """A record to be written to `topic` under `key`; to `partition` if given, else where the key belongs.

    `record` None writes a tombstone.
    """

    topic: str
    key: str
    record: Record | None
    partition: int | None = None


def headers_for(record: Record, source: str, traceparent: str | None = None) -> Headers:
    """Kafka headers of `record` as emitted by `source` (a service name)."""
    headers = [
        *_constant_headers(type(record), source),
        ("ce_id", record.event_id.encode()),
        ("ce_time", iso(record.recorded_at).encode()),
    ]
    if (subject := record.subject) is not None and len(subject) <= LONGEST_HEADER:
        headers.append((SUBJECT_HEADER, subject.encode()))
    if traceparent is not None and len(traceparent) <= LONGEST_HEADER:
        headers.append(("traceparent", traceparent.encode()))
    return headers


@lru_cache(maxsize=1024)
def _constant_headers(kind: type[Record], source: str) -> Headers:
    return [
        (TYPE_HEADER, TYPE_PREFIX + kind.__name__.encode()),
        ("ce_specversion", b"1.0"),
        ("ce_source", b"/voltbus/" + source.encode()),
        ("content-type", b"application/avro"),
    ]


def kafka_time(record: Record | None) -> int | None:
    """The Kafka timestamp of `record` in milliseconds; None for now.

    When it was recorded, so that a replay, which writes what is derived anew, joins topics in the same order.
    """
    return None if record is None else record.recorded_at // 1000


def header(headers: Iterable[tuple[str, bytes]], name: str) -> str | None:
    """The text of header `name`, or None if it is absent or not text."""
    for key, value in headers:
        if key == name:
            try:
                return value.decode()
            except (UnicodeDecodeError, AttributeError):
                return None
    return None
