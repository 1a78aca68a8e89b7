"""Firmware campaigns on real Kafka, killed while they work: every station asked once, every word counted once."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest

from libs.bus.message import Message
from libs.devstack import Endpoints
from libs.events.commands import CommandConcluded, Fate, RequestCommand
from libs.events.dead_letters import RecordDeadLettered
from libs.events.firmware import (
    CampaignProgressed,
    DefineCampaign,
    StationUpdateProgressed,
    StationUpdateStatus,
)
from libs.events.ids import derive_id, new_id
from libs.events.ocpp_log import OcppCallReceived
from libs.runtime.clock import SECOND, now_us
from tests.integration.processor_rig import KILLS, Rig, by_id, copy_log, kill_repeatedly, open_rig, running

STATIONS = 40
FINAL = (StationUpdateStatus.INSTALLED, StationUpdateStatus.FAILED)


@pytest.fixture
async def rig(stack: Endpoints, namespace: str) -> AsyncIterator[Rig]:
    async with open_rig(stack, namespace) as rig:
        yield rig


def envelope(event_id: str) -> dict[str, Any]:
    now = now_us()
    return {"event_id": event_id, "occurred_at": now, "recorded_at": now, "cause_id": event_id}


def campaign(stations: list[str], deadline_s: float = 60) -> DefineCampaign:
    campaign_id = new_id()
    return DefineCampaign(
        **envelope(campaign_id),
        campaign_id=campaign_id,
        name="spring",
        target_version="2.0",
        location="http://files/2.0.bin",
        stations=tuple(stations),
        requested_by="test",
        deadline=now_us() + int(deadline_s * SECOND),
    )


class World:
    """The ledger and the stations: commands get a fate, and those accepted lead to statuses and a boot."""

    def __init__(self, rig: Rig, random: Random) -> None:
        self._rig = rig
        self._random = random
        self.commands: list[str] = []

    async def handle(self, message: Message) -> None:
        command = message.record
        assert isinstance(command, RequestCommand)
        self.commands.append(command.station_id)
        luck = self._random.random()
        fate = Fate.REJECTED if luck < 0.2 else Fate.ACCEPTED
        concluded = CommandConcluded(
            **envelope(derive_id(command.event_id, "concluded")),
            station_id=command.station_id,
            command_id=command.event_id,
            action=command.action,
            dialect=command.dialect,
            fate=fate,
            reason="",
            requested_at=command.recorded_at,
            requested_by=command.requested_by,
            attempts=1,
        )
        await self._rig.publish("commands.outcomes", command.station_id, concluded)
        if fate is Fate.REJECTED:
            return
        await self._say(command.station_id, "Heartbeat", {})
        await self._say(command.station_id, "FirmwareStatusNotification", {"status": "Downloading"})
        if luck < 0.35:
            await self._say(
                command.station_id, "FirmwareStatusNotification", {"status": "InstallationFailed"}
            )
            return
        await self._say(command.station_id, "FirmwareStatusNotification", {"status": "Installing"})
        boot = {"chargePointVendor": "V", "chargePointModel": "M", "firmwareVersion": "2.0"}
        await self._say(command.station_id, "BootNotification", boot)

    async def _say(self, station_id: str, action: str, payload: dict[str, Any]) -> None:
        call = OcppCallReceived(
            **envelope(new_id()),
            station_id=station_id,
            connection_epoch=1,
            edge_id="edge",
            version="ocpp1.6",
            message_id="m",
            action=action,
            payload=json.dumps(payload),
            answer="{}",
        )
        await self._rig.publish("ocpp.lifecycle", station_id, call)


def final_words(rig: Rig) -> dict[str, StationUpdateStatus]:
    words = [p for p in rig.records("firmware.progress", StationUpdateProgressed) if p.status in FINAL]
    assert max(Counter(word.station_id for word in words).values(), default=1) == 1
    return {word.station_id: word.status for word in words}


def finished(rig: Rig) -> CampaignProgressed | None:
    progressed = rig.records("firmware.campaigns", CampaignProgressed)
    return next((each for each in progressed if each.finished), None)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", [1])
async def test_killed_again_and_again_a_campaign_asks_and_counts_each_station_once(
    rig: Rig, stack: Endpoints, namespace: str, seed: int
) -> None:
    random = Random(seed)
    stations = [f"cp{number}" for number in range(STATIONS)]
    world = World(rig, random)
    rig.follow(
        "firmware.campaigns", "firmware.tasks", "firmware.progress", "ocpp.lifecycle", "commands.outcomes"
    )
    rig.follow("commands.requested", then=world.handle)
    with running("firmware", rig) as service:
        killer = asyncio.create_task(
            kill_repeatedly(
                rig, service, random.sample(range(STATIONS), KILLS), lambda: len(final_words(rig))
            )
        )
        definition = campaign(stations)
        await rig.publish("firmware.campaigns", definition.campaign_id, definition)
        await rig.until(lambda: finished(rig), "the end of the campaign")
        await killer
        await rig.ready(service)
    await rig.whole("firmware.campaigns", "firmware.tasks", "firmware.progress", "commands.requested")

    words = final_words(rig)
    last = finished(rig)
    assert last is not None
    counts = Counter(words.values())
    assert (last.total, last.pending) == (STATIONS, 0)
    assert (last.installed, last.failed) == tuple(counts[status] for status in FINAL)
    assert counts[StationUpdateStatus.INSTALLED] > 0
    assert counts[StationUpdateStatus.FAILED] > 0
    assert sorted(world.commands) == sorted(stations)
    commands = by_id(rig.messages["commands.requested"])
    progress = by_id(rig.messages["firmware.progress"])
    by_id(rig.messages["firmware.tasks"])
    by_id(rig.messages["firmware.campaigns"])

    async with open_rig(stack, f"{namespace}r") as again:
        await copy_log(
            rig,
            again,
            "firmware.campaigns",
            "ocpp.lifecycle",
            "commands.outcomes",
            only=lambda message: not isinstance(message.record, CampaignProgressed),
        )
        again.follow("firmware.campaigns", "firmware.progress", "commands.requested")
        with running("firmware", again):
            await again.until(lambda: finished(again), "the same end")
        await again.whole("firmware.progress", "commands.requested")
        assert by_id(again.messages["firmware.progress"]).keys() == progress.keys()
        assert by_id(again.messages["commands.requested"]) == commands
        assert final_words(again) == words


async def test_a_station_that_never_reports_fails_at_the_deadline(rig: Rig) -> None:
    rig.follow("firmware.campaigns", "commands.requested")
    with running("firmware", rig) as service:
        await rig.ready(service)
        # The command goes out before it, on a busy machine too.
        definition = campaign(["cp1"], deadline_s=8)
        await rig.publish("firmware.campaigns", definition.campaign_id, definition)
        await rig.until(lambda: finished(rig), "the deadline")
    await rig.whole("commands.requested")
    last = finished(rig)
    assert last is not None
    assert (last.installed, last.failed) == (0, 1)
    assert last.recorded_at == definition.deadline
    assert len(rig.messages["commands.requested"]) == 1


async def test_what_cannot_be_read_is_put_aside_and_the_rest_goes_on(rig: Rig) -> None:
    inputs = {
        "firmware.campaigns": "firmware",
        "firmware.progress": "firmware",
        "firmware.tasks": "firmware-stations",
        "ocpp.lifecycle": "firmware-stations",
        "commands.outcomes": "firmware-stations",
    }
    rig.follow("commands.requested", *(f"{topic}.dead" for topic in inputs))
    with running("firmware", rig):
        for topic in inputs:
            await rig.publish_raw(topic, "cp1", b"no avro")
        definition = campaign(["cp1"])
        await rig.publish("firmware.campaigns", definition.campaign_id, definition)
        await rig.until(lambda: rig.messages["commands.requested"], "the command")
        for topic, processor in inputs.items():
            await rig.until(lambda topic=topic: rig.messages[f"{topic}.dead"], topic)  # type: ignore[misc]
            (letter,) = rig.records(f"{topic}.dead", RecordDeadLettered)
            assert (letter.processor, letter.value) == (processor, b"no avro")
