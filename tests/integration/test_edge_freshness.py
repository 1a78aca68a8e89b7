"""What an edge refuses it refuses by the whole registry: it reads on first, and lets nobody in when it cannot."""

from __future__ import annotations

import asyncio

from libs.bus.bus import connect
from libs.bus.settings import BusSettings
from tests.integration.attack_rig import status_of
from tests.integration.edge_process import BOOT_16, EdgeProcess, Log, charger, edge
from tests.integration.follower_faults import newer_record, registry_before, write_raw
from tests.integration.runtimes.tally import STATIONS, registered
from tests.patience import WAIT_S, until


async def answered(process: EdgeProcess, station: str, status: int) -> None:
    """Wait until handshakes of the station get this status."""
    async with asyncio.timeout(WAIT_S):
        while (await status_of(charger(process, station)))[0] != status:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.5)


async def test_an_edge_refuses_nobody_by_what_it_has_not_read(bus: BusSettings, log: Log) -> None:
    """A record that only the registry can explain holds its partition up, as a slow Kafka would."""
    async with (
        registry_before(bus) as (registry, behind),
        connect(bus) as plain,
        edge(behind, unknown_stations="reject", catch_up_s=8) as process,
    ):
        for station in ("known", "known-too"):
            await log.publish(STATIONS, station, registered(station))
            await status_of(charger(process, station))

        async def held_up(field: str, station: str) -> None:
            registry.status, registry.refused = 403, 0
            behind_it = plain.codec.encode(STATIONS, registered(station))
            newer = await newer_record(plain, "newer", field)
            await write_raw(bus, STATIONS, (b"newer", newer), (station.encode(), behind_it))
            await until(lambda: registry.refused, "a partition that waits")

        async with charger(process, "known") as before:
            assert (await before.call("BootNotification", BOOT_16))["status"] == "Accepted"

            await held_up("colour", "soon")
            asked = asyncio.create_task(status_of(charger(process, "soon")))
            refused = registry.refused
            await until(lambda: asked.done() or registry.refused > refused, "one more look")
            registry.status = None
            assert (await asked)[0] == 101

            await held_up("flavour", "late")
            status, headers = await status_of(charger(process, "late"))
            assert (status, "Retry-After" in headers) == (503, True)

            await answered(process, "known-too", 503)
            assert "currentTime" in await before.call("Heartbeat", {})
            registry.status = None
            await answered(process, "late", 101)
            assert "currentTime" in await before.call("Heartbeat", {})
