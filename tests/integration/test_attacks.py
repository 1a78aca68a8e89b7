"""Attacks on a charging network, each with what it comes to nothing by: who somebody is, and how many come."""

from __future__ import annotations

import asyncio
import re
import ssl
import subprocess
from base64 import b64encode
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus
from websockets.typing import Subprotocol

from libs.bus.settings import BusSettings
from libs.events.ocpp_log import (
    ConnectionOpened,
    ConnectionRefused,
)
from tests.integration.attack_rig import (
    calls,
    overheard,
    status_of,
)
from tests.integration.certificates import Authority
from tests.integration.edge_process import BOOT_16, Charger, Log, charger, edge
from tests.integration.security_rig import (
    BINARY,
    TEXT,
    basic,
    guarded,
    kept,
    reasons,
    refused,
    register,
    set_passwords,
)
from tests.patience import WAIT_S, until

# --- who somebody is


async def test_duplicate_identity_hijack_and_flapping(bus: BusSettings, log: Log, tmp_path: Path) -> None:
    """Without its password nobody takes a station's place; who has it takes it so many times a minute."""
    await register(log, "victim", security_profile=1)
    await set_passwords(log, "victim", TEXT)
    # Of six another is allowed each minute: none while this takes.
    async with guarded(bus, tmp_path, reconnects=6, auth_failures=0, auth_window_s=360) as edge:
        async with edge.plain("victim", TEXT) as victim:
            for opening in (edge.plain("victim"), edge.plain("victim", BINARY), edge.tls("VICTIM")):
                await refused(opening)
                assert "currentTime" in await victim.call("Heartbeat", {})
        async with AsyncExitStack() as stack:
            held = None
            for _ in range(5):
                held = await stack.enter_async_context(edge.plain("victim", TEXT))
            assert held is not None
            status, headers = await status_of(edge.plain("victim", TEXT))
            assert status == 429
            assert 1 <= int(headers["Retry-After"]) <= 60
            # The newest stays: whoever flaps gains nothing by going on.
            assert "currentTime" in await held.call("Heartbeat", {})
        await reasons(log, "victim", "missing_password", "wrong_password", "throttled")
        # The last call comes after the connection that was refused.
        await until(lambda: len(calls(log, "victim", "Heartbeat")) == 4, "the last call")
        assert len(log.of("ocpp.lifecycle", ConnectionOpened, "victim")) == 6


async def test_identity_spoofing(bus: BusSettings, log: Log, tmp_path: Path) -> None:
    """A station's own password or certificate makes nobody another station; nor does what it says in a payload."""
    for name in ("honest", "crook"):
        await register(log, name, security_profile=1)
    await set_passwords(log, "honest", TEXT)
    await set_passwords(log, "crook", BINARY)
    async with guarded(bus, tmp_path, auth_failures=0) as edge:
        mine = edge.authority.issue("crook")
        await refused(edge.plain("honest", BINARY))
        await refused(edge.tls("honest", None, mine))
        await refused(edge._connect(f"ws://127.0.0.1:{edge.process.port}", "honest", basic("crook", BINARY)))
        await refused(edge._connect(f"ws://127.0.0.1:{edge.process.port}", "crook", basic("honest", TEXT)))
        await reasons(log, "honest", "wrong_password", "wrong_certificate", "wrong_user")
        async with edge.plain("crook", BINARY) as crook:
            boot = BOOT_16 | {"chargePointSerialNumber": "honest", "chargeBoxSerialNumber": "honest"}
            await crook.call("BootNotification", boot)
        (call,) = await until(lambda: calls(log, "crook", "BootNotification"))
        assert call.station_id == "crook"
        assert not calls(log, "honest")


async def test_brute_force(bus: BusSettings, log: Log, tmp_path: Path) -> None:
    """After a few wrong guesses there is nothing but 429, but for the right one; the guesser does not write the log."""
    for name in ("guessed", "neighbour"):
        await register(log, name, security_profile=1)
        await set_passwords(log, name, TEXT)
    # In so long a window nothing is forgiven while this takes.
    limits = {"auth_failures": 5, "auth_failures_per_address": 12, "auth_window_s": 36_000}
    async with guarded(bus, tmp_path, **limits) as edge:
        async with edge.plain("neighbour", TEXT):
            pass
        seen = [
            (await status_of(edge.plain("guessed", b"guess number %06d" % number)))[0] for number in range(20)
        ]
        assert seen == [401] * 5 + [429] * 15
        status, headers = await status_of(edge.plain("guessed", BINARY))
        assert (status, "Retry-After" in headers) == (429, True)
        # Nor by guessing one password of many stations.
        seen = [(await status_of(edge.plain(f"many-{number}", TEXT)))[0] for number in range(20)]
        assert seen == [401] * 7 + [429] * 13
        # No station behind this address is locked out by it, nor the one whose password was guessed at.
        for name in ("neighbour", "guessed"):
            async with edge.plain(name, TEXT) as station:
                assert "currentTime" in await station.call("Heartbeat", {})
        await reasons(log, "guessed", "wrong_password", "throttled")
        refusals = list(log.of("ocpp.rejected", ConnectionRefused, "guessed"))
        assert len(refusals) == 2


