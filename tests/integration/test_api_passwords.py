"""Passwords of stations through the API: set, handed to the charger, settled by what it says."""

from __future__ import annotations

import asyncio
import contextlib
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from libs.bus.tail import read_all
from libs.runtime.service import Health
from services.commands.app import run as run_ledger
from services.commands.settings import CommandsSettings
from tests.integration.api_platform import Json, Platform, api, ok, problem
from tests.integration.edge_process import BOOT_2, BOOT_16, Charger, EdgeProcess, edge
from tests.patience import WAIT_S, until

__all__ = ["api"]

pytestmark = pytest.mark.asyncio(loop_scope="module")

OLD, NEW = "the-old-password-1", "the-new-password-2"


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


@contextlib.asynccontextmanager
async def guarded_edge(api: Platform) -> AsyncIterator[EdgeProcess]:
    assert api.settings.secrets_key is not None
    key = api.settings.secrets_key.get_secret_value()
    async with edge(api.settings, unknown_stations="reject", secrets_key=key) as process:
        yield process


@contextlib.asynccontextmanager
async def charger(
    process: EdgeProcess, station: str, password: str | bytes, version: str = "ocpp1.6"
) -> AsyncIterator[Charger]:
    raw = password.encode() if isinstance(password, str) else password
    async with connect(
        f"ws://127.0.0.1:{process.port}/ocpp/{station}",
        subprotocols=[Subprotocol(version)],
        additional_headers={"Authorization": "Basic " + b64encode(station.encode() + b":" + raw).decode()},
        ping_interval=None,
        open_timeout=WAIT_S,
        close_timeout=1,
        proxy=None,
    ) as socket:
        yield Charger(socket)


async def may_enter(
    process: EdgeProcess, station: str, password: str | bytes, version: str = "ocpp1.6"
) -> bool:
    try:
        async with charger(process, station, password, version):
            return True
    except InvalidStatus as refused:
        if refused.response.status_code != 401:
            raise
        return False


async def guarded_station(api: Platform, station: str, password: str = OLD) -> None:
    await ok(await api.http.put(f"/stations/{station}", json={"security_profile": 1}), 201)
    shown = await ok(await api.http.put(f"/stations/{station}/password", json={"password": password}))
    assert shown.keys() == {"station_id", "accepted", "updated_at", "changed_by"}


async def rotate(api: Platform, station: str, **body: Any) -> Json:
    found: Json = await ok(await api.http.post(f"/stations/{station}/password/rotate", json=body))
    return found


async def booted(api: Platform, wire: Charger, station: str, boot: Json = BOOT_16) -> None:
    """The charger has booted, and the API knows where it is."""
    await wire.call("BootNotification", boot)

    async def connected() -> bool:
        response = await api.http.get(f"/stations/{station}/state")
        return response.status_code == 200 and bool(response.json()["connected"])

    await until(connected)


async def accepted(api: Platform, station: str) -> int:
    return int((await ok(await api.http.get(f"/stations/{station}/password")))["accepted"])


async def test_073_the_old_password_is_refused_once_the_charger_has_the_new_one(
    api: Platform, capfd: pytest.CaptureFixture[str]
) -> None:
    await guarded_station(api, "pw-16")
    async with ledger(api), guarded_edge(api) as process:
        async with charger(process, "pw-16", OLD) as wire:
            await booted(api, wire, "pw-16")
            asked = asyncio.create_task(rotate(api, "pw-16", password=NEW, wait_s=60))
            frame = await wire.receive()
            assert frame[2:] == [
                "ChangeConfiguration",
                {"key": "AuthorizationKey", "value": NEW.encode().hex().upper()},
            ]
            # Until it has answered both are good: nobody knows yet which one it has.
            assert await accepted(api, "pw-16") == 2
            await wire.send([3, frame[1], {"status": "Accepted"}])
            assert (await asked)["status"] == "ACCEPTED"
            assert await wire.closed() == 1008
        assert not await may_enter(process, "pw-16", OLD)
        assert await may_enter(process, "pw-16", NEW)
        assert await may_enter(process, "pw-16", NEW.encode().hex().upper())
        assert await accepted(api, "pw-16") == 1
    said = "".join(capfd.readouterr())
    assert "password_settled" in said
    assert not [form for form in (OLD, NEW, NEW.encode().hex()) if form in said.lower()]


