"""One station's firmware updates: a queue of tasks, worked off one after the other.

Only a BootNotification that reports the target version proves an update; a station that says "Installed" has
said so, no more. Until its deadline a boot also proves an update that had failed: chargers try again by themselves.
A fact counts for a task from the moment when that task's turn came, whatever the order in which the topics are
read: the newest facts are kept for a task that arrives after them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec
from msgspec.structs import replace

from libs.bus.message import Emit, Message
from libs.bus.processor import Processor, Step, Tables, Tick
from libs.bus.shapes import grown
from libs.events.commands import CommandConcluded, CommandDialect, Fate, RequestCommand
from libs.events.firmware import StationUpdateProgressed, StationUpdateStatus, UpdateStationFirmware
from libs.events.ids import derive_id
from libs.events.ocpp_log import OcppCallReceived
from libs.events.topics import (
    COMMANDS_OUTCOMES,
    COMMANDS_REQUESTED,
    FIRMWARE_PROGRESS,
    FIRMWARE_TASKS,
    OCPP_LIFECYCLE,
)
from libs.ocpp.semantics.commands import UpdateFirmware
from libs.ocpp.semantics.dialect import to_request
from services.firmware.domain.stations.facts import (
    ACTIONS,
    REQUESTED_BY,
    Fact,
    FactKind,
    concerns_firmware,
    fact_of,
)

REMEMBERED_FACTS = 16
REMEMBERED_CAMPAIGNS = 16
MOST_TASKS: Final = 16
"""Campaigns that may wait for a station; what comes beyond has failed at once."""
MOST_FAILED: Final = 8
"""Campaigns of which a boot can still prove that they did not fail."""
LONGEST_TASK: Final = 2_048
"""What the texts of one may take, in bytes."""

STATUSES: Final[Mapping[str, StationUpdateStatus]] = MappingProxyType(
    {
        "DownloadScheduled": StationUpdateStatus.DOWNLOADING,
        "Downloading": StationUpdateStatus.DOWNLOADING,
        "DownloadPaused": StationUpdateStatus.DOWNLOADING,
        "Downloaded": StationUpdateStatus.DOWNLOADING,
        "SignatureVerified": StationUpdateStatus.DOWNLOADING,
        "InstallScheduled": StationUpdateStatus.INSTALLING,
        "Installing": StationUpdateStatus.INSTALLING,
        "InstallRebooting": StationUpdateStatus.INSTALLING,
        "Installed": StationUpdateStatus.INSTALLING,
        "DownloadFailed": StationUpdateStatus.FAILED,
        "InstallationFailed": StationUpdateStatus.FAILED,
        "InstallVerificationFailed": StationUpdateStatus.FAILED,
        "InvalidSignature": StationUpdateStatus.FAILED,
    }
)
"""What the firmware statuses of all versions mean for a task (1.6 FirmwareStatus, 2.x FirmwareStatusEnumType)."""

_RANK: Final = {status: rank for rank, status in enumerate(StationUpdateStatus)}
_FAILING: Final = frozenset({Fate.REJECTED, Fate.FAILED, Fate.EXPIRED})


class Task(msgspec.Struct, frozen=True):
    """A campaign's wish of this station. `since`: when its turn came; 0 while it waits."""

    task_id: str
    campaign_id: str
    target_version: str
    location: str
    asked_at: int
    deadline: int
    since: int = 0
    status: StationUpdateStatus = StationUpdateStatus.REQUESTED

    @property
    def command_id(self) -> str:
        """Id of the command that asks the station for it."""
        return derive_id(self.task_id, "update")

    @property
    def request_id(self) -> int:
        """What tells this request from others of the station, where its version has that."""
        return int(self.command_id[:8], 16) & 0x7FFFFFFF

    def proved_by(self, fact: Fact) -> bool:
        """Whether the station boots with the target version, in the task's time."""
        boots = fact.kind is FactKind.BOOTED and fact.text == self.target_version
        return boots and self.since <= fact.at <= self.deadline


class StationFirmware(msgspec.Struct, frozen=True):
    """A station's tasks (the first is under way), its newest facts in order of time, and campaigns done.

    `failed`: tasks of these that a boot may still prove.
    """

    station_id: str
    tasks: tuple[Task, ...] = ()
    facts: tuple[Fact, ...] = ()
    done: tuple[str, ...] = ()
    version: str = ""
    failed: tuple[Task, ...] = ()


