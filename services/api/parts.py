"""What every process that serves operators is made of: read models that follow the log, and writers."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

import msgspec

from libs.bus.bus import Bus, connect
from libs.bus.follower import Follower
from libs.bus.lookup import newest
from libs.bus.producer import Producer
from libs.bus.sole_writer import SoleWriter
from libs.bus.tables import TableSet
from libs.clickhouse.reader import Reader
from libs.events.topics import AUDIT_EVENTS, CONSOLE_VIEWS
from libs.ocpp import schemas
from libs.runtime import descriptors
from libs.runtime.logging import get_logger
from libs.runtime.service import Health
from libs.security.sealing import Sealer
from services.api.access.changes import AccessChanges
from services.api.access.hashing import Hashing
from services.api.access.sign_ins import SignIns
from services.api.access.table import CHANGED, Access
from services.api.access.table import TABLES as ACCESS
from services.api.access.tries import Tries
from services.api.access.views import SavedViews
from services.api.billing.history import History
from services.api.commands import bulk_history
from services.api.commands.bulk_history import BulkCommands
from services.api.commands.desk import CommandDesk
from services.api.commands.stored import stored_command
from services.api.context import Context
from services.api.domain.profiles import PROFILES, Profiles
from services.api.equipment.certificate_writer import Certificates
from services.api.equipment.password_changes import Passwords
from services.api.http import metrics
from services.api.http.audit_trail import AuditTrail
from services.api.http.lane import Lane
from services.api.live.campaign_definitions import Campaigns
from services.api.live.hub import TOPICS, Hub, Wording
from services.api.live.latest import Live
from services.api.oidc.people import People
from services.api.oidc.provider import Provider
from services.api.oidc.service import SignInsAtProvider
from services.api.registry.changes import Changes
from services.api.registry.table import TABLES, Registry
from services.api.settings import OperatorSettings
from services.api.worklist.causes import Causes
from services.api.writer import Writer

log = get_logger(__name__)

_GAP_S: Final = 0.05
"""Between two reads of what the event stream and those who wait for a command are told."""
_AUDIT_GAP_S: Final = 1.0
_AUDIT_TAIL: Final = 500
"""Events of each partition of the audit trail that are read at the start, for the ends of chains."""
_OTHER_DESCRIPTORS: Final = 512
_REPORTS: Final = 5
"""That are made or wait, for each connection."""
_COUNT_S: Final = 5.0
_WARN_S: Final = 3600.0


class Running(msgspec.Struct, frozen=True):
    """A serving process. `task` ends only by an error."""

    port: int
    task: asyncio.Task[None]

    async def until(self, stop: asyncio.Event) -> None:
        """Wait for `stop`. Raises if the work ends before."""
        stopped = asyncio.create_task(stop.wait(), name="stop")
        await asyncio.wait({stopped, self.task}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if self.task.done():
            self.task.result()


def connections_at_most(wanted: int) -> int:
    """Some descriptors are left for Kafka, ClickHouse, and whoever asks for health and metrics."""
    return min(wanted, max(1, descriptors.limit() - _OTHER_DESCRIPTORS))


class Parts(msgspec.Struct, frozen=True):
    """What handlers get, and the work behind it. `task` ends only by an error."""

    context: Context
    task: asyncio.Task[None]

    def close(self) -> None:
        """End what waits for something to happen: streams, and requests that wait for a command's outcome."""
        self.context.desk.close()
        self.context.hub.close()


@asynccontextmanager
async def running_parts(settings: OperatorSettings, health: Health, service: str) -> AsyncIterator[Parts]:
    """The parts, with their read models caught up as `health` tells, while the context is open. `service`: whose.

    Raises ContractMismatchError or KafkaError if the bus is not usable.
    """
    schemas.load()
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(connect(settings))
        producer = Producer(bus, "api", timeout_s=settings.publish_timeout_s)
        await producer.start()
        stack.push_async_callback(producer.stop)
        trail = await stack.enter_async_context(_trail(bus, service, settings.publish_timeout_s))
        tables = TableSet(bus, "api-registry", TABLES)
        reader = Reader(settings, settings.clickhouse_connections)
        stack.callback(reader.close)
        slow = Reader(settings, settings.report_connections)
        stack.callback(slow.close)
        reports = Lane(slow, settings.report_connections, _REPORTS * settings.report_connections)

        changes = Changes(
            tables,
            SoleWriter(bus, "api-registry", "api", timeout_s=settings.publish_timeout_s),
            timeout_s=settings.publish_timeout_s,
            read_back_s=settings.read_back_s,
        )
        registry = Registry(tables, changes, settings.settle_s, settings.least_security_profile)
        writer = Writer(producer)
        known = TableSet(bus, "api-access", (*ACCESS, CONSOLE_VIEWS))
        access_writer = Changes(
            known,
            SoleWriter(bus, "api-access", "api", timeout_s=settings.publish_timeout_s),
            timeout_s=settings.publish_timeout_s,
            read_back_s=settings.read_back_s,
            topics=CHANGED,
            together=1,
        )
        access = access_of(settings, known, access_writer, writer)
        views = SavedViews(known, writer, settings.read_back_s)
        context = _context(
            settings, bus, writer, registry, (reader, reports), access=(*access, views), trail=trail
        )
        stack.push_async_callback(context.campaigns.stop)
        stack.push_async_callback(context.certificates.stop)
        if context.provider is not None:
            stack.push_async_callback(context.provider.close)
        takes = context.desk.take, context.live.take, context.hub.publish
        followed = (*TOPICS, *bulk_history.TOPICS)
        news = Follower(bus, "api-news", followed, *takes, context.bulk.take, start="end", gap_s=_GAP_S)
        await stack.enter_async_context(news)
        await stack.enter_async_context(tables)
        await stack.enter_async_context(known)
        task = asyncio.create_task(_work(context, reader, changes, access_writer), name="work")
        stack.push_async_callback(_end, task)

        health.ready("tables", lambda: tables.ready and known.ready)
        health.ready("producer", lambda: context.writer.healthy and trail.healthy)
        health.ready("news", lambda: news.ready)
        health.live("work", lambda: not task.done())
        yield Parts(context, task)


