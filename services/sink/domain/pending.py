"""Records that wait for their insert, and when a table's rows are due."""

from collections.abc import Sequence

import msgspec

from libs.bus.fetching import record_bytes
from libs.bus.raw_consumer import Partition, RawRecord


class Pending(msgspec.Struct):
    """Records of one table that wait for their insert. Times are seconds of one monotonic clock."""

    batches: dict[Partition, list[RawRecord]] = msgspec.field(default_factory=dict)
    rows: int = 0
    size: int = 0
    since: float = 0.0

    def add(self, partition: Partition, records: Sequence[RawRecord], now: float) -> None:
        """Add the next records of a partition."""
        if not self.rows:
            self.since = now
        self.batches.setdefault(partition, []).extend(records)
        self.rows += len(records)
        self.size += sum(map(record_bytes, records))

    def due_at(
        self, flush_rows: int, flush_bytes: int, settle_s: float, interval_s: float, last_insert: float
    ) -> float:
        """When they are to be inserted; infinity if there are none."""
        if not self.rows:
            return float("inf")
        if self.rows >= flush_rows or self.size >= flush_bytes:
            return self.since
        return max(self.since + settle_s, last_insert + interval_s)

    def take(self, limit: int, most_bytes: int, now: float) -> dict[Partition, list[RawRecord]]:
        """Remove and return up to `limit` records of up to `most_bytes`, at least one; of each partition the oldest."""
        taken: dict[Partition, list[RawRecord]] = {}
        rows = size = 0
        for partition in list(self.batches):
            records = self.batches[partition]
            room = 0
            for record in records[: limit - rows]:
                size += record_bytes(record)
                if size > most_bytes and rows + room:
                    break
                room += 1
            if not room:
                break
            rows += room
            taken[partition], rest = records[:room], records[room:]
            if rest:
                self.batches[partition] = rest
                break
            del self.batches[partition]
        self.rows -= rows
        self.size -= sum(record_bytes(record) for records in taken.values() for record in records)
        self.since = now
        return taken
