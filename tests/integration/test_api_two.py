"""Two API processes over one registry: what one answers holds for the other, and nothing is made twice."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from libs.bus.tables import TableSet
from libs.runtime.service import Health
from libs.testing.localstack.endpoints import free_ports
from services.api.app import serving
from tests.integration.api_platform import KEY, Platform, api, ok, problem, until
from tests.integration.children import python

__all__ = ["api"]

pytestmark = pytest.mark.asyncio(loop_scope="module")

PRICE = {"currency": "EUR", "price_per_kwh_milli": 1, "valid_from": "2026-01-01T00:00:00Z"}


def client(port: int) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}/api/v1", headers={"Authorization": f"Bearer {KEY}"}, timeout=60
    )


@asynccontextmanager
async def another(api: Platform) -> AsyncIterator[httpx.AsyncClient]:
    settings = api.settings.model_copy(update={"api_port": 0})
    async with serving(settings, Health()) as running, client(running.port) as http:
        yield http


async def test_two_processes_never_make_the_same_version_of_a_tariff(api: Platform) -> None:
    await ok(await api.http.put("/tariffs/raced", json=PRICE), 201)

    async def reprice(http: httpx.AsyncClient, year: int) -> int:
        body = {"price_per_kwh_milli": year, "valid_from": f"{year}-01-01T00:00:00Z"}
        response = await http.patch("/tariffs/raced", json=body)
        # A later one came first, and versions are not rewritten.
        assert response.status_code in (200, 409), response.text
        return response.status_code

    async with another(api) as other:
        years = range(2030, 2054, 2)
        answers = await asyncio.gather(
            *(reprice(http, year + n) for year in years for n, http in enumerate((api.http, other)))
        )
        for http in (api.http, other):
            versions = (await ok(await http.get("/tariffs/raced")))["versions"]
            assert [each["version"] for each in versions] == [*range(1, 2 + answers.count(200))]


async def test_of_two_changes_to_what_was_read_one_is_made_whichever_processes_are_asked(
    api: Platform,
) -> None:
    async with another(api) as other:
        for number in range(5):
            path = f"/sites/matched-{number}"
            created = await api.http.put(path, json={})
            await ok(created, 201)
            tag = {"If-Match": created.headers["etag"]}
            both = await asyncio.gather(
                api.http.patch(path, json={"name": "one"}, headers=tag),
                other.patch(path, json={"name": "other"}, headers=tag),
            )
            assert sorted(each.status_code for each in both) == [200, 412]
            (won,) = [each.json()["name"] for each in both if each.status_code == 200]
            # Whoever lost has been told by what it lost.
            loser = other if won == "one" else api.http
            assert (await ok(await loser.get(path)))["name"] == won


async def test_of_two_that_create_one_entry_one_does(api: Platform) -> None:
    async with another(api) as other:
        for number in range(5):
            body = {"id_token": f"created-{number}"}
            both = await asyncio.gather(api.http.post("/tokens", json=body), other.post("/tokens", json=body))
            assert sorted(each.status_code for each in both) == [201, 409]


async def test_what_one_process_answered_the_other_decides_by(api: Platform) -> None:
    async with another(api) as other:
        for number in range(3):
            site = f"used-{number}"
            await ok(await other.put(f"/sites/{site}", json={}), 201)
            # At once: the other API's memory may not have it yet.
            await ok(await api.http.put(f"/stations/user-{number}", json={"site_id": site}), 201)
            problem(await other.delete(f"/sites/{site}"), 409)


@asynccontextmanager
async def mortal(api: Platform, moment: str, number: int) -> AsyncIterator[httpx.AsyncClient]:
    """An API process that is killed at its `number`th write."""
    port, health = free_ports(2)
    given = api.settings.model_dump(exclude_none=True) | {
        "api_port": port,
        "http_port": health,
        "api_key": KEY,
        "secrets_key": "only for these tests",
        "operator_keys": "",
        "log_level": "WARNING",
    }
    environment = os.environ | {f"VOLTBUS_{name.upper()}": str(value) for name, value in given.items()}
    module = python("-m", "tests.integration.api_killed", moment, str(number))
    process = await asyncio.to_thread(subprocess.Popen, module, env=environment)
    try:
        async with client(port) as http:

            async def ready() -> bool:
                assert process.poll() is None
                try:
                    return (await http.get("/stations")).status_code == 200
                except httpx.TransportError:
                    return False

            await until(ready)
            yield http
            await asyncio.to_thread(process.wait, 30)
    finally:
        process.kill()
        process.wait()


async def registered(api: Platform, station: str) -> tuple[bool, bool]:
    """Whether the log has the station, and a password of it."""
    tables = TableSet(api.bus, ("registry.stations", "registry.credentials"))
    await tables.start()
    await tables.stop()
    return station in tables["registry.stations"], station in tables["registry.credentials"]


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_station_whose_deletion_was_killed_has_its_password_still_or_neither_is_there(
    api: Platform, moment: str
) -> None:
    station = f"killed-{moment}"
    await ok(await api.http.put(f"/stations/{station}", json={}), 201)
    await ok(await api.http.put(f"/stations/{station}/password", json={"password": "0123456789abcdef"}))
    async with mortal(api, moment, 1) as http:
        with pytest.raises(httpx.TransportError):
            await http.delete(f"/stations/{station}")
    again: Any = await api.http.delete(f"/stations/{station}")
    assert again.status_code == {"before": 204, "after": 404}[moment], again.text
    assert await registered(api, station) == (False, False)
    # Whoever registers it anew does not let in who knows the old password.
    await ok(await api.http.put(f"/stations/{station}", json={}), 201)
    problem(await api.http.get(f"/stations/{station}/password"), 404)
