"""What the driver sees of the price, from the charger's side: edge, sessions and commands on real Kafka."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from libs.bus.settings import BusSettings
from libs.events.commands import CommandConcluded, Fate
from libs.events.ocpp_log import AnswerSource, OcppCallAnswered, OcppCallReceived
from libs.events.registry import (
    Assignment,
    PowerRating,
    SiteRegistered,
    StationRegistered,
    TariffRegistered,
    TariffVersion,
)
from libs.events.sessions import CdrIssued
from libs.runtime.clock import SECOND, now_us
from services.simulator.domain.scenario import Arrival, Group, Scenario
from services.simulator.fleet import Fleet
from tests.integration.device import Answer, Device, device
from tests.integration.edge_process import Log, edge, stamp
from tests.integration.service_process import ServiceProcess
from tests.integration.test_deferred import dropped
from tests.patience import until

ENDED = "TransactionEvent.eventType=Ended"
HOUR = 3600 * SECOND
SHOWS: dict[str, Answer] = {"CostUpdated": lambda _: {}}
ACCEPTED = {"idTokenInfo": {"status": "Accepted"}}


async def register(log: Log, *stations: str, power_w: int = 22_080) -> None:
    now = now_us()
    base: dict[str, Any] = {"occurred_at": now, "recorded_at": now, "cause_id": "test"}
    version = TariffVersion(version=1, valid_from=0, currency="EUR", price_per_kwh_milli=45_500)
    at_site, by_tariff = Assignment(id="site", valid_from=0), Assignment(id="flat", valid_from=0)
    tariff = TariffRegistered(**base, event_id="tariff", tariff_id="flat", versions=(version,))
    site = SiteRegistered(**base, event_id="site", site_id="site", tariffs=(by_tariff,))
    await log.publish("registry.tariffs", "flat", tariff)
    await log.publish("registry.sites", "site", site)
    for station in stations:
        record = StationRegistered(
            **base,
            event_id=station,
            station_id=station,
            sites=(at_site,),
            power_ratings=(PowerRating(power_w=power_w, valid_from=0),),
        )
        await log.publish("registry.stations", station, record)


@contextmanager
def services(bus: BusSettings) -> Iterator[dict[str, ServiceProcess]]:
    made = {
        "sessions": ServiceProcess("sessions", bus, show_cost_every_s=1),
        "commands": ServiceProcess("commands", bus),
    }
    try:
        for service in made.values():
            service.start()
        yield made
    finally:
        for service in made.values():
            service.kill()


@asynccontextmanager
async def following(log: Log, *topics: str) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(log.follow(topic)) for topic in topics]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def event(kind: str, seq: int, at: int, wh: int, **more: Any) -> dict[str, Any]:
    info: dict[str, Any] = {"transactionId": "t-1"} | ({"stoppedReason": "Local"} if kind == "Ended" else {})
    context = {"Started": "Transaction.Begin", "Updated": "Sample.Periodic", "Ended": "Transaction.End"}[kind]
    return {
        "eventType": kind,
        "timestamp": stamp(at),
        "triggerReason": "MeterValuePeriodic",
        "seqNo": seq,
        "transactionInfo": info,
        "evse": {"id": 1, "connectorId": 1},
        "meterValue": [{"timestamp": stamp(at), "sampledValue": [{"value": wh, "context": context}]}],
    } | more


TOKEN = {"idToken": {"idToken": "CARD", "type": "ISO14443"}}


async def tell(charger: Device, *events: dict[str, Any]) -> Any:
    """The answer to the last."""
    for each in events:
        answer = await charger.call("TransactionEvent", each)
    return answer


async def cdr(log: Log, station: str) -> CdrIssued:
    """The one charge record of the station."""
    await until(lambda: log.of("billing.cdrs", CdrIssued, station), f"charge record of {station}")
    (record,) = log.of("billing.cdrs", CdrIssued, station)
    assert isinstance(record, CdrIssued)
    return record


def ends(log: Log, station: str) -> list[OcppCallReceived]:
    """The calls of a station that tell of an end."""
    calls: list[OcppCallReceived] = log.of("ocpp.transactions", OcppCallReceived, station)
    return [call for call in calls if '"Ended"' in call.payload]


def answers(log: Log, call: OcppCallReceived) -> list[OcppCallAnswered]:
    found: list[OcppCallAnswered] = log.of("ocpp.transactions", OcppCallAnswered, call.station_id)
    return [each for each in found if each.cause_id == call.event_id]


async def end(log: Log, station: str) -> OcppCallReceived:
    """The one call of a station that tells of an end, as soon as it is in the log."""
    (call,) = await until(lambda: ends(log, station), f"end of {station}")
    assert isinstance(call, OcppCallReceived)
    return call


async def source(log: Log, call: OcppCallReceived) -> AnswerSource:
    """Who decided the one answer to a call."""
    await until(lambda: answers(log, call), "the answer is in the log")
    (answer,) = answers(log, call)
    return answer.source


async def shown(charger: Device) -> list[dict[str, Any]]:
    """The costs that a charger was sent, as soon as there are any."""
    await until(lambda: charger.of("CostUpdated"), "the cost is shown")
    return charger.of("CostUpdated")


async def test_what_the_driver_sees_is_what_the_charge_record_says(bus: BusSettings, log: Log) -> None:
    chargers = {"shows-201": "ocpp2.0.1", "shows-21": "ocpp2.1"}
    await register(log, *chargers, "mute-201")
    with services(bus) as running:
        async with (
            following(log, "billing.cdrs", "commands.outcomes"),
            edge(bus, slot=1, edge_id="edge-price", deferred=f"{ENDED}:30") as process,
        ):
            for service in running.values():
                await until(service.is_ready, f"{service.name} is ready")
            for station, version in chargers.items():
                async with device(process, station, SHOWS, version) as charger:
                    begun = now_us() - HOUR
                    started = event("Started", 0, begun, 0, **TOKEN)
                    assert await tell(charger, started, event("Updated", 1, begun + HOUR // 2, 5_000)) == {}
                    assert await shown(charger) == [{"transactionId": "t-1", "totalCost": 2.28}]
                    answer = await tell(charger, event("Ended", 2, begun + HOUR, 10_000, **TOKEN))
                    record = await cdr(log, station)
                    assert (record.amount_minor, record.currency, record.review) == (455, "EUR", ())
                    assert answer == ACCEPTED | {"totalCost": 4.55}
                    call = await end(log, station)
                    assert (call.pending, call.answer, call.slot) == (True, None, 1)
                    assert await source(log, call) is AnswerSource.PROCESSOR

            async with device(process, "mute-201", {}) as charger:
                begun = now_us() - HOUR
                started = event("Started", 0, begun, 0)
                await tell(charger, started, event("Updated", 1, begun + HOUR // 2, 5_000))

                def refused() -> bool:
                    fates = log.of("commands.outcomes", CommandConcluded, "mute-201")
                    return any(each.fate is Fate.FAILED for each in fates)

                await until(refused, "the charger cannot show the cost")
                # Nobody stands before a charger that tells later of what happened while it was offline.
                ended = event("Ended", 3, begun + HOUR, 10_000, offline=True, **TOKEN)
                assert await tell(charger, ended) == ACCEPTED
                assert (await cdr(log, "mute-201")).amount_minor == 455
                assert not (await end(log, "mute-201")).pending


async def test_the_charger_waits_no_longer_than_it_was_said_and_the_energy_never(
    bus: BusSettings, log: Log
) -> None:
    await register(log, "alone-201")
    with services(bus) as running:
        async with (
            following(log, "billing.cdrs"),
            edge(bus, slot=2, edge_id="edge-alone", deferred=f"{ENDED}:2") as process,
            device(process, "alone-201", SHOWS) as charger,
        ):
            await until(running["sessions"].is_ready, "sessions is ready")
            begun = now_us() - HOUR
            await tell(charger, event("Started", 0, begun, 0, **TOKEN))
            running["sessions"].kill()
            waited = time.monotonic()
            assert await tell(charger, event("Ended", 1, begun + HOUR, 10_000, **TOKEN)) == ACCEPTED
            waited = time.monotonic() - waited
            assert 1.9 < waited < 20
            call = await end(log, "alone-201")
            assert await source(log, call) is AnswerSource.FALLBACK
            running["sessions"].start()
            record = await cdr(log, "alone-201")
            assert (record.amount_minor, record.billed_wh, record.review) == (455, 10_000, ())
            await until(lambda: dropped(process, "late") == 1, "the price comes too late")
            assert (await cdr(log, "alone-201")) == record
            assert len(answers(log, call)) == 1


async def test_simulated_drivers_see_what_they_are_charged(bus: BusSettings, log: Log) -> None:
    # Its clock is real while a second of charging is five minutes.
    await register(log, "amp-0001", power_w=50_000 * 1_000)
    arrivals = tuple(
        Arrival("AMP-0001", evse, at_s=30.0, energy_wh=wh, max_power_w=45_000, id_token=f"CARD-{evse}")
        for evse, wh in ((1, 20_000), (2, 15_000))
    )
    scenario = Scenario((Group("Ampera", 1, "site"),), speed=300, duration_s=3_000, arrivals=arrivals)
    with services(bus) as running:
        async with (
            following(log, "billing.cdrs"),
            edge(bus, slot=3, edge_id="edge-simulated", deferred=f"{ENDED}:30") as process,
        ):
            for service in running.values():
                await until(service.is_ready, f"{service.name} is ready")
            fleet = Fleet(scenario, f"ws://127.0.0.1:{process.port}/ocpp")
            try:
                await fleet.run()
            finally:
                await fleet.stop()
            stats, truths = fleet.stats(), fleet.truths()
            assert (stats.totals_shown, len(truths), stats.failures) == (2, 2, 0)
            assert stats.costs_shown >= 2
            await until(lambda: len(log.of("billing.cdrs", CdrIssued, "amp-0001")) == 2, "charge records")
            charged = {r.transaction_id: r for r in log.of("billing.cdrs", CdrIssued, "amp-0001")}
            for truth in truths:
                record = charged[truth.transaction_id]
                assert (record.billed_wh, record.review) == (truth.energy_wh, ())
                total = record.amount_minor / 100
                assert truth.total_cost == total
                assert truth.shown_cost is not None
                assert 0 < truth.shown_cost <= total