async def test_a_2x_charger_gets_text_and_keeps_the_old_password_if_it_refuses(api: Platform) -> None:
    await guarded_station(api, "pw-201")
    async with ledger(api), guarded_edge(api) as process:
        async with charger(process, "pw-201", OLD, "ocpp2.0.1") as wire:
            await booted(api, wire, "pw-201", BOOT_2)
            for said, status in [("Rejected", "REJECTED"), ("Accepted", "ACCEPTED")]:
                asked = asyncio.create_task(rotate(api, "pw-201", password=NEW, wait_s=60))
                frame = await wire.receive()
                (item,) = frame[3]["setVariableData"]
                assert frame[2] == "SetVariables"
                assert item["attributeValue"] == NEW
                names = {"component": item["component"], "variable": item["variable"]}
                answer = {"setVariableResult": [{"attributeStatus": said, **names}]}
                await wire.send([3, frame[1], answer])
                found = await asked
                assert (found["status"], found["accepted"]) == (status, 1)
                if said == "Rejected":
                    assert "currentTime" in await wire.call("Heartbeat", {})
            assert await wire.closed() == 1008
        assert not await may_enter(process, "pw-201", OLD, "ocpp2.0.1")
        assert await may_enter(process, "pw-201", NEW, "ocpp2.0.1")


async def test_when_nobody_knows_both_stay_until_somebody_decides(api: Platform) -> None:
    await guarded_station(api, "pw-lost")
    async with ledger(api), guarded_edge(api) as process:
        async with charger(process, "pw-lost", OLD) as wire:
            await booted(api, wire, "pw-lost")
            asked = asyncio.create_task(rotate(api, "pw-lost", password=NEW, wait_s=60))
            await wire.receive()
            wire.socket.transport.abort()
        found = await asked
        assert (found["status"], found["accepted"]) == ("UNKNOWN", 2)
        assert await may_enter(process, "pw-lost", OLD)
        assert await may_enter(process, "pw-lost", NEW)
        problem(await api.http.post("/stations/pw-lost/password/rotate", json={}), 409)
        await ok(await api.http.post("/stations/pw-lost/password/settle", json={"keep": "new"}))

        async def only_the_new() -> bool:
            return await may_enter(process, "pw-lost", NEW) and not await may_enter(process, "pw-lost", OLD)

        await until(only_the_new)
        problem(await api.http.post("/stations/pw-lost/password/settle", json={"keep": "old"}), 409)


async def test_a_made_password_is_shown_once_and_no_password_is_in_any_topic(api: Platform) -> None:
    await ok(await api.http.put("/stations/pw-made", json={}), 201)
    made = await ok(await api.http.put("/stations/pw-made/password", json={}))
    assert len(made["password"]) == 20
    assert "password" not in {
        k for k, v in (await ok(await api.http.get("/stations/pw-made/password"))).items() if v
    }
    async with (
        ledger(api),
        guarded_edge(api) as process,
        charger(process, "pw-made", made["password"]) as wire,
    ):
        await booted(api, wire, "pw-made")
        wish = {
            "action": "ChangeConfiguration",
            "payload": {"key": "AuthorizationKey", "value": NEW.encode().hex()},
            "wait_s": 60,
        }
        asked = asyncio.create_task(api.http.post("/stations/pw-made/commands", json=wish))
        frame = await wire.receive()
        assert frame[3]["value"] == NEW.encode().hex()
        await wire.send([3, frame[1], {"status": "Rejected"}])
        assert NEW.encode().hex() not in (await asked).text
        wish = {"action": "GetConfiguration", "payload": {}, "wait_s": 60}
        asked = asyncio.create_task(api.http.post("/stations/pw-made/commands", json=wish))
        frame = await wire.receive()
        told = {"key": "AuthorizationKey", "readonly": False, "value": NEW}
        await wire.send([3, frame[1], {"configurationKey": [told]}])
        assert NEW not in (await asked).text
    secrets = [OLD, NEW, NEW.encode().hex(), NEW.encode().hex().upper(), made["password"]]
    for topic in api.bus.contract.topics.values():
        if topic.schemas:
            async for message in read_all(api.bus, topic.name):
                text = repr(message.record)
                assert not [secret for secret in secrets if secret in text], topic.name


