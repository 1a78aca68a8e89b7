"""The whole platform for one session of tests: every process between a charger and an operator."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.serialization import Encoding

from libs.bus.admin import apply_contract, delete_topics
from libs.bus.settings import BusSettings
from libs.clickhouse.client import ClickHouseClient
from libs.clickhouse.settings import ClickHouseSettings
from libs.devstack import Endpoints
from libs.devstack.endpoints import free_ports
from libs.events.contract import dead_letter_topic, load_contract
from tests.integration.certificates import OPERATOR, Authority
from tests.integration.edge_process import EdgeProcess, open_log
from tests.integration.service_process import ServiceProcess
from tests.integration.test_ocsp import CA, responding
from tests.patience import WAIT_S, until
from tests.scenarios.charger import Json
from tests.scenarios.rig import LONG_AGO, SITE, TARIFF, TOKENS, Rig, ok

KEY = "an-operators-key-0123456789"
SECRETS = "shared by the API and the edge"
_DEFERRED = (
    "GetCertificateStatus:30,GetCertificateChainStatus:30,Authorize.iso15118CertificateHashData:30,"
    "Authorize.certificate:30,TransactionEvent.eventType=Ended:30"
)
_FOLLOWED = ("sessions.events", "billing.cdrs", "commands.outcomes", "telemetry.measurements")


@asynccontextmanager
async def running_platform(stack: Endpoints, stations: Sequence[Json], folder: Path) -> AsyncIterator[Rig]:
    """Everything between a charger and an operator, with these stations registered. `folder`: for certificates."""
    name = f"scn{secrets.token_hex(3)}"
    settings = BusSettings(
        kafka=stack.bootstrap, registry_url=stack.registry_url, namespace=name, partitions=2, slots=2
    )
    where = ClickHouseSettings(
        clickhouse_host=stack.clickhouse_host,
        clickhouse_port=stack.clickhouse_port,
        clickhouse_database=name,
    )
    database = where.model_dump(include={"clickhouse_host", "clickhouse_port", "clickhouse_database"})
    await apply_contract(settings)
    port, tls_port = free_ports(2)
    authority = Authority(folder)
    server = authority.issue("127.0.0.1", server=True)
    roaming = folder / "roaming.pem"
    roaming.write_bytes(CA.certificate.public_bytes(Encoding.PEM))
    services = [
        ServiceProcess(
            "api",
            settings,
            **database,
            api_key=KEY,
            api_port=port,
            settle_s=0,
            secrets_key=SECRETS,
            least_security_profile=0,
        ),
        ServiceProcess("sink", settings, **database, sink_interval_ms=250),
        ServiceProcess("telemetry", settings),
        ServiceProcess("sessions", settings),
        ServiceProcess("commands", settings),
        ServiceProcess(
            "provisioning",
            settings,
            on_boot="limits,status",
            certificate_checks=True,
            certificate_authorities=roaming,
            url_networks="127.0.0.0/8",
            ocsp_timeout_s=2,
        ),
    ]
    edge = EdgeProcess(
        settings,
        unknown_stations="reject",
        unknown_tokens="reject",
        secrets_key=SECRETS,
        edge_tls_port=tls_port,
        tls_certificate=server.certificate,
        tls_key=server.key,
        tls_client_ca=authority.ca,
        tls_operator=OPERATOR,
        deferred=_DEFERRED,
        certificate_desk=True,
    )
    contract = load_contract()
    async with AsyncExitStack() as stop:
        responder = await stop.enter_async_context(responding())
        stop.push_async_callback(
            delete_topics,
            settings,
            [
                *contract.topics,
                *(dead_letter_topic(t.name) for t in contract.topics.values() if t.dead_letters),
            ],
        )
        stop.callback(_drop, where)
        for service in services:
            service.start()
            stop.callback(service.kill)
        http = await stop.enter_async_context(
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}/api/v1",
                headers={"Authorization": f"Bearer {KEY}"},
                timeout=WAIT_S,
            )
        )
        for service in services:
            await until(service.is_ready, f"{service.name} is ready")
        await _register(http, stations)
        edge.launch()  # once it is ready it knows what is registered
        stop.push_async_callback(edge.stop)
        log = await stop.enter_async_context(open_log(settings))
        followers = [asyncio.create_task(log.follow(topic)) for topic in _FOLLOWED]
        stop.push_async_callback(_cancel, followers)
        await until(edge.is_ready, "the edge is ready")
        yield Rig(edge, tls_port, authority, responder, log, http)


async def _register(http: httpx.AsyncClient, stations: Iterable[Json]) -> None:
    price = {"currency": "EUR", "price_per_kwh_milli": 50_000, "valid_from": LONG_AGO}
    ok(await http.put(f"/tariffs/{TARIFF}", json=price), 201)
    site = {"tariff_id": TARIFF, "tariff_valid_from": LONG_AGO, "timezone": "Europe/Berlin"}
    ok(await http.put(f"/sites/{SITE}", json=site), 201)
    at_site: Json = {"site_id": SITE, "site_valid_from": LONG_AGO, "certification": True}
    entries = [(f"/tokens/{token}", body) for token, body in TOKENS.items()]
    for station in stations:
        settings = {name: value for name, value in station.items() if name not in ("station_id", "password")}
        entries.append((f"/stations/{station['station_id']}", at_site | settings))
    at_once = asyncio.Semaphore(8)

    async def put(path: str, body: Json, status: int) -> None:
        async with at_once:
            ok(await http.put(path, json=body), status)

    await asyncio.gather(*(put(path, body, 201) for path, body in entries))
    passwords = [
        (f"/stations/{station['station_id']}/password", {"password": station["password"]})
        for station in stations
        if "password" in station
    ]
    await asyncio.gather(*(put(path, body, 200) for path, body in passwords))


def _drop(where: ClickHouseSettings) -> None:
    clickhouse = ClickHouseClient(where, database="default")
    clickhouse.execute(f"DROP DATABASE IF EXISTS {where.clickhouse_database}")
    clickhouse.close()


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
