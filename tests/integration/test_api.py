"""The API over real HTTP, on real Kafka, registry and ClickHouse; the sink fills the history."""

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import pytest_asyncio

from libs.bus.admin import apply_contract, delete_topics
from libs.bus.bus import Bus, connect
from libs.bus.producer import Producer
from libs.bus.tables import TableSet
from libs.bus.tail import Tail
from libs.events.commands import CommandConcluded, Fate, RequestCommand
from libs.events.firmware import CampaignProgressed
from libs.events.ids import derive_id, new_id
from libs.events.load import Allocation, LoadPlanMade
from libs.events.ocpp_log import CallError, StationLocated
from libs.events.record import Record
from libs.events.registry import StationRegistered
from libs.events.sessions import CdrIssued, CdrLine, SessionEnded, SessionStarted
from libs.events.telemetry import ConnectorState, StationStateChanged
from libs.runtime.clock import SECOND, now_us
from libs.runtime.service import Health
from libs.testing.localstack import Endpoints
from services.api.app import serving
from services.api.settings import ApiSettings
from services.sink.app import run as run_sink
from services.sink.settings import SinkSettings

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "an-operators-key-0123456789"
DEADLINE_S = 30.0

Json = dict[str, Any]


class Platform(SimpleNamespace):
    bus: Bus
    producer: Producer
    http: httpx.AsyncClient
    settings: ApiSettings
    port: int

    async def emit(self, topic: str, key: str, record: Record) -> None:
        await self.producer.send_and_wait(topic, key, record)


def stamp(at: int | None = None) -> Json:
    event_id = new_id()
    now = now_us() if at is None else at
    return {"event_id": event_id, "occurred_at": now, "recorded_at": now, "cause_id": event_id}


async def until(fact: Callable[[], Awaitable[Any]]) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while not (found := await fact()):
        assert time.monotonic() < deadline, "not so in time"
        await asyncio.sleep(0.05)
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(stack: Endpoints) -> AsyncIterator[Platform]:
    name = f"api{secrets.token_hex(3)}"
    where = {
        "kafka": stack.bootstrap,
        "registry_url": stack.registry_url,
        "namespace": name,
        "partitions": 2,
        "slots": 2,
        "clickhouse_host": stack.clickhouse_host,
        "clickhouse_port": stack.clickhouse_port,
        "clickhouse_database": name,
    }
    settings = ApiSettings.model_validate(
        {
            **where,
            "api_key": KEY,
            "api_port": 0,
            "settle_s": 0.2,
            "state_refresh_s": 0.5,
            "stream_heartbeat_s": 1,
        }
    )
    await apply_contract(settings)
    stop = asyncio.Event()
    sink = asyncio.create_task(
        run_sink(SinkSettings.model_validate({**where, "sink_interval_ms": 50}), Health(), stop)
    )
    try:
        async with (
            connect(settings) as bus,
            serving(settings, Health()) as running,
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{running.port}/api/v1",
                headers={"Authorization": f"Bearer {KEY}"},
                timeout=DEADLINE_S,
            ) as http,
        ):
            producer = Producer(bus, "test")
            await producer.start()
            yield Platform(bus=bus, producer=producer, http=http, settings=settings, port=running.port)
            await producer.stop()
    finally:
        stop.set()
        await asyncio.gather(sink, return_exceptions=True)
        await delete_topics(settings, [*bus.contract.topics, *(f"{t}.dead" for t in bus.contract.topics)])


async def ok(response: httpx.Response, status: int = 200) -> Any:
    assert response.status_code == status, response.text
    return response.json() if response.content else None


def problem(response: httpx.Response, status: int) -> Json:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: Json = response.json()
    assert body["status"] == status
    assert body["detail"]
    return body


# --- the frame


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer wrong", f"Basic {KEY}", f"Bearer {KEY}x", "Bearer \xff"]
)
async def test_without_the_key_nothing_is_told(api: Platform, header: str | None) -> None:
    headers = [] if header is None else [(b"Authorization", header.encode("latin-1"))]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{api.port}") as http:
        for path in ("/api/v1/stations", "/api/v1/stream", "/api/v1/nothing", "/", "/api/v1/stations/"):
            response = await http.get(path, headers=headers)
            problem(response, 401)
            assert response.headers["www-authenticate"].startswith("Bearer")
        problem(await http.post("/api/v1/stations", headers=headers, content=b"{"), 401)


