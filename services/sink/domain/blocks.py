"""Batches of raw records to blocks of columns."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec

from libs.bus.raw_consumer import Partition, RawRecord
from libs.clickhouse.table_mapping import UNDECODABLE, Column, TableLayout
from libs.events.codec import CodecError, UnknownRecordError, UnknownSchemaIdError

Fields = dict[str, Any]
DecodeFields = Callable[[bytes], tuple[str, Fields]]
Batches = Mapping[Partition, Sequence[RawRecord]]


class BadRecord(msgspec.Struct, frozen=True):
    """A record that cannot be decoded or belongs to another topic, and why."""

    partition: Partition
    record: RawRecord
    error: CodecError


class Block(msgspec.Struct, frozen=True):
    """Rows of one table, to be inserted together. `data`: a list per column, in the order of the layout.

    `ranges`: first and last offset of each partition. There is a row for every record between them, also for a
    tombstone, for each of the `bad` and of those of an `unknown` kind (how many, by topic), which a newer version
    wrote: the highest offset in the table is the position in the log.
    """

    data: list[list[Any]]
    rows: int
    ranges: Mapping[Partition, tuple[int, int]]
    bad: tuple[BadRecord, ...]
    unknown: Mapping[str, int]

    @property
    def token(self) -> str:
        """Names the content: topics, partitions and offset ranges."""
        return ",".join(
            f"{topic}:{number}:{first}-{last}"
            for (topic, number), (first, last) in sorted(self.ranges.items())
        )

    @property
    def next_offsets(self) -> dict[Partition, int]:
        """Where each partition goes on after this block."""
        return {partition: last + 1 for partition, (_, last) in self.ranges.items()}


def build_block(
    layout: TableLayout, batches: Batches, decode: DecodeFields, hopeless: Collection[int] = ()
) -> Block:
    """The rows of `batches`, in order of partition and offset.

    Raises UnknownSchemaIdError unless the id is one of the `hopeless`, which nobody knows.
    """
    rows: list[Fields] = []
    types: list[str] = []
    bad: list[BadRecord] = []
    unknown: Counter[str] = Counter()
    positions: list[list[Any]] = [[], [], [], [], []]
    deleted: list[bool] = []
    for partition, records in sorted(batches.items()):
        for record in records:
            fields, kind, error = _row(layout, record, decode, hopeless)
            if isinstance(error, UnknownRecordError):
                unknown[partition.topic] += 1
            elif error is not None:
                bad.append(BadRecord(partition, record, error))
            rows.append(fields)
            types.append(kind)
        topics, numbers, offsets, timestamps, keys = positions
        topics.extend([partition.topic] * len(records))
        numbers.extend([partition.number] * len(records))
        offsets.extend([record.offset for record in records])
        timestamps.extend([record.timestamp for record in records])
        keys.extend([record.key or b"" for record in records])
        deleted.extend([record.value is None for record in records])
    data = [*positions, types, deleted, *_columns(layout, rows)]
    ranges = {partition: (records[0].offset, records[-1].offset) for partition, records in batches.items()}
    return Block(data, len(rows), ranges, tuple(bad), unknown)


def _row(
    layout: TableLayout, record: RawRecord, decode: DecodeFields, hopeless: Collection[int]
) -> tuple[Fields, str, CodecError | None]:
    if record.value is None:
        return _place(layout, record), "", None
    try:
        kind, fields = decode(record.value)
    except CodecError as error:
        if isinstance(error, UnknownSchemaIdError) and error.schema_id not in hopeless:
            raise
        # An unknown kind keeps its name: whoever is updated later finds what to read again.
        kind = error.name if isinstance(error, UnknownRecordError) else UNDECODABLE
        return _place(layout, record), kind, error
    if kind not in layout.records:
        # Its fields may not fit the columns, and a block that cannot be inserted would hold up all that follow.
        return _place(layout, record), UNDECODABLE, CodecError(f"{kind} does not belong to this topic")
    if renamed := layout.renamed.get(kind):
        for field, column in renamed.items():
            fields[column] = fields.pop(field)
    return fields, kind, None


def _place(layout: TableLayout, record: RawRecord) -> Fields:
    """A row without a record still has its place among those of the same key."""
    fields: Fields = {"recorded_at": record.timestamp * 1000, "occurred_at": record.timestamp * 1000}
    key = next(column for column in layout.columns if column.name == layout.key_column)
    if key.type == "String":
        fields[key.field] = _text(record.key)
    return fields


def _columns(layout: TableLayout, rows: list[Fields]) -> Iterator[list[Any]]:
    """The values of each column, in their order."""
    for (field, nested), columns in groupby(
        layout.columns, lambda c: (c.field, c.many and c.part is not None)
    ):
        if nested:
            yield from _parts(field, list(columns), rows)
        else:
            yield from (_values(column, rows) for column in columns)


def _values(column: Column, rows: list[Fields]) -> list[Any]:
    field, part, default = column.field, column.part, column.default
    if part is not None:
        return [default if (inner := row.get(field)) is None else inner[part] for row in rows]
    try:
        # Most fields are in every record of the topic.
        return list(map(itemgetter(field), rows))
    except KeyError:
        return [row.get(field, default) for row in rows]


def _parts(field: str, columns: list[Column], rows: list[Fields]) -> list[list[Any]]:
    """A list of records, part by part: each list is gone through once, not once for each part."""
    parts = [column.part or "" for column in columns]
    # Twice the first, since of one name alone the getter makes no tuple.
    get = itemgetter(parts[0], *parts)
    data: list[list[Any]] = [[] for _ in columns]
    for row in rows:
        if items := row.get(field):
            turned = zip(*map(get, items), strict=True)
            next(turned)
            for values, part in zip(data, turned, strict=True):
                values.append(list(part))
        else:
            for values in data:
                values.append([])
    for number, column in enumerate(columns):
        if column.as_json:
            data[number] = [[_json(value) for value in values] for values in data[number]]
    return data


def _json(value: Fields | None) -> str:
    return "" if value is None else msgspec.json.encode(value).decode()


def _text(key: bytes | None) -> str:
    return (key or b"").decode(errors="replace")
