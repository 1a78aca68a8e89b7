"""`voltbus quirks test` on frames that the sink has stored."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from libs.bus.bus import connect
from libs.bus.producer import Producer
from libs.devstack import Endpoints
from libs.events.ids import new_id
from libs.events.ocpp_log import CallError, OcppCallReceived
from libs.events.registry import StationRegistered
from services.sink.settings import SinkSettings
from tests.integration.bus import drop_topics
from tests.integration.sink_process import Database, new_platform, sink_task
from tests.patience import WAIT_S, until

ROOT = Path(__file__).parents[2]
MANUAL = (ROOT / "docs" / "quirks.md").read_text()
NEW_YEAR = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
MINUTE = 60_000_000

RULES = """
rules:
  - name: wattbox-kwh
    about: Counts in kWh.
    match: {vendor: watt*, firmware: "<2"}
    effects: [{effect: read_energy_as, unit: kWh, labelled: [Wh]}]
    examples:
      - vendor: WattBox
        firmware: "1.9"
        received_at: 2026-01-01T00:00:00Z
        frame: >-
          [2,"1","MeterValues",{"connectorId":1,"meterValue":[{"timestamp":"2026-01-01T00:00:00Z","sampledValue":[{"value":"7","unit":"Wh"}]}]}]
        events:
          - type: MeasurementsReported
            quirks: [unit_relabelled]
            samples: [{value_milli: 7000000, unit: Wh, quirks: [unit_relabelled]}]
  - name: chago-local-time-marked-utc
    about: As in force, but more patient.
    match: {vendor: "chago*"}
    effects: [{effect: local_time_marked_utc, tolerance_s: 1200}]
    examples:
      - vendor: Chago
        received_at: 2026-01-01T00:10:00Z
        zone: Europe/Berlin
        frame: >-
          [2,"1","StatusNotification",{"connectorId":1,"errorCode":"NoError","status":"Available","timestamp":"2026-01-01T01:00:00Z"}]
        events:
          - {type: ConnectorStatusReported, at: 2026-01-01T00:00:00Z, quirks: [local_time_marked_utc]}