async def test_health_metrics_and_openapi_need_no_key(api: Platform) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{api.port}") as http:
        assert (await http.get("/health/live")).json() == {"status": "ok", "failing": []}
        assert (await http.get("/health/ready")).json() == {"status": "ok", "failing": []}
        assert "voltbus_api_request_seconds" in (await http.get("/metrics")).text
        document = (await http.get("/api/v1/openapi.json")).json()
    assert document["openapi"].startswith("3.")
    assert {"get", "put", "patch", "delete"} <= document["paths"]["/api/v1/stations/{station_id}"].keys()
    assert document["components"]["securitySchemes"]


async def test_errors_are_problems_with_a_path(api: Platform) -> None:
    problem(await api.http.get("/nothing"), 404)
    problem(await api.http.put("/stations"), 405)
    json_type = {"Content-Type": "application/json"}
    body = problem(await api.http.post("/stations", content=b"{nope", headers=json_type), 422)
    assert "not JSON" in body["errors"][0]["detail"]
    problem(await api.http.post("/stations", content=b'{"station_id": NaN}', headers=json_type), 422)
    body = problem(await api.http.post("/stations", content=b"{}"), 422)
    assert "Content-Type" in body["detail"]
    body = problem(await api.http.post("/stations", json={"station_id": "a", "phases": 2, "x": 1}), 422)
    assert {fault["path"] for fault in body["errors"]} == {"/phases", "/x"}
    body = problem(await api.http.get("/stations", params={"sort": "x", "limit": 0}), 422)
    assert {fault["path"] for fault in body["errors"]} == {"sort", "limit"}
    problem(await api.http.get("/stations", params={"cursor": "!"}), 422)
    problem(await api.http.post("/stations", content=b" " * (2 << 20)), 413)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(32):
            yield b" " * 65536

    with contextlib.suppress(httpx.WriteError):  # the server may close before it has read all
        problem(await api.http.post("/stations", content=chunks()), 413)


# --- the registry


async def test_a_station_is_created_read_changed_and_deleted(api: Platform) -> None:
    http = api.http
    created = await http.post("/stations", json={"station_id": "CP-Älpha 1", "name": '<b>North</b>, "1"'})
    station = await ok(created, 201)
    assert station["station_id"] == "cp-älpha 1"
    assert station["name"] == '<b>North</b>, "1"'
    path = created.headers["location"]
    origin = f"http://127.0.0.1:{api.port}"
    assert await ok(await http.get(origin + path)) == station
    assert await ok(await http.get("/stations/CP-ÄLPHA 1")) == station

    problem(await http.post("/stations", json={"station_id": "cp-älpha 1"}), 409)
    changed = await ok(await http.patch("/stations/cp-älpha 1", json={"boot_status": "Pending"}))
    assert changed == station | {"boot_status": "Pending", "updated_at": changed["updated_at"]}
    same = await ok(await http.patch("/stations/cp-älpha 1", json={"boot_status": "Pending"}))
    assert same["updated_at"] == changed["updated_at"]  # nothing to write
    replaced = await ok(await http.put("/stations/cp-älpha 1", json={"evses": 2}))
    assert (replaced["boot_status"], replaced["evses"], replaced["name"]) == ("Accepted", 2, "")
    await ok(await http.put("/stations/Another", json={}), 201)

    assert (await http.delete("/stations/CP-älpha 1")).status_code == 204
    problem(await http.get("/stations/cp-älpha 1"), 404)
    problem(await http.delete("/stations/cp-älpha 1"), 404)
    problem(await http.patch("/stations/cp-älpha 1", json={}), 404)

    tables = TableSet(api.bus, ("registry.stations",))
    await tables.start()
    assert "cp-älpha 1" not in tables["registry.stations"]
    assert isinstance(tables["registry.stations"]["another"], StationRegistered)
    await tables.stop()


