"""What goes on at an EVSE, and what is remembered of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from services.simulator.domain.power import Car, Meter
from services.simulator.domain.scenario import Station


@dataclass(frozen=True, slots=True)
class SessionTruth:
    """What was really delivered in one session, by the charger's own meter.

    Times are the charger's stamps in microseconds since the epoch; `transaction_id` as finally known (1.6: the
    central system's, as text; "-1" if it never told); `connector_id` as numbered on the wire. `shown_cost` is what the
    driver was shown last while it charged, `total_cost` in the end, in units of the currency (2.x; None: nothing).
    """

    station_id: str
    evse_id: int
    transaction_id: str
    id_token: str
    started_at: int
    ended_at: int
    meter_start_wh: int
    meter_stop_wh: int
    energy_wh: int
    version: str
    connector_id: int
    reason: str
    shown_cost: float | None = None
    total_cost: float | None = None


@dataclass(slots=True, eq=False)
class Session:
    """A running or ended transaction. `number` identifies it within its charger."""

    number: int
    evse: Evse
    id_token: str
    car: Car
    connector_id: int
    started_us: int
    meter_start_wh: int
    transaction_id: str | None = None
    remote_start_id: int | None = None
    reservation_id: int | None = None
    seq_no: int = 0
    stopping: str | None = None
    ended_us: int | None = None
    meter_stop_wh: int = 0
    reason: str = ""
    state: str = ""
    shown_cost: float | None = None
    total_cost: float | None = None
    costs_shown: int = 0

    def truth(self, station: Station) -> SessionTruth:
        """What was delivered; the session must have ended."""
        assert self.ended_us is not None
        return SessionTruth(
            station_id=station.id,
            evse_id=self.evse.id,
            transaction_id=self.transaction_id or "-1",
            id_token=self.id_token,
            started_at=self.started_us,
            ended_at=self.ended_us,
            meter_start_wh=self.meter_start_wh,
            meter_stop_wh=self.meter_stop_wh,
            energy_wh=self.meter_stop_wh - self.meter_start_wh,
            version=station.make.version,
            connector_id=self.connector_id,
            reason=self.reason,
            shown_cost=self.shown_cost,
            total_cost=self.total_cost,
        )


@dataclass(slots=True)
class Reservation:
    """An EVSE kept for one id token until an instant of the charger's clock."""

    id: int
    id_token: str
    until_us: int


@dataclass(slots=True, eq=False)
class Evse:
    """One EVSE: its wire connector numbers, its meter, and what goes on there."""

    id: int
    connectors: tuple[int, ...]
    meter: Meter
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    session: Session | None = None
    power_w: int = 0
    settled_us: int = 0
    operative: bool = True
    operative_next: bool = True
    reservation: Reservation | None = None
