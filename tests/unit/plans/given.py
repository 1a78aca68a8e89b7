"""Given a tariff with a plan, and tokens of its group; sessions and ledger in memory, and who hands records over."""

from __future__ import annotations

from typing import Any

import msgspec

from libs.bus.message import Emit
from libs.bus.runtime_memory import MemoryRuntime
from libs.events.decisions import Decision, SessionDecided
from libs.events.ocpp_log import OcppCallReceived
from libs.events.plans import PlanMonthCharged, PrepaidAsked, PrepaidGranted
from libs.events.record import Record
from libs.events.registry import (
    Assignment,
    SiteRegistered,
    StationRegistered,
    TariffRegistered,
    TariffVersion,
    TokenRegistered,
    TokenStatus,
)
from libs.events.sessions import CdrCredited, CdrIssued
from libs.events.tariffs import (
    Dimension,
    DriverPlan,
    PriceComponent,
    TariffElement,
    TariffTerms,
    Tax,
)
from libs.events.topics import BILLING_DECISIONS, BILLING_PREPAID, BILLING_PREPAID_ASKED, OCPP_TRANSACTIONS
from services.plans.domain.processor import PlansProcessor
from services.sessions.domain.processor import SessionsProcessor
from tests.unit.sessions.exchanges import NOON, STATION
from tests.unit.sessions.given import KW22

BASE: dict[str, Any] = {"event_id": "e", "occurred_at": NOON, "recorded_at": NOON, "cause_id": "e"}
FLEET = DriverPlan(group_id="fleet", prepaid_wh=20_000, monthly_fee_minor=4_900)


def version(*plans: DriverPlan, number: int = 1, valid_from: int = 0) -> TariffVersion:
    """A kWh at 50 cents, and these plans."""
    energy = PriceComponent(type=Dimension.ENERGY, price_milli=50_000)
    terms = TariffTerms(
        elements=(TariffElement(price_components=(energy,)),),
        plans=plans,
        taxes=(Tax(name="VAT", rate_milli=19_000),),
    )
    return TariffVersion(
        version=number, valid_from=valid_from, currency="EUR", price_per_kwh_milli=0, terms=terms
    )


def token(id_token: str, group_id: str | None, status: TokenStatus = TokenStatus.ACCEPTED) -> Record:
    return TokenRegistered(**BASE, id_token=id_token, group_id=group_id, status=status)


def tables(
    *versions: TariffVersion, stations: tuple[str, ...] = (STATION,), timezone: str = "Europe/Berlin"
) -> dict[str, dict[str, Record]]:
    at = (Assignment(id="depot", valid_from=0),)
    site = SiteRegistered(
        **BASE, site_id="depot", timezone=timezone, tariffs=(Assignment(id="fleets", valid_from=0),)
    )
    return {
        "registry.stations": {
            name: StationRegistered(**BASE, station_id=name, sites=at, power_ratings=KW22)
            for name in stations
        },
        "registry.sites": {"depot": site},
        "registry.tariffs": {
            "fleets": TariffRegistered(**BASE, tariff_id="fleets", versions=versions or (version(FLEET),))
        },
        "registry.tokens": {
            "tag-a": token("tag-a", "fleet"),
            "tag-b": token("tag-b", "fleet", TokenStatus.BLOCKED),
            "tag-c": token("tag-c", None),
        },
    }


class World:
    """Both processors. What sessions ask waits until `answer`; what the ledger grants is handed over at once."""

    def __init__(self, registry: dict[str, dict[str, Record]] | None = None) -> None:
        self.sessions = MemoryRuntime(SessionsProcessor(), registry or tables())
        self.plans = MemoryRuntime(PlansProcessor(), registry or tables())
        self._answered = 0

    def tell(self, *exchanges: OcppCallReceived) -> list[Record]:
        return self._told(
            [
                emit
                for each in exchanges
                for emit in self.sessions.feed(OCPP_TRANSACTIONS, each.station_id, each)
            ]
        )

    def asked(self) -> list[PrepaidAsked]:
        return [r for r in self._records(self.sessions) if isinstance(r, PrepaidAsked)]

    def granted(self) -> list[PrepaidGranted]:
        return [r for r in self._records(self.plans) if isinstance(r, PrepaidGranted)]

    def months(self) -> list[PlanMonthCharged]:
        return [r for r in self._records(self.plans) if isinstance(r, PlanMonthCharged)]

    def answer(self) -> list[Record]:
        """Hand over questions that were not, and their answers; what the sessions made of them."""
        out: list[Emit] = []
        while self._answered < len(self.asked()):
            ask = self.asked()[self._answered]
            self._answered += 1
            for emit in self.plans.feed(BILLING_PREPAID_ASKED, ask.group_id, ask):
                assert isinstance(emit.record, PrepaidGranted)
                out += self.sessions.feed(BILLING_PREPAID, emit.key, emit.record)
        assert not self.plans.dead, self.plans.dead
        return self._told(out)

    def decide(self, cdr: CdrIssued, decision: Decision) -> list[Record]:
        """An operator decides about a session by its charge record."""
        event_id = f"decision-{cdr.version}"
        at = cdr.recorded_at + 3_600_000_000
        record = SessionDecided(
            event_id=event_id,
            occurred_at=at,
            recorded_at=at,
            cause_id=event_id,
            station_id=cdr.station_id,
            session_id=cdr.session_id,
            decision=decision,
            version=cdr.version,
            reason="looked at",
            decided_by="olga",
        )
        return self._told(self.sessions.feed(BILLING_DECISIONS, cdr.station_id, record))

    def tick(self, at: int) -> list[Record]:
        return self._told(self.sessions.tick(at))

    @property
    def documents(self) -> list[CdrIssued | CdrCredited]:
        return [r for r in self._records(self.sessions) if isinstance(r, CdrIssued | CdrCredited)]

    @property
    def cdrs(self) -> list[CdrIssued]:
        return [each for each in self.documents if isinstance(each, CdrIssued)]

    def _told(self, out: list[Emit]) -> list[Record]:
        assert not self.sessions.dead, self.sessions.dead
        return [emit.record for emit in out if emit.record is not None]

    def _records(self, runtime: MemoryRuntime[Any]) -> list[Record]:
        return [emit.record for emit in runtime.emitted if emit.record is not None]


def at_station(call: OcppCallReceived, station_id: str) -> OcppCallReceived:
    event_id = f"{call.event_id}@{station_id}"
    return msgspec.structs.replace(call, station_id=station_id, event_id=event_id, cause_id=event_id)
