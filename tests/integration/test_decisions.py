"""An operator decides: from the API over Kafka to the sessions processor, and back as documents, lists and a report."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from libs.bus.settings import BusSettings
from libs.events.ocpp_log import OcppCallReceived
from libs.runtime.clock import SECOND, now_us
from libs.runtime.service import Health
from services.sessions.app import run as run_sessions
from services.sessions.settings import SessionsSettings
from tests.integration.api_platform import ANNAS_KEY, KEY, Json, Platform, api, ok, problem
from tests.integration.test_cli import shell
from tests.integration.test_reconciliation import DAY, HOUR, iso, reconciled
from tests.patience import until
from tests.unit.sessions.exchanges import meter16, start16, stop16

__all__ = ["api"]

pytestmark = pytest.mark.asyncio(loop_scope="module")

BEGIN = now_us() // SECOND * SECOND - 3 * HOUR
AROUND = {"from": iso(BEGIN - DAY), "to": iso(BEGIN + DAY)}
ANNA = {"Authorization": f"Bearer {ANNAS_KEY}"}
WHY = {"reason": "the driver charged 12 kWh"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def platform(api: Platform) -> AsyncIterator[Platform]:
    """With a sessions processor, a site with a price, and a station that knows its power."""
    past = iso(BEGIN - DAY)
    tariff = {"tariff_id": "day", "currency": "EUR", "price_per_kwh_milli": 50_000, "valid_from": past}
    await ok(await api.http.post("/tariffs", json=tariff), 201)
    site = {"site_id": "yard", "tariff_id": "day", "tariff_valid_from": past}
    await ok(await api.http.post("/sites", json=site), 201)
    shared = set(BusSettings.model_fields) & set(SessionsSettings.model_fields)
    settings = SessionsSettings.model_validate(api.settings.model_dump(include=shared))
    stop = asyncio.Event()
    task = asyncio.create_task(run_sessions(settings, Health(), stop))
    try:
        yield api
    finally:
        stop.set()
        await asyncio.gather(task, return_exceptions=True)


async def exchanged(platform: Platform, station_id: str, *exchanges: OcppCallReceived) -> None:
    for each in exchanges:
        record = msgspec.structs.replace(each, station_id=station_id, event_id=f"{station_id}{each.event_id}")
        await platform.emit("ocpp.transactions", station_id, record)


async def in_review(platform: Platform, station_id: str, stop_wh: int = 3_000_000) -> Json:
    """The charge record of an hour in which 10 kWh flow, and then 2,990 more than any connector gives: 605 in all."""
    station = {"site_id": "yard", "site_valid_from": iso(BEGIN - DAY)}
    await ok(await platform.http.put(f"/stations/{station_id}", json=station), 201)
    await exchanged(
        platform,
        station_id,
        start16(7, BEGIN, 0),
        meter16(7, BEGIN + HOUR // 2, 10_000),
        stop16(7, BEGIN + HOUR, stop_wh),
    )
    found = await cdr_of(platform, station_id, 1)

    async def session_stored() -> bool:
        # Topics come to ClickHouse in any order.
        return (await platform.http.get(f"/sessions/{found['session_id']}")).status_code == 200

    await until(session_stored)
    return found


async def cdr_of(platform: Platform, station_id: str, version: int) -> Json:
    async def there() -> Json | None:
        response = await platform.http.get("/cdrs", params={"station_id": station_id})
        # Until the sink has made the tables.
        page = {"items": []} if response.status_code == 503 else await ok(response)
        return next((item for item in page["items"] if item["version"] == version), None)

    found: Json = await until(there)
    return found


async def conclusion(platform: Platform, made: Json) -> Json:
    async def concluded() -> Json | None:
        listed = await ok(await platform.http.get(f"/sessions/{made['session_id']}/decisions"))
        return next(
            (
                d
                for d in listed["items"]
                if d["decision_id"] == made["decision_id"] and d["status"] != "pending"
            ),
            None,
        )

    found: Json = await until(concluded)
    return found


async def reviewed(platform: Platform) -> set[str]:
    report = await reconciled(platform, AROUND)
    return {item["session_id"] for item in report["review"]["items"]}


async def test_a_decision_from_the_report_to_the_next_report(platform: Platform) -> None:
    first = await in_review(platform, "d-1")
    session_id = first["session_id"]
    assert (first["billed_wh"], first["review_wh"], first["amount_minor"]) == (10_000, 595_000, 500)
    assert session_id in await reviewed(platform)
    path = f"/sessions/{session_id}/decisions"
    assert await ok(await platform.http.get(path)) == {"items": []}
    wanted = {"decision": "adjust", "billed_wh": 12_000, "version": 1, **WHY}
    response = await platform.http.post(path, json=wanted, headers={"Idempotency-Key": "k-1"})
    made = await ok(response, 202)
    assert response.headers["location"] == f"/api/v1{path}"
    assert (made["status"], made["decided_by"], made["station_id"]) == ("pending", "api", "d-1")
    concluded = await conclusion(platform, made)
    assert (concluded["status"], concluded["detail"], concluded["resulting_version"]) == ("applied", "", 2)
    cdr = await cdr_of(platform, "d-1", 2)
    assert (cdr["billed_wh"], cdr["review_wh"], cdr["written_off_wh"]) == (12_000, 0, 593_000)
    assert (cdr["amount_minor"], cdr["decision_id"], cdr["decided_by"]) == (
        600,
        made["decision_id"],
        "api",
    )
    assert cdr["review"] == first["review"]
    documents = await ok(await platform.http.get("/cdr-documents", params={"session_id": session_id}))
    assert [(d["type"], d["document"]["amount_minor"]) for d in documents["items"]] == [
        ("CdrIssued", 500),
        ("CdrCredited", -500),
        ("CdrIssued", 600),
    ]
    assert session_id not in await reviewed(platform)
    # The same request again is the same decision; another one under its key is none.
    again = await ok(await platform.http.post(path, json=wanted, headers={"Idempotency-Key": "k-1"}), 202)
    assert again == concluded
    other = wanted | {"billed_wh": 13_000}
    problem(await platform.http.post(path, json=other, headers={"Idempotency-Key": "k-1"}), 409)
    # Who decided wrongly decides again, about the version that there is now.
    problem(await platform.http.post(path, json=wanted), 409)
    accept = {"decision": "accept", "version": 2, **WHY}
    made = await ok(await platform.http.post(path, json=accept), 202)
    assert (await conclusion(platform, made))["resulting_version"] == 3
    assert (await cdr_of(platform, "d-1", 3))["billed_wh"] == 605_000
    assert [d["decision"] for d in (await ok(await platform.http.get(path)))["items"]] == ["adjust", "accept"]


async def test_the_operator_is_whose_key_it_is(platform: Platform) -> None:
    first = await in_review(platform, "d-2")
    path = f"/sessions/{first['session_id']}/decisions"
    wanted = {"decision": "write_off", "version": 1, "reason": "a test"}
    problem(await platform.http.post(path, json=wanted, headers={"Authorization": "Bearer wrong"}), 401)
    body = problem(await platform.http.post(path, json=wanted | {"decided_by": "ben"}, headers=ANNA), 422)
    assert body["errors"][0]["path"] == "/decided_by"
    made = await ok(await platform.http.post(path, json=wanted, headers=ANNA), 202)
    assert made["decided_by"] == "anna"
    assert (await conclusion(platform, made))["decided_by"] == "anna"
    cdr = await cdr_of(platform, "d-2", 2)
    assert (cdr["written_off_wh"], cdr["amount_minor"], cdr["lines"]) == (605_000, 0, [])


async def test_what_cannot_be_decided(platform: Platform) -> None:
    first = await in_review(platform, "d-3")
    path = f"/sessions/{first['session_id']}/decisions"
    good = {"decision": "accept", "version": 1, **WHY}
    problem(await platform.http.post("/sessions/nobody/decisions", json=good), 404)
    problem(await platform.http.get("/sessions/nobody/decisions"), 404)
    for change, status in (
        ({"version": 2}, 409),
        ({"version": 0}, 422),
        ({"version": "1"}, 422),
        ({"decision": "forgive"}, 422),
        ({"decision": "adjust"}, 422),
        ({"decision": "adjust", "billed_wh": -1}, 422),
        ({"decision": "adjust", "billed_wh": 1.5}, 422),
        ({"decision": "adjust", "billed_wh": 605_001}, 422),
        ({"billed_wh": 3_000_000}, 422),
        ({"reason": ""}, 422),
        ({"reason": "two\nlines"}, 422),
        ({"amount": 1}, 422),
    ):
        problem(await platform.http.post(path, json=good | change), status)
    assert await ok(await platform.http.get(path)) == {"items": []}

    await in_review(platform, "d-4", stop_wh=12_000)
    fine = await cdr_of(platform, "d-4", 1)
    body = problem(await platform.http.post(f"/sessions/{fine['session_id']}/decisions", json=good), 409)
    assert "not in review" in body["detail"]

    await exchanged(platform, "d-4", start16(8, BEGIN + 2 * HOUR, 12_000))

    async def running() -> Any:
        query = {"station_id": "d-4", "status": "running"}
        return (await ok(await platform.http.get("/sessions", params=query)))["items"]

    (session,) = await until(running)
    body = problem(await platform.http.post(f"/sessions/{session['session_id']}/decisions", json=good), 409)
    assert "runs" in body["detail"]


async def test_two_clerks_at_once(platform: Platform) -> None:
    """Both saw the same version: one of their decisions is applied, the other one is refused and says so."""
    first = await in_review(platform, "d-5")
    path = f"/sessions/{first['session_id']}/decisions"
    wishes = [{"decision": d, "version": 1, **WHY} for d in ("accept", "write_off")]
    made = [
        await ok(r, 202) for r in await asyncio.gather(*(platform.http.post(path, json=w) for w in wishes))
    ]
    fates = sorted([(c["status"], c["detail"]) for c in [await conclusion(platform, m) for m in made]])
    assert fates == [("applied", ""), ("refused", "other_version")]
    assert (await cdr_of(platform, "d-5", 2))["review_wh"] == 0


async def test_at_the_command_line(platform: Platform) -> None:
    first = await in_review(platform, "d-6")
    session = first["session_id"]
    code, out, err = await shell(
        platform, f"voltbus reconcile --from {iso(BEGIN - DAY)} --to {iso(BEGIN + DAY)}"
    )
    assert (code, err) == (0, "")
    assert session in out
    code, out, err = await shell(
        platform, f"voltbus sessions decide {session} adjust --kwh 12.5 --reason 'two cars'"
    )
    assert (code, err) == (0, "")
    assert "applied, the charge record is at version 2" in out
    await cdr_of(platform, "d-6", 2)
    code, out, _ = await shell(platform, f"voltbus sessions decisions {session}")
    assert code == 0
    for word in ("api", "two cars", "applied", "12.500"):
        assert word in out
    code, _, err = await shell(platform, f"voltbus sessions decide {session} accept --version 1 --reason r")
    assert code == 1
    assert "version 2" in err
    code, out, _ = await shell(
        platform, f"voltbus sessions decide {session} accept --reason mine", VOLTBUS_API_KEY=ANNAS_KEY
    )
    assert code == 0
    code, out, _ = await shell(platform, f"voltbus sessions decisions {session} --json")
    assert '"decided_by": "anna"' in out
    assert KEY not in out
