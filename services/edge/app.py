"""Wiring of one edge process."""

import asyncio
from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from typing import cast

from libs.bus.bus import Bus, connect
from libs.bus.follower import Follower
from libs.bus.message import Message
from libs.bus.producer import Producer
from libs.bus.settings import BusSettings
from libs.bus.tables import TableSet
from libs.events.commands import AnswerCall, DispatchCommand
from libs.events.ocpp_log import StationLocated
from libs.events.registry import CredentialsRegistered, StationRegistered, TokenRegistered
from libs.events.stations import CapabilitiesLearned
from libs.events.topics import (
    COMMANDS_DISPATCH,
    EDGE_CONNECTIONS,
    REGISTRY_CREDENTIALS,
    REGISTRY_STATIONS,
    REGISTRY_TOKENS,
    STATIONS_CAPABILITIES,
)
from libs.ocpp import schemas
from libs.runtime.clock import SECOND
from libs.runtime.logging import get_logger
from libs.runtime.service import Health, tune_gc
from libs.security.sealing import Sealer
from services.edge.context import Context
from services.edge.directory import Directory
from services.edge.domain.quota import Quota, Rates
from services.edge.domain.rules import ReadModels, Rules
from services.edge.freshness import Freshness
from services.edge.gate import Gate
from services.edge.publisher import Publisher
from services.edge.server import EdgeServer
from services.edge.settings import EdgeSettings
from services.edge.tls import keep_large_buffers_apart

log = get_logger(__name__)


async def main(
    settings: EdgeSettings, bus_settings: BusSettings, health: Health, stop: asyncio.Event
) -> None:
    """Run one edge process until `stop` is set, then drain. Raises if it cannot go on."""
    if settings.tls_certificate is not None:
        keep_large_buffers_apart()
    caught_up = asyncio.Event()
    # Before the first wait: a probe must not find a process without checks.
    health.ready("read_models", caught_up.is_set)
    schemas.load()
    async with connect(bus_settings) as bus:
        await _serve(settings, bus, health, caught_up, stop)


async def _serve(
    settings: EdgeSettings, bus: Bus, health: Health, caught_up: asyncio.Event, stop: asyncio.Event
) -> None:
    tables = TableSet(
        bus,
        "edge",
        (REGISTRY_STATIONS, REGISTRY_CREDENTIALS, REGISTRY_TOKENS, STATIONS_CAPABILITIES, EDGE_CONNECTIONS),
    )
    publisher = Publisher(lambda: Producer(bus, "edge", timeout_s=settings.publish_timeout_s))
    context = Context(
        edge_id=settings.name,
        slot=settings.slot % _slots(bus),
        settings=settings,
        models=ReadModels(
            cast(Mapping[str, StationRegistered], tables[REGISTRY_STATIONS]),
            cast(Mapping[str, TokenRegistered], tables[REGISTRY_TOKENS]),
            rules_of(settings),
            cast(Mapping[str, CapabilitiesLearned], tables[STATIONS_CAPABILITIES]),
            cast(Mapping[str, CredentialsRegistered], tables[REGISTRY_CREDENTIALS]),
        ),
        publisher=publisher,
        gate=Gate(settings.max_unacknowledged_bytes),
        quota=_quota(settings),
        loop=asyncio.get_running_loop(),
        freshness=Freshness(tables.catch_up, settings.catch_up_s),
        sealer=_sealer(settings),
    )
    directory = Directory(context, cast(Mapping[str, StationLocated], tables[EDGE_CONNECTIONS]))
    server = EdgeServer(context, directory, lambda: caught_up.is_set() and tables.ready and publisher.healthy)
    health.live("server", lambda: server.serving)
    health.live("publisher", lambda: publisher.working)
    health.ready("tables", lambda: tables.ready)
    health.ready("producer", lambda: publisher.healthy)
    health.ready("not_draining", lambda: not directory.draining)

    await publisher.start()
    await server.start()
    async with tables:
        tables.on_change(EDGE_CONNECTIONS, directory.on_located)
        tables.on_change(REGISTRY_STATIONS, directory.on_registry)
        tables.on_change(REGISTRY_CREDENTIALS, directory.on_registry)
        directory.bury_predecessor()
        take, slots = partial(_take, directory), (context.slot,)
        async with Follower(
            bus, "edge-dispatch", (COMMANDS_DISPATCH,), take, partitions=slots, start="end"
        ) as news:
            health.ready("dispatch", lambda: news.ready)
            # Every call makes some fifty objects, which reference counting frees; by default that is a collection
            # every fifteen calls.
            tune_gc(youngest=25_000, oldest=50)
            caught_up.set()
            try:
                await stop.wait()
            finally:
                await server.drain()
                await publisher.stop(settings.drain_s)


def _take(directory: Directory, message: Message) -> None:
    if isinstance(message.record, DispatchCommand):
        directory.dispatch(message.record)
    elif isinstance(message.record, AnswerCall):
        directory.answer(message.record)


def _sealer(settings: EdgeSettings) -> Sealer | None:
    return None if settings.secrets_key is None else Sealer(settings.secrets_key.get_secret_value())


def _quota(settings: EdgeSettings) -> Quota:
    rates = Rates(
        messages=settings.station_messages_per_s,
        bytes=settings.station_bytes_per_s,
        cpu=settings.station_cpu,
        saved_s=settings.station_saved_s,
    )
    return Quota(rates, settings.garbage_limit, int(settings.refusal_window_s * SECOND))


def _slots(bus: Bus) -> int:
    return bus.settings.slots or bus.contract.topics[COMMANDS_DISPATCH].partitions


def rules_of(settings: EdgeSettings) -> Rules:
    """The policies that the settings name."""
    return Rules(
        transaction_key=sha256(settings.transaction_key.get_secret_value().encode()).digest(),
        unknown_stations=settings.unknown_stations,
        unknown_tokens=settings.unknown_tokens,
        heartbeat_interval_s=settings.heartbeat_interval_s,
        boot_retry_s=settings.boot_retry_s,
        least_profile=settings.least_security_profile,
        operator=settings.tls_operator,
        certificate_desk=settings.certificate_desk,
    )
