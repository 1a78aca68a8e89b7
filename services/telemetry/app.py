"""Wiring of telemetry: measurements and security on the transactional runtime, health on Faust."""

import asyncio

from libs.bus.bus import connect
from libs.bus.runtime_faust import FaustRuntime
from libs.bus.runtime_transactional import TransactionalRuntime
from libs.runtime.service import Health, until_stopped
from services.telemetry.domain.health.processor import HealthProcessor
from services.telemetry.domain.measurements.processor import MeasurementsProcessor
from services.telemetry.domain.security.processor import SecurityWatch
from services.telemetry.settings import Part, TelemetrySettings


async def run(settings: TelemetrySettings, health: Health, stop: asyncio.Event) -> None:
    """Run the processors that the settings name until `stop`. The failure of one ends all."""
    async with connect(settings) as bus, asyncio.TaskGroup() as tasks:
        if settings.telemetry in (Part.SECURITY, Part.ALL):
            security = TransactionalRuntime(bus, SecurityWatch())
            health.ready("security", lambda: security.ready)
            tasks.create_task(until_stopped(security.run(stop), stop), name="security")
        if settings.telemetry in (Part.MEASUREMENTS, Part.ALL):
            measurements = TransactionalRuntime(bus, MeasurementsProcessor())
            health.ready("measurements", lambda: measurements.ready)
            tasks.create_task(until_stopped(measurements.run(stop), stop), name="measurements")
        if settings.telemetry in (Part.HEALTH, Part.ALL):
            stations = FaustRuntime(bus, HealthProcessor())
            health.ready("health", lambda: stations.ready)
            tasks.create_task(until_stopped(stations.run(stop), stop), name="health")