async def test_lists_are_filtered_and_paged(api: Platform) -> None:
    for number in range(5):
        await ok(await api.http.put(f"/tokens/page-{number}", json={"driver": f"D{number}"}), 201)
    seen: list[str] = []
    params: dict[str, Any] = {"limit": 2, "q": "PAGE-"}
    while True:
        page = await ok(await api.http.get("/tokens", params=params))
        seen += [token["id_token"] for token in page["items"]]
        if page["next_cursor"] is None:
            break
        params["cursor"] = page["next_cursor"]
    assert seen == [f"page-{number}" for number in range(5)]
    await ok(await api.http.patch("/tokens/page-3", json={"status": "Blocked"}))
    blocked = await ok(await api.http.get("/tokens", params={"status": "Blocked", "q": "page-"}))
    assert [token["id_token"] for token in blocked["items"]] == ["page-3"]


async def test_a_token_may_hold_a_slash(api: Platform) -> None:
    token = {"id_token": "DE/8ab", "valid_until": "2030-01-01T00:00:00+01:00", "group_id": "G1"}
    created = await ok(await api.http.post("/tokens", json=token), 201)
    assert created["valid_until"] == "2029-12-31T23:00:00Z"
    assert await ok(await api.http.get("/tokens/de%2F8AB")) == created
    assert (await api.http.delete("/tokens/DE/8ab")).status_code == 204


async def test_sites_and_tariffs_are_assigned_by_time(api: Platform) -> None:
    http = api.http
    past = "2026-01-01T00:00:00Z"
    price = {"currency": "EUR", "price_per_kwh_milli": 45_670}
    tariff = await ok(await http.post("/tariffs", json={"tariff_id": "T1", "valid_from": past, **price}), 201)
    assert (tariff["version"], len(tariff["versions"])) == (1, 1)
    body = problem(await http.post("/sites", json={"site_id": "S1", "tariff_id": "T2"}), 422)
    assert body["errors"][0]["path"] == "/tariff_id"
    site = await ok(
        await http.post("/sites", json={"site_id": "S1", "tariff_id": "T1", "tariff_valid_from": past}), 201
    )
    assert site["tariff_id"] == "T1"
    await ok(await http.put("/sites/S2", json={"limit_ma": 63_000, "timezone": "Europe/Berlin"}), 201)
    problem(await http.put("/sites/S2", json={"timezone": "Europe/../etc"}), 422)

    body = {"station_id": "MOVER", "site_id": "S1", "site_valid_from": past}
    station = await ok(await http.post("/stations", json=body), 201)
    assert station["site_id"] == "S1"
    moved = await ok(await http.patch("/stations/mover", json={"site_id": "S2"}))
    assert [each["id"] for each in moved["sites"]] == ["S1", "S2"]
    assert moved["site_id"] == "S1"  # until every service knows

    async def at_s2() -> bool:
        found = await ok(await http.get("/stations", params={"site_id": "S2"}))
        return [each["station_id"] for each in found["items"]] == ["mover"]

    await until(at_s2)
    again = await ok(await http.patch("/stations/mover", json={"site_id": "S2", "name": "x"}))
    assert again["sites"] == moved["sites"]
    problem(await http.patch("/stations/mover", json={"site_id": "S2", "site_valid_from": past}), 409)
    problem(await http.delete("/sites/S2"), 409)
    assert (await http.delete("/sites/S1")).status_code == 204
    rewritten = {"sites": [{"id": "S2", "valid_from": past}]}
    assert (await ok(await http.patch("/stations/mover", json=rewritten)))["sites"] == rewritten["sites"]

    dearer = await ok(await http.patch("/tariffs/T1", json={"price_per_kwh_milli": 50_000}))
    assert [v["version"] for v in dearer["versions"]] == [1, 2]
    assert dearer["versions"][0] == tariff["versions"][0]
    problem(await http.patch("/tariffs/T1", json={"price_per_kwh_milli": 1, "valid_from": past}), 409)
    await ok(await http.patch("/sites/S2", json={"tariff_id": "T1"}))
    problem(await http.delete("/tariffs/T1"), 409)


