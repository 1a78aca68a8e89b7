"""`voltbus backtest` and `voltbus sessions rederive` on a real log."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from libs.bus.message import Message
from libs.bus.processor import Step, Tables, Tick
from libs.bus.runtime_transactional import TransactionalRuntime
from libs.devstack import Endpoints
from libs.events.cdr_hash import digest
from libs.events.decisions import Decision, SessionDecided, SessionDecisionConcluded, SessionRecalled
from libs.events.ids import derive_id
from libs.events.ocpp_log import OcppCallReceived
from libs.events.record import Record
from libs.events.registry import (
    Assignment,
    PowerRating,
    SiteRegistered,
    StationRegistered,
    TariffRegistered,
    TariffVersion,
)
from libs.events.sessions import CdrCredited, CdrIssued
from libs.events.topics import OCPP_TRANSACTIONS
from libs.runtime.clock import iso, now_us
from services.sessions.domain.processor import SessionsProcessor
from services.sessions.domain.station import StationSessions
from tests.integration.processor_rig import Rig, open_rig
from tests.unit.sessions.exchanges import DAY, HOUR, MINUTE, SECOND, meter16, start16, stop16

ROOT = Path(__file__).parents[2]
STATIONS = ("cp-1", "cp-2", "cp-3")
TODAY = now_us() // DAY * DAY
LONG_AGO = TODAY - 30 * DAY


@pytest.fixture
async def rig(stack: Endpoints, namespace: str) -> AsyncIterator[Rig]:
    async with open_rig(stack, namespace) as rig:
        yield rig


async def register(rig: Rig, *, price: int = 45_500) -> None:
    base: dict[str, Any] = {"event_id": "e", "occurred_at": 0, "recorded_at": 0, "cause_id": "e"}
    tariff = TariffVersion(version=1, valid_from=0, currency="EUR", price_per_kwh_milli=price)
    tables: list[tuple[str, str, Record]] = [
        ("registry.tariffs", "day", TariffRegistered(**base, tariff_id="day", versions=(tariff,))),
        *(
            (
                "registry.sites",
                site,
                SiteRegistered(**base, site_id=site, tariffs=(Assignment(id="day", valid_from=0),)),
            )
            for site in ("north", "south")
        ),
        *(
            (
                "registry.stations",
                station,
                StationRegistered(
                    **base,
                    station_id=station,
                    sites=(Assignment(id="south" if station == "cp-3" else "north", valid_from=0),),
                    power_ratings=(PowerRating(power_w=22_080, valid_from=0),),
                ),
            )
            for station in STATIONS
        ),
    ]
    for topic, key, record in tables:
        await rig.publish(topic, key, record)


def session(number: int, at: int, wh: int, **more: Any) -> list[OcppCallReceived]:
    return [
        start16(number, at, 1_000, **more),
        meter16(number, at + 30 * MINUTE, 1_000 + wh // 2, **more),
        stop16(number, at + HOUR, 1_000 + wh, **more),
    ]


async def tell(rig: Rig, station: str, exchanges: list[OcppCallReceived], **fields: Any) -> None:
    for each in exchanges:
        event_id = derive_id(each.event_id, station)
        own = msgspec.structs.replace(
            each, station_id=station, event_id=event_id, cause_id=event_id, **fields
        )
        await rig.publish(OCPP_TRANSACTIONS, station, own)


@asynccontextmanager
async def processing(rig: Rig, processor: SessionsProcessor) -> AsyncIterator[None]:
    stop = asyncio.Event()
    runtime = TransactionalRuntime(rig.bus, processor)
    task = asyncio.create_task(runtime.run(stop))
    try:
        yield
    finally:
        stop.set()
        await task


@contextmanager
def api_of(name: str) -> Iterator[str]:
    """The URL of an API that knows but whose key it is."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/api/v1/me"
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"name": name}).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


async def rederived(rig: Rig, *words: str, api_url: str) -> str:
    code, said = await voltbus(rig, "sessions", "rederive", *words, "--json", api_url=api_url)
    assert code == 0, said
    return said


async def voltbus(rig: Rig, *words: str, api_url: str = "http://127.0.0.1:1") -> tuple[int, str]:
    settings = rig.bus.settings
    environment = os.environ | {
        "VOLTBUS_KAFKA": settings.kafka,
        "VOLTBUS_REGISTRY_URL": settings.registry_url,
        "VOLTBUS_NAMESPACE": settings.namespace,
        "VOLTBUS_PARTITIONS": str(settings.partitions),
        "VOLTBUS_SLOTS": str(settings.slots),
        "VOLTBUS_API_KEY": "not looked at here",
        "VOLTBUS_API_URL": api_url,
        "PYTHONPATH": str(ROOT),
        "TZ": "UTC",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.cli",
        *words,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 120)
    assert b"Traceback" not in err, err.decode()
    assert process.returncode is not None
    return process.returncode, (out + err).decode()


def span(since: int, until: int) -> list[str]:
    return ["--from", iso(since), "--to", iso(until)]


