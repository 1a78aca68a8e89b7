"""Each processor on real Kafka is given what it cannot handle, between records that it can.

Whatever it is, it goes to dead letters with its place of origin and counts in the metric; the records after it, of
the same key and of others, take effect exactly once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from msgspec.structs import replace

from libs.bus import metrics
from libs.bus.bus import Bus, connect
from libs.bus.connection import connection
from libs.bus.dead_letters import list_dead_letters, replay_dead_letters
from libs.bus.message import Message
from libs.bus.processor import Processor, Step, Tables, Tick
from libs.bus.runtime_faust import FaustRuntime
from libs.bus.runtime_transactional import TransactionalRuntime
from libs.bus.tail import read_all
from libs.devstack import Endpoints
from libs.events.bulk import (
    BulkCommandProgressed,
    BulkMessage,
    BulkStationProgressed,
    BulkStationStatus,
    BulkTarget,
    RequestBulkCommand,
)
from libs.events.commands import CommandConcluded, CommandDialect, RequestCommand
from libs.events.contract import Contract, load_contract
from libs.events.dead_letters import RecordDeadLettered
from libs.events.firmware import (
    CampaignProgressed,
    DefineCampaign,
    StationUpdateProgressed,
    StationUpdateStatus,
    UpdateStationFirmware,
)
from libs.events.ids import derive_id
from libs.events.latest import SessionLatest, StationLatest
from libs.events.load import EvseObserved, LoadPlanMade, StationObserved
from libs.events.ocpp_log import OcppCallReceived
from libs.events.plans import PrepaidAsked, PrepaidGranted
from libs.events.record import Record
from libs.events.registry import Assignment, SiteRegistered, StationRegistered
from libs.events.security import SecurityAlertRaised
from libs.events.sessions import SessionStarted
from libs.events.stations import CapabilitiesLearned
from libs.events.telemetry import MeasurementsTaken, StationStateChanged
from libs.ocpp.times import format_timestamp
from libs.runtime.clock import now_us
from libs.tariffs.months import month_at, month_text
from services.commands.domain.bulk.processor import BulkProcessor
from services.commands.domain.ledger.processor import CommandsProcessor
from services.firmware.domain.campaigns.processor import CampaignProcessor
from services.firmware.domain.stations.processor import StationFirmwareProcessor
from services.load.domain.sites.processor import LoadProcessor
from services.load.domain.stations.processor import LoadObserver
from services.plans.domain.processor import PlansProcessor
from services.projections.domain.sessions.processor import SessionsLatest
from services.projections.domain.stations.processor import StationsLatest
from services.provisioning.domain.capabilities.processor import CapabilitiesProcessor
from services.provisioning.domain.onboarding.processor import OnboardingProcessor, OnBoot
from services.sessions.domain.processor import SessionsProcessor
from services.telemetry.domain.health.processor import HealthProcessor
from services.telemetry.domain.measurements.processor import MeasurementsProcessor
from services.telemetry.domain.security.processor import SecurityWatch
from tests.integration.bus import bus_settings, drop_topics, make_topics
from tests.integration.sink_process import Database, new_platform, sink_task
from tests.patience import WAIT_S, until
from tests.unit.sessions.exchanges import exchange, meter16, start16
from tests.unit.telemetry.lifecycle import boot, rejected

UNREADABLE = (b"not avro", b"\0\x7f\xff\xff\xffno such schema")
SAME, OTHER = "same", "other"
HOUR = 3_600_000_000

Published = tuple[str, str, Record]
Runtime = TransactionalRuntime[Any] | FaustRuntime[Any]


def envelope(event_id: str) -> dict[str, Any]:
    now = now_us()
    return {"event_id": event_id, "occurred_at": now, "recorded_at": now, "cause_id": event_id}


def of_station(record: OcppCallReceived, station_id: str, event_id: str) -> OcppCallReceived:
    return replace(record, station_id=station_id, event_id=event_id, cause_id=event_id)


def start(key: str, event_id: str) -> Record:
    return of_station(start16(7, now_us(), 100), key, event_id)


def meter_values(key: str, event_id: str) -> Record:
    return of_station(meter16(7, now_us(), 100), key, event_id)


def booted(key: str, event_id: str) -> Record:
    record = of_station(boot(now_us(), firmware="2.0"), key, event_id)
    return replace(record, answer='{"status":"Accepted"}')


def tampered(key: str, event_id: str) -> Record:
    now = now_us()
    payload = {"type": "TamperDetectionActivated", "timestamp": format_timestamp(now)}
    return of_station(exchange("SecurityEventNotification", payload, at=now), key, event_id)


def charging(key: str, event_id: str) -> Record:
    return EvseObserved(
        **envelope(event_id),
        site_id=key,
        station_id=f"at-{event_id}",
        evse_id=1,
        transaction_id=event_id,
        charging=True,
        max_current_ma=32_000,
        phases=3,
    )


def installed(key: str, event_id: str) -> Record:
    return StationUpdateProgressed(
        **envelope(event_id), campaign_id=key, station_id=event_id, status=StationUpdateStatus.INSTALLED
    )


def answered_in_bulk(key: str, event_id: str) -> Record:
    return BulkStationProgressed(
        **envelope(event_id),
        bulk_id=key,
        station_id=event_id,
        status=BulkStationStatus.ACCEPTED,
        command_id=derive_id(key, f"1:{event_id}"),
    )


def command_out_of_time(key: str, event_id: str) -> Record:
    return RequestCommand(
        **envelope(event_id),
        station_id=key,
        action="Reset",
        payload="{}",
        dialect=CommandDialect.OCPP,
        requested_by="test",
        expires_at=now_us(),
    )


def prepaid_asked(key: str, event_id: str) -> Record:
    return PrepaidAsked(
        **envelope(event_id),
        station_id=f"at-{event_id}",
        group_id=key,
        session_id=derive_id(event_id, "session"),
        revision=1,
        tariff_id="fleets",
        tariff_version=1,
        month=month_text(month_at(now_us(), "UTC")),
        timezone="UTC",
        bundle_wh=100_000,
        billed_wh=1_000,
    )


def session_started(key: str, event_id: str) -> Record:
    return SessionStarted(
        **envelope(event_id), station_id=key, session_id=event_id, evse_id=1, transaction_id="t", version="1.6",
        started_at=now_us(),
    )  # fmt: skip


def state_changed(key: str, event_id: str) -> Record:
    return StationStateChanged(**envelope(event_id), station_id=key, connected=True)


def sites() -> list[Published]:
    return [
        ("registry.sites", site, SiteRegistered(**envelope(site), site_id=site, limit_ma=100_000))
        for site in (SAME, OTHER)
    ]


def stations() -> list[Published]:
    at = (Assignment(id="depot", valid_from=0),)
    return [
        ("registry.stations", name, StationRegistered(**envelope(name), station_id=name, sites=at))
        for name in (SAME, OTHER)
    ]


def campaigns() -> list[Published]:
    def campaign(name: str) -> Record:
        return DefineCampaign(
            **envelope(name),
            campaign_id=name,
            name="",
            target_version="2.0",
            location="",
            stations=("good-same", "good-other", "poison", "last"),
            requested_by="test",
            deadline=now_us() + HOUR,
        )

    return [("firmware.campaigns", name, campaign(name)) for name in (SAME, OTHER)]


def bulks() -> list[Published]:
    def bulk(name: str) -> Record:
        return RequestBulkCommand(
            **envelope(name),
            bulk_id=name,
            requested_by="test",
            reason="test",
            messages=(BulkMessage(action="Reset", payload="{}", dialect=CommandDialect.OCPP),),
            stations=tuple(
                BulkTarget(station_id=each, message=0)
                for each in ("good-same", "good-other", "poison", "last")
            ),
            concurrency=10,
            ttl_ms=HOUR // 1000,
        )

    return [("commands.bulk", name, bulk(name)) for name in (SAME, OTHER)]


def tasks() -> list[Published]:
    def task(name: str) -> Record:
        return UpdateStationFirmware(
            **envelope(f"task-{name}"),
            station_id=name,
            campaign_id="c",
            target_version="2.0",
            location="",
            deadline=now_us() + HOUR,
        )

    return [("firmware.tasks", name, task(name)) for name in (SAME, OTHER)]


class AskingProcessor(OnboardingProcessor):
    """Asks every station that boots."""

    def __init__(self) -> None:
        super().__init__((OnBoot.CONFIGURATION,))


class Case(msgspec.Struct, frozen=True):
    """A processor, one of its inputs, and a record (by key and event id) that has one `effect`.

    `given`: what must be there before. `repeats`: a record that comes twice is told twice, with the same id, to a topic
    that keeps the latest.
    """

    processor: type[Processor[Any]]
    topic: str
    good: Callable[[str, str], Record]
    effect: type[Record]
    given: Callable[[], Sequence[Published]] = tuple
    repeats: bool = False


CASES = [
    Case(SessionsProcessor, "ocpp.transactions", start, SessionStarted),
    Case(MeasurementsProcessor, "ocpp.transactions", meter_values, MeasurementsTaken),
    Case(HealthProcessor, "ocpp.lifecycle", booted, StationStateChanged),
    Case(SecurityWatch, "ocpp.lifecycle", tampered, SecurityAlertRaised),
    Case(LoadObserver, "ocpp.lifecycle", booted, StationObserved, stations),
    Case(LoadProcessor, "load.observations", charging, LoadPlanMade, sites),
    Case(StationFirmwareProcessor, "ocpp.lifecycle", booted, StationUpdateProgressed, tasks),
    Case(CampaignProcessor, "firmware.progress", installed, CampaignProgressed, campaigns),
    Case(BulkProcessor, "commands.bulk-stations", answered_in_bulk, BulkCommandProgressed, bulks),
    Case(CapabilitiesProcessor, "ocpp.lifecycle", booted, CapabilitiesLearned),
    Case(AskingProcessor, "ocpp.lifecycle", booted, RequestCommand),
    Case(PlansProcessor, "billing.prepaid-asked", prepaid_asked, PrepaidGranted),
    Case(CommandsProcessor, "commands.requested", command_out_of_time, CommandConcluded),
    Case(SessionsLatest, "sessions.events", session_started, SessionLatest, repeats=True),
    Case(StationsLatest, "telemetry.health", state_changed, StationLatest, repeats=True),
]


class PoisonError(Exception):
    """What a processor raises that was made to fail."""


def failing(kind: type[Processor[Any]], event_id: str) -> Processor[Any]:
    """The processor, which raises at one event."""

    class Failing(kind):  # type: ignore[misc,valid-type]
        def step(self, state: Any, event: Message | Tick, tables: Tables) -> Step[Any]:
            if isinstance(event, Message) and event.record is not None and event.record.event_id == event_id:
                raise PoisonError("poison")
            return super().step(state, event, tables)  # type: ignore[no-any-return]

    return Failing()


def runtime_of(bus: Bus, processor: Processor[Any]) -> Runtime:
    """The runtime in which the service runs it."""
    on_faust = isinstance(processor, HealthProcessor)
    return FaustRuntime(bus, processor) if on_faust else TransactionalRuntime(bus, processor)


class Bench:
    """A bus with just the topics of one processor."""

    def __init__(self, bus: Bus, raw: AIOKafkaProducer, case: Case) -> None:
        self.bus = bus
        self.case = case
        self._raw = raw

    async def put(self, topic: str, key: str, value: Record | bytes) -> tuple[int, int]:
        """Write a record, or bytes; partition and offset."""
        raw = value if isinstance(value, bytes) else self.bus.codec.encode(topic, value)
        sent = await self._raw.send_and_wait(self.bus.settings.topic(topic), raw, key.encode())
        return sent.partition, sent.offset

    @asynccontextmanager
    async def running(self, processor: Processor[Any]) -> AsyncIterator[None]:
        """The processor, ready; ended in an orderly way, with all its offsets committed."""
        runtime, stop = runtime_of(self.bus, processor), asyncio.Event()
        task = asyncio.create_task(runtime.run(stop))
        try:
            await until(lambda: runtime.ready or task.done(), "ready")
            yield
        finally:
            stop.set()
            await asyncio.wait_for(task, WAIT_S)

    async def effects(self, *causes: str, least: int | None = None) -> list[str]:
        """Causes of the effects of `causes`, in order, once there are `least` (by default one of each)."""
        wanted = len(causes) if least is None else least

        async def enough() -> list[str] | None:
            found = await self._effects(causes)
            return found if len(found) >= wanted else None

        return sorted(await until(enough, f"effects of {causes}"))

    async def _effects(self, causes: Sequence[str]) -> list[str]:
        return [
            message.record.cause_id
            for topic in self.case.processor.outputs
            if self.case.effect.__name__ in self.bus.contract.topics[topic].schemas
            async for message in read_all(self.bus, topic)
            if isinstance(message.record, self.case.effect) and message.record.cause_id in causes
        ]

    async def dead(self, count: int) -> list[RecordDeadLettered]:
        """The dead letters, once there are `count`."""

        async def enough() -> list[RecordDeadLettered] | None:
            letters = [each.letter async for each in list_dead_letters(self.bus, self.case.topic)]
            return letters if len(letters) >= count else None

        return await until(enough, f"{count} dead letters")


def counted(processor: str, topic: str, reason: str) -> float:
    return float(metrics.DEAD_LETTERS.labels(processor, topic, reason)._value.get())


@pytest.fixture(params=CASES, ids=lambda case: str(case.processor.name))
async def bench(request: pytest.FixtureRequest, stack: Endpoints, namespace: str) -> AsyncIterator[Bench]:
    case: Case = request.param
    kind = case.processor
    whole = load_contract()
    topics = {*kind.inputs, *kind.outputs, *kind.tables, f"state.{kind.name}"} & set(whole.topics)
    contract = Contract({name: whole.topics[name] for name in topics}, whole.schemas)
    settings = bus_settings(stack, namespace)
    await make_topics(settings, contract)
    raw = AIOKafkaProducer(**connection(settings))
    await raw.start()
    try:
        async with connect(settings, contract) as bus:
            yield Bench(bus, raw, case)
    finally:
        await raw.stop()
        await drop_topics(settings)


async def test_what_cannot_be_handled_is_put_aside_and_nobody_else_is_disturbed(bench: Bench) -> None:
    case = bench.case
    name, topic = case.processor.name, case.topic
    poison = case.good(SAME, "poison")
    broken = failing(case.processor, "poison")
    before = {reason: counted(name, topic, reason) for reason in ("undecodable", "failed")}
    for place, key, record in case.given():
        await bench.put(place, key, record)

    async with bench.running(broken):
        bad = [*UNREADABLE, bench.bus.codec.encode(topic, poison)]
        places = [await bench.put(topic, SAME, value) for value in bad]
        for key in (OTHER, SAME):
            await bench.put(topic, key, case.good(key, f"good-{key}"))
        await bench.effects("good-other", "good-same")
        letters = await bench.dead(3)

    assert [(letter.source_partition, letter.source_offset) for letter in letters] == places
    assert [letter.value for letter in letters] == bad
    assert {(letter.processor, letter.source_topic, letter.key) for letter in letters} == {
        (name, topic, SAME.encode())
    }
    reasons = [f"{letter.error_type}: {letter.error}" for letter in letters]
    assert reasons[0] == "BadValueError: not in Confluent's wire format"
    assert f"schema id {0x7FFFFFFF} is not registered" in reasons[1]
    assert reasons[2] == "PoisonError: poison"
    assert counted(name, topic, "undecodable") == before["undecodable"] + 2
    assert counted(name, topic, "failed") == before["failed"] + 1
    # Ended in an orderly way: nothing is under way that could come twice.
    assert await bench.effects("good-other", "good-same", "poison", least=2) == ["good-other", "good-same"]

    if isinstance(poison, OcppCallReceived):
        return  # what an exchange leads to depends on those before it
    # The processor is mended and the dead letter written back, by mistake twice.
    dead = [each async for each in list_dead_letters(bench.bus, topic)]
    (offset,) = [each.offset for each in dead if each.letter.value == bad[2]]
    async with bench.running(case.processor()):
        for _ in range(2):
            assert await replay_dead_letters(bench.bus, topic, {offset}) == 1
        await bench.put(topic, SAME, case.good(SAME, "last"))
        await bench.effects("poison", "last")
    found = await bench.effects("good-other", "good-same", "poison", "last")
    assert (sorted(set(found)) if case.repeats else found) == ["good-other", "good-same", "last", "poison"]
    assert len(await bench.dead(3)) == 3


async def test_what_the_sink_cannot_store_is_put_aside_and_the_rest_is_stored_once(
    stack: Endpoints, namespace: str
) -> None:
    settings = await new_platform(stack, namespace, sink_interval_ms=100)
    database, topic = Database(settings), "ocpp.transactions"
    before = counted("sink", topic, "undecodable")
    raw = AIOKafkaProducer(**connection(settings))
    await raw.start()
    try:
        async with connect(settings) as bus, sink_task(settings):
            good = {key: bus.codec.encode(topic, start(key, f"good-{key}")) for key in (SAME, OTHER)}
            # The last is well-formed, but of another topic: its empty fields have no place in the table.
            foreign = bus.codec.encode("ocpp.rejected", rejected(1, now_us()))
            bad = [*UNREADABLE, good[SAME][:-4], foreign]
            places = []
            for key, value in [*((SAME, value) for value in bad), (OTHER, good[OTHER]), (SAME, good[SAME])]:
                sent = await raw.send_and_wait(settings.topic(topic), value, key.encode())
                places.append((sent.partition, sent.offset))

            async def stored() -> bool:
                counts = [f"SELECT count() FROM {table}" for table in ("dead_letters", "ocpp_transactions")]
                return [await database.value(count) for count in counts] == [4, 6]

            await until(stored, "rows and dead letters")
            letters = [each.letter async for each in list_dead_letters(bus, topic)]
            rows = await database.rows(
                "SELECT event_id FROM ocpp_transactions WHERE event_id != '' ORDER BY 1"
            )
    finally:
        await raw.stop()
        await database.drop()
        await drop_topics(settings)
    assert [(letter.source_partition, letter.source_offset) for letter in letters] == places[:4]
    assert [letter.value for letter in letters] == bad
    assert {(letter.processor, letter.source_topic) for letter in letters} == {("sink", topic)}
    assert letters[1].error == f"unknown schema id {0x7FFFFFFF}"
    assert letters[3].error == "FrameRejected does not belong to this topic"
    assert counted("sink", topic, "undecodable") == before + 4
    assert rows == [{"event_id": "good-other"}, {"event_id": "good-same"}]


def test_every_processor_is_poisoned_here() -> None:
    consumers = {name for topic in load_contract().topics.values() for name in topic.consumers}
    # Other teams are downstream; what asks responders about certificates is no fold.
    others = {"edge", "api", "sink", "certificates", "downstream"}
    assert {case.processor.name for case in CASES} == consumers - others
