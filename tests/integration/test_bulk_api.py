"""Bulk commands over the API, to chargers on sockets: previewed, started, retried; and an API that is killed."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from libs.access.roles import Role
from tests.integration.api_platform import ANNAS_KEY, Json, Platform, api, located, ok, problem
from tests.integration.device import device
from tests.integration.edge_process import edge
from tests.integration.test_api_round_trip import ledger, online
from tests.integration.test_api_two import child
from tests.patience import until

__all__ = ["api"]

pytestmark = pytest.mark.asyncio(loop_scope="module")

RESET: Json = {"command": "Reset", "payload": {"kind": "soft"}}
ACCEPTS: Any = {"Reset": lambda _: {"status": "Accepted"}}
REJECTS: Any = {"Reset": lambda _: {"status": "Rejected"}}


async def over(http: httpx.AsyncClient, bulk_id: str, status: str = "FINISHED") -> Json:
    async def so_far() -> Json | None:
        found: Json = await ok(await http.get(f"/bulk-commands/{bulk_id}"))
        return found if found["status"] == status and not found["sent"] else None

    found: Json = await until(so_far)
    return found


async def test_one_command_goes_to_many_and_the_rest_is_retried(api: Platform) -> None:
    async with (
        ledger(api),
        edge(api.settings, unknown_stations="accept") as process,
        device(process, "bulk-1", ACCEPTS, "ocpp1.6") as first,
        device(process, "bulk-2", ACCEPTS) as second,
        device(process, "bulk-3", REJECTS, "ocpp1.6") as stubborn,
    ):
        for each in ("bulk-1", "bulk-2", "bulk-3"):
            await online(api, each)
        await ok(await api.http.put("/stations/bulk-off", json={}), 201)
        wish = RESET | {"filter": {"q": "bulk-"}}
        preview = await ok(await api.http.post("/bulk-commands/preview", json=wish))
        assert [preview[each] for each in ("total", "asked", "skipped", "offline")] == [4, 3, 1, 1]
        assert preview["reasons"] == [{"reason": "not connected", "stations": 1}]
        assert [each["station_id"] for each in preview["stations"]] == [
            "bulk-1",
            "bulk-2",
            "bulk-3",
            "bulk-off",
        ]
        assert not first.of("Reset")

        start = wish | {"reason": "chargers hang", "expected": 2}
        refused = problem(await api.http.post("/bulk-commands", json=start), 409)
        assert "it would ask 3 stations now, not 2" in refused["detail"]
        start["expected"] = 3
        key = {"Idempotency-Key": "bulk once"}
        begun = await ok(await api.http.post("/bulk-commands", json=start, headers=key), 202)
        again = await ok(await api.http.post("/bulk-commands", json=start, headers=key), 202)
        assert again["bulk_id"] == begun["bulk_id"]
        assert (begun["selection"], begun["reason"], begun["requested_by"]) == (
            "q=bulk-",
            "chargers hang",
            "api",
        )
        done = await over(api.http, begun["bulk_id"])
        assert [done[each] for each in ("accepted", "rejected", "skipped")] == [2, 1, 1]
        assert [len(each.of("Reset")) for each in (first, second, stubborn)] == [1, 1, 1]
        assert first.of("Reset") == [{"type": "Soft"}]
        assert second.of("Reset") == [{"type": "OnIdle"}]

        stations = f"/bulk-commands/{begun['bulk_id']}/stations"

        async def all_told() -> dict[str, Json] | None:
            items = (await ok(await api.http.get(stations)))["items"]
            told = {each["station_id"]: each for each in items}
            return told if {each["status"] for each in items} == {"ACCEPTED", "REJECTED", "SKIPPED"} else None

        told = await until(all_told)
        assert (told["bulk-3"]["status"], told["bulk-off"]["reason"]) == ("REJECTED", "not connected")
        command = await ok(await api.http.get(f"/commands/{told['bulk-3']['command_id']}"))
        assert (command["station_id"], command["status"]) == ("bulk-3", "REJECTED")
        only = await ok(await api.http.get(stations, params={"status": "REJECTED"}))
        assert [each["station_id"] for each in only["items"]] == ["bulk-3"]
        page = await ok(await api.http.get(stations, params={"limit": 3}))
        rest = await ok(await api.http.get(stations, params={"limit": 3, "cursor": page["next_cursor"]}))
        assert [each["station_id"] for each in rest["items"]] == ["bulk-off"]

        stubborn.answers.update(ACCEPTS)
        retry = await ok(
            await api.http.post(
                f"/bulk-commands/{begun['bulk_id']}/retry", json={"reason": "again"}, headers=key
            ),
            202,
        )
        assert retry["round"] == 2
        done = await over(api.http, begun["bulk_id"])
        assert [done[each] for each in ("accepted", "skipped", "round")] == [3, 1, 2]
        assert [len(each.of("Reset")) for each in (first, second, stubborn)] == [1, 1, 2]
        # The same again is the same; another one has nothing to do with what runs or ran.
        path = f"/bulk-commands/{begun['bulk_id']}"
        same = await ok(await api.http.post(f"{path}/retry", json={"reason": "again"}, headers=key), 202)
        assert same["round"] == 2
        assert (
            "finished now"
            in problem(await api.http.post(f"{path}/stop", json={"reason": "no"}), 409)["detail"]
        )
        listed = await ok(await api.http.get("/bulk-commands", params={"limit": 1}))
        assert listed["items"][0]["bulk_id"] == begun["bulk_id"]


async def test_each_version_gets_the_action_that_is_given_for_it(api: Platform) -> None:
    async with (
        ledger(api),
        edge(api.settings, unknown_stations="accept") as process,
        device(process, "ver-16", ACCEPTS, "ocpp1.6") as old,
        device(process, "ver-201", ACCEPTS) as new,
    ):
        await online(api, "ver-16")
        await online(api, "ver-201")
        wish: Json = {
            "stations": ["ver-16", "VER-201"],
            "actions": {"2.0.1": {"action": "Reset", "payload": {"type": "Immediate"}}},
        }
        preview = await ok(await api.http.post("/bulk-commands/preview", json=wish))
        assert {each["station_id"]: each["skipped"] for each in preview["stations"]} == {
            "ver-16": "no action is given for ocpp1.6",
            "ver-201": "",
        }
        begun = await ok(await api.http.post("/bulk-commands", json=wish | {"reason": "test"}), 202)
        done = await over(api.http, begun["bulk_id"])
        assert (done["accepted"], done["skipped"]) == (1, 1)
        assert new.of("Reset") == [{"type": "Immediate"}]
        assert old.of("Reset") == []


async def test_what_is_wrong_is_told_with_its_place(api: Platform) -> None:
    await located(api, "wrong-1")
    good = RESET | {"stations": ["wrong-1"], "reason": "test"}
    for change, path, words in (
        ({"stations": ["wrong-1", "nobody"]}, "/stations/1", "there is no station 'nobody'"),
        ({"stations": []}, "/stations", "at least 1"),
        ({"stations": None, "filter": {"q": "no such station"}}, "/filter", "it chooses no station"),
        ({"stations": None, "filter": {"colour": "red"}}, "/filter/colour", ""),
        ({"filter": {}}, "", "either stations or filter"),
        ({"command": None}, "", "either command or actions"),
        ({"command": "Dance"}, "/command", "Dance is none of"),
        ({"payload": {"kind": "warm"}}, "/payload/kind", ""),
        ({"reason": "  "}, "/reason", ""),
        ({"reason": "x" * 501}, "/reason", ""),
        ({"concurrency": 0}, "/concurrency", ""),
        ({"stop_at_percent": 101}, "/stop_at_percent", ""),
        (
            {
                "command": None,
                "payload": {},
                "actions": {"1.6": {"action": "Reset", "payload": {"type": "Warm"}}},
            },
            "/actions/1.6/payload/type",
            "",
        ),
        (
            {
                "command": None,
                "payload": {},
                "actions": {
                    "1.6": {
                        "action": "ChangeConfiguration",
                        "payload": {"key": "AuthorizationKey", "value": "s3cret"},
                    }
                },
            },
            "/actions/1.6/payload",
            "one charger's alone",
        ),
    ):
        body = {name: value for name, value in (good | change).items() if value is not None}
        found = problem(await api.http.post("/bulk-commands", json=body), 422)
        assert words in str(found), found
        assert "s3cret" not in str(found)
        assert not path or path in [each["path"] for each in found["errors"]], found
    problem(await api.http.get("/bulk-commands/nothing"), 404)
    problem(await api.http.post("/bulk-commands/nothing/stop", json={"reason": "x"}), 404)
    problem(await api.http.get("/bulk-commands", params={"cursor": "nonsense"}), 422)


async def test_nobody_without_the_permissions_previews_or_sends_one(api: Platform) -> None:
    await located(api, "mine-1")
    body = RESET | {"stations": ["mine-1"]}
    for role, status in ((Role.VIEWER, 403), (Role.OPERATOR, 403), (Role.ENGINEER, 200)):
        wanted = {"name": f"b-{role.value}", "grants": [{"role": role.value}]}
        made = await ok(await api.http.post("/keys", json=wanted), 201)
        headers = {"Authorization": f"Bearer {made['key']}"}

        async def known(headers: dict[str, str] = headers) -> bool:
            return (await api.http.get("/stations", headers=headers)).status_code == 200

        await until(known)
        answer = await api.http.post("/bulk-commands/preview", json=body, headers=headers)
        assert answer.status_code == status, (role, answer.text)
        if status == 403:
            assert "command_bulk" in answer.text
    anna = {"Authorization": f"Bearer {ANNAS_KEY}"}
    assert (await api.http.post("/bulk-commands/preview", json=body, headers=anna)).status_code == 200


async def test_an_api_that_is_killed_takes_nothing_along_and_a_repeat_elsewhere_is_the_same(
    api: Platform,
) -> None:
    async with (
        ledger(api),
        edge(api.settings, unknown_stations="accept") as process,
        device(process, "dead-1", ACCEPTS, "ocpp1.6") as first,
        device(process, "dead-2", ACCEPTS, "ocpp1.6") as second,
    ):
        await online(api, "dead-1")
        await online(api, "dead-2")
        body = RESET | {"stations": ["dead-1", "dead-2"], "reason": "test", "concurrency": 1}
        key = {"Idempotency-Key": "killed"}
        async with child(api, "services.api") as (http, dying):
            begun = await ok(await http.post("/bulk-commands", json=body, headers=key), 202)
            dying.kill()
            await asyncio.to_thread(dying.wait)
        done = await over(api.http, begun["bulk_id"])
        assert done["accepted"] == 2
        repeated = await ok(await api.http.post("/bulk-commands", json=body, headers=key), 202)
        assert (repeated["bulk_id"], repeated["status"]) == (begun["bulk_id"], "FINISHED")
        assert (len(first.of("Reset")), len(second.of("Reset"))) == (1, 1)
