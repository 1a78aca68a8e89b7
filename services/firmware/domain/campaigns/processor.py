"""A campaign: its stations, and which of them have been proved or have failed.

All stations are asked in one wave. A station's first final word counts; one that had failed may still be proved.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import replace

from libs.bus.message import Emit, Message
from libs.bus.processor import Processor, Step, Tables, Tick
from libs.events.firmware import (
    CampaignProgressed,
    DefineCampaign,
    StationUpdateProgressed,
    StationUpdateStatus,
    UpdateStationFirmware,
)
from libs.events.ids import derive_id
from libs.events.topics import FIRMWARE_CAMPAIGNS, FIRMWARE_PROGRESS, FIRMWARE_TASKS

MOST_STATIONS: Final = 10_000
MOST_BYTES: Final = 768 << 10
"""What the texts of a definition may take. One that takes more, or has more stations, has failed at once."""
MOST_EARLY: Final = 1_000
"""Stations whose words are kept before the definition came."""


class Campaign(msgspec.Struct, frozen=True):
    """A campaign's stations by their last word; those before its definition are kept (another topic's lag).

    `told_at`: `recorded_at` of the newest word. Stations' words come in any order, the campaign's own must not seem
    to.
    """

    definition: DefineCampaign | None = None
    installed: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()
    told_at: int = 0


class CampaignProcessor(Processor[Campaign]):
    """Definitions and stations' progress to tasks and the campaign's counts, keyed by campaign."""

    name = "firmware"
    inputs = (FIRMWARE_CAMPAIGNS, FIRMWARE_PROGRESS)
    outputs = (FIRMWARE_TASKS, FIRMWARE_CAMPAIGNS)
    state = Campaign
    unmarked_state = "727ee519ccc2afd9"
    max_state_bytes = 2 << 20

    def key(self, message: Message) -> str | None:
        """The campaign; what this processor itself writes to its input is passed over."""
        return message.key if isinstance(message.record, DefineCampaign | StationUpdateProgressed) else None

    def step(self, state: Campaign | None, event: Message | Tick, tables: Tables) -> Step[Campaign]:
        """Hand out the tasks once; count final words."""
        campaign = state or Campaign()
        match event:
            case Message(record=DefineCampaign() as definition):
                return Step(state) if campaign.definition is not None else _defined(state, definition)
            case Message(record=StationUpdateProgressed() as progress):
                after = _count(campaign, progress)
                return Step(state) if after is campaign else _progressed(state, after, progress)
            case _:
                return Step(state)


def _defined(state: Campaign | None, definition: DefineCampaign) -> Step[Campaign]:
    if not _fits(definition):
        return Step(state, (_refused(definition),), ("stations",))
    early = state or Campaign()
    campaign = Campaign(
        definition,
        early.installed.intersection(definition.stations),
        early.failed.intersection(definition.stations),
        max(early.told_at, definition.recorded_at),
    )
    return Step(campaign, (*_tasks(definition), _progress(campaign, definition, definition)))


def _progressed(state: Campaign | None, after: Campaign, progress: StationUpdateProgressed) -> Step[Campaign]:
    definition = after.definition
    if definition is None:
        full = len(after.installed) + len(after.failed) > MOST_EARLY
        return Step(state, bounded=("early",)) if full else Step(after)
    if progress.station_id not in definition.stations:
        return Step(state)
    return Step(after, (_progress(after, definition, progress),))


def _count(campaign: Campaign, progress: StationUpdateProgressed) -> Campaign:
    station, told_at = progress.station_id, max(campaign.told_at, progress.recorded_at)
    if station in campaign.installed:
        return campaign
    match progress.status:
        case StationUpdateStatus.INSTALLED:
            installed, failed = campaign.installed | {station}, campaign.failed - {station}
            return replace(campaign, installed=installed, failed=failed, told_at=told_at)
        case StationUpdateStatus.FAILED if station not in campaign.failed:
            return replace(campaign, failed=campaign.failed | {station}, told_at=told_at)
        case _:
            return campaign


def _tasks(definition: DefineCampaign) -> list[Emit]:
    return [
        Emit(
            FIRMWARE_TASKS,
            station_id,
            UpdateStationFirmware(
                event_id=derive_id(definition.event_id, f"task:{station_id}"),
                occurred_at=definition.recorded_at,
                recorded_at=definition.recorded_at,
                cause_id=definition.event_id,
                station_id=station_id,
                campaign_id=definition.campaign_id,
                target_version=definition.target_version,
                location=definition.location,
                deadline=definition.deadline,
            ),
        )
        for station_id in dict.fromkeys(definition.stations)
    ]


def _fits(definition: DefineCampaign) -> bool:
    texts = (definition.campaign_id, definition.name, definition.target_version, definition.location)
    more = (definition.requested_by, definition.event_id, definition.cause_id, *definition.stations)
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in (*texts, *more))
    return len(definition.stations) <= MOST_STATIONS and size <= MOST_BYTES


def _refused(definition: DefineCampaign) -> Emit:
    """A campaign that is over as it begins: all of its stations have failed."""
    failed = Campaign(definition, failed=frozenset(definition.stations), told_at=definition.recorded_at)
    return _progress(failed, definition, definition)


def _progress(
    campaign: Campaign, definition: DefineCampaign, cause: DefineCampaign | StationUpdateProgressed
) -> Emit:
    stations = frozenset(definition.stations)
    installed, failed = len(campaign.installed & stations), len(campaign.failed & stations)
    pending = len(stations) - installed - failed
    progressed = CampaignProgressed(
        event_id=derive_id(cause.event_id, "campaign"),
        occurred_at=cause.recorded_at,
        recorded_at=campaign.told_at,
        cause_id=cause.event_id,
        campaign_id=definition.campaign_id,
        name=definition.name,
        target_version=definition.target_version,
        total=len(stations),
        pending=pending,
        installed=installed,
        failed=failed,
        finished=pending == 0,
    )
    return Emit(FIRMWARE_CAMPAIGNS, definition.campaign_id, progressed)
