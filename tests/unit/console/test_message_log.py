"""A search over years goes back part by part, and pairs each call with its answer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from libs.clickhouse.reader import Reader
from libs.runtime.clock import micros, moment_of
from services.console.message_log import FIRST_SLICE, MessageLog, Wanted

NOW = datetime(2026, 5, 1, tzinfo=UTC)
DAY = timedelta(days=1)


class Stored:
    """ClickHouse with these messages; `takes_s`: how long each search takes, by a clock of its own."""

    def __init__(self, messages: list[dict[str, Any]], answers: list[dict[str, Any]] | None = None) -> None:
        self.messages = messages
        self.answers = answers or []
        self.asked: list[tuple[datetime, datetime]] = []
        self.clock = 0.0
        self.takes_s = 0.0

    async def rows(self, sql: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
        since, until = params["since"], params["until"]
        if "raw_messages" not in sql:
            told = [each for each in self.answers if each["sql"] in sql]
            return [each for each in told if each.get("cause_id", each.get("event_id")) in params["ids"]]
        self.clock += self.takes_s
        self.asked.append((moment_of(since), moment_of(until)))
        found = [dict(each) for each in self.messages if since <= micros(each["recorded_at"]) < until]
        return sorted(found, key=lambda each: each["recorded_at"], reverse=True)[: params["limit"]]


def message(days_ago: float, **more: Any) -> dict[str, Any]:
    fields = {
        "event_id": f"e{days_ago}", "recorded_at": NOW - days_ago * DAY, "outcome": "ANSWERED",
        "direction": "from station", "_topic": "ocpp.transactions", "answer": "{}",
    }  # fmt: skip
    return fields | more


def log(stored: Stored) -> MessageLog:
    return MessageLog(cast(Reader, stored), "cp-1")


async def test_what_is_recent_needs_one_part() -> None:
    stored = Stored([message(0.1), message(0.2), message(500)])
    found = await log(stored).search(NOW - 3650 * DAY, NOW, 2, Wanted())
    assert [each["event_id"] for each in found.rows] == ["e0.1", "e0.2"]
    assert (found.reached, stored.asked) == (None, [(NOW - FIRST_SLICE, NOW)])


async def test_what_is_old_is_found_in_few_parts_without_a_gap() -> None:
    stored = Stored([message(3000), message(40)])
    since = NOW - 3650 * DAY
    found = await log(stored).search(since, NOW, 10, Wanted())
    assert [each["event_id"] for each in found.rows] == ["e40", "e3000"]
    assert found.reached is None
    assert len(stored.asked) < 8
    assert [until for _, until in stored.asked] == [NOW, *(start for start, _ in stored.asked[:-1])]
    assert stored.asked[-1][0] == since


async def test_a_slow_search_says_how_far_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = Stored([message(3000)])
    stored.takes_s = 2.0
    monkeypatch.setattr("time.monotonic", lambda: stored.clock)
    found = await log(stored).search(NOW - 3650 * DAY, NOW, 10, Wanted())
    assert found.rows == []
    # Parts do not grow while each takes so long.
    assert found.reached == NOW - 2 * FIRST_SLICE
    found = await log(stored).search(NOW - 3650 * DAY, found.reached, 10, Wanted())
    assert found.reached == NOW - 4 * FIRST_SLICE


async def test_an_answer_that_came_later_stands_beside_its_call() -> None:
    call = message(0.5, event_id="call", outcome="PENDING", answer=None)
    answer = {
        "sql": "FROM ocpp_transactions", "cause_id": "call", "answer": '{"a":1}', "error_code": None,
        "error_description": None, "source": "PROCESSOR",
        "recorded_at": call["recorded_at"] + timedelta(milliseconds=40),
    }  # fmt: skip
    unanswered = message(0.6, event_id="other", outcome="PENDING", answer=None)
    sent = message(0.7, event_id="sent", direction="to station", outcome="RESULT", _topic="ocpp.commands")
    trip = {"sql": "FROM ocpp_commands", "event_id": "sent", "round_trip_us": 1_500}
    found = await log(Stored([call, unanswered, sent], [answer, trip])).search(NOW - DAY, NOW, 10, Wanted())
    told = {each["event_id"]: (each["outcome"], each["answer"], each["latency_ms"]) for each in found.rows}
    assert told == {
        "call": ("ANSWERED", '{"a":1}', 40.0),
        "other": ("PENDING", None, None),
        "sent": ("RESULT", "{}", 1.5),
    }
