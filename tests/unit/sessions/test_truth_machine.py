"""Chargers, channel, operators and clock act in any order: documents always add up, and in the end are the truth."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from libs.bus.runtime_memory import MemoryRuntime
from libs.events.decisions import Decision, SessionDecided, SessionDecisionConcluded
from libs.events.ids import derive_id
from libs.events.ocpp_log import OcppCallReceived
from libs.events.registry import TariffRegistered, TariffVersion
from libs.events.tariffs import TariffTerms
from services.sessions.domain.processor import SessionsProcessor
from tests.unit.sessions.books import Books, price, valid_at
from tests.unit.sessions.channel import HOUR, MINUTE, SECOND, topic_of
from tests.unit.sessions.charger import told_by, transaction_id
from tests.unit.sessions.exchanges import DAY, NOON, STATION
from tests.unit.sessions.meter import Visit, a_visit
from tests.unit.sessions.test_truth import EXAMPLES, VERSIONS, tables_of
from tests.unit.tariffs.strategies import terms

TICK_S = 60
PATIENCE = 6 * DAY
"""How late a message may be: sessions are remembered for a week after they were closed."""
ZONES = ["UTC", "Europe/Berlin", "America/St_Johns"]


class Station(RuleBasedStateMachine):
    """One station with three EVSEs."""

    @initialize(
        version=st.sampled_from(VERSIONS), zone=st.sampled_from(ZONES), price_milli=st.integers(0, 100_000)
    )
    def begin(self, version: str, zone: str, price_milli: int) -> None:
        self.version, self.zone, self.now = version, zone, NOON
        first = TariffVersion(version=1, valid_from=0, currency="EUR", price_per_kwh_milli=price_milli)
        self.versions = [first]
        self.runtime = MemoryRuntime(SessionsProcessor(), tables_of((first,), zone))
        self.books = Books()
        self.read = 0
        self.visits: dict[int, list[Visit]] = {1: [], 2: [], 3: []}
        # Of each message the visit that it tells of: not yet said, said but not delivered, delivered.
        self.future: list[tuple[Visit, OcppCallReceived]] = []
        self.queued: list[tuple[Visit, OcppCallReceived]] = []
        self.delivered: list[tuple[Visit, OcppCallReceived]] = []
        self.decided: dict[str, tuple[int, int]] = {}
        self.messages = 0

    # --- charger and clock

    @rule(evse=st.integers(1, 3), seed=st.integers(0, 2**32))
    def plug_in(self, evse: int, seed: int) -> None:
        random, before = Random(seed), self.visits[evse]
        if before and (before[-1].end >= self.now or self.waiting(before[-1])):
            return
        register = before[-1].register + before[-1].energy_wh if before else random.randrange(10**7)
        told = self.version != "ocpp1.6"
        at = (self.now // MINUTE + 1) * MINUTE
        stretches = tuple(a_visit(random, TICK_S, told))
        visit = Visit(evse, evse * 100 + len(before), f"TAG-{evse}", at, register, stretches, told)
        before.append(visit)
        self.future += [(visit, each) for each in told_by(random, visit, self.version)]

    def waiting(self, visit: Visit) -> bool:
        return any(of is visit for of, _ in (*self.future, *self.queued))

    @rule(length=st.sampled_from([MINUTE, 20 * MINUTE, HOUR, 5 * HOUR, 30 * HOUR]))
    def wait(self, length: int) -> None:
        if any(each.occurred_at + PATIENCE < self.now + length for _, each in self.queued):
            return
        self.now += length
        self.queued += [item for item in self.future if item[1].occurred_at <= self.now]
        self.future = [item for item in self.future if item[1].occurred_at > self.now]
        self.runtime.tick(self.now)

    # --- channel

    @precondition(lambda self: self.queued)
    @rule(number=st.integers(0, 100))
    def deliver(self, number: int) -> None:
        item = self.queued.pop(number % len(self.queued))
        self.delivered.append(item)
        self.feed(item[1])

    @precondition(lambda self: self.queued)
    @rule()
    def deliver_all(self) -> None:
        while self.queued:
            self.deliver(0)

    @precondition(lambda self: self.delivered)
    @rule(number=st.integers(0, 100), same=st.booleans())
    def deliver_again(self, number: int, same: bool) -> None:
        visit, record = self.delivered[-1 - number % len(self.delivered)]
        recent = self.visits[visit.evse][-2:]
        if visit in recent and record.occurred_at + PATIENCE > self.now:
            self.feed(record, None if same else str(self.messages))

    def feed(self, record: OcppCallReceived, again: str | None = None) -> None:
        self.messages += 1
        self.now += SECOND
        event_id = record.event_id if again is None else derive_id(record.event_id, again)
        late = msgspec.structs.replace(record, recorded_at=self.now, event_id=event_id, cause_id=event_id)
        self.runtime.feed(topic_of(late), STATION, late)

    # --- operators

    @rule(new=terms(TICK_S), ahead=st.sampled_from([MINUTE, HOUR, 10 * HOUR]))
    def change_tariff(self, new: TariffTerms, ahead: int) -> None:
        latest = max(each.valid_from for each in self.versions)
        version = TariffVersion(
            version=len(self.versions) + 1,
            valid_from=max(latest, self.now + ahead),
            currency="EUR",
            price_per_kwh_milli=0,
            terms=new,
        )
        self.versions.append(version)
        known = self.runtime.tables["registry.tariffs"]["flat"]
        assert isinstance(known, TariffRegistered)
        self.runtime.tables["registry.tariffs"]["flat"] = msgspec.structs.replace(
            known, versions=tuple(self.versions)
        )

    @precondition(lambda self: self.books.cdrs)
    @rule(
        number=st.integers(0, 100),
        decision=st.sampled_from(Decision),
        share=st.integers(0, 100),
        old=st.booleans(),
    )
    def decide(self, number: int, decision: Decision, share: int, old: bool) -> None:
        about = list(self.books.cdrs.values())[number % len(self.books.cdrs)]
        event_id = derive_id(about.hash, f"decision {self.messages}")
        self.messages += 1
        billed = about.energy_wh * share // 100 if decision is Decision.ADJUST else None
        record = SessionDecided(
            event_id=event_id,
            occurred_at=self.now,
            recorded_at=self.now,
            cause_id=event_id,
            station_id=STATION,
            session_id=about.session_id,
            decision=decision,
            billed_wh=billed,
            version=about.version - 1 if old else about.version,
            reason="as it is",
            decided_by="clerk",
        )
        said = self.runtime.feed("billing.decisions", STATION, record)
        (conclusion,) = (e.record for e in said if isinstance(e.record, SessionDecisionConcluded))
        assert not (old and conclusion.applied)
        if conclusion.applied:
            of = {Decision.ACCEPT: about.energy_wh, Decision.WRITE_OFF: 0}
            self.decided[about.transaction_id] = about.energy_wh, of.get(decision, billed or 0)

    # --- what must hold

    @invariant()
    def documents_add_up(self) -> None:
        assert not self.runtime.dead, self.runtime.dead
        for emit in self.runtime.emitted[self.read :]:
            assert emit.record is not None
            self.books.read(emit.record)
        self.read = len(self.runtime.emitted)

    def teardown(self) -> None:
        if not hasattr(self, "books"):
            return
        while self.future or self.queued:
            self.queued, self.future = self.queued + self.future, []
            self.now = max([self.now, *(each.occurred_at for _, each in self.queued)])
            self.deliver_all()
        self.runtime.tick(self.now + 100 * DAY)
        self.documents_add_up()
        true = [visit for visits in self.visits.values() for visit in visits]
        for visit in true:
            self.check(visit)
        assert self.books.delivered_wh() == sum(visit.energy_wh for visit in true)
        assert len(self.books.cdrs) == len(true)

    def check(self, visit: Visit) -> None:
        name = transaction_id(visit, self.version)
        cdr = self.books.cdr_of(name)
        assert (cdr.started_at, cdr.ended_at, cdr.id_token) == (visit.begin, visit.end, visit.tag)
        assert cdr.energy_wh == visit.energy_wh
        if name in self.decided:
            known, billed = self.decided[name]
            assert cdr.billed_wh == min(billed, known, visit.energy_wh)
            assert cdr.review_wh == max(0, visit.energy_wh - known)
            return
        assert (cdr.billed_wh, cdr.review) == (visit.energy_wh, ())
        counts = valid_at(self.versions, visit.begin)
        assert counts is not None
        wanted: dict[str, Any] = dict(price(visit, counts, self.zone, TICK_S))
        assert {each: getattr(cdr, each) for each in wanted} == wanted
        assert cdr.tariff_version == counts.version


TestStation = Station.TestCase
TestStation.settings = settings(
    max_examples=max(10, EXAMPLES // 8),
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