async def test_secrets_of_a_network_profile_are_sealed_and_opened_for_the_charger(api: Platform) -> None:
    """Sealed they are longer than the charger's version lets them be; what is wrong with one is not told with it."""
    await guarded_station(api, "pw-net")
    vpn = {"server": "v", "user": "u", "password": NEW, "key": f"{NEW}-key", "type": "IPSec"}
    apn = {"apn": "a", "apnPassword": NEW, "apnAuthentication": "AUTO"}
    profile = {
        "ocppVersion": "OCPP20",
        "ocppTransport": "JSON",
        "ocppCsmsUrl": "wss://csms.example.org",
        "messageTimeout": 30,
        "securityProfile": 2,
        "ocppInterface": "Wired0",
        "vpn": vpn,
        "apn": apn,
    }
    payload = {"configurationSlot": 1, "connectionData": profile}
    async with (
        ledger(api),
        guarded_edge(api) as process,
        charger(process, "pw-net", OLD, "ocpp2.0.1") as wire,
    ):
        await booted(api, wire, "pw-net", BOOT_2)
        wish = {"action": "SetNetworkProfile", "payload": payload, "wait_s": 60}
        asked = asyncio.create_task(api.http.post("/stations/pw-net/commands", json=wish))
        frame = await wire.receive()
        assert frame[2:] == ["SetNetworkProfile", payload]
        await wire.send([3, frame[1], {"status": "Accepted"}])
        answered = await asked
        assert (answered.json()["status"], NEW in answered.text) == ("ACCEPTED", False)
    found: list[str] = []
    for topic in ("commands.requested", "commands.dispatch", "ocpp.commands"):
        found += [repr(message.record) async for message in read_all(api.bus, topic)]
    assert sum("SetNetworkProfile" in text for text in found) == 3
    assert not [text for text in found if NEW in text]


async def test_what_an_edge_cannot_open_is_not_sent(api: Platform) -> None:
    """With another key, or none, the charger never sees the sealed form; its old password stays."""
    await guarded_station(api, "pw-key")
    for number, settings in enumerate([{}, {"secrets_key": "quite another key"}]):
        async with (
            ledger(api),
            edge(api.settings, slot=number, unknown_stations="reject", **settings) as process,
            charger(process, "pw-key", OLD) as wire,
        ):
            await booted(api, wire, "pw-key")
            found = await rotate(api, "pw-key", password=NEW, wait_s=60)
            assert (found["status"], found["accepted"]) == ("FAILED", 1)
            assert "currentTime" in await wire.call("Heartbeat", {})


async def test_what_cannot_be_a_password_is_refused_without_being_repeated(api: Platform) -> None:
    await ok(await api.http.put("/stations/pw-bad", json={}), 201)
    for body in (
        {"password": "too short"},
        {"password": "x" * 41},
        {"password_hex": "00" * 15},
        {"password_hex": "zz" * 16},
        {"password": "a" * 20, "password_hex": "00" * 20},
        {"password": ["a" * 20]},
    ):
        response = await api.http.put("/stations/pw-bad/password", json=body)
        problem(response, 422)
        assert not any(str(value) in response.text for value in body.values())
    problem(await api.http.put("/stations/pw-none/password", json={}), 404)
    problem(await api.http.get("/stations/pw-bad/password"), 404)
    for wrong in ({"password": "x"}, {"password_hex": "00"}):
        said = problem(await api.http.put("/stations/pw-bad/password", json=wrong), 422)
        assert "password_hex" in said["detail"]
    too_long = {"password": "x" * 21, "version": "1.6"}
    problem(await api.http.post("/stations/pw-bad/password/rotate", json=too_long), 422)
    await ok(await api.http.put("/stations/pw-bad/password", json={"password_hex": "FF" * 20}))
    await ok(await api.http.delete("/stations/pw-bad/password"), 204)
    problem(await api.http.get("/stations/pw-bad/password"), 404)


async def test_a_security_profile_sinks_only_on_purpose_and_a_forgotten_station_has_no_password(
    api: Platform,
) -> None:
    await ok(await api.http.put("/stations/pw-down", json={"security_profile": 2}), 201)
    await ok(await api.http.put("/stations/pw-down/password", json={}))
    for response in (
        await api.http.patch("/stations/pw-down", json={"security_profile": 1}),
        await api.http.put("/stations/pw-down", json={"name": "x"}),
    ):
        body = problem(response, 422)
        assert body["errors"][0]["path"] == "/security_profile"
        assert "allow_security_downgrade" in body["detail"]
    await ok(await api.http.patch("/stations/pw-down", json={"security_profile": 3}))
    changes = {"security_profile": 0, "allow_security_downgrade": True}
    shown = await ok(await api.http.patch("/stations/pw-down", json=changes))
    assert shown["security_profile"] == 0
    assert "allow_security_downgrade" not in shown
    await ok(await api.http.delete("/stations/pw-down"), 204)
    problem(await api.http.get("/stations/pw-down/password"), 404)