async def test_concurrent_changes_of_one_entry_lose_nothing(api: Platform) -> None:
    await ok(await api.http.put("/tariffs/busy", json={"currency": "EUR", "price_per_kwh_milli": 1}), 201)
    moments = [f"20{30 + n}-01-01T00:00:00Z" for n in range(8)]
    answers = [
        await api.http.patch("/tariffs/busy", json={"price_per_kwh_milli": 2 + n, "valid_from": moment})
        for n, moment in enumerate(moments)
    ]
    names = await asyncio.gather(
        api.http.patch("/tariffs/busy", json={"name": "n"}),
        api.http.patch(
            "/tariffs/busy", json={"price_per_kwh_milli": 99, "valid_from": "2050-01-01T00:00:00Z"}
        ),
    )
    for answer in (*answers, *names):
        await ok(answer)
    tariff = await ok(await api.http.get("/tariffs/busy"))
    assert (tariff["name"], len(tariff["versions"])) == ("n", 10)


# --- commands


async def located(api: Platform, station_id: str, version: str = "ocpp1.6") -> None:
    record = StationLocated(
        **stamp(),
        station_id=station_id,
        edge_id="edge-1",
        slot=0,
        connection_epoch=1,
        version=version,
        connected=True,
    )
    await api.emit("edge.connections", station_id, record)

    async def known() -> bool:
        return (await api.http.get(f"/stations/{station_id}/state")).status_code == 200

    await until(known)


def concluded(request: RequestCommand, fate: Fate = Fate.ACCEPTED, **changes: Any) -> CommandConcluded:
    fields = stamp() | {
        "event_id": derive_id(request.event_id, "concluded"),
        "station_id": request.station_id,
        "command_id": request.event_id,
        "action": request.action,
        "dialect": request.dialect,
        "fate": fate,
        "reason": "",
        "result": '{"status":"Accepted"}',
        "requested_at": request.recorded_at,
        "requested_by": request.requested_by,
        "attempts": 1,
    }
    return CommandConcluded(**(fields | changes))


@contextlib.asynccontextmanager
async def ledger(api: Platform, *answers: Json) -> AsyncIterator[list[RequestCommand]]:
    """Concludes the commands to come, one with each of `answers`."""
    seen: list[RequestCommand] = []

    async def conclude(tail: Tail) -> None:
        waiting = list(answers)
        async for message in tail:
            if isinstance(message.record, RequestCommand):
                seen.append(message.record)
                if waiting:
                    outcome = concluded(message.record, **waiting.pop(0))
                    await api.emit("commands.outcomes", outcome.station_id, outcome)

    async with Tail(api.bus, "commands.requested") as tail:
        task = asyncio.create_task(conclude(tail))
        try:
            yield seen
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_a_command_waits_for_its_outcome(api: Platform) -> None:
    await located(api, "cmd-1")
    wish = {"action": "RemoteStartTransaction", "payload": {"connectorId": 1, "idTag": "ABC"}, "wait_s": 20}
    error = {
        "fate": Fate.FAILED,
        "result": None,
        "reason": "CALLERROR",
        "error": CallError(code="InternalError", details="{}"),
    }
    async with ledger(api, {}, error) as seen:
        response = await api.http.post("/stations/CMD-1/commands", json=wish | {"requested_by": "Ann"})
        command = await ok(response)
        assert command["status"] == "ACCEPTED"
        assert command["result"] == {"status": "Accepted"}
        assert command["payload"] == wish["payload"]
        origin = f"http://127.0.0.1:{api.port}"
        assert await ok(await api.http.get(origin + response.headers["location"])) == command
        failed = await ok(await api.http.post("/stations/cmd-1/commands", json=wish))
        assert (failed["status"], failed["error"]["code"]) == ("FAILED", "InternalError")
    assert [(each.station_id, each.action, each.dialect.value) for each in seen] == [
        ("cmd-1", "RemoteStartTransaction", "OCPP")
    ] * 2
    assert json.loads(seen[0].payload) == wish["payload"]
    assert seen[0].requested_by == "Ann"


