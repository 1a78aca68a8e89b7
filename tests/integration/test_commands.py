"""The command ledger on real Kafka: killed while it works, every command has one fate and is sent at most once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from random import Random

import pytest

from libs.bus.message import Message
from libs.devstack import Endpoints
from libs.events.commands import CommandConcluded, CommandDialect, DispatchCommand, Fate, RequestCommand
from libs.events.dead_letters import RecordDeadLettered
from libs.events.ids import derive_id
from libs.events.ocpp_log import (
    CallOutcome,
    DispatchRefused,
    OcppCallSent,
    RefusalReason,
    StationLocated,
)
from libs.runtime.clock import SECOND, now_us
from tests.integration.processor_rig import KILLS, Rig, copy_log, kill_repeatedly, open_rig, running

STATIONS = 24
COMMANDS = 5


@pytest.fixture
async def rig(stack: Endpoints, namespace: str) -> AsyncIterator[Rig]:
    async with open_rig(stack, namespace) as rig:
        yield rig


def request(station_id: str, name: str, ttl_s: float = 120) -> RequestCommand:
    now = now_us()
    return RequestCommand(
        event_id=name,
        occurred_at=now,
        recorded_at=now,
        cause_id=name,
        station_id=station_id,
        action="Reset",
        payload='{"type":"Soft"}',
        dialect=CommandDialect.OCPP,
        requested_by="test",
        expires_at=now + int(ttl_s * SECOND),
        call_timeout_ms=1000,
    )


class Edges:
    """All edges in one: they hold the stations' sockets, and answer dispatches as a seed says."""

    def __init__(self, rig: Rig, random: Random) -> None:
        self._rig = rig
        self._random = random
        self.epochs: dict[str, int] = {}
        self.sent: list[tuple[str, str]] = []
        self.dispatches: list[str] = []

    async def connect(self, station_id: str) -> None:
        """The station opens its next connection, on some slot."""
        epoch = self.epochs.get(station_id, 0) + 1
        self.epochs[station_id] = epoch
        now = now_us()
        event_id = derive_id(station_id, f"epoch:{epoch}")
        located = StationLocated(
            event_id=event_id,
            occurred_at=now,
            recorded_at=now,
            cause_id=event_id,
            station_id=station_id,
            edge_id=f"edge-{epoch}",
            slot=self._random.randrange(4),
            connection_epoch=epoch,
            version="ocpp1.6",
            connected=True,
        )
        await self._rig.publish("edge.connections", station_id, located)

    async def handle(self, message: Message) -> None:
        dispatch = message.record
        assert isinstance(dispatch, DispatchCommand)
        assert message.partition == dispatch.slot
        self.dispatches.append(dispatch.event_id)
        station_id = dispatch.station_id
        if dispatch.connection_epoch != self.epochs[station_id]:
            await self._refuse(dispatch, RefusalReason.NOT_HERE)
            return
        if dispatch.send_by < now_us():
            await self._refuse(dispatch, RefusalReason.TOO_LATE)
            return
        luck = self._random.random()
        if luck < 0.15:
            await self.connect(station_id)
            await self._refuse(dispatch, RefusalReason.NOT_HERE)
        elif luck < 0.2:
            await self._refuse(dispatch, RefusalReason.INVALID)
        elif luck < 0.25:
            # The edge dies after the send; the station finds another.
            self.sent.append((station_id, dispatch.command_id))
            await self.connect(station_id)
        else:
            self.sent.append((station_id, dispatch.command_id))
            outcome = CallOutcome.RESULT if luck < 0.9 else self._random.choice(list(CallOutcome))
            await self._report(dispatch, outcome)

    async def _refuse(self, dispatch: DispatchCommand, reason: RefusalReason) -> None:
        now = now_us()
        refused = DispatchRefused(
            event_id=derive_id(dispatch.event_id, "refused"),
            occurred_at=now,
            recorded_at=now,
            cause_id=dispatch.event_id,
            station_id=dispatch.station_id,
            connection_epoch=dispatch.connection_epoch,
            edge_id="edge",
            command_id=dispatch.command_id,
            slot=dispatch.slot,
            reason=reason,
        )
        await self._rig.publish("ocpp.commands", dispatch.station_id, refused)

    async def _report(self, dispatch: DispatchCommand, outcome: CallOutcome) -> None:
        now = now_us()
        status = "Accepted" if self._random.random() < 0.7 else "Rejected"
        report = OcppCallSent(
            event_id=derive_id(dispatch.event_id, "sent"),
            occurred_at=now,
            recorded_at=now,
            cause_id=dispatch.event_id,
            station_id=dispatch.station_id,
            connection_epoch=dispatch.connection_epoch,
            edge_id="edge",
            command_id=dispatch.command_id,
            version="ocpp1.6",
            message_id="m",
            action=dispatch.action,
            payload=dispatch.payload,
            outcome=outcome,
            result=f'{{"status":"{status}"}}' if outcome is CallOutcome.RESULT else None,
            sent_at=now,
            round_trip_us=1,
        )
        await self._rig.publish("ocpp.commands", dispatch.station_id, report)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", [1])