@asynccontextmanager
async def _trail(bus: Bus, service: str, timeout_s: float) -> AsyncIterator[AuditTrail]:
    """The audit trail, which writes and has seen what others wrote lately."""
    producer = Producer(bus, service, timeout_s=timeout_s)
    await producer.start()
    trail = AuditTrail(
        producer, service, f"{socket.gethostname()}, process {os.getpid()}", timeout_s=timeout_s
    )
    try:
        async with Follower(bus, "api-audit", (AUDIT_EVENTS,), trail.take, start="end", gap_s=_AUDIT_GAP_S):
            for message in await newest(bus, AUDIT_EVENTS, _AUDIT_TAIL):
                trail.take(message)
            yield trail
            await trail.stop()
    finally:
        await producer.stop()


def _context(
    settings: OperatorSettings,
    bus: Bus,
    writer: Writer,
    registry: Registry,
    readers: tuple[Reader, Lane],
    *,
    access: tuple[Access, AccessChanges, SignIns, SavedViews],
    trail: AuditTrail,
) -> Context:
    desk = CommandDesk(writer, most_bytes=settings.commands_bytes, many=settings.commands_alert)
    reader, reports = readers
    live = Live()
    timeout_s = settings.publish_timeout_s
    campaigns = Campaigns(
        bus, SoleWriter(bus, "api-campaigns", "api", timeout_s=timeout_s), reader, live, timeout_s=timeout_s
    )
    certificates = Certificates(
        bus,
        SoleWriter(bus, "api-certificates", "api", timeout_s=timeout_s),
        desk,
        partial(stored_command, reader),
        timeout_s=timeout_s,
    )
    return Context(
        settings=settings,
        contract=bus.contract,
        registry=registry,
        access=access[0],
        access_changes=access[1],
        sign_ins=access[2],
        views=access[3],
        writer=writer,
        reader=reader,
        reports=reports,
        history=History(reader),
        live=live,
        causes=Causes(),
        hub=Hub(
            Wording(bus.contract),
            clients=settings.stream_clients,
            per_key=settings.stream_clients_per_key,
            per_address=settings.stream_clients_per_address,
            ring=settings.stream_ring,
            ring_bytes=settings.stream_bytes,
        ),
        desk=desk,
        bulk=BulkCommands(reader),
        sealer=_sealer(settings),
        campaigns=campaigns,
        certificates=certificates,
        passwords=Passwords(registry, desk),
        provider=_provider(settings, access[0], access[1], access[2]),
        trail=trail,
    )


def _provider(
    settings: OperatorSettings, access: Access, changes: AccessChanges, sign_ins: SignIns
) -> SignInsAtProvider | None:
    if not settings.oidc_issuer:
        return None
    assert settings.secrets_key is not None
    return SignInsAtProvider(
        settings,
        Provider(settings),
        People(access, changes),
        sign_ins,
        key=settings.secrets_key.get_secret_value(),
        failures=settings.wrong_keys,
    )


def access_of(
    settings: OperatorSettings, tables: TableSet, changes: Changes, writer: Writer
) -> tuple[Access, AccessChanges, SignIns]:
    """Who asks, changes of that, and signing in; `tables` holds those of access, `changes` makes changes of them."""
    access, hashing = Access(tables), Hashing()
    sign_ins = SignIns(
        access,
        writer,
        Tries(settings.wrong_passwords),
        hashing,
        lasting_s=settings.sign_in_s,
        read_back_s=settings.read_back_s,
    )
    return access, AccessChanges(access, changes, sign_ins, hashing), sign_ins


def _sealer(settings: OperatorSettings) -> Sealer | None:
    return None if settings.secrets_key is None else Sealer(settings.secrets_key.get_secret_value())


async def _work(context: Context, reader: Reader, changes: Changes, access_changes: Changes) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(changes.run())
        tasks.create_task(access_changes.run())
        tasks.create_task(context.sign_ins.run())
        tasks.create_task(context.hub.watch())
        tasks.create_task(context.trail.run())
        tasks.create_task(context.live.complete(reader, context.settings.state_refresh_s))
        tasks.create_task(_watch_profiles(context.registry.profiles))


async def _watch_profiles(profiles: Profiles) -> None:
    """Keep the metrics, and warn once an hour of stations that somebody else could be."""
    warned_at = -_WARN_S
    while True:
        for number in PROFILES:
            metrics.STATIONS_BY_PROFILE.labels(number).set(profiles.stations[number])
            metrics.CONNECTIONS_BY_PROFILE.labels(number).set(profiles.connections[number])
        weak = {f"profile_{number}": profiles.stations[number] for number in (0, 1)}
        now = time.monotonic()
        if any(weak.values()) and now - warned_at >= _WARN_S:
            warned_at = now
            log.warning("stations_with_weak_security", **weak)
        await asyncio.sleep(_COUNT_S)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
