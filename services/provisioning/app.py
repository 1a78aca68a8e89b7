"""Wiring of provisioning: the capabilities processor on its transactional runtime."""

import asyncio

from libs.bus.bus import connect
from libs.bus.runtime_transactional import TransactionalRuntime
from libs.runtime.service import Health
from services.provisioning.domain.capabilities import CapabilitiesProcessor
from services.provisioning.settings import ProvisioningSettings


async def run(settings: ProvisioningSettings, health: Health, stop: asyncio.Event) -> None:
    """Learn what stations can do until `stop`; then finish the transactions under way."""
    async with connect(settings) as bus:
        capabilities = TransactionalRuntime(bus, CapabilitiesProcessor())
        health.ready("capabilities", lambda: capabilities.ready)
        await capabilities.run(stop)
