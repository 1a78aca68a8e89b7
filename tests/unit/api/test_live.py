"""Live states: work goes by what has changed, not by how many stations there are."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog

from libs.bus.message import Message
from libs.clickhouse.client import ClickHouseUnavailableError
from libs.events.load import Allocation, LoadPlanMade
from libs.events.telemetry import StationStateChanged
from services.api.http import metrics
from services.api.live.latest import Live
from services.api.rows import record_of
from tests.metrics import value_of

BEGUN = datetime(2026, 11, 1, tzinfo=UTC)


class ClickHouse:
    """Holds a state of each station; counts what it is asked for and hands out."""

    def __init__(self, stations: int) -> None:
        self.rows_by_station = {
            f"cp-{number:06}": self.row(f"cp-{number:06}", BEGUN) for number in range(stations)
        }
        self.handed_out = 0
        self.most_at_once = 0
        self.away = False

    @staticmethod
    def row(station_id: str, changed_at: datetime, *, connected: bool = False) -> dict[str, Any]:
        texts = dict.fromkeys(("version", "vendor", "model", "serial", "firmware_version"), "")
        connectors: dict[str, Any] = {
            f"connectors.{name}": [] for name in ("evse_id", "connector_id", "status", "error_code", "since")
        }
        stated = {
            "station_id": station_id,
            "connected": connected,
            "last_boot_at": None,
            "changed_at": changed_at,
        }
        return {**stated, **texts, **connectors}

    async def rows(self, sql: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
        if self.away:
            raise ClickHouseUnavailableError("away")
        since = datetime.fromtimestamp(params["since"] / 1e6, UTC)
        found = [
            row
            for station_id, row in sorted(self.rows_by_station.items())
            if station_id > params["after"] and row["changed_at"] >= since
        ][: params["most"]]
        self.handed_out += len(found)
        self.most_at_once = max(self.most_at_once, len(found))
        return found


class Rounds:
    """Takes the place of the pause between two readings: counts them, and ends after so many."""

    def __init__(self, clickhouse: ClickHouse, known: Live, changes: Mapping[int, Any]) -> None:
        self.handed_out: list[int] = []
        self.slices: list[int] = []
        self._clickhouse = clickhouse
        self._known = known
        self._changes = changes
        self._slices = 0

    async def sleep(self, seconds: float) -> None:
        if seconds == 0:
            self._slices += 1
            return
        self.handed_out.append(self._clickhouse.handed_out)
        self.slices.append(self._slices)
        self._clickhouse.handed_out = self._slices = 0
        change = self._changes.get(len(self.handed_out))
        if change is None:
            raise asyncio.CancelledError
        change()


async def rounds(
    monkeypatch: pytest.MonkeyPatch, clickhouse: ClickHouse, known: Live, changes: Mapping[int, Any]
) -> Rounds:
    clock = Rounds(clickhouse, known, changes)
    monkeypatch.setattr("asyncio.sleep", clock.sleep)
    reader: Any = clickhouse
    with pytest.raises(asyncio.CancelledError):
        await known.complete(reader, 30)
    return clock


async def test_after_the_first_reading_only_what_changed_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    clickhouse, known = ClickHouse(10_000), Live()
    clickhouse.rows_by_station["cp-000001"] = ClickHouse.row("cp-000001", BEGUN + timedelta(minutes=10))

    def change() -> None:
        changed = BEGUN + timedelta(hours=1)
        for name in ("cp-000007", "cp-007000"):
            clickhouse.rows_by_station[name] = ClickHouse.row(name, changed, connected=True)

    clock = await rounds(monkeypatch, clickhouse, known, {1: change, 2: lambda: None})
    assert clock.handed_out == [10_000, 3, 2]
    assert known.states.records["cp-007000"].connected
    assert len(known.states.keys) == 10_000


async def test_a_whole_reading_comes_in_small_parts_between_which_others_have_their_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clickhouse, known = ClickHouse(10_000), Live()
    clock = await rounds(monkeypatch, clickhouse, known, {})
    assert clickhouse.most_at_once <= 2_000
    assert clock.slices[0] >= 100


async def test_rows_that_are_not_newer_than_the_log_are_not_made_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clickhouse, known = ClickHouse(1_000), Live()
    made = 0
    original = record_of

    def counted(*arguments: Any) -> Any:
        nonlocal made
        made += 1
        return original(*arguments)

    monkeypatch.setattr("services.api.live.latest.record_of", counted)
    clock = await rounds(monkeypatch, clickhouse, known, {1: lambda: None})
    assert clock.handed_out == [1_000, 1_000]
    assert made == 1_000


async def test_what_the_log_says_is_newer_than_what_clickhouse_says(monkeypatch: pytest.MonkeyPatch) -> None:
    clickhouse, known = ClickHouse(1), Live()
    at = int(BEGUN.timestamp()) * 1_000_000 + 1
    state = StationStateChanged(
        event_id="e", occurred_at=at, recorded_at=at, cause_id="c", station_id="cp-000000", connected=True
    )
    known.take(Message("telemetry.health", 0, 0, "cp-000000", state, 0))
    await rounds(monkeypatch, clickhouse, known, {})
    assert known.states.records["cp-000000"] is state


async def test_a_reading_that_failed_is_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clickhouse, known = ClickHouse(5), Live()
    clickhouse.away = True

    def back() -> None:
        clickhouse.away = False

    clock = await rounds(monkeypatch, clickhouse, known, {1: back})
    assert clock.handed_out == [0, 5]


def plan(number: int, **drawn_ma: int) -> LoadPlanMade:
    allocations = [
        Allocation(station_id=station, evse_id=1, transaction_id="t", current_ma=10_000, drawn_ma=drawn)
        for station, drawn in drawn_ma.items()
    ]
    return LoadPlanMade(
        event_id=f"plan-{number}",
        occurred_at=number,
        recorded_at=number,
        cause_id=f"plan-{number}",
        site_id="depot",
        plan_no=number,
        limit_ma=20_000,
        allocations=tuple(allocations),
        waiting=0,
    )


def test_operators_are_told_once_of_an_evse_that_draws_more_than_its_share() -> None:
    live = Live()
    before = value_of(metrics.DISOBEDIENT_EVSES)
    with structlog.testing.capture_logs() as logs:
        for each, count in (
            (plan(1, a=32_000, b=0), 1),
            (plan(2, a=32_000, b=0), 1),
            (plan(1, a=0, b=0), 1),
            (plan(3, a=32_000, b=16_000), 2),
            (plan(4, a=0, b=16_000), 1),
            (plan(5), 0),
        ):
            live.take(Message("load.plans", 0, 0, "depot", each, 0))
            assert value_of(metrics.DISOBEDIENT_EVSES) - before == count
    told = [(log["event"], log["station_id"], log["event_id"]) for log in logs]
    assert told == [("limit_disobeyed", "a", "plan-1"), ("limit_disobeyed", "b", "plan-3")]
