"""Wiring of telemetry: measurements on the transactional runtime, health on Faust."""

import asyncio

from libs.bus.bus import connect
from libs.bus.runtime_faust import FaustRuntime
from libs.bus.runtime_transactional import TransactionalRuntime
from libs.runtime.service import Health, until_stopped
from services.telemetry.domain.health import HealthProcessor
from services.telemetry.domain.measurements import MeasurementsProcessor
from services.telemetry.settings import Part, TelemetrySettings


async def run(settings: TelemetrySettings, health: Health, stop: asyncio.Event) -> None:
    """Run the processors that the settings name until `stop`. The failure of one ends both."""
    async with connect(settings) as bus, asyncio.TaskGroup() as tasks:
        if settings.telemetry is not Part.HEALTH:
            measurements = TransactionalRuntime(bus, MeasurementsProcessor())
            health.ready("measurements", lambda: measurements.ready)
            tasks.create_task(until_stopped(measurements.run(stop), stop), name="measurements")
        if settings.telemetry is not Part.MEASUREMENTS:
            stations = FaustRuntime(bus, HealthProcessor())
            health.ready("health", lambda: stations.ready)
            tasks.create_task(until_stopped(stations.run(stop), stop), name="health")
