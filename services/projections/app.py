"""Wiring of the projections: both on the transactional runtime."""

import asyncio

from libs.bus.bus import connect
from libs.bus.runtime_transactional import TransactionalRuntime
from libs.runtime.service import Health, until_stopped
from services.projections.domain.sessions.processor import SessionsLatest
from services.projections.domain.stations.processor import StationsLatest
from services.projections.settings import ProjectionsSettings


async def run(settings: ProjectionsSettings, health: Health, stop: asyncio.Event) -> None:
    """Tell what is latest until `stop`; then finish the transactions under way. The failure of one ends both."""
    async with connect(settings) as bus, asyncio.TaskGroup() as tasks:
        sessions = TransactionalRuntime(bus, SessionsLatest())
        stations = TransactionalRuntime(bus, StationsLatest())
        health.ready("sessions", lambda: sessions.ready)
        health.ready("stations", lambda: stations.ready)
        tasks.create_task(until_stopped(sessions.run(stop), stop), name="sessions-latest")
        tasks.create_task(until_stopped(stations.run(stop), stop), name="stations-latest")
