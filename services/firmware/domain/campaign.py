"""A campaign: its stations, and which of them have been proved or have failed.

All stations are asked in one wave. A station's first final word counts.
"""

from __future__ import annotations

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
    inputs = ("firmware.campaigns", "firmware.progress")
    outputs = ("firmware.tasks", "firmware.campaigns")
    state = Campaign
    unmarked_state = "727ee519ccc2afd9"

    def key(self, message: Message) -> str | None:
        """The campaign; what this processor itself writes to its input is passed over."""
        return message.key if isinstance(message.record, DefineCampaign | StationUpdateProgressed) else None

    def step(self, state: Campaign | None, event: Message | Tick, tables: Tables) -> Step[Campaign]:
        """Hand out the tasks once; count final words."""
        campaign = state or Campaign()
        match event:
            case Message(record=DefineCampaign() as definition):
                if campaign.definition is not None:
                    return Step(state)
                told_at = max(campaign.told_at, definition.recorded_at)
                campaign = replace(campaign, definition=definition, told_at=told_at)
                return Step(campaign, (*_tasks(definition), _progress(campaign, definition, definition)))
            case Message(record=StationUpdateProgressed() as progress):
                after = _count(campaign, progress)
                if after is campaign:
                    return Step(state)
                if (known := after.definition) is None or progress.station_id not in known.stations:
                    return Step(after)
                return Step(after, (_progress(after, known, progress),))
            case _:
                return Step(state)


def _count(campaign: Campaign, progress: StationUpdateProgressed) -> Campaign:
    station, told_at = progress.station_id, max(campaign.told_at, progress.recorded_at)
    if station in campaign.installed or station in campaign.failed:
        return campaign
    match progress.status:
        case StationUpdateStatus.INSTALLED:
            return replace(campaign, installed=campaign.installed | {station}, told_at=told_at)
        case StationUpdateStatus.FAILED:
            return replace(campaign, failed=campaign.failed | {station}, told_at=told_at)
        case _:
            return campaign


def _tasks(definition: DefineCampaign) -> list[Emit]:
    return [
        Emit(
            "firmware.tasks",
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
    return Emit("firmware.campaigns", definition.campaign_id, progressed)
