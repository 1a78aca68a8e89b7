"""What the worklist costs, however many look at it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from libs.clickhouse.client import ClickHouseUnavailableError
from libs.events.registry import Assignment
from services.api.domain.places import Places
from services.api.worklist import causes
from services.api.worklist.causes import KINDS, Cause, Causes, entry_id_of

NOW = datetime(2026, 5, 1, 8, tzinfo=UTC)
DAY = timedelta(days=1)


class Reports:
    """Counts questions; `broken`: ClickHouse is away."""

    def __init__(self) -> None:
        self.asked = 0
        self.broken = False

    @asynccontextmanager
    async def turn(self) -> AsyncIterator["Reports"]:
        self.asked += 1
        yield self

    async def rows(self, sql: str, params: dict[str, Any]) -> list[dict[str, Any]]:
        await asyncio.sleep(0)
        if self.broken:
            raise ClickHouseUnavailableError("away")
        return (
            [{"title": "Reset FAILED", "many": 3, "examples": [("cp-1", "<b>", "")]}]
            if "action" in sql
            else []
        )


class Worklist:
    """The causes as a request of somebody who reaches everything, or these organisations, is shown them."""

    def __init__(self, reports: Reports) -> None:
        self.causes = Causes()
        self.places = Places(lambda: 1)
        for number in range(30):
            self.places.register(f"cp-{number:02}", (Assignment(id="north", valid_from=0),))
        self.reports = reports

    async def of(
        self, since: datetime, until: datetime, now: datetime, organisations: tuple[str, ...] | None = None
    ) -> tuple[list[Cause], bool]:
        everywhere = organisations is None
        seen = {} if everywhere else {"cp-07": None}
        asked: Any = SimpleNamespace(
            registry=SimpleNamespace(places=self.places, stations=seen),
            live=SimpleNamespace(states=SimpleNamespace(records={})),
            reports=self.reports,
            scope=SimpleNamespace(everywhere=everywhere, organisations=organisations or (), within="1"),
        )
        return await self.causes.of(asked, since, until, now)


def made(reports: Reports) -> Worklist:
    return Worklist(reports)


async def test_others_are_shown_nothing_that_was_asked_for_somebody_else() -> None:
    reports = Reports()
    worklist = made(reports)
    await worklist.of(NOW - DAY, NOW, NOW)
    found, _ = await worklist.of(NOW - DAY, NOW, NOW, ("south",))
    assert reports.asked == 2
    (offline,) = [each for each in found if each.kind == "offline"]
    assert (offline.title, [each.station_id for each in offline.examples]) == ("north (1/1)", ["cp-07"])
    await worklist.of(NOW - DAY, NOW, NOW, ("east",))
    assert reports.asked == 3


async def test_clickhouse_is_asked_once_for_all_who_look_within_five_seconds() -> None:
    clock = SimpleNamespace(now=0.0)
    reports = Reports()
    worklist = made(reports)
    worklist.causes = Causes(lambda: clock.now)
    seconds = [timedelta(seconds=number) for number in range(50)]
    found = await asyncio.gather(*[worklist.of(NOW - DAY + each, NOW + each, NOW + each) for each in seconds])
    assert reports.asked == 1
    assert all(each == found[0] for each in found)
    clock.now = causes.FRESH_S + 0.1
    await worklist.of(NOW - DAY, NOW, NOW)
    assert reports.asked == 2
    await worklist.of(NOW - 7 * DAY, NOW, NOW)
    await worklist.of(NOW - 9 * DAY, NOW - 8 * DAY, NOW)
    await worklist.of(NOW - 9 * DAY, NOW - 8 * DAY, NOW)
    assert reports.asked == 4


async def test_while_clickhouse_is_away_the_log_s_causes_are_told_and_it_is_not_asked_more_often() -> None:
    reports = Reports()
    reports.broken = True
    worklist = made(reports)
    for _ in range(10):
        found, complete = await worklist.of(NOW - DAY, NOW, NOW)
        assert not complete
        assert [(each.kind, each.count, len(each.examples)) for each in found] == [
            ("offline", 30, causes.SHOWN)
        ]
    assert reports.asked == 1


async def test_who_goes_away_does_not_take_the_answer_from_others() -> None:
    worklist = made(Reports())
    first = asyncio.create_task(worklist.of(NOW - DAY, NOW, NOW))
    await asyncio.sleep(0)
    second = asyncio.create_task(worklist.of(NOW - DAY, NOW, NOW))
    first.cancel()
    found, complete = await second
    assert complete
    assert Counter(each.kind for each in found) == {"offline": 1, "command": 1}


def test_an_entry_has_the_same_id_whenever_it_comes_up_and_another_one_than_others() -> None:
    ids = {entry_id_of(kind, key) for kind in KINDS for key in ("", "a", "\ud800", "x" * 10_000)}
    assert len(ids) == 4 * len(KINDS)
    assert entry_id_of("offline", "north") == entry_id_of("offline", "north")