async def compared(rig: Rig, *words: str) -> dict[str, Any]:
    code, said = await voltbus(rig, "backtest", *words, "--json")
    assert code == 0, said
    found: dict[str, Any] = json.loads(said)
    return found


async def test_a_changed_price(rig: Rig, tmp_path: Path) -> None:
    await register(rig)
    for station, number, at, wh in (
        ("cp-1", 1, LONG_AGO, 10_000),
        ("cp-1", 2, LONG_AGO + DAY, 20_000),
        ("cp-2", 3, LONG_AGO + DAY, 7_000),
        ("cp-3", 4, LONG_AGO + DAY, 12_000),
        ("cp-3", 5, LONG_AGO + 3 * DAY, 1_000),
    ):
        await tell(rig, station, session(number, at, wh))
    # One that began before the period, and one that ends after it.
    await tell(rig, "cp-2", session(6, LONG_AGO - 30 * MINUTE, 4_000))
    await tell(rig, "cp-2", session(7, LONG_AGO + 2 * DAY - 30 * MINUTE, 9_000))
    terms = tmp_path / "day.yaml"
    terms.write_text(
        """
elements:
  - price_components: [{type: FLAT, price: 0.25}, {type: ENERGY, price: 0.50}]
"""
    )
    words = [*span(LONG_AGO, LONG_AGO + 2 * DAY), "--tariff", str(terms), "--tariff-id", "day"]
    found = await compared(rig, *words)
    # At 45.5 cents 10, 20, 7 and 4 kWh cost 4.55, 9.10, 3.18 (3.185, half even) and 1.82, and 12 kWh 5.46; at 50
    # cents and 25 for the session 5.25, 10.25, 3.75, 2.25 and 6.25.
    assert (found["sessions"], found["equal"], found["changed"], found["left_out"]) == (5, 0, 5, 0)
    north, south = found["rows"]
    assert (north["site_id"], south["site_id"]) == ("north", "south")
    assert north["before"]["amount_minor"] == 455 + 910 + 318 + 182
    assert north["after"]["amount_minor"] == 525 + 1025 + 375 + 225
    assert (north["before"]["billed_wh"], north["after"]["billed_wh"]) == (41_000, 41_000)
    assert (south["before"]["amount_minor"], south["after"]["amount_minor"]) == (546, 625)
    assert [each["after_minor"] - each["before_minor"] for each in found["largest"]] == [115, 79, 70, 57, 43]
    assert found["largest"][0]["fields"] == ["amount_minor", "net_minor", "lines"]

    only = await compared(rig, *words, "--site", "south")
    assert (only["sessions"], only["rows"][0]["site_id"]) == (1, "south")
    only = await compared(rig, *words, "--station", "CP-2")
    assert only["sessions"] == 2
    code, said = await voltbus(rig, "backtest", *words, "--fail-on-difference")
    assert code == 1
    assert "0 equal, 5 changed" in said
    assert "18.65 EUR" in said
    short = await compared(rig, *words, "--lead-days", "0")
    assert (short["sessions"], short["left_out"]) == (4, 1)
    same = tmp_path / "same.yaml"
    same.write_text("tariff_id: day\nelements: [{price_components: [{type: ENERGY, price: 0.455}]}]\n")
    found = await compared(rig, *span(LONG_AGO, LONG_AGO + 2 * DAY), "--tariff", str(same))
    assert (found["sessions"], found["equal"]) == (5, 5)
    code, said = await voltbus(rig, "backtest", *span(LONG_AGO, TODAY), "--tariff", str(terms))
    assert (code, "--tariff-id" in said) == (1, True)


async def test_a_changed_rule(rig: Rig, tmp_path: Path) -> None:
    await register(rig)
    await tell(rig, "cp-1", session(1, LONG_AGO, 10_000), vendor="WattBox", model="Two", firmware="1.0")
    await tell(rig, "cp-2", session(2, LONG_AGO, 10_000), vendor="Other", model="Two", firmware="1.0")
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        """
rules:
  - name: wattbox-counts-from-zero
    about: Its register counts from zero in each session, whatever it says at the start.
    match: {vendor: wattbox}
    effects: [{effect: register_per_session}]
    examples:
      - vendor: WattBox
        received_at: 2026-01-01T00:00:01Z
        frame: >-
          [2,"1","StartTransaction",{"connectorId":1,"idTag":"A","meterStart":500,"timestamp":"2026-01-01T00:00:00Z"}]
        answer: {idTagInfo: {status: Accepted}, transactionId: 7}
        events:
          - {type: TransactionStep, kind: started, meter_wh: 0, quirks: [register_per_session]}
"""
    )
    found = await compared(rig, *span(LONG_AGO, TODAY), "--rules", str(rules))
    assert (found["sessions"], found["equal"], found["changed"]) == (2, 1, 1)
    (changed,) = found["largest"]
    assert (changed["station_id"], changed["before_wh"], changed["after_wh"]) == ("cp-1", 10_000, 11_000)
    assert changed["after_minor"] - changed["before_minor"] == 500 - 455


