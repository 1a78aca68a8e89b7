"""The reconciliation report over hand-made histories: of each part a case that shows, and one that does not."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import orjson
import pytest
import pytest_asyncio

from libs.clickhouse.reader import Reader
from libs.events.ocpp_log import OcppCallReceived
from libs.events.record import Record
from libs.events.registry import Assignment, StationRegistered, TariffRegistered, TariffVersion
from libs.events.sessions import CdrIssued, SessionStarted
from libs.events.telemetry import MeasurementsTaken, Sample
from libs.runtime.clock import SECOND, now_us
from tests.integration.api_platform import Json, Platform, api, ok, problem, stamp
from tests.patience import until

__all__ = ["api"]

pytestmark = pytest.mark.asyncio(loop_scope="module")

MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
KWH = 1000

BEGIN = (now_us() - 20 * DAY) // HOUR * HOUR
END = BEGIN + 10 * DAY


def iso(at: int) -> str:
    return datetime.fromtimestamp(at / SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


PERIOD = {"from": iso(BEGIN), "to": iso(END)}


class History:
    """What was written to the topics."""

    def __init__(self) -> None:
        self.records: list[tuple[str, str, Record]] = []

    def add(self, topic: str, key: str, record: Record) -> None:
        self.records.append((topic, key, record))

    def station(self, station_id: str, *sites: tuple[str, int]) -> None:
        assigned = tuple(Assignment(id=site, valid_from=at) for site, at in sites)
        self.add(
            "registry.stations",
            station_id,
            StationRegistered(**stamp(BEGIN), station_id=station_id, sites=assigned),
        )

    def session(
        self,
        name: str,
        start: int,
        end: int,
        registers: tuple[int | None, int | None] = (0, 10 * KWH),
        **changes: Any,
    ) -> None:
        """The charge record of a session named STATION/EVSE/ANYTHING."""
        station_id, evse, _ = name.split("/")
        low, high = registers
        energy = 0 if low is None or high is None else high - low
        review = changes.pop("review_wh", 0)
        fields: dict[str, Any] = {
            **stamp(end),
            "station_id": station_id,
            "session_id": name,
            "cdr_id": f"cdr:{name}",
            "version": 1,
            "evse_id": int(evse),
            "transaction_id": name,
            "site_id": SITE[station_id],
            "started_at": start,
            "ended_at": end,
            "meter_start_wh": low,
            "meter_stop_wh": high,
            "energy_wh": energy,
            "billed_wh": energy - review - changes.get("written_off_wh", 0),
            "review_wh": review,
            "tariff_id": "day",
            "tariff_version": 2,
            "currency": "EUR",
            "amount_minor": 100,
        }
        self.add("billing.cdrs", station_id, CdrIssued(**(fields | changes)))

    def running(self, name: str, start: int, register: int) -> None:
        station_id, evse, _ = name.split("/")
        record = SessionStarted(
            **stamp(start),
            station_id=station_id,
            session_id=name,
            evse_id=int(evse),
            transaction_id=name,
            site_id=SITE[station_id],
            version="ocpp2.0.1",
            started_at=start,
            meter_start_wh=register,
        )
        self.add("sessions.events", station_id, record)

    def register(self, evse: str, *readings: tuple[int, int], **changes: Any) -> None:
        station_id, evse_id = evse.split("/")
        common = {"measurand": "Energy.Active.Import.Register", "unit": "Wh"} | changes
        for at, wh in readings:
            record = MeasurementsTaken(
                **stamp(at),
                station_id=station_id,
                evse_id=int(evse_id),
                samples=(Sample(sampled_at=at, value_milli=wh * 1000, **common),),
            )
            self.add("telemetry.measurements", station_id, record)

    def call(self, station_id: str, action: str, at: int, *, late: int = SECOND, **payload: Any) -> None:
        quirks = payload.pop("quirks", ())
        record = OcppCallReceived(
            **(stamp(at) | {"recorded_at": at + late}),
            station_id=station_id,
            connection_epoch=1,
            edge_id="edge-0",
            version="ocpp2.0.1",
            message_id=f"{action}{at}{payload}",
            action=action,
            payload=orjson.dumps({"timestamp": iso(at)} | payload).decode(),
            answer="{}",
            quirks=quirks,
        )
        topic = "ocpp.lifecycle" if action == "StatusNotification" else "ocpp.transactions"
        self.add(topic, station_id, record)


SITE = {
    "review-1": "review",
    "gap-1": "gaps",
    "clock-ahead": "clocks",
    "clock-behind": "clocks",
    "clock-bent": "clocks",
    "clock-queue": "clocks",
    "clock-right": "clocks",
    "meter-1": "meters",
    "free-1": "free",
    "late": "wound-up",
}


def review(history: History) -> None:
    at = BEGIN + DAY
    add = history.session
    add(
        "review-1/1/shown",
        at,
        at + HOUR,
        (0, 1_000 * KWH),
        review_wh=990 * KWH,
        review=("implausible_energy",),
    )
    add(
        "review-1/1/doubt",
        at + DAY,
        at + DAY + HOUR,
        review=("no_stop", "no_tariff"),
        tariff_id=None,
        currency=None,
    )
    late: dict[str, Any] = {"decision_id": "d", "decided_by": "anna"}
    again = ("after_decision",)
    add("review-1/1/again", at + 2 * DAY, at + 2 * DAY + HOUR, review_wh=4 * KWH, review=again, **late)
    # Not: nothing in doubt; decided; no tariff only; of another period, by its end.
    add("review-1/1/fine", at + 3 * DAY, at + 3 * DAY + HOUR)
    add("review-1/1/decided", at + 4 * DAY, at + 4 * DAY + HOUR, review=("no_stop",), **late)
    add(
        "review-1/1/free",
        at + 5 * DAY,
        at + 5 * DAY + HOUR,
        review=("no_tariff",),
        tariff_id=None,
        currency=None,
    )
    add("review-1/1/next", END - HOUR, END, review_wh=KWH, review=("meter_rollback",))
    add("review-1/1/before", BEGIN - HOUR, BEGIN - 1, review_wh=KWH, review=("meter_rollback",))


def gaps(history: History) -> None:
    at = BEGIN + DAY
    history.session("gap-1/1/no-stop", at, at + HOUR, review=("no_meter_stop", "no_stop", "no_tariff"))
    history.session("gap-1/2/long", at, at + 49 * HOUR)
    history.session("gap-1/2/day", at + 3 * DAY, at + 3 * DAY + 48 * HOUR)
    for name, numbers in (("gap-1/3/hole", (0, 1, 4, 4, 5)), ("gap-1/3/whole", (0, 2, 1))):
        start = at + (name == "gap-1/3/whole") * DAY
        history.session(name, start, start + HOUR)
        for number in numbers:
            moment = start + number * MINUTE
            history.call(
                "gap-1", "TransactionEvent", moment, seqNo=number, transactionInfo={"transactionId": name}
            )
    history.running("gap-1/4/forgotten", END - 49 * HOUR, 0)
    history.running("gap-1/4/tonight", END - 47 * HOUR, 0)
    history.running("gap-1/4/later", END + HOUR, 0)


def clocks(history: History) -> None:
    at = BEGIN + DAY
    history.call("clock-ahead", "StatusNotification", at)
    history.call("clock-ahead", "TransactionEvent", at + HOUR, late=-600 * SECOND - 250_000, seqNo=0)
    for minute in range(3):
        history.call(
            "clock-behind",
            "StatusNotification",
            at + minute * MINUTE,
            late=(3_600 + minute) * SECOND + 750_000,
        )
    history.call("clock-bent", "StatusNotification", at, late=0, quirks=("timestamp_unreadable",))
    # Kept back while it was offline, beside a message that says how late it is now.
    history.call("clock-queue", "TransactionEvent", at, late=5 * HOUR, offline=True)
    history.call("clock-queue", "StopTransaction", at, late=5 * HOUR)
    history.call("clock-queue", "StatusNotification", at + 5 * HOUR)
    history.call("clock-right", "StatusNotification", at, late=299 * SECOND)
    history.call("clock-right", "StatusNotification", at + MINUTE, late=-299 * SECOND, quirks=("unit_alias",))
    # Of another period.
    history.call("clock-right", "StatusNotification", END + HOUR, late=-600 * SECOND)
    history.call("clock-right", "StatusNotification", BEGIN - 2 * HOUR, late=-600 * SECOND)


def registers(history: History) -> None:
    at = BEGIN + DAY
    # 1: two sessions, and 2 kWh between them.
    history.session("meter-1/1/one", at, at + HOUR, (100 * KWH, 110 * KWH))
    history.session("meter-1/1/two", at + 5 * HOUR, at + 6 * HOUR, (112 * KWH, 115 * KWH))
    # 2: the same without a loss, samples included, some of them rounded, of another measurand or of a phase.
    history.session("meter-1/2/one", at, at + HOUR, (100_040, 110_040))
    history.session("meter-1/2/two", at + 5 * HOUR, at + 6 * HOUR, (110_040, 115_000))
    history.register("meter-1/2", (BEGIN + HOUR, 100_000), (at + 30 * MINUTE, 105_000), (at + HOUR, 110_100))
    history.register("meter-1/2", (at + 3 * HOUR, 110_000), (at + 6 * HOUR, 115_000), (END - 1, 115_000))
    history.register("meter-1/2", (END, 190_000), (BEGIN - DAY, 7))
    history.register("meter-1/2", (at + 7 * HOUR, 500_000), measurand="Energy.Active.Export.Register")
    history.register("meter-1/2", (at + 7 * HOUR, 500_000), phase="L1")
    history.register("meter-1/2", (at + 7 * HOUR, 500_000), location="Inlet")
    # 3: sessions across both ends of the period; what belongs to others than its own counts for neither.
    history.session("meter-1/3/first", BEGIN - HOUR, BEGIN + HOUR, (5 * KWH, 25 * KWH))
    history.session("meter-1/3/last", END - HOUR, END + HOUR, (25 * KWH, 65 * KWH))
    history.register(
        "meter-1/3", (BEGIN - 30 * MINUTE, 15 * KWH), (BEGIN + 1, 20 * KWH), (BEGIN + DAY, 25 * KWH)
    )
    history.register("meter-1/3", (END - 30 * MINUTE, 45 * KWH), (BEGIN - 2 * HOUR, 1 * KWH))
    # 4: more on the record than the register rose by.
    history.session("meter-1/4/one", at, at + HOUR, (10 * KWH, 20 * KWH))
    history.session("meter-1/4/twin", at + MINUTE, at + HOUR, (10 * KWH, 20 * KWH))
    # 5: no session at all.
    history.register("meter-1/5", (at, 70 * KWH), (at + HOUR, 73 * KWH))
    # 6: a register that begins at zero with each session.
    history.session("meter-1/6/one", at, at + HOUR, (0, 10 * KWH))
    history.session("meter-1/6/two", at + 2 * HOUR, at + 3 * HOUR, (0, 4 * KWH))
    # 7: one that still runs: its register is not compared.
    history.running("meter-1/7/now", END - DAY, 50 * KWH)
    history.register("meter-1/7", (END - DAY, 50 * KWH), (END - HOUR, 90 * KWH))
    # 8: a sessions without registers.
    history.session("meter-1/8/one", at, at + HOUR, (None, None), review=("no_meter",))


def free(history: History) -> None:
    at = BEGIN + DAY
    none: dict[str, Any] = {"tariff_id": None, "currency": None, "amount_minor": 0}
    history.session("free-1/1/free", at, at + HOUR, (0, 7 * KWH), review=("no_tariff",), **none)
    history.session(
        "free-1/1/given",
        at + DAY,
        at + DAY + HOUR,
        (7 * KWH, 12 * KWH),
        written_off_wh=5 * KWH,
        decision_id="d",
        **none,
    )
    history.session(
        "free-1/1/doubt", at + 2 * DAY, at + 2 * DAY + HOUR, (15 * KWH, 35 * KWH), review_wh=11 * KWH
    )
    history.register("free-1/2", (at, 0), (at + HOUR, 100), (at + 2 * HOUR, 100))
    history.session("late/1/paid", at, at + HOUR)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def told(api: Platform) -> AsyncIterator[Platform]:
    history = History()
    versions = (
        TariffVersion(version=1, valid_from=0, currency="EUR", price_per_kwh_milli=1),
        TariffVersion(version=2, valid_from=1, currency="EUR", price_per_kwh_milli=45_500),
    )
    history.add(
        "registry.tariffs", "day", TariffRegistered(**stamp(BEGIN), tariff_id="day", versions=versions)
    )
    for station_id, site in SITE.items():
        history.station(station_id, ("nowhere", 0), (site, BEGIN), ("elsewhere", END + 1))
    for part in (review, gaps, clocks, registers, free):
        part(history)
    await asyncio.gather(*(api.emit(topic, key, record) for topic, key, record in history.records))
    wanted = Counter(topic for topic, _, _ in history.records)
    reader = Reader(api.settings, 1)

    async def stored() -> bool:
        for topic, count in wanted.items():
            table = topic.replace(".", "_")
            found = await reader.rows(f"SELECT count() AS n FROM {table}")
            if found[0]["n"] < count:
                return False
        return True

    await until(stored)
    reader.close()
    yield api


async def part(told: Platform, name: str, site: str, **query: Any) -> Json:
    found: Json = (await reconciled(told, {**PERIOD, "site_id": site, **query}))[name]
    return found


async def reconciled(told: Platform, query: Json) -> Json:
    """The report; asked for again while ClickHouse is too busy to answer in time."""

    async def answered() -> Json | None:
        response = await told.http.get("/reconciliation", params=query)
        return None if response.status_code == HTTPStatus.SERVICE_UNAVAILABLE else await ok(response)

    found: Json = await until(answered)
    return found


def of(items: list[Json], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(item[name] for name in names) for item in items]


async def test_sessions_to_be_decided_about(told: Platform) -> None:
    found = await part(told, "review", "review")
    assert of(found["items"], "session_id", "doubts", "review_wh", "amount_minor", "at_stake_minor") == [
        ("review-1/1/shown", ["implausible_energy"], 990_000, 100, 45_045),
        ("review-1/1/again", ["after_decision"], 4_000, 100, 182),
        ("review-1/1/doubt", ["no_stop"], 0, 100, None),
    ]
    assert found["total"] == {
        "sessions": 3,
        "energy_wh": 1_020_000,
        "billed_wh": 26_000,
        "review_wh": 994_000,
        "written_off_wh": 0,
    }
    assert found["amounts"] == [
        {"currency": "EUR", "sessions": 2, "amount_minor": 200, "at_stake_minor": 45_227}
    ]


async def test_totals_are_over_all_items_whether_shown_or_not(told: Platform) -> None:
    whole = await part(told, "review", "review")
    short = await part(told, "review", "review", limit=1)
    assert short["items"] == whole["items"][:1]
    assert (short["total"], short["amounts"]) == (whole["total"], whole["amounts"])


async def test_gaps(told: Platform) -> None:
    found = await part(told, "gaps", "gaps")
    assert of(found["items"], "session_id", "gaps", "missing_messages") == [
        ("gap-1/1/no-stop", ["no_meter_stop", "no_stop"], 0),
        ("gap-1/2/long", ["long"], 0),
        ("gap-1/3/hole", ["missing_messages"], 2),
        ("gap-1/4/forgotten", ["running_long"], 0),
    ]
    assert found["items"][3]["ended_at"] is None
    assert (found["total"]["sessions"], found["total"]["missing_messages"]) == (4, 2)
    short = await part(told, "gaps", "gaps", hours=46)
    assert {item["session_id"] for item in short["items"]} - {
        item["session_id"] for item in found["items"]
    } == {
        "gap-1/2/day",
        "gap-1/4/tonight",
    }


async def test_clocks(told: Platform) -> None:
    found = await part(told, "clocks", "clocks")
    assert of(found["items"], "station_id", "messages", "ahead_s", "behind_s", "bent_messages", "quirks") == [
        ("clock-behind", 3, 0, 3_600, 0, []),
        ("clock-ahead", 2, 600, 0, 0, []),
        ("clock-bent", 0, 0, 0, 1, ["timestamp_unreadable"]),
    ]
    assert found["total"] == {"stations": 3, "messages": 5, "bent_messages": 1}
    strict = await part(told, "clocks", "clocks", minutes=4)
    assert "clock-right" in {item["station_id"] for item in strict["items"]}
    assert "clock-queue" not in {item["station_id"] for item in strict["items"]}


async def test_registers_that_depart_from_the_records(told: Platform) -> None:
    found = await part(told, "registers", "meters")
    names = ("evse_id", "sessions", "register_wh", "between_wh", "falls", "energy_wh", "departure_wh")
    assert of(found["items"], *names) == [
        (4, 2, 10_000, 0, 0, 20_000, -10_000),
        (5, 0, 3_000, 3_000, 0, 0, 3_000),
        (1, 2, 15_000, 2_000, 0, 13_000, 2_000),
    ]
    total = found["total"]
    assert (total["evses"], total["register_wh"], total["energy_wh"], total["departure_wh"]) == (
        3,
        28_000,
        33_000,
        -5_000,
    )
    assert total["departure_wh"] == total["register_wh"] - total["energy_wh"]
    close = await part(told, "registers", "meters", tolerance_wh=100)
    assert of(close["items"], "evse_id") == [(4,), (5,), (1,)]
    wide = await part(told, "registers", "meters", tolerance_wh=3_000)
    assert of(wide["items"], "evse_id") == [(4,)]


async def test_energy_that_nobody_pays_for(told: Platform) -> None:
    found = await part(told, "unbilled", "free")
    names = ("station_id", "no_tariff_wh", "review_wh", "between_wh", "unbilled_wh", "written_off_wh")
    assert of(found["items"], *names) == [("free-1", 7_000, 11_000, 3_000, 21_000, 5_000)]
    assert (await part(told, "unbilled", "wound-up"))["items"] == []
    everything = await reconciled(told, PERIOD)
    total = everything["unbilled"]["total"]
    assert total["unbilled_wh"] == sum(item["unbilled_wh"] for item in everything["unbilled"]["items"])
    assert total["unbilled_wh"] == total["no_tariff_wh"] + total["review_wh"] + total["between_wh"]


async def test_a_period_in_which_nothing_happened(told: Platform) -> None:
    empty = {"from": iso(BEGIN - 90 * DAY), "to": iso(BEGIN - 80 * DAY)}
    report = await reconciled(told, empty)
    for name in ("review", "gaps", "clocks", "registers", "unbilled"):
        assert report[name]["items"] == []
        assert set(report[name]["total"].values()) == {0}
    assert report["review"]["amounts"] == []


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"from": iso(BEGIN)},
        {"from": iso(END), "to": iso(BEGIN)},
        {"from": iso(BEGIN - 500 * DAY), "to": iso(BEGIN)},
        {"from": "yesterday", "to": iso(END)},
        {**PERIOD, "minutes": "0"},
        {**PERIOD, "hours": "1); DROP TABLE billing_cdrs"},
        {**PERIOD, "since": iso(BEGIN)},
    ],
)
async def test_what_is_no_period(told: Platform, query: Json) -> None:
    problem(await told.http.get("/reconciliation", params=query), 422)


async def test_a_site_is_a_value_and_nothing_more(told: Platform) -> None:
    assert (await part(told, "review", "' OR 1 --"))["items"] == []
