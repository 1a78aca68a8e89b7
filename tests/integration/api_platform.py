"""An API process over real HTTP, on real Kafka, registry and ClickHouse; the sink fills the history."""

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import httpx
import pytest_asyncio

from libs.bus.bus import Bus, connect
from libs.bus.producer import Producer
from libs.clickhouse.client import ClickHouseClient
from libs.devstack import Endpoints
from libs.events.commands import CommandConcluded, Fate, RequestCommand
from libs.events.ids import derive_id, new_id
from libs.events.ocpp_log import StationLocated
from libs.events.record import Record
from libs.events.sessions import SessionEnded, SessionStarted
from libs.events.stations import CapabilitiesLearned, KnownVariable
from libs.runtime.clock import now_us
from libs.runtime.service import Health
from services.api.app import serving
from services.api.settings import ApiSettings
from services.sink.settings import SinkSettings
from tests.integration.bus import drop_topics, make_topics
from tests.integration.sink_process import sink_task
from tests.patience import WAIT_S, until

KEY = "an-operators-key-0123456789"
ANNAS_KEY = "annas-own-key-0123456789"

Json = dict[str, Any]


class Platform(SimpleNamespace):
    bus: Bus
    producer: Producer
    http: httpx.AsyncClient
    settings: ApiSettings
    port: int

    async def emit(self, topic: str, key: str, record: Record) -> None:
        await self.producer.send_and_wait(topic, key, record)


def stamp(at: int | None = None) -> Json:
    event_id = new_id()
    now = now_us() if at is None else at
    return {"event_id": event_id, "occurred_at": now, "recorded_at": now, "cause_id": event_id}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(stack: Endpoints) -> AsyncIterator[Platform]:
    name = f"api{secrets.token_hex(3)}"
    where = {
        "kafka": stack.bootstrap,
        "registry_url": stack.registry_url,
        "namespace": name,
        "partitions": 2,
        "slots": 2,
        "clickhouse_host": stack.clickhouse_host,
        "clickhouse_port": stack.clickhouse_port,
        "clickhouse_database": name,
    }
    settings = ApiSettings.model_validate(
        {
            **where,
            "api_key": KEY,
            "operator_keys": f"anna={ANNAS_KEY},ben=bens-own-key-9876543210",
            "secrets_key": "only for these tests",
            "api_port": 0,
            "wrong_keys": 60,
            "least_security_profile": 0,
            "commands_alert": 20,
            "settle_s": 0.2,
            "state_refresh_s": 0.5,
            "stream_heartbeat_s": 1,
        }
    )
    await make_topics(settings)
    try:
        async with (
            connect(settings) as bus,
            sink_task(SinkSettings.model_validate({**where, "sink_interval_ms": 100})) as sink,
            serving(settings, Health()) as running,
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{running.port}/api/v1",
                headers={"Authorization": f"Bearer {KEY}"},
                timeout=WAIT_S,
            ) as http,
        ):
            await until(sink.is_ready, "the sink has made its tables")
            producer = Producer(bus, "test")
            await producer.start()
            yield Platform(bus=bus, producer=producer, http=http, settings=settings, port=running.port)
            await producer.stop()
    finally:
        await drop_topics(settings)
        clickhouse = ClickHouseClient(settings, database="default")
        clickhouse.execute(f"DROP DATABASE IF EXISTS {name}")
        clickhouse.close()


def client(port: int) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}/api/v1", headers={"Authorization": f"Bearer {KEY}"}, timeout=WAIT_S
    )


@asynccontextmanager
async def another(api: Platform) -> AsyncIterator[httpx.AsyncClient]:
    settings = api.settings.model_copy(update={"api_port": 0})
    async with serving(settings, Health()) as running, client(running.port) as http:
        yield http


async def ok(response: httpx.Response, status: int = 200) -> Any:
    assert response.status_code == status, response.text
    return response.json() if response.content else None


async def told(http: httpx.AsyncClient, path: str, fits: Callable[[Any], bool]) -> None:
    """What another process wrote is at this path of the API, which reads it from Kafka in its own time."""

    async def there() -> bool:
        answer = await http.get(path)
        return answer.status_code == 200 and fits(answer.json())

    await until(there, path)


async def gone(http: httpx.AsyncClient, path: str) -> None:
    """What another process removed is not at this path of the API any more."""

    async def absent() -> bool:
        return (await http.get(path)).status_code == 404

    await until(absent, path)


async def create(http: httpx.AsyncClient, path: str, body: Json) -> None:
    """What `body` says is made, with as many requests as it takes until Kafka acknowledges one in time."""
    asked = 0

    async def acknowledged() -> bool:
        nonlocal asked
        asked += 1
        answer = await http.post(path, json=body)
        if answer.status_code == 503:
            return False
        # One that was not acknowledged in time may have made it all the same.
        if asked == 1 or answer.status_code != 409:
            await ok(answer, 201)
        return True

    await until(acknowledged, path)


def problem(response: httpx.Response, status: int) -> Json:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: Json = response.json()
    assert body["status"] == status
    assert body["detail"]
    return body


def session_started(station_id: str, session_id: str, at: int, token: str = "card") -> SessionStarted:
    return SessionStarted(
        **stamp(at),
        station_id=station_id,
        session_id=session_id,
        evse_id=1,
        transaction_id="1",
        site_id="S9",
        id_token=token,
        version="ocpp1.6",
        started_at=at,
        meter_start_wh=100,
    )


def session_ended(started: SessionStarted, at: int) -> SessionEnded:
    return SessionEnded(
        **stamp(at),
        station_id=started.station_id,
        session_id=started.session_id,
        evse_id=1,
        transaction_id="1",
        site_id=started.site_id,
        id_token=started.id_token,
        started_at=started.started_at,
        ended_at=at,
        meter_start_wh=100,
        meter_stop_wh=1_100,
        energy_wh=1_000,
        reason="Local",
    )


async def same_answer(url: str, expected: Json) -> bool:
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {KEY}"}, timeout=WAIT_S) as http:

        async def same() -> bool:
            response = await http.get(url)
            return response.status_code == 200 and response.json() == expected

        return bool(await until(same))


async def located(api: Platform, station_id: str, version: str = "ocpp1.6") -> None:
    record = StationLocated(
        **stamp(),
        station_id=station_id,
        edge_id="edge-1",
        slot=0,
        connection_epoch=1,
        version=version,
        connected=True,
    )
    await api.emit("edge.connections", station_id, record)

    async def known() -> bool:
        return (await api.http.get(f"/stations/{station_id}/state")).status_code == 200

    await until(known)


def concluded(request: RequestCommand, fate: Fate = Fate.ACCEPTED, **changes: Any) -> CommandConcluded:
    fields = stamp() | {
        "event_id": derive_id(request.event_id, "concluded"),
        "station_id": request.station_id,
        "command_id": request.event_id,
        "action": request.action,
        "dialect": request.dialect,
        "fate": fate,
        "reason": "",
        "result": '{"status":"Accepted"}',
        "requested_at": request.recorded_at,
        "requested_by": request.requested_by,
        "attempts": 1,
    }
    return CommandConcluded(**(fields | changes))


async def learned(api: Platform, station_id: str, version: str, **variables: object) -> None:
    """Let the platform know some limits of a station."""
    record = CapabilitiesLearned(
        **stamp(),
        station_id=station_id,
        version=version,
        variables=tuple(KnownVariable(name=name, value=str(value)) for name, value in variables.items()),
    )
    await api.emit("stations.capabilities", station_id, record)
