"""The sessions processor: steps of transactions in, session events and charge records out."""

from __future__ import annotations

from typing import Final

import msgspec

from libs.bus.message import Emit, Message
from libs.bus.processor import Processor, Step, Tables, Tick
from libs.events.ocpp_log import OcppCallReceived
from libs.ocpp.semantics.exchange import read_step, zone_of
from libs.ocpp.semantics.model import TransactionStep
from libs.ocpp.versions import Version
from services.sessions.domain import records
from services.sessions.domain.pricing import (
    SITES,
    STATIONS,
    TARIFFS,
    TOKENS,
    Charge,
    charge,
    most_w_of,
    site_of,
)
from services.sessions.domain.records import Cause
from services.sessions.domain.session import (
    Outcome,
    Session,
    Source,
    absorb,
    begin,
    outcome,
    running,
    session_id_of,
)
from services.sessions.domain.station import (
    MOST_OPEN,
    StationSessions,
    arrange,
    deadline,
    find,
    issued_16,
    superseded,
)

TRANSACTIONS: Final = records.TRANSACTIONS
LIFECYCLE: Final = "ocpp.lifecycle"
DECISIONS: Final = "billing.decisions"

_ACTIONS: Final = frozenset({"StartTransaction", "StopTransaction", "MeterValues", "TransactionEvent"})


class SessionsProcessor(Processor[StationSessions]):
    """Folds the transactions of a station, whatever their OCPP version, into sessions.

    SessionStarted, SessionUpdated and SessionEnded follow the evidence; with the end goes a CDR. Evidence that
    comes late and changes an ended session gives a SessionCorrected, a credit note and the CDR's next version. A
    session whose start never came, or whose end, is closed by rule and says so in `review`.
    """

    name = "sessions"
    inputs = (TRANSACTIONS, LIFECYCLE, DECISIONS)
    outputs = (records.EVENTS, records.CDRS, records.DECIDED)
    tables = (STATIONS, SITES, TARIFFS, TOKENS)
    state = StationSessions
    linger_s = 0.25

    def wants(self, topic: str, kind: str, subject: str | None) -> bool:
        """The exchanges that tell of transactions; not the later answers to pending ones, nor authorisations."""
        return kind == OcppCallReceived.__name__ and subject in _ACTIONS

    def key(self, message: Message) -> str | None:
        """The station, for the exchanges that tell of transactions."""
        record = message.record
        if isinstance(record, OcppCallReceived) and record.action in _ACTIONS:
            return record.station_id
        return None

    def step(
        self, state: StationSessions | None, event: Message | Tick, tables: Tables
    ) -> Step[StationSessions]:
        """Fold one exchange, or close what has waited long enough."""
        if isinstance(event, Tick):
            return Step(None) if state is None else _expire(state, event.at, tables)
        record = event.record
        assert isinstance(record, OcppCallReceived)
        step = read_step(record, zone_of(tables[STATIONS].get(record.station_id)))
        return Step(state) if step is None else _fold(state, step, event, tables)

    def due(self, state: StationSessions) -> int | None:
        """The next moment at which a session has waited, or has been remembered, long enough."""
        return state.due_at


