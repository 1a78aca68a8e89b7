"""What an operator can order of a charger of any version."""

from __future__ import annotations

import asyncio
import re
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from libs.runtime.clock import SECOND
from services.simulator.charger import Charger
from services.simulator.domain.profiles import Period, Purpose, Unit, composite, parse_profile
from services.simulator.domain.scenario import Station
from services.simulator.link import Commands, Message, World
from services.simulator.session import Evse, Reservation

# Simulated seconds that a firmware download and installation, and a boot, take.
DOWNLOAD_S, INSTALL_S, BOOT_S = 60.0, 60.0, 15.0


class Operated(Charger):
    """A charger that carries out orders; the versions' handlers translate to and from the wire."""

    def __init__(self, station: Station, world: World, commands: Commands) -> None:
        super().__init__(station, world, commands)
        self.firmware_status = "Idle"
        self.firmware_request: int | None = None
        self._updating: asyncio.Task[Any] | None = None

    @abstractmethod
    def firmware_message(self, status: str, request_id: int | None) -> Message:
        """A FirmwareStatusNotification."""

    def accept_start_profile(self, evse: Evse, charging_profile: dict[str, Any]) -> bool:
        """Install the profile that came with a remote start; False when it is not one for a transaction."""
        try:
            profile = parse_profile(charging_profile, self.clock.now_us())
        except (ValueError, KeyError):
            return False
        if profile.purpose != "Tx":
            return False
        self.profiles = self.profiles.install(evse.id, profile)
        return True

    def clear_profiles(
        self, profile_id: int | None, evse_id: int | None, purpose: Purpose | None, stack_level: int | None
    ) -> bool:
        """Clear what matches; whether anything did."""
        profiles, cleared = self.profiles.clear(profile_id, evse_id, purpose, stack_level)
        self.set_profiles(profiles)
        return cleared > 0

    def set_availability(self, evses: Sequence[Evse], operative: bool) -> bool:
        """Change availability; False when a running session postpones it for at least one EVSE."""
        for evse in evses:
            evse.operative_next = operative
            if not evse.lock.locked():
                self._free(evse)
        return not any(evse.lock.locked() for evse in evses)

    def update_local_list(self, version: int, update: str, entries: dict[str, str | None]) -> bool:
        """Replace ("Full") or change ("Differential") the local list; False when the version does not follow.

        A token without a status is taken off.
        """
        if update == "Differential" and version <= self.list_version:
            return False
        merged = entries if update == "Full" else {**self.local_list, **entries}
        self.local_list = {token: status for token, status in merged.items() if status is not None}
        self.list_version = version
        return True

    def reserve(self, evse: Evse, reservation_id: int, id_token: str, until_us: int) -> str:
        """Keep `evse` for a token; the status to answer with. A reservation of the same id is replaced."""
        if not evse.operative:
            return "Unavailable"
        taken = evse.reservation is not None and evse.reservation.id != reservation_id
        if evse.lock.locked() or taken:
            return "Occupied"
        evse.reservation = Reservation(reservation_id, id_token, until_us)
        self.show(evse, "Reserved")
        return "Accepted"

    def cancel_reservation(self, reservation_id: int) -> bool:
        """Drop a reservation; False when there is none of that id."""
        for evse in self.evses.values():
            if evse.reservation is not None and evse.reservation.id == reservation_id:
                evse.reservation = None
                self.show(evse, self.status(evse, evse.connectors[0]))
                return True
        return False

    def composite(
        self, evse: Evse | None, duration_s: int, unit: str | None
    ) -> tuple[Unit, list[Period], int]:
        """The composite schedule of an EVSE, or of the station: its unit, its periods, its start."""
        now_us, outlet = self.clock.now_us(), self.make.outlet
        rate_unit: Unit = "A" if unit == "A" or (unit is None and outlet.current == "AC") else "W"
        session = None if evse is None else evse.session
        periods = composite(
            self.profiles,
            0 if evse is None else evse.id,
            now_us=now_us,
            duration_s=duration_s,
            tx_start_us=None if session is None else session.started_us,
            phases=outlet.phases if session is None else outlet.phases_with(session.car),
            max_power_w=outlet.max_power_w * (len(self.evses) if evse is None else 1),
            unit=rate_unit,
        )
        return rate_unit, list(periods), now_us

    async def reset(self, reason: str, boot_reason: str) -> None:
        """End every session for `reason` (in the words of 1.6), then reboot."""
        self._ready.clear()
        try:
            for evse in self.evses.values():
                if evse.session is not None:
                    self.stop(evse.session, reason)
            await self._idle()
            await self.reboot(boot_reason, BOOT_S)
        finally:
            self._ready.set()

    async def reset_when_idle(self) -> None:
        """Reboot once no session runs; nobody new may start meanwhile."""
        self._ready.clear()
        try:
            await self._idle()
            await self.reboot("ScheduledReset", BOOT_S)
        finally:
            self._ready.set()

    async def _idle(self) -> None:
        """Wait until no session runs."""
        while any(evse.session is not None for evse in self.evses.values()):  # noqa: ASYNC110 rare and short
            await asyncio.sleep(0.02)

    def update_firmware(self, location: str, retrieve_us: int, request_id: int | None) -> None:
        """Start a firmware update from `location`; a newer order takes the place of one that still runs."""
        if self._updating is not None:
            self._updating.cancel()
        self._updating = self.spawn(self._update(location, retrieve_us, request_id))

    async def _update(self, location: str, retrieve_us: int, request_id: int | None) -> None:
        async def report(status: str) -> None:
            self.firmware_status, self.firmware_request = status, request_id
            await self.tell(self.firmware_message(status, request_id))

        await self.clock.sleep_own(max(0, retrieve_us - self.clock.now_us()) / SECOND)
        version = firmware_version(location)
        fault = self.world.spec.firmware_faults.get(self.station.id)
        await report("Downloading")
        await self.clock.sleep(DOWNLOAD_S)
        if fault == "download" or version is None:
            await report("DownloadFailed")
            return
        await report("Downloaded")
        self._ready.clear()
        try:
            # Nobody's charge is cut short for an installation, and its end is told before.
            while not self.settled:  # noqa: ASYNC110 rare and short
                await asyncio.sleep(0.02)
            await report("Installing")
            await self.clock.sleep(INSTALL_S)
            if fault == "install":
                await report("InstallationFailed")
                return
            await report("Installed")
            if fault != "rollback":
                self.firmware = version
            await self.reboot("FirmwareUpdate", BOOT_S)
        finally:
            self._ready.set()


def firmware_version(location: str) -> str | None:
    """The version in the file name of `location`: "1.2.3" for ".../fw-1.2.3.bin"; None if it has none."""
    match = re.search(r"(\d+(?:\.\d+)+)", location.rsplit("/", 1)[-1])
    return None if match is None else match.group(1)
