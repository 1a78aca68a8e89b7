"""Two API processes over one registry: what one answers holds for the other, and nothing is made twice."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from libs.bus.tables import TableSet
from libs.devstack.endpoints import free_ports
from libs.events.commands import RequestCommand
from libs.events.firmware import DefineCampaign
from libs.testing.tail import Tail
from tests.integration.api_platform import ANNAS_KEY, KEY, Platform, another, api, client, ok, problem
from tests.integration.children import python
from tests.patience import WAIT_S, until

__all__ = ["api"]

pytestmark = pytest.mark.asyncio(loop_scope="module")

PRICE = {"currency": "EUR", "price_per_kwh_milli": 1, "valid_from": "2026-01-01T00:00:00Z"}


@asynccontextmanager
async def child(
    api: Platform, *module: str
) -> AsyncIterator[tuple[httpx.AsyncClient, "subprocess.Popen[bytes]"]]:
    """An API process, and whom to ask there."""
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
    process = await asyncio.to_thread(subprocess.Popen, python("-m", *module), env=environment)
    try:
        async with client(port) as http:

            async def ready() -> bool:
                assert process.poll() is None
                try:
                    return (await http.get("/stations")).status_code == 200
                except httpx.TransportError:
                    return False

            await until(ready)
            yield http, process
    finally:
        process.kill()
        process.wait()


async def test_two_processes_never_make_the_same_version_of_a_tariff(api: Platform) -> None:
    await ok(await api.http.put("/tariffs/raced", json=PRICE), 201)

    async def reprice(http: httpx.AsyncClient, year: int) -> int:
        body = {"price_per_kwh_milli": year, "valid_from": f"{year}-01-01T00:00:00Z"}
        response = await http.patch("/tariffs/raced", json=body)
        # A later one came first, and versions are not rewritten.
        assert response.status_code in (200, 409), response.text
        return response.status_code

    async with another(api) as other, child(api, "services.api") as (third, _):
        clients = (api.http, other, third)
        answers = await asyncio.gather(
            *(reprice(http, year + n) for year in range(2030, 2066, 3) for n, http in enumerate(clients))
        )
        for http in clients:
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


async def test_of_two_campaigns_under_one_key_one_is_started_and_shown(api: Platform) -> None:
    for station in ("fw-1", "fw-2"):
        await ok(await api.http.put(f"/stations/{station}", json={}), 201)
    wish = {"name": "n", "target_version": "2.0", "location": "https://example.org/fw.bin"}
    one, two = wish | {"stations": ["fw-1"]}, wish | {"stations": ["fw-2"]}
    async with another(api) as other, Tail(api.bus, "firmware.campaigns") as tail:
        for number in range(4):
            key = {"Idempotency-Key": f"raced-{number}"}
            both = await asyncio.gather(
                api.http.post("/campaigns", json=one, headers=key),
                other.post("/campaigns", json=two, headers=key),
            )
            assert sorted(each.status_code for each in both) == [201, 409]
            (shown,) = [each.json() for each in both if each.status_code == 201]
            started = await defined(tail, shown["campaign_id"])
            assert list(started.stations) == shown["stations"]
            for http in (api.http, other):
                assert (await ok(await http.get(f"/campaigns/{started.campaign_id}")))["stations"] == shown[
                    "stations"
                ]


async def test_a_key_of_a_campaign_holds_after_a_restart(api: Platform) -> None:
    for station in ("fw-3", "fw-4"):
        await ok(await api.http.put(f"/stations/{station}", json={}), 201)
    wish = {
        "name": "n",
        "target_version": "2.0",
        "location": "https://example.org/fw.bin",
        "stations": ["fw-3"],
    }
    key = {"Idempotency-Key": "restarted"}
    async with another(api) as first:
        campaign = await ok(await first.post("/campaigns", json=wish, headers=key), 201)
    # One that follows the topic from now on has not seen it.
    async with another(api) as second:
        problem(await second.post("/campaigns", json=wish | {"stations": ["fw-4"]}, headers=key), 409)
        assert (await ok(await second.post("/campaigns", json=wish, headers=key), 201)) == campaign
        # Another operator's key is another.
        annas = key | {"Authorization": f"Bearer {ANNAS_KEY}"}
        other = await ok(await second.post("/campaigns", json=wish, headers=annas), 201)
        assert other["campaign_id"] != campaign["campaign_id"]
        assert (campaign["requested_by"], other["requested_by"]) == ("api", "anna")


async def test_a_command_that_is_shown_is_one_that_was_sent(api: Platform) -> None:
    await ok(await api.http.put("/stations/keyed", json={}), 201)
    key = {"Idempotency-Key": "same"}

    def wish(kind: str) -> dict[str, Any]:
        return {"action": "Reset", "payload": {"type": kind}, "version": "1.6"}

    async with another(api) as other, Tail(api.bus, "commands.requested") as tail:
        both = [
            await ok(await http.post("/stations/keyed/commands", json=wish(kind), headers=key), 202)
            for http, kind in ((api.http, "Soft"), (other, "Hard"))
        ]
        sent: dict[str, Any] = {}
        async for message in tail:
            if isinstance(message.record, RequestCommand):
                sent.setdefault(message.record.event_id, json.loads(message.record.payload))
            if len(sent) == 2:
                break
    for shown in both:
        assert shown["payload"] == sent[shown["command_id"]]
    problem(await api.http.post("/stations/keyed/commands", json=wish("Hard"), headers=key), 422)


async def defined(tail: Tail, campaign_id: str) -> DefineCampaign:
    """The definition of the campaign that is first in the topic."""
    async for message in tail:
        if isinstance(message.record, DefineCampaign) and message.key == campaign_id:
            return message.record
    raise AssertionError


async def registered(api: Platform, station: str) -> tuple[bool, bool]:
    """Whether the log has the station, and a password of it."""
    async with TableSet(api.bus, "test", ("registry.stations", "registry.credentials")) as tables:
        return station in tables["registry.stations"], station in tables["registry.credentials"]


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_station_whose_deletion_was_killed_has_its_password_still_or_neither_is_there(
    api: Platform, moment: str
) -> None:
    station = f"killed-{moment}"
    await ok(await api.http.put(f"/stations/{station}", json={}), 201)
    await ok(await api.http.put(f"/stations/{station}/password", json={"password": "0123456789abcdef"}))
    async with child(api, "tests.integration.api_killed", moment, "1") as (http, process):
        with pytest.raises(httpx.TransportError):
            await http.delete(f"/stations/{station}")
        await asyncio.to_thread(process.wait, WAIT_S)
    again: Any = await api.http.delete(f"/stations/{station}")
    assert again.status_code == {"before": 204, "after": 404}[moment], again.text
    assert await registered(api, station) == (False, False)
    # Whoever registers it anew does not let in who knows the old password.
    await ok(await api.http.put(f"/stations/{station}", json={}), 201)
    problem(await api.http.get(f"/stations/{station}/password"), 404)