async def test_killed_again_and_again_every_command_has_one_fate(
    rig: Rig, stack: Endpoints, namespace: str, seed: int
) -> None:
    random = Random(seed)
    edges = Edges(rig, random)
    stations = [f"cp{number}" for number in range(STATIONS)]
    away = set(stations[-3:])
    wanted = {f"{station}-{number}": station for number in range(COMMANDS) for station in stations}
    rig.follow("commands.outcomes", "commands.requested", "ocpp.commands", "edge.connections")
    rig.follow("commands.dispatch", then=edges.handle)

    def concluded() -> list[CommandConcluded]:
        return rig.records("commands.outcomes", CommandConcluded)

    with running("commands", rig) as service:
        for station in stations:
            if station not in away:
                await edges.connect(station)
        killer = asyncio.create_task(
            kill_repeatedly(rig, service, random.sample(range(len(wanted)), KILLS), lambda: len(concluded()))
        )
        for command, station in wanted.items():
            await rig.publish(
                "commands.requested", station, request(station, command, 5 if station in away else 120)
            )
            if random.random() < 0.1:
                await rig.publish("commands.requested", station, request(station, command))
        await rig.until(lambda: {c.command_id for c in concluded()} == wanted.keys(), "every fate")
        await killer
        await rig.ready(service)
    await rig.whole(
        "commands.outcomes", "commands.requested", "commands.dispatch", "ocpp.commands", "edge.connections"
    )

    outcomes = {c.command_id: c for c in concluded()}
    assert len(concluded()) == len(outcomes) == len(wanted)
    assert max(Counter(edges.dispatches).values()) == 1
    assert max(Counter(edges.sent).values()) == 1, "a command reached its station twice"
    never_sent = wanted.keys() - {command for _, command in edges.sent}
    for command, outcome in outcomes.items():
        assert outcome.event_id == derive_id(command, "concluded")
        if wanted[command] in away:
            assert outcome.fate is Fate.EXPIRED
        if outcome.fate in (Fate.ACCEPTED, Fate.REJECTED):
            assert command not in never_sent
    for station in stations:
        mine = [command for where, command in edges.sent if where == station]
        assert mine == sorted(mine), "not first come, first served"

    await replayed(rig, stack, namespace, outcomes)


async def replayed(rig: Rig, stack: Endpoints, namespace: str, outcomes: dict[str, CommandConcluded]) -> None:
    """The same log, read by a ledger that knows nothing, gives the same fates under the same ids."""
    async with open_rig(stack, f"{namespace}r") as again:
        await copy_log(rig, again, "commands.requested", "ocpp.commands", "edge.connections")
        again.follow("commands.outcomes")
        with running("commands", again):
            await again.until(
                lambda: len(again.messages["commands.outcomes"]) >= len(outcomes), "the same fates"
            )
        await again.whole("commands.outcomes")
        repeated = again.records("commands.outcomes", CommandConcluded)
        assert {c.command_id: c for c in repeated} == outcomes
        assert len(repeated) == len(outcomes)


async def test_what_cannot_be_read_is_put_aside_and_the_rest_goes_on(rig: Rig) -> None:
    edges = Edges(rig, Random(0))
    inputs = ("commands.requested", "ocpp.commands", "edge.connections")
    rig.follow("commands.dispatch", *(f"{topic}.dead" for topic in inputs))
    with running("commands", rig):
        for topic in inputs:
            await rig.publish_raw(topic, "cp1", b"no avro")
        await edges.connect("cp1")
        await rig.publish("commands.requested", "cp1", request("cp1", "c1"))
        await rig.until(lambda: rig.messages["commands.dispatch"], "the dispatch")
        for topic in inputs:
            await rig.until(lambda topic=topic: rig.messages[f"{topic}.dead"], topic)  # type: ignore[misc]
            (letter,) = rig.records(f"{topic}.dead", RecordDeadLettered)
            assert (letter.processor, letter.source_topic, letter.value) == ("commands", topic, b"no avro")