async def test_a_command_is_pending_until_its_outcome(api: Platform) -> None:
    await located(api, "cmd-2", "ocpp2.0.1")
    wish = {"action": "Reset", "payload": {"type": "Immediate"}}
    async with ledger(api) as seen:
        response = await api.http.post("/stations/cmd-2/commands", json=wish)
        command = await ok(response, 202)
        assert command["status"] == "PENDING"
        assert response.headers["location"].endswith(command["command_id"])
        late = await ok(await api.http.post("/stations/cmd-2/commands", json=wish | {"wait_s": 0.1}), 202)
        assert late["status"] == "PENDING"

        async def both() -> bool:
            return len(seen) == 2

        await until(both)
    request = next(each for each in seen if each.event_id == command["command_id"])
    outcome = concluded(request, Fate.EXPIRED, result=None, reason="never connected")
    await api.emit("commands.outcomes", "cmd-2", outcome)

    async def expired() -> bool:
        found = await ok(await api.http.get(f"/commands/{command['command_id']}"))
        return bool(found["status"] == "EXPIRED" and found["reason"] == "never connected")

    await until(expired)
    problem(await api.http.get(f"/commands/{new_id()}"), 404)
    problem(await api.http.get("/commands/1"), 422)


async def test_a_command_of_another_process_is_found_in_the_history(api: Platform) -> None:
    await located(api, "cmd-3")
    request = RequestCommand(
        **stamp(),
        station_id="cmd-3",
        action="SetLimit",
        payload='{"evse_id":1}',
        dialect="VOLTBUS",  # type: ignore[arg-type]
        requested_by="load",
        expires_at=now_us() + SECOND,
    )
    await api.emit("commands.requested", "cmd-3", request)

    async def pending() -> Json | None:
        response = await api.http.get(f"/commands/{request.event_id}")
        return None if response.status_code == 404 else await ok(response)

    found = await until(pending)
    assert (found["status"], found["payload"]) == ("PENDING", {"evse_id": 1})
    assert found["requested_by"] == "load"


async def test_an_idempotency_key_makes_one_command(api: Platform) -> None:
    await located(api, "cmd-4")
    wish = {"action": "ClearCache", "wait_s": 20}
    headers = {"Idempotency-Key": "job-1"}
    async with ledger(api, {}) as seen:
        first = await ok(await api.http.post("/stations/cmd-4/commands", json=wish, headers=headers))
        second = await ok(await api.http.post("/stations/cmd-4/commands", json=wish, headers=headers))
        assert second == first
        other = {"action": "Reset", "payload": {"type": "Soft"}}
        problem(await api.http.post("/stations/cmd-4/commands", json=other, headers=headers), 422)
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("station", "wish", "status", "path"),
    [
        ("cmd-5", {"action": "RemoteStartTransaction", "payload": {"idTag": 5}}, 422, "/payload/idTag"),
        ("cmd-5", {"action": "RemoteStartTransaction"}, 422, "/payload"),
        ("cmd-5", {"action": "RequestStartTransaction"}, 422, "/action"),
        ("cmd-5", {"action": "BootNotification"}, 422, "/action"),
        ("cmd-5", {"command": "Reset", "payload": {"kind": "soggy"}}, 422, "/payload/kind"),
        ("cmd-5", {"command": "RemoteStop", "payload": {"transaction_id": "abc"}}, 422, "/payload"),
        ("cmd-5", {"command": "Dance"}, 422, "/command"),
        ("cmd-5", {}, 422, ""),
        ("cmd-5", {"action": "ClearCache", "version": "2.1"}, 409, "/version"),
        ("cmd-5", {"action": "ClearCache", "ttl_s": 0}, 422, "/ttl_s"),
        ("never", {"action": "ClearCache"}, 409, "/version"),
        ("nobody", {"action": "ClearCache", "version": "1.6"}, 404, None),
    ],
)
async def test_a_wrong_command_is_refused_with_the_path(
    api: Platform, station: str, wish: Json, status: int, path: str | None
) -> None:
    await located(api, "cmd-5")
    await api.http.put("/stations/never", json={})
    body = problem(await api.http.post(f"/stations/{station}/commands", json=wish), status)
    assert path is None or body["errors"][0]["path"] == path


