"""Given a registry; a station whose exchanges are told to the processor; what it announced."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from libs.bus.runtime_memory import MemoryRuntime
from libs.events.ocpp_log import OcppCallReceived
from libs.events.record import Record
from libs.events.registry import (
    Assignment,
    PowerRating,
    SiteRegistered,
    StationRegistered,
    TariffRegistered,
    TariffVersion,
)
from libs.events.sessions import (
    CdrCredited,
    CdrIssued,
    SessionCorrected,
    SessionEnded,
    SessionStarted,
    SessionUpdated,
)
from libs.events.topics import OCPP_LIFECYCLE, OCPP_TRANSACTIONS
from services.sessions.domain.processor import SessionsProcessor
from services.sessions.domain.station import StationSessions
from tests.unit.sessions.exchanges import NOON, STATION

SIGNS = ("StatusNotification", "BootNotification")
KW22 = (PowerRating(power_w=22_080, valid_from=0),)


def registry(
    *,
    sites: tuple[Assignment, ...] = (Assignment(id="site-1", valid_from=0),),
    tariffs: tuple[Assignment, ...] = (Assignment(id="flat", valid_from=0),),
    versions: tuple[TariffVersion, ...] = (
        TariffVersion(version=1, valid_from=0, currency="EUR", price_per_kwh_milli=45_500),
    ),
    timezone: str | None = None,
) -> dict[str, dict[str, Record]]:
    base: dict[str, Any] = {"event_id": "e", "occurred_at": NOON, "recorded_at": NOON, "cause_id": "e"}
    station = StationRegistered(
        **base, station_id=STATION, sites=sites, timezone=timezone, power_ratings=KW22
    )
    return {
        "registry.stations": {STATION: station},
        "registry.sites": {"site-1": SiteRegistered(**base, site_id="site-1", tariffs=tariffs)},
        "registry.tariffs": {"flat": TariffRegistered(**base, tariff_id="flat", versions=versions)},
    }


class Told:
    """The processor after it was told some exchanges."""

    def __init__(
        self, exchanges: Iterable[OcppCallReceived] = (), tables: dict[str, dict[str, Record]] | None = None
    ) -> None:
        self.runtime = MemoryRuntime(SessionsProcessor(), registry() if tables is None else tables)
        self.tell(*exchanges)

    def tell(self, *exchanges: OcppCallReceived) -> list[Record]:
        before = len(self.runtime.emitted)
        for each in exchanges:
            self.runtime.feed(
                OCPP_LIFECYCLE if each.action in SIGNS else OCPP_TRANSACTIONS, each.station_id, each
            )
        assert not self.runtime.dead, self.runtime.dead
        return self.records()[before:]

    def tick(self, at: int) -> list[Record]:
        return [e.record for e in self.runtime.tick(at) if e.record is not None]

    def records(self) -> list[Record]:
        return [emit.record for emit in self.runtime.emitted if emit.record is not None]

    @property
    def state(self) -> StationSessions | None:
        return self.runtime.state_of(STATION)

    @property
    def starts(self) -> list[SessionStarted]:
        return [r for r in self.records() if isinstance(r, SessionStarted)]

    @property
    def updates(self) -> list[SessionUpdated]:
        return [r for r in self.records() if isinstance(r, SessionUpdated)]

    @property
    def ends(self) -> list[SessionEnded | SessionCorrected]:
        """Ends and corrections in the order of their announcement."""
        return [r for r in self.records() if isinstance(r, SessionEnded | SessionCorrected)]

    @property
    def cdrs(self) -> list[CdrIssued]:
        return [r for r in self.records() if isinstance(r, CdrIssued)]

    @property
    def documents(self) -> list[CdrIssued | CdrCredited]:
        """Charge records and credit notes in the order of their issue."""
        return [r for r in self.records() if isinstance(r, CdrIssued | CdrCredited)]


def kinds(records: Iterable[Record]) -> list[str]:
    return [type(record).__name__ for record in records]
