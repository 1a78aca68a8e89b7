"""What the worklist costs, however many look at it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any

from libs.access.principal import EVERY_ORGANISATION, Grant, Principal
from libs.access.roles import Role
from libs.clickhouse.client import ClickHouseUnavailableError
from libs.events.registry import Assignment
from services.api.domain.places import Places
from services.api.domain.scope import Scope
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


class Belongings:
    """Two sites, each of an organisation of its own; stations at no site are of the one that their id begins with."""

    def of_site(self, site_id: str) -> str:
        return {"north": "norse", "south": "roman"}.get(site_id, "")

    def of_station(self, station_id: str) -> str:
        return station_id.partition("-")[0]

    def of_tariff(self, tariff_id: str) -> str:
        return ""

    def of_token(self, id_token: str) -> str:
        return ""


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
        grants = map(partial(Grant, Role.VIEWER), organisations or (EVERY_ORGANISATION,))
        asked: Any = SimpleNamespace(
            registry=SimpleNamespace(places=self.places),
            live=SimpleNamespace(states=SimpleNamespace(records={})),
            reports=self.reports,
            scope=Scope(Principal("anna", tuple(grants)), Belongings()),
        )
        return await self.causes.of(asked, since, until, now)


def made(reports: Reports) -> Worklist:
    return Worklist(reports)


def offline(found: list[Cause]) -> dict[str, list[str]]:
    return {
        each.title: [example.station_id for example in each.examples]
        for each in found
        if each.kind == "offline"
    }


async def test_others_are_shown_nothing_that_was_asked_for_somebody_else() -> None:
    reports = Reports()
    worklist = made(reports)
    for station_id, site_id in (("cp-s", "south"), ("norse-1", None), ("norse-2", None), ("roman-1", None)):
        worklist.places.register(
            station_id, () if site_id is None else (Assignment(id=site_id, valid_from=0),)
        )
    worklist.places.locate("norse-2", connected=True)
    found, _ = await worklist.of(NOW - DAY, NOW, NOW)
    assert list(offline(found)) == ["north (30/30)", "- (2/3)", "south (1/1)"]
    found, _ = await worklist.of(NOW - DAY, NOW, NOW, ("roman",))
    assert offline(found) == {"south (1/1)": ["cp-s"], "- (1/1)": ["roman-1"]}
    assert reports.asked == 2
    found, _ = await worklist.of(NOW - DAY, NOW, NOW, ("norse",))
    assert set(offline(found)) == {"north (30/30)", "- (1/2)"}
    found, _ = await worklist.of(NOW - DAY, NOW, NOW, ("gaul",))
    assert offline(found) == {}
    assert reports.asked == 4


async def test_another_period_is_another_question() -> None:
    reports = Reports()
    worklist = made(reports)
    periods = [
        (NOW - DAY, NOW),
        (NOW - DAY, NOW - timedelta(minutes=1)),
        (NOW - timedelta(minutes=1), NOW + DAY),
        (NOW, NOW + DAY),
    ]
    for number, (since, until) in enumerate(periods):
        await worklist.of(since, until, NOW)
        await worklist.of(since, until, NOW)
        assert reports.asked == number + 1


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