async def test_a_station_that_never_connected_takes_commands_of_a_named_version(api: Platform) -> None:
    await api.http.put("/stations/never", json={})
    wish = {"action": "ClearCache", "version": "1.6", "ttl_s": 3600}
    await ok(await api.http.post("/stations/never/commands", json=wish), 202)
    free = {"command": "Reset", "payload": {"kind": "soft"}}
    command = await ok(await api.http.post("/stations/never/commands", json=free), 202)
    assert command["dialect"] == "VOLTBUS"


# --- live


async def test_state_comes_from_the_log_and_from_the_history(api: Platform) -> None:
    connector = ConnectorState(
        evse_id=1, connector_id=1, status="Charging", error_code="NoError", since=now_us()
    )
    state = StationStateChanged(
        **stamp(), station_id="st-1", connected=True, model="M", connectors=(connector,)
    )
    await api.emit("telemetry.health", "st-1", state)

    async def shown() -> Json | None:
        response = await api.http.get("/stations/ST-1/state")
        return response.json() if response.status_code == 200 else None

    first = await until(shown)
    assert (first["model"], first["connectors"][0]["status"], first["registered"]) == ("M", "Charging", False)

    async def in_history() -> bool:
        settings = api.settings.model_copy(update={"api_port": 0})
        async with serving(settings, Health()) as other:
            url = f"http://127.0.0.1:{other.port}/api/v1/stations/st-1/state"
            return await _same(url, first)

    assert await until(in_history)
    listed = await ok(await api.http.get("/state", params={"connected": True, "limit": 1000}))
    assert first in listed["items"]


async def _same(url: str, expected: Json) -> bool:
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {KEY}"}) as http:

        async def same() -> bool:
            response = await http.get(url)
            return response.status_code == 200 and response.json() == expected

        return bool(await until(same))


async def test_plans_and_campaigns(api: Platform) -> None:
    problem(await api.http.get("/sites/nowhere/load"), 404)
    share = Allocation(station_id="st-2", evse_id=1, transaction_id="7", current_ma=16_000)
    for number in (1, 2):
        plan = LoadPlanMade(
            **stamp(), site_id="L1", plan_no=number, limit_ma=32_000, allocations=(share,), waiting=0
        )
        await api.emit("load.plans", "L1", plan)

    async def second() -> bool:
        response = await api.http.get("/sites/L1/load")
        return response.status_code == 200 and response.json()["plan_no"] == 2

    await until(second)

    await api.http.put("/stations/fw-1", json={})
    wish = {
        "name": "spring",
        "target_version": "2.0",
        "location": "https://example.org/fw.bin",
        "stations": ["FW-1", "fw-1"],
    }
    body = problem(await api.http.post("/campaigns", json=wish | {"stations": ["fw-1", "fw-9"]}), 422)
    assert body["errors"][0]["path"] == "/stations/1"
    problem(await api.http.post("/campaigns", json=wish | {"location": "javascript:alert(1)"}), 422)
    headers = {"Idempotency-Key": "spring"}
    campaign = await ok(await api.http.post("/campaigns", json=wish, headers=headers), 201)
    assert (campaign["stations"], campaign["pending"]) == (["fw-1"], 1)
    assert await ok(await api.http.post("/campaigns", json=wish, headers=headers), 201) == campaign
    path = f"/campaigns/{campaign['campaign_id']}"
    assert await ok(await api.http.get(path)) == campaign
    progress = CampaignProgressed(
        **stamp(),
        campaign_id=campaign["campaign_id"],
        name="spring",
        target_version="2.0",
        total=1,
        pending=0,
        installed=1,
        failed=0,
        finished=True,
    )
    await api.emit("firmware.campaigns", progress.campaign_id, progress)

    async def finished() -> bool:
        return bool((await ok(await api.http.get(path)))["finished"])

    await until(finished)
    listed = await ok(await api.http.get("/campaigns"))
    assert [each["installed"] for each in listed["items"]] == [1]
    stations = await ok(await api.http.get(f"{path}/stations"))
    assert [(each["station_id"], each["status"]) for each in stations] == [("fw-1", "PENDING")]


