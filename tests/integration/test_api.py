"""The API's frame and the registry, on the real bus."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from libs.bus.tables import TableSet
from libs.events.ids import new_id
from libs.events.registry import StationRegistered
from libs.runtime.service import Health
from services.api.app import serving
from tests.integration.api_platform import KEY, Json, Platform, api, ok, problem
from tests.patience import WAIT_S, until

__all__ = ["api"]

pytestmark = pytest.mark.asyncio(loop_scope="module")


# --- the frame


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer wrong", f"Basic {KEY}", f"Bearer {KEY}x", "Bearer \xff"]
)
async def test_without_the_key_nothing_is_told(api: Platform, header: str | None) -> None:
    headers = [] if header is None else [(b"Authorization", header.encode("latin-1"))]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{api.port}", timeout=WAIT_S) as http:
        for path in ("/api/v1/stations", "/api/v1/stream", "/api/v1/nothing", "/", "/api/v1/stations/"):
            response = await http.get(path, headers=headers)
            problem(response, 401)
            assert response.headers["www-authenticate"].startswith("Bearer")
        problem(await http.post("/api/v1/stations", headers=headers, content=b"{"), 401)


async def test_health_and_openapi_need_no_key_and_metrics_are_not_here(api: Platform) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{api.port}", timeout=WAIT_S) as http:
        assert (await http.get("/health/live")).json() == {"status": "ok", "failing": []}
        assert (await http.get("/health/ready")).json() == {"status": "ok", "failing": []}
        problem(await http.get("/metrics"), 401)
        document = (await http.get("/api/v1/openapi.json")).json()
    assert document["openapi"].startswith("3.")
    assert {"get", "put", "patch", "delete"} <= document["paths"]["/api/v1/stations/{station_id}"].keys()
    assert document["components"]["securitySchemes"]


async def test_the_documentation_page_needs_nothing_from_elsewhere(api: Platform) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{api.port}", timeout=WAIT_S) as http:
        page = await http.get("/api/v1/docs")
        assert page.headers["content-security-policy"].startswith("default-src 'self';")
        links = re.findall(r"""(?:src=|href=|url: )["']([^"']+)""", page.text)
        assert len(links) == 4
        for link in links:
            found = await http.get(link)
            assert link.startswith("/api/v1/"), link
            assert (found.status_code, found.content != b"") == (200, True)
        assert '"validatorUrl": null' in page.text


async def test_errors_are_problems_with_a_path(api: Platform) -> None:
    problem(await api.http.get("/nothing"), 404)
    problem(await api.http.put("/stations"), 405)
    json_type = {"Content-Type": "application/json"}
    body = problem(await api.http.post("/stations", content=b"{nope", headers=json_type), 422)
    assert "not JSON" in body["errors"][0]["detail"]
    body = problem(await api.http.post("/stations", content=b'{"station_id": NaN}', headers=json_type), 422)
    assert "not JSON" in body["errors"][0]["detail"]
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

    async with TableSet(api.bus, "test", ("registry.stations",)) as tables:
        assert "cp-älpha 1" not in tables["registry.stations"]
        assert isinstance(tables["registry.stations"]["another"], StationRegistered)


ENTRIES: list[tuple[str, Json, Json, Json]] = [
    ("stations/Match 1", {"evses": 1}, {"evses": 2}, {"evses": 3}),
    ("sites/match", {"limit_ma": 1_000}, {"limit_ma": 2_000}, {"limit_ma": 3_000}),
    ("tokens/Match/1", {"driver": "a"}, {"driver": "b"}, {"driver": "c"}),
    (
        "tariffs/match",
        {"currency": "EUR", "price_per_kwh_milli": 1, "valid_from": "2026-01-01T00:00:00Z"},
        {"name": "b"},
        {"currency": "EUR", "price_per_kwh_milli": 1, "name": "c"},
    ),
]


@pytest.mark.parametrize(("path", "first", "change", "other"), ENTRIES)
async def test_a_change_can_be_made_to_what_was_read_only(
    api: Platform, path: str, first: Json, change: Json, other: Json
) -> None:
    http, path = api.http, f"/{path}"

    def matching(tag: str) -> dict[str, str]:
        return {"If-Match": tag}

    for tag in ("*", '"any"'):
        problem(await http.put(path, json=first, headers=matching(tag)), 412)
        problem(await http.patch(path, json=change, headers=matching(tag)), 404)
        problem(await http.delete(path, headers=matching(tag)), 404)
    created = await http.put(path, json=first)
    await ok(created, 201)
    begun = created.headers["etag"]
    assert begun.startswith('"')
    assert (await http.get(path)).headers["etag"] == begun
    changed = await http.patch(path, json=change, headers=matching(f'"older", {begun}'))
    shown = await ok(changed)
    tag = changed.headers["etag"]
    assert tag != begun

    for outdated in (begun, f"W/{tag}", "", tag.strip('"'), '"*"'):
        for answer in (
            await http.put(path, json=other, headers=matching(outdated)),
            await http.patch(path, json=change, headers=matching(outdated)),
            await http.delete(path, headers=matching(outdated)),
        ):
            assert "If-Match" in problem(answer, 412)["detail"]
    assert await ok(await http.get(path)) == shown

    same = await http.patch(path, json=change, headers=matching(tag))
    assert (same.status_code, same.headers["etag"]) == (200, tag)  # nothing to write
    replaced = await http.put(path, json=other, headers=matching("*"))
    await ok(replaced)
    assert (await http.delete(path, headers=matching(replaced.headers["etag"]))).status_code == 204
    problem(await http.get(path), 404)


async def test_of_concurrent_changes_to_what_was_read_one_is_made(api: Platform) -> None:
    created = await api.http.post("/sites", json={"site_id": "race"})
    await ok(created, 201)
    headers = {"If-Match": created.headers["etag"]}
    answers = await asyncio.gather(
        *(api.http.patch("/sites/race", json={"limit_ma": 1 + n}, headers=headers) for n in range(5))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412, 412]


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
    early = "2025-12-31T23:59:59Z"
    body = problem(await http.patch("/sites/S2", json={"tariff_id": "T1", "tariff_valid_from": early}), 409)
    assert "begins at 2026-01-01T00:00:00" in body["detail"]
    assert body["errors"][0]["path"] == "/tariff_valid_from"
    listed = {"tariffs": [{"id": "T1", "valid_from": past}, {"id": "T1", "valid_from": early}]}
    body = problem(await http.patch("/sites/S1", json=listed), 409)
    assert body["errors"][0]["path"] == "/tariffs/0/valid_from"

    body = {"station_id": "MOVER", "site_id": "S1", "site_valid_from": past}
    station = await ok(await http.post("/stations", json=body), 201)
    assert station["site_id"] == "S1"
    asked_at = datetime.now(UTC)
    moved = await ok(await http.patch("/stations/mover", json={"site_id": "S2"}))
    assert [each["id"] for each in moved["sites"]] == ["S1", "S2"]
    # Not before every service knows.
    settled = datetime.fromisoformat(moved["sites"][1]["valid_from"])
    assert settled >= asked_at + timedelta(seconds=api.settings.settle_s)

    async def at_s2() -> bool:
        found = await ok(await http.get("/stations", params={"site_id": "S2"}))
        return [each["station_id"] for each in found["items"]] == ["mover"]

    await until(at_s2)
    again = await ok(await http.patch("/stations/mover", json={"site_id": "S2", "name": "x"}))
    assert again["sites"] == moved["sites"]
    problem(await http.patch("/stations/mover", json={"site_id": "S2", "site_valid_from": past}), 409)
    problem(await http.delete("/sites/S2"), 409)
    problem(await http.delete("/sites/S1"), 409)
    rewritten = {"sites": [{"id": "S2", "valid_from": past}]}
    assert (await ok(await http.patch("/stations/mover", json=rewritten)))["sites"] == rewritten["sites"]
    assert (await http.delete("/sites/S1")).status_code == 204

    dearer = await ok(await http.patch("/tariffs/T1", json={"price_per_kwh_milli": 50_000}))
    assert [v["version"] for v in dearer["versions"]] == [1, 2]
    assert dearer["versions"][0] == tariff["versions"][0]
    problem(await http.patch("/tariffs/T1", json={"price_per_kwh_milli": 1, "valid_from": past}), 409)
    kwh = {"type": "ENERGY", "price": "0.45"}
    terms = {"elements": [{"price_components": [kwh]}], "min_price": "1"}
    priced = await ok(await http.patch("/tariffs/T1", json={"terms": terms}))
    assert (priced["versions"][-1]["terms"], priced["versions"][-1]["price_per_kwh_milli"]) == (terms, 45_000)
    assert (
        len((await ok(await http.patch("/tariffs/T1", json={"terms": terms, "name": "N"})))["versions"]) == 3
    )
    kwh["price"] = "0.000001"
    body = problem(await http.patch("/tariffs/T1", json={"terms": terms}), 422)
    assert body["errors"][0]["path"] == "/terms/elements/0/price_components/0/price"
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


async def test_without_clickhouse_history_is_unavailable_and_the_rest_works(api: Platform) -> None:
    settings = api.settings.model_copy(update={"api_port": 0, "clickhouse_port": 1})
    async with (
        serving(settings, Health()) as other,
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{other.port}/api/v1",
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=WAIT_S,
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