class StationFirmwareProcessor(Processor[StationFirmware]):
    """Tasks, stations' reports and commands' fates to commands and progress, keyed by station."""

    name = "firmware-stations"
    inputs = (FIRMWARE_TASKS, OCPP_LIFECYCLE, COMMANDS_OUTCOMES)
    outputs = (COMMANDS_REQUESTED, FIRMWARE_PROGRESS)
    state = StationFirmware
    former_states = (grown("0.1.0", "a0ab146179a8d793"),)
    unmarked_state = "a0ab146179a8d793"
    max_state_bytes = 160 << 10
    linger_s = 0.25

    def wants(self, topic: str, kind: str, subject: str | None) -> bool:
        """Not the heartbeats and statuses, which are nearly all of `ocpp.lifecycle`."""
        return topic != OCPP_LIFECYCLE or (kind == OcppCallReceived.__name__ and subject in ACTIONS)

    def key(self, message: Message) -> str | None:
        """The station, for tasks and for the few reports that concern firmware."""
        if isinstance(message.record, UpdateStationFirmware) or concerns_firmware(message):
            return message.key
        return None

    def step(
        self, state: StationFirmware | None, event: Message | Tick, tables: Tables
    ) -> Step[StationFirmware]:
        """Take in a task or a fact, or end what is out of time; start the next task when one has ended."""
        match event:
            case Tick(at=now) if state is not None:
                work = _Work(state)
                for task in [each for each in state.tasks if each.deadline <= now]:
                    work.progress(task, StationUpdateStatus.FAILED, "out of time", task.task_id, now)
                work.start_next(now)
            case Message(record=UpdateStationFirmware() as asked):
                work = _Work(state or StationFirmware(event.key))
                work.accept(asked)
            case Message(record=(OcppCallReceived() | CommandConcluded()) as record):
                fact = fact_of(record)
                if fact is None:
                    return Step(state)
                work = _Work(state or StationFirmware(event.key))
                work.learn(fact)
            case _:
                return Step(state)
        if state is not None and work.station == state:
            return Step(state, tuple(work.out), work.bounded)
        return Step(work.station, tuple(work.out), work.bounded)

    def due(self, state: StationFirmware) -> int | None:
        """The next deadline."""
        return min((task.deadline for task in state.tasks), default=None)


