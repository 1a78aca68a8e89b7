"""Commands over the API, their outcomes played by the tests."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest

from libs.events.commands import TOO_MANY_WAITING, Fate, RequestCommand
from libs.events.ids import new_id
from libs.events.ocpp_log import CallError
from libs.runtime.clock import SECOND, now_us
from libs.testing.tail import Tail
from tests.integration.api_platform import (
    ANNAS_KEY,
    Json,
    Platform,
    api,
    concluded,
    located,
    ok,
    problem,
    stamp,
)
from tests.patience import until

__all__ = ["api"]

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANNA = {"Authorization": f"Bearer {ANNAS_KEY}"}


# --- commands


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
    wish = {"action": "RemoteStartTransaction", "payload": {"connectorId": 1, "idTag": "ABC"}, "wait_s": 60}
    error = {
        "fate": Fate.FAILED,
        "result": None,
        "reason": "CALLERROR",
        "error": CallError(code="InternalError", details="{}"),
    }
    async with ledger(api, {}, error) as seen:
        # Who asks is whose key it is; nobody says so.
        problem(await api.http.post("/stations/CMD-1/commands", json=wish | {"requested_by": "load"}), 422)
        response = await api.http.post("/stations/CMD-1/commands", json=wish, headers=ANNA)
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
    assert [each.requested_by for each in seen] == ["anna", "api"]


async def test_a_command_for_which_there_is_no_room_is_a_problem_for_who_waits(api: Platform) -> None:
    await located(api, "cmd-full")
    wish = {"action": "ClearCache", "wait_s": 60}
    full = {"fate": Fate.FAILED, "result": None, "reason": f"{TOO_MANY_WAITING}: 256 commands"}
    async with ledger(api, full) as seen:
        found = problem(await api.http.post("/stations/cmd-full/commands", json=wish), 429)
        assert found["detail"] == "too many waiting: 256 commands"
        (asked,) = seen
        later = await ok(await api.http.get(f"/commands/{asked.event_id}"))
    assert (later["status"], later["reason"]) == ("FAILED", "too many waiting: 256 commands")


async def test_a_charger_whose_version_only_a_newer_release_knows_is_a_conflict(api: Platform) -> None:
    """In a rolling upgrade another edge may have accepted it."""
    await located(api, "cmd-newer", "ocpp9.0")
    await ok(await api.http.post("/stations", json={"station_id": "cmd-newer"}), 201)
    answers = [
        await api.http.post("/stations/cmd-newer/commands", json={"action": "ClearCache"}),
        await api.http.post("/stations/cmd-newer/commands", json={"command": "ClearCache"}),
        await api.http.post("/stations/cmd-newer/commands", json={"action": "ClearCache", "version": "1.6"}),
        await api.http.post("/stations/cmd-newer/variables/get", json={"variables": [{"name": "A"}]}),
        await api.http.post("/stations/cmd-newer/password/rotate", json={}),
    ]
    for answer in answers:
        found = problem(answer, 409)
        assert found["detail"] == (
            "the charger speaks 'ocpp9.0', which this release of the platform does not know"
        )


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
    wish = {"action": "ClearCache", "wait_s": 60}
    headers = {"Idempotency-Key": "job-1"}
    async with ledger(api, {}, {}) as seen:
        first = await ok(await api.http.post("/stations/cmd-4/commands", json=wish, headers=headers))
        second = await ok(await api.http.post("/stations/cmd-4/commands", json=wish, headers=headers))
        assert second == first
        other = {"action": "Reset", "payload": {"type": "Soft"}}
        problem(await api.http.post("/stations/cmd-4/commands", json=other, headers=headers), 422)
        # What is asked next comes next.
        last = await ok(await api.http.post("/stations/cmd-4/commands", json=wish))
    assert [each.event_id for each in seen] == [first["command_id"], last["command_id"]]


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