class _Book:
    """The sessions of a station while one event is folded into them; `out` collects what is announced."""

    def __init__(self, state: StationSessions, tables: Tables) -> None:
        self.station_id = state.station_id
        self.open = list(state.open)
        self.closed = list(state.closed)
        self.chain = state.chain
        self.out: list[Emit] = []
        self._tables = tables

    def put(self, before: Session | None, after: Session, cause: Cause) -> None:
        """Announce what changed from `before` (None: nothing known) to `after`, and remember `after`."""
        after = self._announce(before, after, cause)
        if before is None:
            (self.closed if after.over else self.open).append(after)
        elif before.over:
            self.closed[self.closed.index(before)] = after
        elif after.over:
            self.open.remove(before)
            self.closed.append(after)
        else:
            self.open[self.open.index(before)] = after

    def give_up(self, session: Session, cause: Cause) -> None:
        """Close `session` by rule."""
        closing = msgspec.structs.replace(session, closed_by_rule=True, recorded_at=cause.recorded_at)
        self.put(session, closing, cause)

    def step(self) -> Step[StationSessions]:
        """The processor's decision."""
        return Step(arrange(self.station_id, self.open, self.closed, self.chain), tuple(self.out))

    def _announce(self, before: Session | None, after: Session, cause: Cause) -> Session:
        if after.started_at is None and not after.closed_by_rule:
            return after
        if not after.session_id:
            begun = after.earliest_at if after.started_at is None else after.started_at
            after = msgspec.structs.replace(
                after,
                session_id=session_id_of(self.station_id, after),
                site_id=site_of(self.station_id, begun, self._tables),
                most_w=most_w_of(self.station_id, begun, self._tables),
            )
            self.out.append(records.started(self.station_id, after, cause))
            if not after.over and running(after) != (0, after.meter_start_wh, None):
                self.out.append(records.updated(self.station_id, after, cause))
        if not after.over:
            return after
        result, charged = self._charged(after)
        if before is None or not before.revision or _differs(self._charged(before), (result, charged)):
            after = msgspec.structs.replace(after, revision=after.revision + 1)
            issued, out = records.ended(self.station_id, after, (result, charged), cause, self.chain)
            self.chain = issued.hash
            self.out += out
            after = msgspec.structs.replace(after, issued=issued)
        return after

    def _charged(self, session: Session) -> tuple[Outcome, Charge | None]:
        result, usage = outcome(session)
        return result, charge(session.site_id, result.started_at, usage, self._tables)


def _differs(before: tuple[Outcome, Charge | None], after: tuple[Outcome, Charge | None]) -> bool:
    """Whether what was announced needs a correction: not for another split of its time if nothing is paid for that."""
    (old, charged), (new, charged_now) = before, after
    times = {"charging_s": new.charging_s, "suspended_s": new.suspended_s, "idle_s": new.idle_s}
    return charged != charged_now or msgspec.structs.replace(old, **times) != new


def _told(session: Session) -> tuple[tuple[int, int | None, str | None], str | None, int | None]:
    """What SessionUpdated says."""
    return running(session), session.id_token, session.evse_id


def _fold(
    state: StationSessions | None, step: TransactionStep, message: Message, tables: Tables
) -> Step[StationSessions]:
    record = message.record
    assert isinstance(record, OcppCallReceived)
    source = Source(record.event_id, record.recorded_at, message.partition, message.offset)
    before = StationSessions(record.station_id) if state is None else state
    known = find(before, step, record.version)
    if known is not None:
        session = absorb(known, step, source)
        if session is known:
            return Step(state)
    elif step.kind == "updated" and record.version == Version.V16 and not issued_16(step.transaction_id):
        return Step(state)
    else:
        session = begin(step, record.version, source)
    cause = Cause(record.event_id, record.occurred_at, record.recorded_at)
    if known is not None and known.session_id and not session.over:
        return _progress(before, known, session, cause)
    book = _Book(before, tables)
    if step.kind == "started":
        for other in superseded(before, session):
            book.give_up(other, cause)
    book.put(known, session, cause)
    if len(book.open) > MOST_OPEN:
        book.give_up(min(book.open, key=deadline), cause)
    return book.step()


def _progress(
    state: StationSessions, known: Session, session: Session, cause: Cause
) -> Step[StationSessions]:
    """The short way of most steps: a session under way stays so. News can only put its deadline off, so that a
    tick at the old one finds nothing to do and sets the next."""
    station_id = state.station_id
    sessions = tuple([session if s is known else s for s in state.open])
    after = StationSessions(station_id, sessions, state.closed, state.due_at, state.chain)
    if _told(session) == _told(known):
        return Step(after)
    return Step(after, (records.updated(station_id, session, cause),))


def _expire(state: StationSessions, at: int, tables: Tables) -> Step[StationSessions]:
    book = _Book(state, tables)
    book.closed = [s for s in state.closed if deadline(s) > at]
    for session in state.open:
        if deadline(session) <= at:
            # What led to it is the last that was heard of the session.
            book.give_up(session, Cause(session.cause_id, at, at))
    return book.step()
