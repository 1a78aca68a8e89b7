"""What a page is asked for in its address."""

from datetime import UTC, datetime, timedelta

import pytest
from starlette.datastructures import QueryParams

from services.api.billing.sessions import SessionQuery
from services.console.pages.queries import Period, asked

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def test_what_is_empty_is_not_asked_for() -> None:
    query, wrong = asked(SessionQuery, QueryParams("station_id=&status=&id_token=ABC&other=1"), limit=50)
    assert (query.station_id, query.status, query.id_token, query.limit, wrong) == (None, None, "abc", 50, {})


def test_what_is_wrong_is_said_and_the_rest_counts() -> None:
    query, wrong = asked(SessionQuery, QueryParams("status=dancing&since=yesterday&site_id=north"), limit=50)
    assert (query.status, query.since, query.site_id) == (None, None, "north")
    assert set(wrong) == {"status", "since"}


def test_the_size_of_a_page_is_not_the_visitor_s() -> None:
    query, _wrong = asked(SessionQuery, QueryParams("limit=1000000"), limit=50)
    assert query.limit == 50


def test_a_period_ends_now_or_when_it_is_asked_for() -> None:
    assert Period(QueryParams(""), NOW).since == NOW + timedelta(minutes=5) - timedelta(days=1)
    until = Period(QueryParams("period=1h&until=2026-04-01T08:00:00%2B02:00"), NOW)
    assert until.until == datetime(2026, 4, 1, 6, 0, tzinfo=UTC)
    assert until.until - until.since == timedelta(hours=1)
    assert Period(QueryParams("until=2026-04-01T08:00"), NOW).until.tzinfo is UTC


@pytest.mark.parametrize(
    "until", ["yesterday", "9999", "x" * 10_000, "2026-13-01", "9999-12-31", "0001-01-01"]
)
def test_a_moment_that_is_none_is_said(until: str) -> None:
    period = Period(QueryParams({"until": until, "period": "forever"}), NOW)
    assert period.wrong
    assert period.name == "24h"
    assert period.until > NOW
