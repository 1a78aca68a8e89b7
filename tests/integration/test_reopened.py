"""A session that a rule closed, that went on, and that ended after all: what ClickHouse and lists show of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from libs.bus.bus import connect
from libs.clickhouse.client import ClickHouseClient
from libs.clickhouse.maintenance import rebuild
from libs.clickhouse.reader import Reader
from libs.devstack import Endpoints
from libs.events.record import Record
from libs.events.sessions import CdrCredited, CdrIssued
from libs.runtime.clock import now_us
from services.api.billing.listing import SESSIONS, Wanted, page
from services.sink.settings import SinkSettings
from tests.integration.bus import drop_topics
from tests.integration.sink_process import Database, new_platform, sink_task
from tests.integration.test_sink import all_stored, plain, send
from tests.unit.sessions.exchanges import DAY, HOUR, MINUTE, SECOND
from tests.unit.sessions.given import Told, kinds
from tests.unit.sessions.signs import Charger

SHOWN = ("status", "started_at", "ended_at", "energy_wh", "meter_stop_wh", "reason", "review", "correction")


@pytest.fixture
async def settings(stack: Endpoints, namespace: str) -> AsyncIterator[SinkSettings]:
    made = await new_platform(stack, namespace, sink_interval_ms=100)
    yield made
    await Database(made).drop()
    await drop_topics(made)


class Lists:
    """What is shown of the only session there is."""

    def __init__(self, settings: SinkSettings) -> None:
        self._reader = Reader(settings)

    async def shown(self) -> dict[str, Any]:
        """The row of the view, which is the one that the list of its status has; that of the other has none."""
        (row,) = await self._reader.rows("SELECT * FROM sessions")
        for status in ("running", "ended"):
            listed, cursor = await page(self._reader, SESSIONS, Wanted({"status": status}), 10, None)
            assert (listed, cursor) == ([row] if row["status"] == status else [], None)
        return {name: plain(row[name]) for name in SHOWN}

    async def running_too_long(self) -> int:
        """Of how many sessions that run too long the gaps of a month tell."""
        found = await self._reader.rows(
            "SELECT count() AS n FROM session_gaps(since = toDateTime64(0, 6, 'UTC'), until = now64(6), hours = 1)"
            " WHERE has(gaps, 'running_long')"
        )
        return int(found[0]["n"])

    def close(self) -> None:
        self._reader.close()


async def test_what_goes_on_after_a_rule_closed_it_is_running_until_its_correction(
    settings: SinkSettings,
) -> None:
    # Kafka takes nothing of the future.
    begin = (now_us() - 20 * DAY) // SECOND * SECOND
    say = Charger("ocpp2.0.1")
    told = Told([say.start(7, begin, 0), say.update(7, begin + 10 * MINUTE, 2000)])
    told.tick(begin + 8 * DAY)
    closed = told.records()
    again = begin + 8 * DAY + HOUR
    reopened = told.tell(say.update(7, again, 2500), say.update(7, again + HOUR, 2900))
    assert kinds(reopened) == ["SessionReopened", "SessionUpdated"]
    corrected = told.tell(say.end(7, again + 2 * HOUR, 3000))
    assert kinds(corrected) == ["SessionCorrected", "CdrCredited", "CdrIssued"]

    by_rule = {
        "status": "ended", "started_at": begin, "ended_at": begin + 10 * MINUTE, "energy_wh": 2000,
        "meter_stop_wh": 2000, "reason": "", "review": ["no_stop"], "correction": 0,
    }  # fmt: skip
    running = {
        **by_rule,
        "status": "running",
        "ended_at": None,
        "energy_wh": 2900,
        "meter_stop_wh": None,
        "review": [],
    }
    in_the_end = {
        **by_rule, "status": "ended", "ended_at": again + 2 * HOUR, "energy_wh": 3000, "meter_stop_wh": 3000,
        "reason": "EVDisconnected", "review": [], "correction": 2,
    }  # fmt: skip

    database, lists = Database(settings), Lists(settings)
    async with connect(settings) as bus, sink_task(settings):
        for records, expected in ((closed, by_rule), (reopened, running), (corrected, in_the_end)):
            for topic, some in by_topic(records).items():
                await send(bus, topic, some)
            await all_stored(bus, database)
            assert await lists.shown() == expected
            assert await lists.running_too_long() == (expected is running)
    # In whatever portions the rows pass.
    await asyncio.to_thread(rebuild, ClickHouseClient(settings), ("sessions_latest", "sessions_by_start"))
    assert await lists.shown() == in_the_end
    lists.close()


def by_topic(records: list[Record]) -> dict[str, list[Record]]:
    bills: list[Record] = [record for record in records if isinstance(record, CdrIssued | CdrCredited)]
    return {"sessions.events": [each for each in records if each not in bills], "billing.cdrs": bills}