async def test_enumeration(bus: BusSettings, log: Log, tmp_path: Path) -> None:
    """Whether a station exists, and what it needs, shows neither in the answer nor in its size."""
    await register(log, "exists-0", allow_no_subprotocol=True, security_profile=1)
    await register(log, "exists-2", security_profile=2)
    await set_passwords(log, "exists-0", TEXT)
    await set_passwords(log, "exists-2", TEXT)

    async def raw(port: int, name: str, *headers: str) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        lines = [
            f"GET /ocpp/{name} HTTP/1.1",
            "Host: x",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            "Sec-WebSocket-Version: 13",
            *headers,
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        answer = await reader.read()
        writer.close()
        return re.sub(rb"Date: [^\r]*", b"Date", answer)

    wrong = "Authorization: " + basic("exists-0", BINARY)["Authorization"]
    async with guarded(bus, tmp_path, auth_failures=0, auth_failures_per_address=0) as edge:
        port = edge.process.port
        for headers in ([], [wrong], ["Authorization: nonsense"]):
            for protocol in (["Sec-WebSocket-Protocol: ocpp1.6"], []):
                answers = {
                    await raw(port, name, *headers, *protocol) for name in ("exists-0", "exists-2", "nobody")
                }
                assert len(answers) == 1, answers
                (answer,) = answers
                assert answer.startswith(b"HTTP/1.1 401" if protocol else b"HTTP/1.1 400")


async def test_tls_and_profile_downgrade(bus: BusSettings, log: Log, tmp_path: Path) -> None:
    """A station that has TLS does not get in without, not even with the right password; old TLS is not spoken."""
    await register(log, "raised", security_profile=2)
    await set_passwords(log, "raised", TEXT)
    async with guarded(bus, tmp_path) as edge:
        await refused(edge.plain("raised", TEXT))
        await reasons(log, "raised", "low_profile")
        for version in ("tls1", "tls1_1"):
            arguments = [
                f"-{version}",
                "-cipher",
                "ALL:@SECLEVEL=0",
                "-connect",
                f"127.0.0.1:{edge.tls_port}",
            ]
            ended = await asyncio.to_thread(
                subprocess.run,
                ["openssl", "s_client", *arguments],
                input=b"",
                capture_output=True,
                timeout=WAIT_S,
                check=False,
            )
            assert b"Cipher is (NONE)" in ended.stdout
        async with edge.tls("raised", TEXT) as station:
            await station.call("BootNotification", BOOT_16)
            # The profile is the registry's: a station cannot lower it by saying so.
            key = {"configurationKey": [{"key": "SecurityProfile", "readonly": False, "value": "0"}]}
            await station.send([3, "nobody-asked", key])
            await station.call("DataTransfer", {"vendorId": "x", "data": "SecurityProfile=0"})
        await refused(edge.plain("raised", TEXT))


async def test_anothers_revoked_expired_and_foreign_certificates(
    bus: BusSettings, log: Log, tmp_path: Path
) -> None:
    await register(log, "own", security_profile=3)
    folder = tmp_path / "foreign"
    folder.mkdir()
    foreign = Authority(folder, "Foreign")
    async with guarded(bus, tmp_path, auth_failures=0, reconnects=0) as edge:
        good, other, revoked = (edge.authority.issue(name) for name in ("own", "other", "own"))
        expired = edge.authority.issue("own", expired=True)
        server = edge.authority.issue("own", server=True)
        edge.authority.revoke(revoked.serial)
        await until_refused(edge, revoked)
        async with edge.tls("own", None, good) as station:
            assert "currentTime" in await station.call("Heartbeat", {})
            await refused(edge.tls("own", None, other))
            await refused(edge.tls("own", None, revoked))
            await reasons(log, "own", "wrong_certificate", "revoked_certificate")
            # These do not even get as far as a request; nor does a certificate that is for servers.
            for bad in (expired, foreign.issue("own"), server):
                with pytest.raises(
                    (ssl.SSLError, OSError, InvalidHandshake, ConnectionClosed, InvalidMessage)
                ):
                    async with edge.tls("own", None, bad):
                        pass
            await reasons(log, "*", "bad_certificate")
            await until(
                lambda: 'tls_failures_total{cause="certificate"} 3.0' in edge.process.metrics(),
                "three bad certificates are counted",
            )
            assert "currentTime" in await station.call("Heartbeat", {})


async def until_refused(edge: Any, certificate: Any) -> None:
    """The edge looks at its files twice a second."""

    async def is_refused() -> bool:
        return (await status_of(edge.tls("own", None, certificate)))[0] == 401

    await until(is_refused)


# --- sheer number


async def test_reconnect_storms(bus: BusSettings, log: Log) -> None:
    """All come at once, all get in, and who was in is served meanwhile."""
    names = [f"crowd-{number:03}" for number in range(300)]
    async with edge(bus) as process, charger(process, "resident") as resident:

        async def enter(name: str) -> None:
            async with charger(process, name) as station:
                await station.call("BootNotification", BOOT_16)

        storm = asyncio.gather(*map(enter, names))
        served = 0
        while not storm.done():
            assert "currentTime" in await resident.call("Heartbeat", {})
            served += 1
        await storm
        # Whoever had to wait for the storm to be over would have been answered once before it, and once after.
        assert served > 2
        await until(lambda: {r.station_id for r in log.of("ocpp.lifecycle", ConnectionOpened)} >= set(names))


async def test_slow_handshakes(bus: BusSettings, log: Log, tmp_path: Path) -> None:
    """Whoever does not get on with it is cut off, and those who wait longest go first when there are too many."""
    await register(log, "prompt")
    async with guarded(bus, tmp_path, handshake_timeout_s=20, max_handshakes=20) as edge:
        port = edge.process.port
        slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(15)]
        for _, writer in slow:
            writer.write(b"GET /ocpp/slow HTTP/1.1\r\nHost: x\r\n")
        half_tls = [await asyncio.open_connection("127.0.0.1", edge.tls_port) for _ in range(5)]
        for _, writer in half_tls:
            writer.write(b"\x16\x03\x01")
        more = [await asyncio.open_connection("127.0.0.1", port) for _ in range(10)]
        # The first of the slow ones have made room, long before their time was over.
        async with asyncio.timeout(15):
            assert await slow[0][0].read() == b""
        async with edge.plain("prompt") as prompt:
            assert "currentTime" in await prompt.call("Heartbeat", {})
            async with asyncio.timeout(WAIT_S):
                for reader, _ in (*slow, *more, *half_tls):
                    with suppress(ConnectionError):
                        await reader.read()
            assert "currentTime" in await prompt.call("Heartbeat", {})
        for _, writer in (*slow, *more, *half_tls):
            writer.close()


