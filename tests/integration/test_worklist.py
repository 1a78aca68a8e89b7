"""The worklist of the API, on a real platform."""

import pytest

from libs.events.commands import CommandDialect, Fate, RequestCommand
from libs.events.firmware import CampaignProgressed
from libs.events.registry import Assignment, SiteRegistered, StationRegistered
from libs.events.telemetry import ConnectorState, StationStateChanged
from libs.runtime.clock import now_us
from tests.integration.api_platform import Json, Platform, api, concluded, ok, problem, stamp
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


async def test_who_has_a_role_in_one_organisation_is_shown_only_what_is_of_it(api: Platform) -> None:
    for name in ("mine", "other"):
        await ok(await api.http.put(f"/organisations/{name}", json={}), 201)
        site = SiteRegistered(**stamp(), site_id=f"{name}-site", timezone="UTC", organisation_id=name)
        await api.emit("registry.sites", site.site_id, site)
        for station_id, sites in (
            (f"{name}-at-site", (Assignment(id=site.site_id, valid_from=0),)),
            (f"{name}-at-none", ()),
        ):
            station = StationRegistered(
                **stamp(), station_id=station_id, sites=sites, organisation_id="" if sites else name
            )
            await api.emit("registry.stations", station_id, station)
            connector = ConnectorState(
                evse_id=1, connector_id=1, status="Faulted", error_code=f"{name}-fault", since=now_us()
            )
            state = StationStateChanged(
                **stamp(), station_id=station_id, connected=False, connectors=(connector,)
            )
            await api.emit("telemetry.health", station_id, state)
            request = RequestCommand(
                **stamp(), station_id=station_id, action=f"Reset-{name}", payload="{}", dialect=CommandDialect.OCPP,
                requested_by="anna", expires_at=now_us(),
            )  # fmt: skip
            await api.emit("commands.outcomes", station_id, concluded(request, Fate.EXPIRED))
    grants = [{"role": "viewer", "organisation_id": "mine"}]
    made = await ok(await api.http.post("/keys", json={"name": "mine", "grants": grants}), 201)
    headers = {"Authorization": f"Bearer {made['key']}"}

    def titles(found: Json) -> set[tuple[str, str, int]]:
        return {(each["kind"], each["title"], each["count"]) for each in found["items"]}

    def of(name: str) -> set[tuple[str, str, int]]:
        return {
            ("offline", f"{name}-site (1/1)", 1),
            ("faulted", f"{name}-fault", 2),
            ("command", f"Reset-{name} EXPIRED", 2),
        }

    async def all_listed() -> bool:
        return of("mine") | of("other") <= titles(await ok(await api.http.get("/worklist")))

    async def mine_listed() -> Json | None:
        answer = await api.http.get("/worklist", headers=headers)
        return answer.json() if answer.status_code == 200 and of("mine") <= titles(answer.json()) else None

    await until(all_listed)
    found = await until(mine_listed)
    assert titles(found) == of("mine") | {("offline", "- (1/1)", 1)}
    assert "other" not in str(found)
