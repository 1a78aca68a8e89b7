"""From the API to a charger's socket and back, through the real ledger and the real edge."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from libs.runtime.service import Health
from services.commands.app import run as run_ledger
from services.commands.settings import CommandsSettings
from tests.integration.api_platform import Platform, api, ok
from tests.integration.device import Answer, device
from tests.integration.edge_process import BOOT_2, BOOT_16, Charger, charger, edge
from tests.patience import until

__all__ = ["api"]

pytestmark = pytest.mark.asyncio(loop_scope="module")


@contextlib.asynccontextmanager
async def ledger(api: Platform) -> AsyncIterator[None]:
    stop = asyncio.Event()
    settings = CommandsSettings.model_validate(api.settings.model_dump())
    task = asyncio.create_task(run_ledger(settings, Health(), stop))
    try:
        yield
    finally:
        stop.set()
        await task


async def answering(wire: Charger, answer: object) -> list[object]:
    """Answer the next CALL; returns its frame."""
    frame = await wire.receive()
    assert frame[0] == 2
    await wire.send([3, frame[1], answer] if isinstance(answer, dict) else [4, frame[1], answer, "no", {}])
    return frame


async def online(api: Platform, station_id: str) -> None:
    async def connected() -> bool:
        response = await api.http.get(f"/stations/{station_id}/state")
        return response.status_code == 200 and bool(response.json()["connected"])

    await until(connected)


async def test_commands_reach_chargers_of_both_versions_and_bring_their_answers(api: Platform) -> None:
    async with (
        ledger(api),
        edge(api.settings, unknown_stations="accept") as process,
        charger(process, "RT-16") as old,
        charger(process, "rt-201", "ocpp2.0.1") as new,
    ):
        await old.call("BootNotification", BOOT_16)
        await new.call("BootNotification", BOOT_2)
        await online(api, "rt-16")
        await online(api, "rt-201")

        wish = {
            "action": "RemoteStartTransaction",
            "payload": {"idTag": "ABC", "connectorId": 1},
            "wait_s": 60,
        }
        response, frame = await asyncio.gather(
            api.http.post("/stations/rt-16/commands", json=wish), answering(old, {"status": "Accepted"})
        )
        command = await ok(response)
        assert frame[2:] == ["RemoteStartTransaction", wish["payload"]]
        assert (command["status"], command["result"]) == ("ACCEPTED", {"status": "Accepted"})

        free = {"command": "Reset", "payload": {"kind": "hard"}, "wait_s": 60}
        for wire, station_id, sent in (
            (old, "rt-16", {"type": "Hard"}),
            (new, "rt-201", {"type": "Immediate"}),
        ):
            response, frame = await asyncio.gather(
                api.http.post(f"/stations/{station_id}/commands", json=free),
                answering(wire, {"status": "Rejected"}),
            )
            assert frame[2:] == ["Reset", sent]
            assert (await ok(response))["status"] == "REJECTED"

        response, _ = await asyncio.gather(
            api.http.post("/stations/rt-201/commands", json={"action": "ClearCache", "wait_s": 60}),
            answering(new, "InternalError"),
        )
        failed = await ok(response)
        assert (failed["status"], failed["error"]["code"]) == ("FAILED", "InternalError")


async def test_whoever_was_answered_can_be_commanded_at_once(api: Platform) -> None:
    """The API knows no less than what the charger was told: nobody waits until a station is there."""
    async with edge(api.settings, unknown_stations="accept") as process:
        for number in range(10):
            async with charger(process, f"rt-new-{number}") as wire:
                assert (await wire.call("BootNotification", BOOT_16))["status"] == "Accepted"
                wish = {"action": "ClearCache", "version": "1.6"}
                await ok(await api.http.post(f"/stations/rt-new-{number}/commands", json=wish), 202)
                shown = await ok(await api.http.get(f"/stations/rt-new-{number}/state"))
                assert shown["connected"]


async def test_a_command_for_an_offline_charger_waits_or_expires(api: Platform) -> None:
    await ok(await api.http.put("/stations/rt-off", json={}), 201)
    async with ledger(api), edge(api.settings, slot=1) as process:
        wish = {"action": "ClearCache", "version": "1.6"}
        waiting = await ok(await api.http.post("/stations/rt-off/commands", json=wish | {"ttl_s": 600}), 202)
        expiring = await ok(
            await api.http.post("/stations/rt-off/commands", json=wish | {"ttl_s": 0.2, "wait_s": 60})
        )
        assert expiring["status"] == "EXPIRED"
        # It may come before the answer to the boot.
        answers: dict[str, Answer] = {"ClearCache": lambda _: {"status": "Accepted"}}
        async with device(process, "rt-off", answers, "ocpp1.6") as station:

            async def accepted() -> bool:
                found = await ok(await api.http.get(f"/commands/{waiting['command_id']}"))
                return bool(found["status"] == "ACCEPTED")

            await until(accepted)
            assert station.asked == [("ClearCache", {})]