class _Work:
    """One event's work on a station: `station` and `out` grow as it is done."""

    def __init__(self, station: StationFirmware) -> None:
        self.station = station
        self.out: list[Emit] = []
        self.bounded: tuple[str, ...] = ()

    def accept(self, asked: UpdateStationFirmware) -> None:
        """Queue a task; one of the same campaign is nothing new."""
        known = {*self.station.done, *(task.campaign_id for task in self.station.tasks)}
        if asked.campaign_id in known:
            return
        text = asked.event_id + asked.campaign_id + asked.target_version + asked.location
        if (size := len(text.encode("utf-8", "surrogatepass"))) > LONGEST_TASK:
            self._refuse(asked, f"its texts take {size} bytes, more than {LONGEST_TASK}")
            return
        if len(self.station.tasks) >= MOST_TASKS:
            self._refuse(asked, f"too many waiting: {MOST_TASKS} campaigns")
            return
        task = Task(
            task_id=asked.event_id,
            campaign_id=asked.campaign_id,
            target_version=asked.target_version,
            location=asked.location,
            asked_at=asked.recorded_at,
            deadline=asked.deadline,
        )
        self.station = replace(self.station, tasks=(*self.station.tasks, task))
        self.start_next(asked.recorded_at)

    def _refuse(self, asked: UpdateStationFirmware, detail: str) -> None:
        """Tell that a task has failed for which there is no room; nothing of it is kept."""
        self.bounded = ("tasks",)
        progressed = StationUpdateProgressed(
            event_id=derive_id(asked.event_id, "refused"),
            occurred_at=asked.recorded_at,
            recorded_at=asked.recorded_at,
            cause_id=asked.event_id,
            campaign_id=asked.campaign_id,
            station_id=self.station.station_id,
            status=StationUpdateStatus.FAILED,
            detail=detail,
            firmware_version=self.station.version,
        )
        self.out.append(Emit(FIRMWARE_PROGRESS, asked.campaign_id, progressed))

    def learn(self, fact: Fact) -> None:
        """Keep a fact, and let it count for the task under way."""
        if any(known.event_id == fact.event_id for known in self.station.facts):
            return
        facts = sorted([*self.station.facts, fact], key=lambda each: (each.at, each.event_id))
        self.station = replace(self.station, facts=tuple(facts[-REMEMBERED_FACTS:]))
        if fact.kind is FactKind.BOOTED:
            self.station = replace(self.station, version=fact.text)
        self._prove_failed(fact)
        self._count(fact)
        self.start_next(fact.at)

    def start_next(self, now: int) -> None:
        """Ask the station for the first task if nothing is under way; facts known already count for it."""
        while self.station.tasks and self.station.tasks[0].since == 0:
            task = self.station.tasks[0]
            task = replace(task, since=max(now, task.asked_at))
            self.station = replace(self.station, tasks=(task, *self.station.tasks[1:]))
            self.out.append(Emit(COMMANDS_REQUESTED, self.station.station_id, self._command(task)))
            self._tell(task, "", task.task_id, task.since)
            for fact in self.station.facts:
                self._prove_failed(fact)
                self._count(fact)

    def progress(self, task: Task, status: StationUpdateStatus, detail: str, cause_id: str, at: int) -> None:
        """Record a task's new status; a final one ends it."""
        task = replace(task, status=status)
        self._tell(task, detail, cause_id, at)
        others = [each for each in self.station.tasks if each.task_id != task.task_id]
        if status in (StationUpdateStatus.INSTALLED, StationUpdateStatus.FAILED):
            done = (*self.station.done, task.campaign_id)[-REMEMBERED_CAMPAIGNS:]
            self.station = replace(self.station, tasks=tuple(others), done=done)
            if status is StationUpdateStatus.FAILED and task.since:
                self.station = replace(self.station, failed=(*self.station.failed, task)[-MOST_FAILED:])
        else:
            self.station = replace(self.station, tasks=(task, *others))

    def _count(self, fact: Fact) -> None:
        """Let a fact count for the task under way, if it happened in its time and says more than was known."""
        task = next((task for task in self.station.tasks if task.since), None)
        if task is None or fact.at < task.since:
            return
        match fact.kind:
            case FactKind.BOOTED:
                if task.proved_by(fact):
                    self.progress(task, StationUpdateStatus.INSTALLED, fact.text, fact.event_id, fact.at)
            case FactKind.FATE:
                if fact.command_id == task.command_id and fact.fate in _FAILING:
                    detail = f"command {str(fact.fate).lower()}: {fact.text}"
                    self.progress(task, StationUpdateStatus.FAILED, detail, fact.event_id, fact.at)
            case FactKind.STATUS:
                # What ended the task before is not this one's; nor is another request's status.
                ours = fact.at > task.since and fact.request_id in (None, task.request_id)
                status = STATUSES.get(fact.text)
                if ours and status is not None and _RANK[status] > _RANK[task.status]:
                    self.progress(task, status, fact.text, fact.event_id, fact.at)

    def _prove_failed(self, fact: Fact) -> None:
        """Let a boot prove tasks that had failed."""
        for task in [each for each in self.station.failed if each.proved_by(fact)]:
            left = tuple(each for each in self.station.failed if each.task_id != task.task_id)
            self.station = replace(self.station, failed=left)
            self._tell(replace(task, status=StationUpdateStatus.INSTALLED), fact.text, fact.event_id, fact.at)

    def _tell(self, task: Task, detail: str, cause_id: str, at: int) -> None:
        progressed = StationUpdateProgressed(
            event_id=derive_id(cause_id, f"progress:{task.campaign_id}:{task.status}"),
            occurred_at=at,
            recorded_at=at,
            cause_id=cause_id,
            campaign_id=task.campaign_id,
            station_id=self.station.station_id,
            status=task.status,
            detail=detail,
            firmware_version=self.station.version,
        )
        self.out.append(Emit(FIRMWARE_PROGRESS, task.campaign_id, progressed))

    def _command(self, task: Task) -> RequestCommand:
        action, payload = to_request(
            UpdateFirmware(location=task.location, retrieve_at=task.since, request_id=task.request_id)
        )
        return RequestCommand(
            event_id=task.command_id,
            occurred_at=task.since,
            recorded_at=task.since,
            cause_id=task.task_id,
            station_id=self.station.station_id,
            action=action,
            payload=payload,
            dialect=CommandDialect.VOLTBUS,
            requested_by=REQUESTED_BY,
            expires_at=task.deadline,
        )
