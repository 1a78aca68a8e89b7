"""Wiring of provisioning: each of its processors on a transactional runtime."""

import asyncio

from libs.bus.bus import connect
from libs.bus.runtime_transactional import TransactionalRuntime
from libs.runtime.service import Health, until_stopped
from services.provisioning.certificates import answer_about_certificates
from services.provisioning.domain.capabilities.processor import CapabilitiesProcessor
from services.provisioning.domain.onboarding.processor import OnboardingProcessor
from services.provisioning.settings import ProvisioningSettings


async def run(settings: ProvisioningSettings, health: Health, stop: asyncio.Event) -> None:
    """Learn what stations can do, and ask them what is configured, until `stop`. The failure of one ends all."""
    async with connect(settings) as bus, asyncio.TaskGroup() as tasks:
        capabilities = TransactionalRuntime(bus, CapabilitiesProcessor())
        health.ready("capabilities", lambda: capabilities.ready)
        tasks.create_task(until_stopped(capabilities.run(stop), stop), name="capabilities")
        onboarding = TransactionalRuntime(bus, OnboardingProcessor(settings.on_boot))
        health.ready("onboarding", lambda: onboarding.ready)
        tasks.create_task(until_stopped(onboarding.run(stop), stop), name="onboarding")
        if settings.certificate_checks:
            answering = answer_about_certificates(bus, settings, health, stop)
            tasks.create_task(until_stopped(answering, stop), name="certificates")