"""


@pytest.fixture
async def settings(stack: Endpoints, namespace: str) -> AsyncIterator[SinkSettings]:
    made = await new_platform(stack, namespace, sink_interval_ms=50)
    yield made
    await Database(made).drop()
    await drop_topics(made)


def call(minute: int, station: str, action: str, payload: dict[str, Any], **more: Any) -> OcppCallReceived:
    event_id = new_id()
    return OcppCallReceived(
        event_id=event_id,
        occurred_at=NEW_YEAR + minute * MINUTE,
        recorded_at=NEW_YEAR + minute * MINUTE,
        cause_id=event_id,
        station_id=station,
        connection_epoch=1,
        edge_id="edge-0",
        version="ocpp1.6",
        message_id=event_id,
        action=action,
        payload=json.dumps(payload),
        **({"answer": "{}"} | more),
    )


def meter(value: str) -> dict[str, Any]:
    sampled = [{"value": value, "unit": "Wh"}, {"value": "9000", "measurand": "Power.Active.Import"}]
    return {
        "connectorId": 1,
        "transactionId": 7,
        "meterValue": [{"timestamp": "2026-01-01T00:00:00Z", "sampledValue": sampled}],
    }


STATUS = {"connectorId": 1, "errorCode": "NoError", "status": "Available"}
BOX = {"vendor": "WattBox", "model": "One", "firmware": "1.4.0"}
REFUSED = {"answer": None, "error": CallError(code="InternalError", details="{}")}


async def voltbus(settings: SinkSettings, *words: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.cli", *words,
        cwd=ROOT,
        env=os.environ
        | {
            "VOLTBUS_CLICKHOUSE_HOST": settings.clickhouse_host,
            "VOLTBUS_CLICKHOUSE_PORT": str(settings.clickhouse_port),
            "VOLTBUS_CLICKHOUSE_DATABASE": settings.clickhouse_database,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), WAIT_S)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_a_rule_file_is_tried_on_stored_frames(settings: SinkSettings, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(RULES)
    late = {"timestamp": "2026-01-01T01:00:00Z"}
    stored: list[tuple[str, OcppCallReceived | StationRegistered]] = [
        *(("ocpp.transactions", call(n, "box-1", "MeterValues", meter(str(n)), **BOX)) for n in range(1, 6)),
        ("ocpp.transactions", call(6, "box-2", "MeterValues", meter("0"), **BOX)),
        ("ocpp.transactions", call(7, "box-1", "MeterValues", meter("8"), **BOX | {"firmware": "2.0"})),
        ("ocpp.transactions", call(8, "box-1", "MeterValues", meter("8"), **BOX | REFUSED)),
        ("ocpp.transactions", call(9, "other", "MeterValues", meter("8"), vendor="Other")),
        ("ocpp.lifecycle", call(4, "chago-1", "StatusNotification", STATUS | late, vendor="Chago")),
        ("ocpp.lifecycle", call(10, "chago-1", "StatusNotification", STATUS | late, vendor="Chago")),
        ("ocpp.lifecycle", call(11, "chago-2", "StatusNotification", STATUS | late, vendor="Chago")),
        (
            "registry.stations",
            StationRegistered(
                event_id=new_id(),
                occurred_at=NEW_YEAR,
                recorded_at=NEW_YEAR,
                cause_id="test",
                station_id="chago-1",
                timezone="Europe/Berlin",
            ),
        ),
    ]
    database = Database(settings)

    async def arrived() -> bool:
        counts = [
            await database.value(f"SELECT count() FROM {table}")
            for table in ("ocpp_transactions", "ocpp_lifecycle", "registry_stations")
        ]
        return counts == [9, 3, 1]

    async with connect(settings) as bus:
        producer = Producer(bus, "test")
        await producer.start()
        for topic, record in stored:
            await producer.send_and_wait(topic, record.station_id, record)
        await producer.stop()
    async with sink_task(settings):
        await until(arrived, "everything is stored")

    (query,) = re.findall(r"^```sql\n(.*?)^```", MANUAL, re.MULTILINE | re.DOTALL)
    assert await database.rows(query.replace("INTERVAL 1 WEEK", "INTERVAL 99 YEAR")) == []

    words = ("quirks", "test", str(file), "--since", "2025-12-31T00:00:00Z")
    code, out, err = await voltbus(settings, *words, "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["rules"] == ["wattbox-kwh", "chago-local-time-marked-utc"]
    assert told["failed_examples"] == []
    kinds = {(e["vendor"], e["model"], e["firmware"]): e["frames"] for e in told["equipment"]}
    assert kinds == {("WattBox", "One", "1.4.0"): 6, ("Chago", "", ""): 3}
    assert (told["frames"], told["changed"]) == (9, 7)
    assert (told["unreadable_before"], told["unreadable_after"]) == (0, 0)
    fields = {f["field"]: (f["frames"], f["before"], f["after"]) for f in told["fields"]}
    # The register of 0 stays one, but its flag does not.
    assert fields["TransactionStep.meter_wh"] == (5, 5, 5000)
    assert fields["TransactionStep.readings.wh"] == (5, 5, 5000)
    assert fields["MeasurementsReported.samples.value_milli"] == (5, 5000, 5_000_000)
    assert fields["MeasurementsReported.samples.quirks"] == (6, [], ["unit_relabelled"])
    # Only the one that is late for the rule in force, and only where the registry names a zone.
    assert fields["ConnectorStatusReported.at"] == (1, NEW_YEAR + 60 * MINUTE, NEW_YEAR)
    assert len(told["examples"]) == 3
    assert told["examples"][0]["station_id"] == "chago-1"
    assert json.loads(told["examples"][0]["payload"]) == STATUS | late

    code, out, _ = await voltbus(settings, *words, "--station", "BOX-2", "--examples", "1")
    assert code == 0
    assert "1 frames read, 1 would be read otherwise" in out
    assert "unit_relabelled" in out
    code, out, _ = await voltbus(settings, *words, "--limit", "2", "--until", "2026-01-01T00:07:00Z")
    assert "2 frames read, the newest" in out
    code, out, _ = await voltbus(settings, *words, "--until", "2025-12-31T12:00:00Z")
    assert code == 0
    assert "no stored frames" in out

    file.write_text(RULES.replace("value_milli: 7000000", "value_milli: 7"))
    code, out, _ = await voltbus(settings, *words)
    assert code == 1
    assert "example does not hold: wattbox-kwh, example 1" in out
    file.write_text(RULES.replace("unit: kWh", "unit: PS"))
    code, _, err = await voltbus(settings, *words)
    assert code == 1
    assert "wattbox-kwh" in err
    assert "PS" in err


async def test_without_clickhouse_it_says_where_it_looked(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(RULES)
    nowhere = SinkSettings(clickhouse_host="127.0.0.1", clickhouse_port=1)
    code, _, err = await voltbus(nowhere, "quirks", "test", str(file))
    assert code == 1
    assert "127.0.0.1:1" in err
    assert "VOLTBUS_CLICKHOUSE_HOST" in err
