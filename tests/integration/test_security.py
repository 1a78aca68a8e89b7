"""Security profiles 0 to 3 on real sockets, and what a change of registry or files does to open ones."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from socket import create_connection
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from libs.bus.settings import BusSettings
from tests.integration.certificates import Authority, client_context
from tests.integration.edge_process import Log
from tests.integration.security_rig import (
    BINARY,
    TEXT,
    cut_at_once,
    guarded,
    profile_of,
    reasons,
    refused,
    register,
    set_passwords,
)
from tests.patience import until


async def test_a_connection_has_the_profile_that_it_proves(
    bus: BusSettings, log: Log, tmp_path: Path
) -> None:
    await register(log, "sp")
    await set_passwords(log, "sp", BINARY)
    async with guarded(bus, tmp_path) as edge:
        certificate = edge.authority.issue("SP")
        for number, (opening, profile) in enumerate(
            [
                (edge.plain("sp"), 0),
                (edge.plain("SP", BINARY), 1),
                (edge.plain("sp", BINARY.hex().encode()), 1),
                (edge.tls("sp"), 0),
                (edge.tls("sp", BINARY), 2),
                (edge.tls("sp", None, certificate), 3),
            ],
            1,
        ):
            async with opening as charger:
                assert "currentTime" in await charger.call("Heartbeat", {})
            assert await profile_of(log, "sp", number) == profile
        await refused(edge.plain("sp", TEXT))
        await reasons(log, "sp", "wrong_password")


async def test_less_than_the_stations_profile_is_refused_uniformly(
    bus: BusSettings, log: Log, tmp_path: Path
) -> None:
    for profile in (1, 2, 3):
        await register(log, f"needs-{profile}", security_profile=profile)
        await set_passwords(log, f"needs-{profile}", TEXT)
    async with guarded(bus, tmp_path) as edge:
        own = {profile: edge.authority.issue(f"needs-{profile}") for profile in (1, 2, 3)}
        for profile in (1, 2, 3):
            name = f"needs-{profile}"
            ways = [
                edge.plain(name),
                edge.plain(name, TEXT),
                edge.tls(name, TEXT),
                edge.tls(name, None, own[profile]),
            ]
            for proven, opening in enumerate(ways):
                if proven < profile:
                    await refused(opening)
                else:
                    async with opening as charger:
                        assert "currentTime" in await charger.call("Heartbeat", {})
        await refused(edge.tls("needs-3", None, edge.authority.issue("needs-3", "Somebody Else")))
        await refused(edge.tls("needs-3", TEXT, own[2]))
        await refused(edge.plain("nobody", TEXT))
        await reasons(log, "needs-3", "missing_password", "low_profile", "wrong_certificate")
        await reasons(log, "nobody", "unknown_station")


async def test_a_changed_registry_entry_closes_the_socket_at_once(
    bus: BusSettings, log: Log, tmp_path: Path
) -> None:
    # Each attempt before the edge has read the registry is a failure.
    async with guarded(bus, tmp_path, auth_failures=0, auth_failures_per_address=0, reconnects=0) as edge:
        await register(log, "live", security_profile=1)
        await set_passwords(log, "live", TEXT)
        await register(log, "kept", security_profile=1)
        await set_passwords(log, "kept", TEXT)
        certificate = edge.authority.issue("live")

        async def admitted(opening: Any) -> None:
            """Until the edge has read what was registered."""

            async def try_once() -> bool:
                try:
                    async with opening():
                        return True
                except InvalidStatus:
                    return False

            await until(try_once)

        await admitted(lambda: edge.plain("live", TEXT))
        await admitted(lambda: edge.plain("kept", TEXT))
        async with edge.plain("kept", TEXT) as kept:
            async with edge.plain("live", TEXT) as charger:
                await charger.call("Heartbeat", {})
                await set_passwords(log, "live", TEXT, BINARY)
                await charger.call("Heartbeat", {})
                await set_passwords(log, "live", BINARY)
                await cut_at_once(charger)
            await refused(edge.plain("live", TEXT))
            async with edge.plain("live", BINARY) as charger:
                await charger.call("Heartbeat", {})
                await register(log, "live", security_profile=2)
                await cut_at_once(charger)
            async with edge.tls("live", None, certificate) as charger:
                await charger.call("Heartbeat", {})
                await register(log, "live", security_profile=2, certificate_name="another")
                await cut_at_once(charger)
            async with edge.tls("live", BINARY) as charger:
                await charger.call("Heartbeat", {})
                await log.publish("registry.credentials", "live", None)
                await cut_at_once(charger)
            assert "currentTime" in await kept.call("Heartbeat", {})


async def test_files_that_change_are_used_by_the_next_handshake_and_a_revoked_one_is_cut(
    bus: BusSettings, log: Log, tmp_path: Path
) -> None:
    await register(log, "rev", security_profile=3)
    await register(log, "stays", security_profile=3)
    async with guarded(bus, tmp_path, auth_failures=0, auth_failures_per_address=0, reconnects=0) as edge:
        mine, other = edge.authority.issue("rev"), edge.authority.issue("stays")
        async with edge.tls("rev", None, mine) as charger, edge.tls("stays", None, other) as stays:
            await charger.call("Heartbeat", {})
            edge.authority.revoke(mine.serial)
            assert await charger.closed() == 1008
            assert "currentTime" in await stays.call("Heartbeat", {})
        await refused(edge.tls("rev", None, mine))
        await reasons(log, "rev", "revoked_certificate")

        # A new authority altogether; first with a certificate that its key does not fit, which changes nothing.
        folder = tmp_path / "new"
        folder.mkdir()
        fresh = Authority(folder, "Second")
        replacement = fresh.issue("127.0.0.1", server=True)
        edge.server.certificate.write_bytes(replacement.certificate.read_bytes())
        async with edge.tls("stays", None, other):
            pass
        edge.authority.ca.write_bytes(fresh.ca.read_bytes())
        edge.server.key.write_bytes(replacement.key.read_bytes())
        renewed = fresh.issue("stays")

        async def served_anew() -> bool:
            try:
                async with edge.tls("stays", None, renewed):
                    return True
            except (ssl.SSLError, OSError, InvalidHandshake, ConnectionClosed):
                return False

        await until(served_anew)


async def test_only_modern_tls_is_spoken(bus: BusSettings, tmp_path: Path) -> None:
    async with guarded(bus, tmp_path) as edge:

        def suite(minimum: ssl.TLSVersion, maximum: ssl.TLSVersion, ciphers: str) -> str:
            context = client_context(edge.authority.ca)
            context.set_ciphers(ciphers)
            context.minimum_version, context.maximum_version = minimum, maximum
            with (
                create_connection(("127.0.0.1", edge.tls_port), 5) as plain,
                context.wrap_socket(plain, server_hostname="127.0.0.1") as encrypted,
            ):
                assert encrypted.compression() is None
                found = encrypted.cipher()
                assert found is not None
                return str(found[0])

        v12, v13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
        assert "GCM" in await asyncio.to_thread(suite, v12, v12, "DEFAULT")
        assert await asyncio.to_thread(suite, v12, v12, "ECDHE+AES128+AESGCM")
        assert "TLS_AES" in await asyncio.to_thread(suite, v13, v13, "DEFAULT")
        for minimum, maximum, ciphers in [
            (v12, v12, "AES128-GCM-SHA256:@SECLEVEL=0"),
            (v12, v12, "ECDHE+AES+SHA1:@SECLEVEL=0"),
            (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0"),
        ]:
            with pytest.raises((ssl.SSLError, OSError)):
                await asyncio.to_thread(suite, minimum, maximum, ciphers)