class Generous(SessionsProcessor):
    """A fold with a mistake in it: it reads the stop's register 3 kWh too low."""

    def step(
        self, state: StationSessions | None, event: Message | Tick, tables: Tables
    ) -> Step[StationSessions]:
        if isinstance(event, Message) and isinstance(event.record, OcppCallReceived):
            record = event.record
            payload = json.loads(record.payload)
            if record.action == "StopTransaction":
                payload["meterStop"] -= 3_000
                record = msgspec.structs.replace(record, payload=json.dumps(payload))
                event = msgspec.structs.replace(event, record=record)
        return super().step(state, event, tables)


async def test_what_a_wrong_fold_charged_is_corrected_once(rig: Rig) -> None:
    await register(rig)
    recent = now_us() // SECOND * SECOND - 3 * HOUR
    rig.follow("billing.cdrs", "billing.decided", "billing.decisions")
    async with processing(rig, Generous()):
        # Forgotten by now, remembered still, and decided about.
        await tell(rig, "cp-1", session(1, LONG_AGO, 10_000))
        await tell(rig, "cp-2", session(2, recent, 10_000))
        await tell(rig, "cp-3", session(3, recent, 10_000))
        await rig.until(lambda: len(rig.records("billing.cdrs", CdrIssued)) == 3, "three records")
        decided = next(each for each in rig.records("billing.cdrs", CdrIssued) if each.station_id == "cp-3")
        await rig.publish("billing.decisions", "cp-3", decision(decided))
        await rig.until(lambda: len(rig.records("billing.cdrs", CdrIssued)) == 4, "a decided record")
    assert {each.energy_wh for each in rig.records("billing.cdrs", CdrIssued)} == {7_000}

    words = span(LONG_AGO - DAY, now_us())
    found = await compared(rig, *words, "--against-issued")
    assert (found["sessions"], found["changed"]) == (3, 3)
    # Kafka's marks of transactions are of today.
    found = await compared(rig, *span(LONG_AGO - DAY, LONG_AGO + DAY), "--against-issued")
    assert (found["sessions"], found["only_after"], found["largest"][0]["before_wh"]) == (1, 0, 7_000)
    async with processing(rig, SessionsProcessor()):
        code, said = await voltbus(rig, "sessions", "rederive", *words, "--reason", "the stop", "--dry-run")
        assert code == 0, said
        assert "2 would be corrected" in said
        assert "1 differ, but operators decided about them" in said
        # Without a key there is nobody in whose name it could be.
        assert (await voltbus(rig, "sessions", "rederive", *words, "--reason", "the stop"))[0] == 1
        with api_of("anna") as url:
            said = await rederived(rig, *words, "--reason", "the stop", api_url=url)
        assert len(json.loads(said)["recalled"]) == 2
        await rig.until(lambda: len(rig.records("billing.cdrs", CdrIssued)) == 6, "two corrected records")
        # What is concluded is written together with them, and recalled before.
        await rig.whole("billing.decided", "billing.decisions")
        concluded = rig.records("billing.decided", SessionDecisionConcluded)
        assert [each.applied for each in concluded] == [True, True, True]
        recalls = rig.records("billing.decisions", SessionRecalled)
        assert [each.decided_by for each in recalls] == ["anna", "anna"]
        with api_of("anna") as url:
            again = json.loads(await rederived(rig, *words, "--reason", "x", api_url=url))
        assert (again["recalled"], len(again["decided"])) == ([], 1)
    await rig.whole("billing.cdrs", "billing.decisions")
    documents = [m.record for m in rig.messages["billing.cdrs"]]
    for station in ("cp-1", "cp-2"):
        own = [each for each in documents if isinstance(each, CdrIssued | CdrCredited)]
        first, credit, second = (each for each in own if each.station_id == station)
        assert isinstance(credit, CdrCredited)
        assert (first.billed_wh, credit.billed_wh, second.billed_wh) == (7_000, -7_000, 10_000)
        assert (first.amount_minor, credit.amount_minor, second.amount_minor) == (318, -318, 455)
        assert (second.version, second.cdr_id, second.session_id) == (2, first.cdr_id, first.session_id)
        assert [credit.previous_hash, second.previous_hash] == [first.hash, credit.hash]
        assert digest(second) == second.hash
    assert len(rig.records("billing.decisions", SessionRecalled)) == 2
    found = await compared(rig, *words, "--against-issued")
    assert (found["sessions"], found["equal"]) == (3, 2)


def decision(cdr: CdrIssued) -> SessionDecided:
    now = now_us()
    return SessionDecided(
        event_id=(event_id := derive_id(cdr.hash, "decided")),
        occurred_at=now,
        recorded_at=now,
        cause_id=event_id,
        station_id=cdr.station_id,
        session_id=cdr.session_id,
        decision=Decision.WRITE_OFF,
        version=cdr.version,
        reason="goodwill",
        decided_by="anna",
    )
