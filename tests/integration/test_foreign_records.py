"""Records on tables' topics that do not belong there are passed over, and said, by the API and the edges."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from libs.bus.bus import Bus, connect
from libs.bus.settings import BusSettings
from libs.devstack import Endpoints
from libs.devstack.endpoints import free_ports
from libs.events.ocpp_log import StationLocated
from libs.events.record import Record
from libs.events.registry import (
    CredentialsRegistered,
    OrganisationDefined,
    SiteRegistered,
    StationRegistered,
    TariffRegistered,
    TokenRegistered,
)
from libs.events.stations import CapabilitiesLearned
from services.api.registry.table import TABLES
from tests.integration.api_platform import KEY, stamp
from tests.integration.attack_rig import overheard, status_of
from tests.integration.edge_process import EdgeProcess, charger
from tests.integration.follower_faults import write_raw
from tests.integration.service_process import ServiceProcess
from tests.patience import WAIT_S, until

HOME: dict[str, Record] = {
    "registry.stations": StationRegistered(**stamp(), station_id="f"),
    "registry.credentials": CredentialsRegistered(**stamp(), station_id="f"),
    "registry.sites": SiteRegistered(**stamp(), site_id="f"),
    "registry.tokens": TokenRegistered(**stamp(), id_token="f"),
    "registry.organisations": OrganisationDefined(**stamp(), organisation_id="f"),
    "registry.tariffs": TariffRegistered(**stamp(), tariff_id="f", versions=()),
    "edge.connections": StationLocated(
        **stamp(),
        station_id="f",
        edge_id="edge-0",
        slot=0,
        connection_epoch=1,
        version="ocpp1.6",
        connected=True,
    ),
    "stations.capabilities": CapabilitiesLearned(**stamp(), station_id="f"),
}
"""A record for the key `f` of each topic that the API or the edge holds as a table."""


async def defile(bus: Bus) -> int:
    """Write to every table's topic what does not belong there; how many records that are."""
    written = 0
    for topic in TABLES:
        others = [bus.codec.encode(home, record) for home, record in HOME.items() if home != topic]
        own = bus.codec.encode(topic, HOME[topic])
        records = [(b"f", value) for value in others]
        records += [(b"other", own), (b"\xff\xfe", own), (b"", own), (b"f", b"no record")]
        await write_raw(bus.settings, topic, *records)
        written += len(records)
    return written


def passed_over(process: EdgeProcess | ServiceProcess, follower: str) -> int:
    """How many records the follower has passed over."""
    mine = f'voltbus_dead_letters_total{{processor="{follower}"'
    return sum(
        int(float(line.split()[-1])) for line in process.metrics().splitlines() if line.startswith(mine)
    )


@asynccontextmanager
async def api_of(
    stack: Endpoints, bus: BusSettings
) -> AsyncIterator[tuple[ServiceProcess, httpx.AsyncClient]]:
    (port,) = free_ports(1)
    where = {"clickhouse_host": stack.clickhouse_host, "clickhouse_port": stack.clickhouse_port}
    settings = {**where, "api_key": KEY, "api_port": port, "settle_s": 0, "least_security_profile": 0}
    process = ServiceProcess("api", bus, **settings)
    process.start()
    try:
        await until(process.is_ready, "the API is ready")
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}/api/v1",
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=WAIT_S,
        ) as http:
            yield process, http
    finally:
        process.kill()


async def answers(http: httpx.AsyncClient) -> list[int]:
    paths = ["/stations", "/sites", "/tokens", "/tariffs", "/organisations"]
    one = [f"{path}/{key}" for path in paths for key in ("f", "other")]
    kept = ["/stations/f/state", "/stations/f/capabilities"]
    return [(await http.get(path)).status_code for path in (*paths, *one, *kept)]


async def test_foreign_records_disturb_neither_who_runs_nor_who_starts(
    stack: Endpoints, bus: BusSettings, tmp_path: Path
) -> None:
    strict = {"unknown_stations": "reject", "unknown_tokens": "reject", "edge_id": "edge-0"}
    async with (
        connect(bus) as writing,
        api_of(stack, bus) as (api, http),
        overheard(bus, tmp_path / "edge.log", **strict) as edge,
    ):
        assert (await http.put("/stations/before", json={})).status_code == 201
        written = await defile(writing)
        of_api = ("registry.organisations", "registry.sites", "registry.tariffs")
        of_edge = sum(1 for topic in TABLES if topic not in of_api)
        await until(lambda: passed_over(api, "api-registry") == written, "the API passed over all")
        share = written * of_edge // len(TABLES)
        await until(lambda: passed_over(edge, "edge") == share, "the edge passed over all")
        assert set(await answers(http)) <= {200, 404}
        assert (await http.put("/stations/guarded", json={"security_profile": 1})).status_code == 201
        password = {"password": "sixteen-or-more-x"}
        assert (await http.post("/stations/guarded/password", json=password)).status_code in (200, 404, 405)
        edge.kill()
        edge.launch()
        await until(edge.is_ready, "the edge is back")
        async with charger(edge, "before"):
            pass
        assert (await status_of(charger(edge, "guarded")))[0] == 401
        assert passed_over(edge, "edge") == share
        assert "foreign" in edge.said
    async with api_of(stack, bus) as (api, http):
        assert set(await answers(http)) <= {200, 404}
        assert passed_over(api, "api-registry") == written