async def test_a_campaign_of_the_past_is_found_in_the_history(api: Platform) -> None:
    await api.http.put("/stations/fw-2", json={})
    wish = {"name": "old", "target_version": "1", "location": "ftp://example.org/x", "stations": ["fw-2"]}
    campaign = await ok(await api.http.post("/campaigns", json=wish), 201)
    settings = api.settings.model_copy(update={"api_port": 0})
    async with serving(settings, Health()) as other:
        url = f"http://127.0.0.1:{other.port}/api/v1/campaigns/{campaign['campaign_id']}"
        assert await _same(url, campaign)


# --- the stream


async def frames(response: httpx.Response) -> AsyncIterator[Json]:
    frame: Json = {}
    async for line in response.aiter_lines():
        if not line:
            if frame:
                yield frame
            frame = {}
        else:
            name, _, value = line.partition(":")
            frame[name or "comment"] = value.strip()


async def test_the_stream_sends_what_is_asked_for_and_resumes(api: Platform) -> None:
    problem(await api.http.get("/stream", params={"type": "Nonsense"}), 422)
    params = {"type": ["SessionStarted", "billing.cdrs"], "station_id": ["SSE-1"]}
    started = [_started("sse-1", f"sse-session-{n}", now_us()) for n in range(3)]
    async with api.http.stream("GET", "/stream", params=params) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = frames(response)
        assert (await anext(events))["comment"] == "connected"
        await api.emit("sessions.events", "sse-2", _started("sse-2", "other", now_us()))
        await api.emit("sessions.events", "sse-1", _ended(started[0], now_us()))
        await api.emit("sessions.events", "sse-1", started[0])
        heartbeat = False
        async with asyncio.timeout(DEADLINE_S):
            async for frame in events:
                if "event" in frame:
                    break
            async for other in events:
                heartbeat = other.get("comment") == "heartbeat"
                break
        assert frame["event"] == "SessionStarted"
        assert heartbeat
    data = json.loads(frame["data"])
    assert (data["topic"], data["type"]) == ("sessions.events", "SessionStarted")
    assert data["data"]["session_id"] == "sse-session-0"
    assert data["data"]["started_at"].endswith("Z")

    for record in started[1:]:
        await api.emit("sessions.events", "sse-1", record)
    async with (
        api.http.stream("GET", "/stream", params=params, headers={"Last-Event-ID": frame["id"]}) as response,
        asyncio.timeout(DEADLINE_S),
    ):
        got = []
        async for each in frames(response):
            assert each.get("event") != "gap"
            if "event" in each:
                got.append(json.loads(each["data"])["data"]["session_id"])
            if len(got) == 2:
                break
    assert got == ["sse-session-1", "sse-session-2"]

    async with (
        api.http.stream("GET", "/stream", headers={"Last-Event-ID": "elsewhere-1"}) as response,
        asyncio.timeout(DEADLINE_S),
    ):
        async for each in frames(response):
            if "event" in each:
                assert each["event"] == "gap"
                break


# --- sessions and charge records


def _started(station_id: str, session_id: str, at: int, token: str = "card") -> SessionStarted:
    return SessionStarted(
        **stamp(at),
        station_id=station_id,
        session_id=session_id,
        evse_id=1,
        transaction_id="1",
        site_id="S9",
        id_token=token,
        version="ocpp1.6",
        started_at=at,
        meter_start_wh=100,
    )


def _ended(started: SessionStarted, at: int) -> SessionEnded:
    return SessionEnded(
        **stamp(at),
        station_id=started.station_id,
        session_id=started.session_id,
        evse_id=1,
        transaction_id="1",
        site_id=started.site_id,
        id_token=started.id_token,
        started_at=started.started_at,
        ended_at=at,
        meter_start_wh=100,
        meter_stop_wh=1_100,
        energy_wh=1_000,
        reason="Local",
    )


def _cdr(ended: SessionEnded, version: int = 1) -> CdrIssued:
    fields = {name: getattr(ended, name) for name in ended.__struct_fields__}
    line = CdrLine(kind="energy", quantity=1_000, unit="Wh", price_milli=45_670, amount_minor=46)
    return CdrIssued(
        **(fields | stamp(ended.recorded_at)),
        cdr_id=f"cdr-{ended.session_id}",
        version=version,
        tariff_id="T1",
        tariff_version=1,
        currency="EUR",
        amount_minor=45 + version,
        lines=(line,),
    )


