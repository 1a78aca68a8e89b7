"""Newest connection wins, and exactly one process speaks for a connection."""

from __future__ import annotations

from itertools import product

import pytest

from libs.events.ocpp_log import StationLocated
from services.edge.domain.location import (
    Addressee,
    Holding,
    Judgement,
    addressee,
    connection_id,
    judge,
    next_epoch,
)

HOLDING = Holding("cp1", "edge-a", 100)


def located(edge_id: str, epoch: int, connected: bool = True) -> StationLocated:
    return StationLocated(
        event_id="e",
        occurred_at=1,
        recorded_at=1,
        cause_id="e",
        station_id="cp1",
        edge_id=edge_id,
        slot=0,
        connection_epoch=epoch,
        version="ocpp1.6",
        connected=connected,
    )


def test_epochs_rise_even_if_the_clock_does_not() -> None:
    assert next_epoch(50) == 50
    assert next_epoch(50, None, 10) == 50
    assert next_epoch(50, 50, 70) == 71


@pytest.mark.parametrize(
    ("record", "ours_seen", "judgement"),
    [
        (located("edge-a", 100), False, Judgement.OURS),
        (located("edge-b", 101), False, Judgement.REPLACED),
        (located("edge-a", 101), True, Judgement.REPLACED),
        (located("edge-b", 101, connected=False), True, Judgement.REPLACED),
        (located("edge-b", 99), False, Judgement.NOTHING),
        (located("edge-b", 99), True, Judgement.OVERWRITTEN),
        (located("edge-b", 99, connected=False), True, Judgement.OVERWRITTEN),
        (located("edge-b", 100), True, Judgement.REPLACED),
    ],
)
def test_a_record_of_the_directory_is_judged_by_epoch(
    record: StationLocated, ours_seen: bool, judgement: Judgement
) -> None:
    assert judge(HOLDING, record, ours_seen) is judgement


def test_of_two_equal_epochs_exactly_one_gives_way() -> None:
    other = Holding("cp1", "edge-b", 100)
    mine = judge(HOLDING, located("edge-b", 100), True)
    theirs = judge(other, located("edge-a", 100), True)
    assert [mine, theirs].count(Judgement.REPLACED) == 1


def test_whoever_knows_where_a_connection_was_can_name_it() -> None:
    assert HOLDING.connection_id == connection_id("cp1", "edge-a", 100)
    names = {connection_id(*parts) for parts in product(("cp1", "cp2"), ("edge-a", "edge-b"), (1, 2))}
    assert len(names) == 8


@pytest.mark.parametrize(
    ("held", "was_here", "record", "whose"),
    [
        (100, False, None, Addressee.HELD),
        (100, False, located("edge-a", 100), Addressee.HELD),
        # It was here, and is not.
        (None, True, None, Addressee.GONE),
        (101, True, located("edge-a", 101), Addressee.GONE),
        # An earlier process of this edge held it.
        (None, False, located("edge-a", 100, connected=False), Addressee.GONE),
        # It is, or was, with another process that shares the slot.
        (None, False, located("edge-b", 100), Addressee.OTHERS),
        (None, False, located("edge-b", 101), Addressee.OTHERS),
        (None, False, None, Addressee.OTHERS),
        (99, False, located("edge-b", 100), Addressee.OTHERS),
        (101, False, located("edge-a", 101), Addressee.OTHERS),
    ],
)
def test_whose_business_a_dispatch_for_epoch_100_is(
    held: int | None, was_here: bool, record: StationLocated | None, whose: Addressee
) -> None:
    assert addressee("edge-a", 100, held, was_here, record) is whose


def test_two_processes_on_one_slot_never_both_claim_a_dispatch() -> None:
    records = [None, *(located(e, n) for e in ("edge-a", "edge-b") for n in (99, 100, 101))]
    for record, a_held, b_held in product(records, (None, 99, 101), (None, 99, 101)):
        # Neither holds epoch 100 now; only one of them can have held it.
        a = addressee("edge-a", 100, a_held, True, record)
        b = addressee("edge-b", 100, b_held, False, record)
        if record is not None and (record.edge_id, record.connection_epoch) == ("edge-b", 100):
            continue  # contradicts that edge-a held it
        assert (a, b) == (Addressee.GONE, Addressee.OTHERS)
