"""The worklist of the API, on a real platform."""

import pytest

from libs.events.firmware import CampaignProgressed
from libs.events.registry import SiteRegistered
from libs.events.telemetry import ConnectorState, StationStateChanged
from libs.runtime.clock import now_us
from tests.integration.api_platform import Json, Platform, api, ok, problem, stamp
from tests.patience import until

__all__ = ["api"]

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_causes_of_now_and_of_the_past_are_listed_together(api: Platform) -> None:
    await api.emit("registry.sites", "w", SiteRegistered(**stamp(), site_id="w", timezone="UTC"))
    await ok(await api.http.put("/stations/work-1", json={}), 201)

    async def at_site() -> bool:
        answer = await api.http.patch("/stations/work-1", json={"site_id": "w"})
        return answer.status_code == 200

    await until(at_site)
    connector = ConnectorState(evse_id=1, connector_id=1, status="Faulted", error_code="<b>", since=now_us())
    state = StationStateChanged(**stamp(), station_id="work-1", connected=False, connectors=(connector,))
    await api.emit("telemetry.health", "work-1", state)
    progress = CampaignProgressed(
        **stamp(), campaign_id="c-1", name="spring", target_version="2", total=3, pending=1, installed=1,
        failed=1, finished=False,
    )  # fmt: skip
    await api.emit("firmware.campaigns", "c-1", progress)

    async def listed() -> Json | None:
        found: Json = await ok(await api.http.get("/worklist"))
        titles = {each["kind"]: each for each in found["items"]}
        ready = {"offline", "faulted", "campaign"} <= set(titles) and "w (1/1)" in {
            each["title"] for each in found["items"]
        }
        return titles if found["complete"] and ready else None

    entries = await until(listed)
    assert entries["faulted"]["title"] == "<b>"
    assert entries["faulted"]["examples"][0]["station_id"] == "work-1"
    assert (entries["campaign"]["title"], entries["campaign"]["count"]) == ("spring", 1)
    assert entries["campaign"]["examples"][0]["campaign_id"] == "c-1"
    only = await ok(await api.http.get("/worklist", params={"kind": "faulted"}))
    assert {each["kind"] for each in only["items"]} == {"faulted"}

    states = await ok(await api.http.get("/state", params={"site_id": "w"}))
    assert [each["station_id"] for each in states["items"]] == ["work-1"]


@pytest.mark.parametrize(
    "query",
    [
        {"kind": "nonsense"},
        {"since": "2026-01-01T00:00:00Z", "until": "2025-01-01T00:00:00Z"},
        {"since": "2020-01-01T00:00:00Z"},
        {"since": "yesterday"},
    ],
)
async def test_what_cannot_be_listed_is_refused(api: Platform, query: Json) -> None:
    problem(await api.http.get("/worklist", params=query), 422)