# --- secrets


async def test_secrets_in_logs(bus: BusSettings, log: Log, tmp_path: Path) -> None:
    """No password, in any of its forms, and no key is ever written down, whatever level is logged."""
    key, sealing = "a-transaction-key-of-ours", "a-sealing-key-of-ours"
    wrong = b"not-the-password-at-all"
    await register(log, "secretive", security_profile=1)
    await set_passwords(log, "secretive", TEXT, BINARY)
    async with overheard(
        bus,
        tmp_path / "log",
        log_level="DEBUG",
        unknown_stations="reject",
        transaction_key=key,
        secrets_key=sealing,
    ) as process:
        for password in (TEXT, BINARY, BINARY.hex().encode(), wrong):
            headers = basic("secretive", password)
            try:
                async with connect(
                    f"ws://127.0.0.1:{process.port}/ocpp/secretive?password={TEXT.decode().replace(' ', '+')}",
                    subprotocols=[Subprotocol("ocpp1.6")],
                    additional_headers=headers,
                    open_timeout=WAIT_S,
                    proxy=None,
                ) as socket:
                    await Charger(socket).call("BootNotification", BOOT_16)
            except InvalidStatus:
                assert password == wrong
        for junk in (
            b"GET / HTTP/1.1\r\nAuthorization: " + TEXT,
            b"\x00" * 100,
            b"POST /ocpp/x HTTP/1.1\r\n\r\n",
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
            writer.write(junk)
            writer.write_eof()
            await reader.read()
            writer.close()
        metrics = process.metrics()
        await reasons(log, "secretive", "wrong_password")
    said = process.said
    assert "station_connected" in said
    assert "Traceback" not in said
    forms = [key, sealing]
    for password in (TEXT, BINARY, wrong):
        forms += [
            password.decode("latin-1"),
            password.hex(),
            b64encode(b"secretive:" + password).decode(),
            b64encode(password).decode(),
        ]
    forms += [kept(password).digest for password in (TEXT, BINARY)]
    for form in forms:
        assert form not in said
        assert form not in metrics
        assert not [r for records in log.records.values() for r in records if form in repr(r)]


ATTACKS = (
    "hijack", "flapping", "spoofing", "brute_force", "enumeration", "stopping_another", "extreme_dates", "oversize",
    "nested", "deflate_bomb", "malformed", "script", "csv", "log_injection", "sql_injection", "request_forgery",
    "tls", "profile_downgrade", "another", "revoked", "expired", "replayed", "forged", "falsified",
    "reconnect_storms", "slow_handshakes", "secrets_in_logs",
)  # fmt: skip


def test_every_attack_is_here() -> None:
    """Each has a test named after it, in this file or its neighbours."""
    texts = [path.read_text() for path in Path(__file__).parent.glob("test_attacks*.py")]
    tests = re.findall(r"^async def (test_\w+)", "".join(texts), re.MULTILINE)
    for attack in ATTACKS:
        assert any(attack in name for name in tests), attack
