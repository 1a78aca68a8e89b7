"""Wiring of firmware campaigns: campaigns and stations, each on its own transactional runtime."""

import asyncio

from libs.bus.bus import connect
from libs.bus.runtime_transactional import TransactionalRuntime
from libs.runtime.service import Health, until_stopped
from services.firmware.domain.campaigns.processor import CampaignProcessor
from services.firmware.domain.stations.processor import StationFirmwareProcessor
from services.firmware.settings import FirmwareSettings


async def run(settings: FirmwareSettings, health: Health, stop: asyncio.Event) -> None:
    """Run campaigns until `stop`; then finish the transactions under way.

    The failure of one processor ends both.
    """
    async with connect(settings) as bus, asyncio.TaskGroup() as tasks:
        campaigns = TransactionalRuntime(bus, CampaignProcessor())
        stations = TransactionalRuntime(bus, StationFirmwareProcessor())
        health.ready("campaigns", lambda: campaigns.ready)
        health.ready("stations", lambda: stations.ready)
        tasks.create_task(until_stopped(campaigns.run(stop), stop), name="firmware")
        tasks.create_task(until_stopped(stations.run(stop), stop), name="firmware-stations")