async def test_sessions_and_charge_records_newest_first(api: Platform) -> None:
    base = now_us() - 3600 * SECOND
    starts = [_started(f"h-{n % 2}", f"session-{n:02}", base + n * SECOND, f"card{n % 3}") for n in range(20)]
    for start in starts:
        await api.emit("sessions.events", start.station_id, start)
    for start in starts[:10]:
        end = _ended(start, start.started_at + SECOND)
        await api.emit("sessions.events", start.station_id, end)
        for version in (1, 2):
            await api.emit("billing.cdrs", start.station_id, _cdr(end, version))

    async def whole() -> bool:
        found = await ok(await api.http.get("/sessions", params={"site_id": "S9", "limit": 1000}))
        bills = await ok(await api.http.get("/cdrs", params={"limit": 1000}))
        ended = [s for s in found["items"] if s["status"] == "ended" and s["station_id"].startswith("h-")]
        return len(ended) == 10 and [bill["version"] for bill in bills["items"]] == [2] * 10

    await until(whole)

    async def walk(path: str, key: str, **params: Any) -> list[str]:
        seen: list[str] = []
        while True:
            page = await ok(await api.http.get(path, params=params))
            seen += [row[key] for row in page["items"]]
            if page["next_cursor"] is None:
                return seen
            assert len(page["items"]) == params["limit"]
            params["cursor"] = page["next_cursor"]

    before = _iso(base + 20 * SECOND)
    newest_first = [start.session_id for start in reversed(starts)]
    assert await walk("/sessions", "session_id", limit=3, until=before) == newest_first
    assert await walk("/sessions", "session_id", limit=3, station_id="H-1") == newest_first[::2]
    assert await walk("/sessions", "session_id", limit=4, id_token="CARD0", until=before) == [
        f"session-{n:02}" for n in range(18, -1, -3)
    ]
    running = await walk("/sessions", "session_id", limit=7, status="running", until=before)
    assert running == newest_first[:10]
    some = await walk(
        "/sessions", "session_id", limit=5, since=_iso(base + 3 * SECOND), until=_iso(base + 6 * SECOND)
    )
    assert some == ["session-05", "session-04", "session-03"]
    assert await walk("/cdrs", "cdr_id", limit=4) == [f"cdr-session-{n:02}" for n in range(9, -1, -1)]
    assert await walk("/cdrs", "cdr_id", limit=4, session_id="session-04") == ["cdr-session-04"]
    assert await walk("/sessions", "session_id", limit=4, id_token="' OR 1 --\\") == []

    session = await ok(await api.http.get("/sessions/session-00"))
    assert (session["energy_wh"], session["meter_start_wh"], session["status"]) == (1_000, 100, "ended")
    cdr = await ok(await api.http.get("/cdrs/cdr-session-00"))
    assert (cdr["amount_minor"], cdr["lines"][0]["price_milli"]) == (47, 45_670)
    problem(await api.http.get("/sessions/' OR '1'='1"), 404)
    problem(await api.http.get("/cdrs/none"), 404)
    problem(await api.http.get("/sessions", params={"cursor": "WyJhIl0"}), 422)


def _iso(micros: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(micros // SECOND)) + f".{micros % SECOND:06}Z"


async def test_without_clickhouse_history_is_unavailable_and_the_rest_works(api: Platform) -> None:
    settings = api.settings.model_copy(update={"api_port": 0, "clickhouse_port": 1})
    async with (
        serving(settings, Health()) as other,
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{other.port}/api/v1", headers={"Authorization": f"Bearer {KEY}"}
        ) as http,
    ):
        response = await http.get("/sessions")
        assert "ClickHouse" in problem(response, 503)["detail"]
        assert response.headers["retry-after"]
        problem(await http.get(f"/commands/{new_id()}"), 503)
        await ok(await http.put("/stations/without", json={}), 201)
        await ok(await http.get("/state"))
        headers = {"Idempotency-Key": "k"}
        wish = {"action": "ClearCache", "version": "1.6"}
        await ok(await http.post("/stations/without/commands", json=wish, headers=headers), 202)
