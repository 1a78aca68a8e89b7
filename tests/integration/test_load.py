"""Load management on real Kafka, killed while it works: one sequence of plans per site, carried out once."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest

from libs.devstack import Endpoints
from libs.events.commands import CommandConcluded, Fate, RequestCommand
from libs.events.dead_letters import RecordDeadLettered
from libs.events.load import EvseObserved, LoadPlanMade, StationNews, StationObserved
from libs.events.ocpp_log import OcppCallReceived
from libs.events.registry import Assignment, SiteRegistered, StationRegistered
from libs.events.sessions import SessionEnded, SessionStarted
from libs.events.telemetry import MeasurementsTaken, Sample
from libs.runtime.clock import now_us
from tests.integration.processor_rig import KILLS, Rig, by_id, copy_log, kill_repeatedly, open_rig, running

SITES = {"north": 100_000, "south": 40_000, "free": None}
STATIONS = 8


@pytest.fixture
async def rig(stack: Endpoints, namespace: str) -> AsyncIterator[Rig]:
    async with open_rig(stack, namespace) as rig:
        yield rig


def envelope(event_id: str) -> dict[str, Any]:
    now = now_us()
    return {"event_id": event_id, "occurred_at": now, "recorded_at": now, "cause_id": event_id}


async def register(rig: Rig, stations: dict[str, str]) -> None:
    for site_id, limit_ma in SITES.items():
        site = SiteRegistered(**envelope(site_id), site_id=site_id, limit_ma=limit_ma)
        await rig.publish("registry.sites", site_id, site)
    for station_id, site_id in stations.items():
        record = StationRegistered(
            **envelope(station_id),
            station_id=station_id,
            sites=(Assignment(id=site_id, valid_from=0),),
            max_current_ma=32_000,
        )
        await rig.publish("registry.stations", station_id, record)


async def start(rig: Rig, station_id: str, transaction_id: str) -> None:
    started = SessionStarted(
        **envelope(f"start-{transaction_id}"),
        station_id=station_id,
        session_id=transaction_id,
        evse_id=1,
        transaction_id=transaction_id,
        version="ocpp1.6",
        started_at=now_us(),
    )
    await rig.publish("sessions.events", station_id, started)


async def measure(rig: Rig, station_id: str, transaction_id: str, current_ma: int, number: int) -> None:
    sample = Sample(sampled_at=now_us(), measurand="Current.Import", value_milli=current_ma, unit="A")
    measured = MeasurementsTaken(
        **envelope(f"measured-{transaction_id}-{number}"),
        station_id=station_id,
        evse_id=1,
        transaction_id=transaction_id,
        samples=(sample,),
    )
    await rig.publish("telemetry.measurements", station_id, measured)


async def end(rig: Rig, station_id: str, transaction_id: str) -> None:
    ended = SessionEnded(
        **envelope(f"end-{transaction_id}"),
        station_id=station_id,
        session_id=transaction_id,
        evse_id=1,
        transaction_id=transaction_id,
        started_at=now_us(),
        ended_at=now_us(),
        energy_wh=1,
    )
    await rig.publish("sessions.events", station_id, ended)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", [1])
async def test_killed_again_and_again_each_site_has_one_sequence_of_plans(
    rig: Rig, stack: Endpoints, namespace: str, seed: int
) -> None:
    random = Random(seed)
    stations = {f"{site}-{number}": site for site in SITES for number in range(STATIONS)}
    rig.follow(
        "registry.sites",
        "registry.stations",
        "load.observations",
        "load.stations",
        "load.plans",
        "commands.requested",
    )

    def observations() -> list[EvseObserved]:
        return rig.records("load.observations", EvseObserved)

    await register(rig, stations)
    with running("load", rig) as service:
        killer = asyncio.create_task(
            kill_repeatedly(rig, service, random.sample(range(80), KILLS), lambda: len(observations()))
        )
        for name in stations:
            await start(rig, name, f"a-{name}")
        await rig.until(lambda: len(observations()) >= len(stations), "the starts")
        for number in range(3):
            for name in random.sample(list(stations), len(stations)):
                await measure(rig, name, f"a-{name}", random.randrange(33) * 1000, number)
        for name in random.sample(list(stations), len(stations) // 2):
            await end(rig, name, f"a-{name}")
            await start(rig, name, f"b-{name}")
        ended = {name for name in stations if random.random() < 0.4}
        for name in ended:
            for transaction in (f"a-{name}", f"b-{name}"):
                await end(rig, name, transaction)
        await killer
        await rig.until(lambda: settled(rig, stations, ended), "the plans of those that charge")
        await rig.ready(service)
    await rig.whole("load.observations", "load.stations", "load.plans", "commands.requested")

    plans = rig.records("load.plans", LoadPlanMade)
    by_id(rig.messages["load.observations"])
    commands = by_id(rig.messages["commands.requested"])
    made = by_id(rig.messages["load.plans"])
    observed = by_id(rig.messages["load.stations"])
    assert {command.cause_id for command in commands.values()} <= made.keys() | observed.keys()
    # Every station of a limited site, and no other, was told once to hold its newcomers low.
    assert sorted(c.station_id for c in default_limits(rig)) == sorted(
        name for name, site in stations.items() if SITES[site] is not None
    )
    for site_id, limit_ma in SITES.items():
        mine = [plan for plan in plans if plan.site_id == site_id]
        assert [plan.plan_no for plan in mine] == list(range(1, len(mine) + 1))
        assert bool(mine) == (limit_ma is not None)
        for plan in mine:
            assert sum(allocation.current_ma for allocation in plan.allocations) <= (limit_ma or 0)

    async with open_rig(stack, f"{namespace}r") as again:
        await copy_log(
            rig, again, "registry.sites", "registry.stations", "load.observations", "load.stations"
        )
        again.follow("load.plans", "commands.requested")
        with running("load", again):
            await again.until(lambda: len(again.messages["load.plans"]) >= len(made), "the same plans")
            await again.until(
                lambda: len(again.messages["commands.requested"]) >= len(commands), "the commands"
            )
        await again.whole("load.plans", "commands.requested")
        assert by_id(again.messages["load.plans"]) == made
        assert by_id(again.messages["commands.requested"]) == commands


def default_limits(rig: Rig) -> list[RequestCommand]:
    commands = rig.records("commands.requested", RequestCommand)
    return [command for command in commands if command.replaces == "default-limit"]


def settled(rig: Rig, stations: dict[str, str], ended: set[str]) -> bool:
    """Whether the newest plans share the limits among just those that charge, and were commanded so."""
    newest = {plan.site_id: plan for plan in rig.records("load.plans", LoadPlanMade)}
    limited = {name for name, site in stations.items() if SITES[site] is not None}
    planned = {
        allocation.station_id: allocation.current_ma
        for plan in newest.values()
        for allocation in plan.allocations
    }
    told: dict[str, dict[str, int]] = defaultdict(dict)
    for command in rig.records("commands.requested", RequestCommand):
        payload = json.loads(command.payload)
        if command.action != "SetLimit":
            continue
        told[command.station_id][payload["transaction_id"]] = payload["limit_milliamp"]
    newest_told = {
        allocation.station_id: told[allocation.station_id].get(allocation.transaction_id)
        for plan in newest.values()
        for allocation in plan.allocations
    }
    return planned.keys() == limited - ended and newest_told == planned


async def boot(rig: Rig, station_id: str, number: int, firmware: str = "1.0") -> None:
    payload = {"chargePointVendor": "V", "chargePointModel": "M", "firmwareVersion": firmware}
    call = OcppCallReceived(
        **envelope(f"boot-{station_id}-{number}"),
        station_id=station_id,
        connection_epoch=number,
        edge_id="edge-0",
        version="ocpp1.6",
        message_id=str(number),
        action="BootNotification",
        payload=json.dumps(payload),
        answer=json.dumps({"status": "Accepted", "interval": 300, "currentTime": "2026-01-01T00:00:00Z"}),
    )
    await rig.publish("ocpp.lifecycle", station_id, call)


async def refuse(rig: Rig, command: RequestCommand) -> None:
    concluded = CommandConcluded(
        **envelope(f"refused-{command.event_id}"),
        station_id=command.station_id,
        command_id=command.event_id,
        action=command.action,
        dialect=command.dialect,
        fate=Fate.REJECTED,
        reason="NotSupported",
        requested_at=command.recorded_at,
        requested_by=command.requested_by,
        attempts=1,
    )
    await rig.publish("commands.outcomes", command.station_id, concluded)


async def test_newcomers_of_a_limited_site_start_low_until_the_limit_goes(rig: Rig) -> None:
    """The service is killed between the acts; a station that refuses is left alone, the free site, too."""
    rig.follow("load.stations", "load.plans", "commands.requested")
    await register(rig, {"s-1": "south", "s-2": "south", "f-1": "free"})

    def asked(station_id: str) -> list[str]:
        return [command.action for command in default_limits(rig) if command.station_id == station_id]

    def news() -> list[StationObserved]:
        return rig.records("load.stations", StationObserved)

    with running("load", rig) as service:
        for name in ("s-1", "s-2", "f-1"):
            await boot(rig, name, 1)
        await rig.until(lambda: asked("s-1") and asked("s-2"), "the first default limits")
        service.kill()
        (command,) = [command for command in default_limits(rig) if command.station_id == "s-2"]
        await refuse(rig, command)
        service.start()
        await rig.until(lambda: any(seen.news is StationNews.REFUSED for seen in news()), "the refusal")
        for name in ("s-2", "f-1", "s-1"):
            await boot(rig, name, 2)
        await rig.until(lambda: len(asked("s-1")) == 2, "the default limit after a restart")
        site = SiteRegistered(**envelope("south-free"), site_id="south", limit_ma=None)
        await rig.publish("registry.sites", "south", site)
        await rig.until(lambda: len(asked("s-1")) == 3, "the default limit taken back")
        await rig.until(lambda: sum(seen.station_id == "f-1" for seen in news()) == 2, "the free station")
    await rig.whole("commands.requested", "load.stations")
    assert asked("s-1") == ["SetDefaultLimit", "SetDefaultLimit", "ClearLimit"]
    assert asked("s-2") == ["SetDefaultLimit"]
    assert asked("f-1") == []
    by_id(rig.messages["commands.requested"])
    by_id(rig.messages["load.stations"])


async def test_what_cannot_be_read_is_put_aside_and_the_rest_goes_on(rig: Rig) -> None:
    inputs = {
        "sessions.events": "load-observer",
        "telemetry.measurements": "load-observer",
        "ocpp.lifecycle": "load-observer",
        "commands.outcomes": "load-observer",
        "load.observations": "load",
        "load.stations": "load",
        "registry.sites": "load",
    }
    rig.follow("load.plans", *(f"{topic}.dead" for topic in inputs))
    await register(rig, {"cp1": "south"})
    with running("load", rig):
        for topic in inputs:
            await rig.publish_raw(topic, "cp1", b"no avro")
        await start(rig, "cp1", "t1")
        await rig.until(lambda: rig.messages["load.plans"], "the plan")
        for topic, processor in inputs.items():
            await rig.until(lambda topic=topic: rig.messages[f"{topic}.dead"], topic)  # type: ignore[misc]
            (letter,) = rig.records(f"{topic}.dead", RecordDeadLettered)
            assert (letter.processor, letter.value) == (processor, b"no avro")
