"""Who could be which station, what operators are told, and who has changed what."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from libs.clickhouse.client import ClickHouseClient
from libs.events.ocpp_log import StationLocated
from libs.events.security import SecurityAlertKind, SecurityAlertRaised
from tests.integration.api_platform import ANNAS_KEY, Json, Platform, api, located, ok, stamp
from tests.patience import until

__all__ = ["api"]

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANNA = {"Authorization": f"Bearer {ANNAS_KEY}"}


async def test_stations_that_somebody_else_could_be_are_listed_counted_and_named_what_to_do(
    api: Platform,
) -> None:
    for name, profile in (("weak-0", 0), ("weak-1", 1), ("strong-2", 2)):
        await ok(await api.http.put(f"/stations/{name}", json={"security_profile": profile}), 201)
    await ok(await api.http.put("/stations/weak-1/password", json={}))
    for name, proved in (("weak-0", 1), ("strong-2", 2), ("nobody-knows-it", 0)):
        record = StationLocated(
            **stamp(),
            station_id=name,
            edge_id="edge-1",
            slot=0,
            connection_epoch=1,
            version="ocpp1.6",
            connected=True,
            security_profile=proved,
            remote_address="198.51.100.7",
        )
        await api.emit("edge.connections", name, record)

    async def listed() -> dict[str, Json] | None:
        found = await ok(await api.http.get("/security/stations", params={"limit": 1000}))
        items = {item["station_id"]: item for item in found["items"]}
        return items if {"nobody-knows-it"} <= items.keys() and items["weak-0"]["connected"] else None

    async def counted() -> dict[int, Json] | None:
        """By profile; the connections of stations come in any order."""
        profiles = (await ok(await api.http.get("/security")))["profiles"]
        counts = {each["security_profile"]: each for each in profiles}
        return counts if counts[2]["connections"] else None

    counts = await until(counted)
    items = await until(listed)
    assert "strong-2" not in items
    assert (items["weak-0"]["required"], items["weak-0"]["proved"]) == (0, 1)
    assert "raise security_profile" in items["weak-0"]["advice"]
    assert (items["weak-1"]["password"], items["weak-1"]["connected"]) == (True, False)
    assert (items["nobody-knows-it"]["registered"], items["nobody-knows-it"]["required"]) == (False, None)
    only = await ok(await api.http.get("/security/stations", params={"at_most": 0, "limit": 1000}))
    assert "weak-1" not in {item["station_id"] for item in only["items"]}

    assert counts[0]["stations"] >= 1
    assert counts[2] == {"security_profile": 2, "stations": 1, "connections": 1}

    async def told() -> bool:
        return bool(REGISTRY.get_sample_value("voltbus_api_stations_by_profile", {"profile": "0"}))

    await until(told)


async def test_alerts_are_listed_filtered_and_paged(api: Platform) -> None:
    for number, kind in enumerate(list(SecurityAlertKind)[:3]):
        record = SecurityAlertRaised(
            **stamp(), station_id="watched", kind=kind, detail=f"number {number}", event_type="Tamper"
        )
        # Twice, as a replay would.
        for _ in range(2):
            await api.emit("security.alerts", "watched", record)

    async def stored() -> list[Json] | None:
        items: list[Json] = (
            await ok(await api.http.get("/security/alerts", params={"station_id": "WATCHED"}))
        )["items"]
        return items if len(items) == 3 else None

    items = await until(stored)
    assert [item["detail"] for item in items] == ["number 2", "number 1", "number 0"]
    page = await ok(await api.http.get("/security/alerts", params={"station_id": "watched", "limit": 2}))
    rest = await ok(
        await api.http.get(
            "/security/alerts", params={"station_id": "watched", "cursor": page["next_cursor"]}
        )
    )
    assert [*page["items"], *rest["items"]] == items
    one = await ok(
        await api.http.get("/security/alerts", params={"kind": "DISPLACED", "station_id": "watched"})
    )
    assert [item["kind"] for item in one["items"]] == ["DISPLACED"]
    assert (await api.http.get("/security/alerts", params={"kind": "NOTHING"})).status_code == 422


async def test_many_commands_under_one_key_are_told(api: Platform) -> None:
    await located(api, "commanded")
    for _ in range(20):
        body = {"action": "ClearCache", "payload": {}}
        await ok(await api.http.post("/stations/commanded/commands", json=body, headers=ANNA), 202)

    async def told() -> list[Json] | None:
        asked = {"kind": "MANY_COMMANDS", "station_id": "commanded"}
        return (await ok(await api.http.get("/security/alerts", params=asked)))["items"] or None

    (alert,) = await until(told)
    assert (alert["requested_by"], alert["count"]) == ("anna", 20)


async def test_every_change_of_the_registry_names_whose_key_made_it(api: Platform) -> None:
    wanted = {"name": "anna", "grants": [{"role": "tenant-admin"}]}
    key = (await ok(await api.http.post("/keys", json=wanted), 201))["key"]
    anna = {"Authorization": f"Bearer {key}"}
    for path, body in (
        ("/stations/named", {}),
        ("/sites/named", {}),
        ("/tokens/named", {}),
        ("/tariffs/named", {"currency": "EUR", "price_per_kwh_milli": 1}),
    ):
        made = await ok(await api.http.put(path, json=body, headers=anna), 201)
        assert made["changed_by"] == "anna", path
        again = await ok(
            await api.http.patch(path, json={"name": "x"} if "tokens" not in path else {"driver": "x"})
        )
        assert again["changed_by"] == "api", path
    password = await ok(await api.http.put("/stations/named/password", json={}, headers=anna))
    assert password["changed_by"] == "anna"
    await ok(await api.http.delete("/sites/named", headers=anna), 204)
    clickhouse = ClickHouseClient(api.settings)

    async def stored() -> list[Json] | None:
        rows: list[Json] = clickhouse.rows(
            "SELECT changed_by, removed FROM registry_changes WHERE kind = 'site' AND id = 'named' ORDER BY position"
        )
        return rows if len(rows) == 4 else None

    try:
        rows = await until(stored)
    finally:
        clickhouse.close()
    assert [(row["changed_by"], row["removed"]) for row in rows] == [
        ("anna", False),
        ("api", False),
        ("anna", False),
        ("", True),
    ]


async def test_a_station_below_the_least_profile_needs_the_word_for_it(api: Platform) -> None:
    # This platform's least is 0: nobody is exempt from that.
    made = await ok(await api.http.put("/stations/plain", json={}), 201)
    assert (made["security_profile"], made["profile_exempt"]) == (0, False)
