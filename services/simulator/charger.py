"""A virtual charger of any version: cars come, charge within the limits, and go; the meter is the truth."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from libs.runtime.clock import SECOND
from services.simulator.domain.power import WUS_PER_WH, Car, Meter, share_out
from services.simulator.domain.profiles import ProfileStore
from services.simulator.domain.scenario import Arrival, Station
from services.simulator.link import Commands, Link, Message, World
from services.simulator.rpc import CallRefused, ConnectionLost
from services.simulator.session import Evse, Session

# Power is worked out again at least this often: simulated seconds, and real ones for accelerated runs.
STEP_S, STEP_REAL_S = 30.0, 0.2
# How long a driver waits for a charger that is offline before leaving: simulated seconds, and at least so many
# real ones, as a restarting central system is not accelerated.
PATIENCE_S, PATIENCE_REAL_S = 900.0, 10.0
# A car for a remote start that nobody had planned.
REMOTE_ENERGY_WH, REMOTE_POWER_W = (3_000, 20_000), (7_360, 11_040, 22_080)


class Charger(Link):
    """The part of a virtual charger that does not depend on the OCPP version."""

    def __init__(self, station: Station, world: World, commands: Commands) -> None:
        super().__init__(station, world, commands)
        make = self.make
        through = make.version == "1.6"
        self.evses = {
            number: Evse(
                number,
                tuple(
                    range(
                        1 + (start := (number - 1) * make.connectors * through), start + make.connectors + 1
                    )
                ),
                Meter.at(self.random.randint(100_000, 9_000_000)),
            )
            for number in range(1, make.evses + 1)
        }
        self.profiles = ProfileStore()
        self.sample_interval_s = world.spec.sample_interval_s
        self.authorize_remote = False
        self.list_version = 0
        self.local_list: dict[str, str] = {}
        self.cache: dict[str, str] = {}
        self.sessions: list[Session] = []
        self.closing = False
        self._ready = asyncio.Event()
        self._ready.set()
        self._drivers: list[asyncio.Task[Any]] = []
        # States by (EVSE, wire connector) as last told to the central system, and what is still to tell.
        self._told: dict[tuple[int, int], str] = {}
        self._used_connector: dict[int, int] = {}

    # What the versions say, each in its own words.

    @abstractmethod
    def authorize_message(self, id_token: str) -> Message:
        """The Authorize call for a token."""

    @abstractmethod
    def authorize_status(self, answer: dict[str, Any]) -> str:
        """The status in the answer to Authorize."""

    @abstractmethod
    def status_message(self, evse_id: int, connector_id: int, status: str) -> Message:
        """A StatusNotification; `status` in the words of 1.6, EVSE 0 for the station itself."""

    @abstractmethod
    def queue_started(self, session: Session) -> None:
        """Queue what reports that `session` started."""

    @abstractmethod
    def queue_sample(self, session: Session, trigger: str) -> None:
        """Queue a reading of the meter; `trigger` in the words of 2.0.1."""

    @abstractmethod
    def queue_state(self, session: Session) -> None:
        """Queue what reports that power was suspended or flows again."""

    @abstractmethod
    def queue_ended(self, session: Session) -> None:
        """Queue what reports that `session` ended."""

    # Cars.

    def start(self, arrivals: Sequence[Arrival], connect_after_s: float) -> None:
        """Begin to connect (after real seconds) and let the planned cars come, one after another at each EVSE."""
        self.spawn(self._run(connect_after_s))
        for evse in self.evses.values():
            coming = [arrival for arrival in arrivals if arrival.evse_id == evse.id]
            if coming:
                self._drivers.append(self.spawn(self._drive(evse, coming)))

    async def _run(self, connect_after_s: float) -> None:
        await asyncio.sleep(connect_after_s)
        await self.run_connection()

    async def _drive(self, evse: Evse, arrivals: Sequence[Arrival]) -> None:
        for arrival in arrivals:
            await self.clock.sleep_until(arrival.at_s)
            await self._visit(evse, arrival)

    async def _visit(self, evse: Evse, arrival: Arrival) -> None:
        """One planned car: plug in, present the token, charge, leave."""
        async with evse.lock:
            await self._ready.wait()
            if self.closing or not evse.operative or self.reserved_for_other(evse, arrival.id_token):
                return
            self._use_connector(evse)
            self.show(evse, "Preparing")
            if await self._authorize(arrival.id_token) and not self.closing:
                car = Car(arrival.energy_wh, arrival.max_power_w, arrival.phases)
                await self._charge(self.begin(evse, arrival.id_token, car), arrival.stay_s)
            self._free(evse)

    def _use_connector(self, evse: Evse, connector_id: int | None = None) -> None:
        self._used_connector[evse.id] = connector_id or self.random.choice(evse.connectors)

    async def _authorize(self, id_token: str) -> bool:
        """Whether the token may charge: asked online, decided from local knowledge when there is no answer."""
        deadline = time.monotonic() + max(PATIENCE_S / self.clock.speed, PATIENCE_REAL_S)
        while not self.closing and time.monotonic() < deadline:
            if self.online:
                try:
                    status = self.authorize_status(await self.request(self.authorize_message(id_token)))
                except CallRefused:
                    return False
                except ConnectionLost:
                    pass
                else:
                    self.cache[id_token] = status
                    return status == "Accepted"
            known = self.local_list.get(id_token) or self.cache.get(id_token)
            if known is not None or self.make.offline_starts:
                return known in ("Accepted", None)
            await self.wait_online(1.0)
        return False

    def remote_start(
        self,
        evse: Evse,
        id_token: str,
        *,
        connector_id: int | None = None,
        remote_start_id: int | None = None,
        transaction_id: str | None = None,
    ) -> None:
        """A car nobody planned comes to `evse` for a remote start that was accepted."""

        async def visit() -> None:
            async with evse.lock:
                self._use_connector(evse, connector_id)
                self.show(evse, "Preparing")
                allowed = not self.authorize_remote or await self._authorize(id_token)
                if allowed and not self.closing:
                    power = self.random.choice(REMOTE_POWER_W)
                    car = Car(self.random.randint(*REMOTE_ENERGY_WH), power, 1 if power <= 7_360 else 3)
                    session = self.begin(evse, id_token, car, remote_start_id, transaction_id)
                    await self._charge(session, 86_400)
                self.profiles = self.profiles.end_transaction(evse.id)
                self._free(evse)

        self.spawn(visit())

    def free_evse(self, evse_id: int | None, id_token: str) -> Evse | None:
        """An EVSE (the given one, or any) where `id_token` could start charging now."""
        if self.closing or not self._ready.is_set():
            return None
        for evse in self.evses.values():
            usable = evse.operative and evse.operative_next and not evse.lock.locked()
            if evse_id in (None, evse.id) and usable and not self.reserved_for_other(evse, id_token):
                return evse
        return None

    def reserved_for_other(self, evse: Evse, id_token: str) -> bool:
        """Whether `evse` is kept for another token; an expired reservation is dropped."""
        if evse.reservation is not None and evse.reservation.until_us <= self.clock.now_us():
            evse.reservation = None
            self.show(evse, "Available")
        return evse.reservation is not None and evse.reservation.id_token != id_token

    def _free(self, evse: Evse) -> None:
        if evse.operative != evse.operative_next:
            evse.operative = evse.operative_next
        self.show(evse, "Available" if evse.operative else "Unavailable")
        self._used_connector.pop(evse.id, None)

    # Sessions.

    def begin(
        self,
        evse: Evse,
        id_token: str,
        car: Car,
        remote_start_id: int | None = None,
        transaction_id: str | None = None,
    ) -> Session:
        """Start a transaction at `evse` and queue its report."""
        session = Session(
            number=len(self.sessions) + 1,
            evse=evse,
            id_token=id_token,
            car=car,
            connector_id=self._used_connector[evse.id],
            started_us=self.clock.now_us(),
            meter_start_wh=evse.meter.register_wh,
            transaction_id=transaction_id,
            remote_start_id=remote_start_id,
        )
        if evse.reservation is not None:
            session.reservation_id, evse.reservation = evse.reservation.id, None
        evse.settled_us = self.clock.elapsed_us()
        evse.session = session
        self.sessions.append(session)
        self._set_powers()
        self.queue_started(session)
        self.show(evse, session.state)
        return session

    async def _charge(self, session: Session, stay_s: float) -> None:
        """Let power flow until the car has what it wants, leaves, or is stopped; then report the end."""
        evse = session.evse
        began_us = self.clock.elapsed_us()
        leaves_us = began_us + int(stay_s * SECOND)
        sample_us = began_us + self.sample_interval_s * SECOND
        while session.stopping is None:
            now_us = self._settle(evse)
            wanted_wus = self._wanted_wus(session)
            if wanted_wus <= 0:
                session.stopping = "Local"
                break
            if now_us >= leaves_us:
                session.stopping = "EVDisconnected"
                break
            if now_us >= sample_us:
                self.queue_sample(session, "MeterValuePeriodic")
                # An overloaded machine skips readings rather than catching up with a burst of equal ones.
                interval_us = max(1, self.sample_interval_s) * SECOND
                sample_us += ((now_us - sample_us) // interval_us + 1) * interval_us
            limits_end_us = self._set_powers()
            step_us = int(max(STEP_S, STEP_REAL_S * self.clock.speed) * SECOND)
            wake_us = min(now_us + step_us, sample_us, leaves_us)
            if limits_end_us is not None:
                left_s = self.clock.simulated_s(limits_end_us - self.clock.now_us())
                wake_us = min(wake_us, now_us + int(max(0.0, left_s) * SECOND))
            if evse.power_w:
                wake_us = min(wake_us, now_us + wanted_wus // evse.power_w + 1)
            evse.wake.clear()
            try:
                async with asyncio.timeout(max(0.001, (wake_us - now_us) / SECOND / self.clock.speed)):
                    await evse.wake.wait()
            except TimeoutError:
                continue
        self._end(session)

    def _end(self, session: Session) -> None:
        evse = session.evse
        self._settle(evse)
        session.ended_us = max(self.clock.now_us(), session.started_us)
        session.meter_stop_wh = evse.meter.register_wh
        session.reason = session.stopping or "Local"
        evse.session, evse.power_w = None, 0
        self.profiles = self.profiles.end_transaction(evse.id)
        self._set_powers()
        self.queue_ended(session)
        self.show(evse, "Finishing")

    def stop(self, session: Session, reason: str) -> None:
        """Ask a session to end for `reason` (in the words of 1.6)."""
        session.stopping = session.stopping or reason
        session.evse.wake.set()

    def find_session(self, transaction_id: str) -> Session | None:
        """The running session with that transaction id."""
        for evse in self.evses.values():
            if evse.session is not None and evse.session.transaction_id == transaction_id:
                return evse.session
        return None

    def delivered_wh(self, session: Session) -> float:
        """Energy that `session` has received so far."""
        return session.evse.meter.wus / WUS_PER_WH - session.meter_start_wh

    def _wanted_wus(self, session: Session) -> int:
        return (session.meter_start_wh + session.car.wants_wh) * WUS_PER_WH - session.evse.meter.wus

    def _settle(self, evse: Evse) -> int:
        """Bring the meter up to now at the power that flowed since it was last settled."""
        now_us = self.clock.elapsed_us()
        elapsed_us, evse.settled_us = max(0, now_us - evse.settled_us), now_us
        if evse.session is not None and evse.power_w:
            # However late this runs, a car stops at what it wants.
            most_us = max(0, self._wanted_wus(evse.session)) // evse.power_w + 1
            evse.meter = evse.meter.advance(evse.power_w, min(elapsed_us, most_us))
        return now_us

    def _set_powers(self) -> int | None:
        """Work out every EVSE's power; return when (charger's clock) a limit changes by itself, if known."""
        now_us, outlet = self.clock.now_us(), self.make.outlet
        active = [evse for evse in self.evses.values() if evse.session is not None]
        changes: list[int] = []
        wanted: list[int] = []
        for evse in active:
            self._settle(evse)
            session = evse.session
            assert session is not None
            limit_w, until_us = self.profiles.charge_limit(
                evse.id, now_us, session.started_us, outlet.phases_with(session.car)
            )
            changes += [] if until_us is None else [until_us]
            wanted.append(outlet.power_w(session.car, self.delivered_wh(session), limit_w))
        whole = self.profiles.limit("StationMax", 0, now_us, None)
        changes += [] if whole.until_us is None else [whole.until_us]
        total_w = whole.watts(outlet.phases)
        shares = wanted if total_w is None else share_out(total_w, wanted)
        for evse, share in zip(active, shares, strict=True):
            session = evse.session
            assert session is not None
            power_w = outlet.power_w(session.car, self.delivered_wh(session), share)
            if power_w != evse.power_w:
                evse.power_w = power_w
                evse.wake.set()
            self._set_state(session)
        return min(changes, default=None)

    def _set_state(self, session: Session) -> None:
        """Charging, suspended by the charger, or suspended by the car: told when it changes."""
        flows = session.evse.power_w > 0
        full = self._wanted_wus(session) <= 0
        state = "Charging" if flows else "SuspendedEV" if full else "SuspendedEVSE"
        if state != session.state:
            began, session.state = bool(session.state), state
            if began and not full:
                self.show(session.evse, state)
                self.queue_state(session)

    def set_profiles(self, profiles: ProfileStore) -> None:
        """Apply a changed set of charging profiles at once."""
        self.profiles = profiles
        self._set_powers()

    # States.

    def show(self, evse: Evse, status: str) -> None:
        """Tell the central system (when it can be reached) that `evse` is in `status`."""
        for connector_id in evse.connectors:
            used = self._used_connector.get(evse.id, connector_id) == connector_id
            # Another connector of an EVSE in use cannot be used.
            self._tell_status(evse.id, connector_id, status if used else "Unavailable")

    def _tell_status(self, evse_id: int, connector_id: int, status: str) -> None:
        key = (evse_id, connector_id)
        if self._told.get(key) == status:
            return
        if not self.online:
            self._told.pop(key, None)
            return
        self._told[key] = status
        self.spawn(self._send_status(evse_id, connector_id, status))

    async def _send_status(self, evse_id: int, connector_id: int, status: str) -> None:
        try:
            await self.request(self.status_message(evse_id, connector_id, status))
        except ConnectionLost:
            # The state that holds when the connection is back is told then.
            self._told.pop((evse_id, connector_id), None)

    def status(self, evse: Evse, connector_id: int) -> str:
        """The state of one connector, in the words of 1.6."""
        used = self._used_connector.get(evse.id)
        if not evse.operative or used not in (None, connector_id):
            return "Unavailable"
        if evse.session is not None:
            return evse.session.state
        if evse.lock.locked():
            return "Preparing"
        return "Available" if evse.reservation is None else "Reserved"

    async def send_statuses(self, evse_id: int | None = None) -> None:
        """Tell every state (or those of one EVSE), whether it changed or not."""
        if evse_id in (None, 0) and self.make.version == "1.6":
            await self.request(self.status_message(0, 0, "Available"))
        for evse in self.evses.values():
            if evse_id in (None, 0, evse.id):
                for connector_id in evse.connectors:
                    status = self.status(evse, connector_id)
                    self._told[evse.id, connector_id] = status
                    await self._send_status(evse.id, connector_id, status)

    async def greet(self) -> None:
        """After a boot every state is told; after a mere loss of connection those that changed meanwhile."""
        if self.fresh or self.make.boots_on_connect:
            self.fresh = False
            await self.send_statuses()
            return
        for evse in self.evses.values():
            for connector_id in evse.connectors:
                self._tell_status(evse.id, connector_id, self.status(evse, connector_id))

    # The end of a run.

    def close_shop(self) -> None:
        """Stop every session and let no car come any more."""
        self.closing = True
        for evse in self.evses.values():
            if evse.session is not None:
                self.stop(evse.session, "Local")

    @property
    def settled(self) -> bool:
        """No session runs and everything that was queued is answered."""
        return not self.outbox and all(evse.session is None for evse in self.evses.values())
