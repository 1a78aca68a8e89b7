"""Transactions that lack their start, that tell their EVSE late, or whose clock is wrong."""

from itertools import permutations
from typing import Any

import pytest

from libs.ocpp.times import format_timestamp
from tests.unit.sessions.exchanges import DAY, HOUR, MINUTE, NOON, event2, exchange, start16, stop16
from tests.unit.sessions.given import Told

HISTORY = (
    (NOON, "1000", "Transaction.Begin"),
    (NOON + HOUR // 2, "6000", "Sample.Periodic"),
    (NOON + HOUR, "12000", "Transaction.End"),
)


def history(value: type[float] | type[str]) -> list[dict[str, Any]]:
    return [
        {
            "timestamp": format_timestamp(at),
            "sampledValue": [{"value": value(wh), "context": context}],
        }
        for at, wh, context in HISTORY
    ]


@pytest.mark.parametrize("version", ["1.6", "2.0.1"])
def test_an_end_with_its_history_and_no_start_lasts_as_long_as_that(version: str) -> None:
    end: dict[str, Any] = {"timestamp": format_timestamp(NOON + HOUR)}
    if version == "1.6":
        end |= {"transactionId": 7, "meterStop": 12_000, "transactionData": history(str)}
        told = Told([exchange("StopTransaction", end, at=NOON + HOUR)])
    else:
        info = {"transactionId": "a", "stoppedReason": "Local"}
        end |= {"eventType": "Ended", "triggerReason": "StopAuthorized", "seqNo": 2}
        end |= {"transactionInfo": info, "evse": {"id": 1}, "meterValue": history(float)}
        told = Told([exchange("TransactionEvent", end, at=NOON + HOUR, version="ocpp2.0.1")])
    told.tick(NOON + 2 * DAY)
    (ended,) = told.ends
    assert (ended.started_at, ended.ended_at, ended.charging_s) == (NOON, NOON + HOUR, 3600)
    assert (ended.billed_wh, ended.review_wh, ended.review) == (11_000, 0, ("no_start",))


def test_an_evse_that_is_told_after_the_start_ends_what_was_on_it() -> None:
    zombie = (event2("Started", "z", 0, NOON, 0), event2("Updated", "z", 1, NOON + MINUTE, 1000))
    begun = event2("Started", "a", 0, NOON + HOUR, evse=None, trigger="Authorized")
    placed = event2("Updated", "a", 1, NOON + HOUR + MINUTE, 0, state="Charging", trigger="CablePluggedIn")
    muttered = event2("Updated", "z", 2, NOON + 2 * HOUR, 5000)
    told = Told([*zombie, begun, placed, muttered])
    (ended,) = told.ends
    assert (ended.transaction_id, ended.energy_wh, ended.review) == ("z", 1000, ("no_stop",))
    assert [(s.transaction_id, s.evse_id) for s in told.state.open] == [("a", 1)]  # type: ignore[union-attr]
    assert told.updates[-1].evse_id == 1


def test_without_an_evse_sessions_do_not_end_each_other_in_any_order() -> None:
    steps = [
        event2("Started", "a", 0, NOON, 0, evse=None),
        event2("Started", "b", 0, NOON + MINUTE, 0, evse=None),
        event2("Updated", "a", 1, NOON + HOUR // 2, 4000, evse=None),
    ]
    ends = [
        event2("Ended", "a", 2, NOON + HOUR, 9000, evse=None),
        event2("Ended", "b", 1, NOON + HOUR, 5000, evse=None),
    ]
    for order in permutations(steps):
        told = Told([*order, *ends])
        assert [(e.transaction_id, e.energy_wh, e.review) for e in told.ends] == [
            ("a", 9000, ()),
            ("b", 5000, ()),
        ]


@pytest.mark.parametrize(
    ("start", "stop"),
    [(NOON + HOUR, NOON + HOUR // 2), (NOON, NOON + 200 * DAY), (NOON + 200 * DAY, NOON + HOUR)],
    ids=["the clock goes back", "the stop is far ahead", "the start is far ahead"],
)
def test_a_clock_that_cannot_be_right_is_doubted(start: int, stop: int) -> None:
    told = Told(
        [
            start16(7, start, 0, recorded_at=NOON + HOUR),
            stop16(7, stop, 4000, recorded_at=NOON + 2 * HOUR),
        ]
    )
    (ended,) = told.ends
    assert (ended.billed_wh, ended.review) == (4000, ("clock_doubt",))


def test_an_hour_ahead_is_another_zone_and_no_doubt() -> None:
    told = Told(
        [
            start16(7, NOON + HOUR, 0, recorded_at=NOON),
            stop16(7, NOON + 2 * HOUR, 4000, recorded_at=NOON + HOUR),
        ]
    )
    assert told.ends[0].review == ()
