"""Live state, plans, campaigns and the event stream."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from libs.events.firmware import CampaignProgressed
from libs.events.load import Allocation, LoadPlanMade
from libs.events.telemetry import ConnectorState, StationStateChanged
from libs.runtime.clock import now_us
from libs.runtime.service import Health
from services.api.app import serving
from tests.integration.api_platform import (
    Json,
    Platform,
    api,
    ok,
    problem,
    same_answer,
    session_ended,
    session_started,
    stamp,
)
from tests.patience import WAIT_S, until

__all__ = ["api"]

pytestmark = pytest.mark.asyncio(loop_scope="module")


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
            return await same_answer(url, first)

    assert await until(in_history)
    listed = await ok(await api.http.get("/state", params={"connected": True, "limit": 1000}))
    assert first in listed["items"]


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
    assert [(each["station_id"], each["status"]) for each in stations["items"]] == [("fw-1", "PENDING")]


async def test_a_campaign_of_the_past_is_found_in_the_history(api: Platform) -> None:
    await api.http.put("/stations/fw-2", json={})
    wish = {"name": "old", "target_version": "1", "location": "ftp://example.org/x", "stations": ["fw-2"]}
    campaign = await ok(await api.http.post("/campaigns", json=wish), 201)
    settings = api.settings.model_copy(update={"api_port": 0})
    async with serving(settings, Health()) as other:
        url = f"http://127.0.0.1:{other.port}/api/v1/campaigns/{campaign['campaign_id']}"
        assert await same_answer(url, campaign)


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
    started = [session_started("sse-1", f"sse-session-{n}", now_us()) for n in range(3)]
    async with api.http.stream("GET", "/stream", params=params) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = frames(response)
        assert (await anext(events))["comment"] == "connected"
        await api.emit("sessions.events", "sse-2", session_started("sse-2", "other", now_us()))
        await api.emit("sessions.events", "sse-1", session_ended(started[0], now_us()))
        await api.emit("sessions.events", "sse-1", started[0])
        heartbeat = False
        async with asyncio.timeout(WAIT_S):
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
        asyncio.timeout(WAIT_S),
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
        asyncio.timeout(WAIT_S),
    ):
        async for each in frames(response):
            if "event" in each:
                assert each["event"] == "gap"
                break
