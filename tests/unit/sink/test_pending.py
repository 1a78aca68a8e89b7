"""When rows are due, and which are taken."""

import pytest

from libs.bus.raw_consumer import Partition
from services.sink.domain.pending import Pending
from tests.unit.sink.test_blocks import Raw

P0, P1 = Partition("t", 0), Partition("t", 1)


@pytest.mark.parametrize(
    ("rows", "last_insert", "due"),
    [
        pytest.param(0, 0.0, float("inf"), id="nothing"),
        pytest.param(1, float("-inf"), 100.05, id="quiet: after the settling time"),
        pytest.param(1, 99.5, 100.5, id="busy: an interval after the last insert"),
        pytest.param(10, 99.9, 100.0, id="full: at once"),
    ],
)
def test_when_rows_are_due(rows: int, last_insert: float, due: float) -> None:
    pending = Pending()
    if rows:
        pending.add(P0, [Raw(i, b"v") for i in range(rows)], now=100.0)
    assert pending.due_at(10, 1 << 20, 0.05, 1.0, last_insert) == pytest.approx(due)


def test_many_bytes_are_due_at_once() -> None:
    pending = Pending()
    pending.add(P0, [Raw(0, b"v" * 1_000)], now=100.0)
    assert pending.due_at(10, 1_000, 0.05, 1.0, 99.9) == 100.0


def test_of_large_records_only_as_many_are_taken_as_their_bytes_allow_but_one_at_least() -> None:
    pending = Pending()
    pending.add(P0, [Raw(n, b"v" * 1_000) for n in range(5)], now=1)
    pending.add(P1, [Raw(0, b"")], now=1)
    taken = [pending.take(100, 3_000, now=2) for _ in range(3)]
    assert [[len(records) for records in each.values()] for each in taken] == [[2], [2], [1, 1]]
    assert (pending.rows, pending.size) == (0, 0)
    pending.add(P0, [Raw(n, b"v" * 9_000) for n in range(2)], now=1)
    assert [len(pending.take(100, 3_000, now=2)[P0]) for _ in range(2)] == [1, 1]


def test_taking_leaves_the_newest_of_a_partition() -> None:
    pending = Pending()
    pending.add(P0, [Raw(0, b"aa"), Raw(1, None)], now=1)
    pending.add(P1, [Raw(7, b"b"), Raw(8, b"b"), Raw(9, b"ccc")], now=2)
    assert (pending.rows, pending.size) == (5, 7 + 5 * (256 + 3))
    taken = pending.take(3, 1 << 20, now=3)
    assert {partition: [r.offset for r in records] for partition, records in taken.items()} == {
        P0: [0, 1],
        P1: [7],
    }
    assert (pending.rows, pending.size) == (2, 4 + 2 * (256 + 3))
    assert [r.offset for r in pending.take(9, 1 << 20, now=4)[P1]] == [8, 9]
    assert (pending.rows, pending.size, pending.batches) == (0, 0, {})
