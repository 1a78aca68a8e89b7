"""The sessions processor: steps of transactions in, session events and charge records out."""

from __future__ import annotations

from typing import Final

import msgspec

from libs.bus.message import Emit, Message
from libs.bus.processor import Processor, Step, Tables, Tick
from libs.events.commands import CommandConcluded
from libs.events.decisions import SessionDecided, SessionRecalled
from libs.events.ocpp_log import OcppCallReceived
from libs.ocpp.quirks.book import RuleBook
from libs.ocpp.semantics.exchange import read_step, zone_of
from libs.ocpp.semantics.model import TransactionStep
from libs.ocpp.versions import Version
from libs.runtime.clock import SECOND
from services.sessions.domain import decisions, records, shown_price
from services.sessions.domain.decisions import DECIDED, DECISIONS, open_to_decision, settled
from services.sessions.domain.pricing import (
    SITES,
    STATIONS,
    TARIFFS,
    TOKENS,
    charge,
    most_w_of,
    site_of,
)
from services.sessions.domain.records import Cause, Charged
from services.sessions.domain.session import (
    Session,
    Source,
    absorb,
    begin,
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
_ACTIONS: Final = frozenset({"StartTransaction", "StopTransaction", "MeterValues", "TransactionEvent"})


class SessionsProcessor(Processor[StationSessions]):
    """Folds the transactions of a station, whatever their OCPP version, into sessions.

    SessionStarted, SessionUpdated and SessionEnded follow the evidence; with the end goes a CDR. Evidence that
    comes late and changes an ended session gives a SessionCorrected, a credit note and the CDR's next version. A
    session whose start never came, or whose end, is closed by rule and says so in `review`. So does what an operator
    decides about a session that has ended; SessionDecisionConcluded says what became of that.

    Drivers are shown the cost so far every `show_cost_every_s` seconds (0: never), and the total with the answer to
    the end, if the edge awaits it of us. `book`: rules about models that do not follow OCPP; those in force without it.
    """

    name = "sessions"
    inputs = (TRANSACTIONS, LIFECYCLE, DECISIONS, shown_price.OUTCOMES)
    outputs = (records.EVENTS, records.CDRS, DECIDED, shown_price.ANSWERS, shown_price.REQUESTS)
    tables = (STATIONS, SITES, TARIFFS, TOKENS)
    state = StationSessions
    linger_s = 0.25

    def __init__(self, show_cost_every_s: int = 0, book: RuleBook | None = None) -> None:
        self._show_every = show_cost_every_s * SECOND
        self._book = book

    def wants(self, topic: str, kind: str, subject: str | None) -> bool:
        """The exchanges that tell of transactions; not the later answers to pending ones, nor authorisations."""
        if topic == DECISIONS:
            return True
        if topic == shown_price.OUTCOMES:
            return subject == shown_price.ACTION
        return kind == OcppCallReceived.__name__ and subject in _ACTIONS

    def key(self, message: Message) -> str | None:
        """The station, for the exchanges that tell of transactions, and for decisions."""
        record = message.record
        if isinstance(record, OcppCallReceived) and record.action in _ACTIONS:
            return record.station_id
        if isinstance(record, SessionDecided | SessionRecalled):
            return record.station_id
        if isinstance(record, CommandConcluded) and shown_price.cannot_show(record):
            return record.station_id
        return None

    def step(
        self, state: StationSessions | None, event: Message | Tick, tables: Tables
    ) -> Step[StationSessions]:
        """Fold one exchange, or close what has waited long enough."""
        if isinstance(event, Tick):
            return Step(None) if state is None else _expire(state, event.at, tables)
        record = event.record
        if isinstance(record, SessionDecided | SessionRecalled):
            return _decide(state or StationSessions(record.station_id), record, event, tables)
        if isinstance(record, CommandConcluded):
            return _unshown(state)
        assert isinstance(record, OcppCallReceived)
        step = read_step(record, zone_of(tables[STATIONS].get(record.station_id)), self._book)
        if step is None:
            return Step(state)
        done = _fold(state, step, event, tables, self._show_every)
        return _with_answer(done, step, record) if record.pending and step.kind == "ended" else done

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
        self.decisions = state.decisions
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

    def find(self, session_id: str) -> Session | None:
        """The session that was announced by this id, if it is remembered."""
        if not session_id:
            return None
        return next((s for s in (*self.open, *self.closed) if s.session_id == session_id), None)

    def give_up(self, session: Session, cause: Cause) -> None:
        """Close `session` by rule."""
        closing = msgspec.structs.replace(session, closed_by_rule=True, recorded_at=cause.recorded_at)
        self.put(session, closing, cause)

    def recall(self, known: Session | None, session: Session, cause: Cause) -> None:
        """Remember a closed session again, and correct what was charged for it if that is now another thing."""
        charged = self._charged(session)
        if session.issued != msgspec.structs.replace(records.said(charged), hash=_hash_of(session)):
            session = self._conclude(session, charged, cause)
        if known is not None:
            self.closed.remove(known)
        self.closed.append(msgspec.structs.replace(session, held=True))

    def step(self) -> Step[StationSessions]:
        """The processor's decision."""
        state = arrange(self.station_id, self.open, self.closed, self.chain, self.decisions)
        return Step(state, tuple(self.out))

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
        charged = self._charged(after)
        if before is None or not before.revision or _differs(self._charged(before), charged):
            return self._conclude(after, charged, cause)
        return after

    def _conclude(self, session: Session, charged: Charged, cause: Cause) -> Session:
        session = msgspec.structs.replace(session, revision=session.revision + 1)
        issued, out = records.ended(self.station_id, session, charged, cause, self.chain)
        self.chain = issued.hash
        self.out += out
        return msgspec.structs.replace(session, issued=issued, held=open_to_decision(charged.result))

    def _charged(self, session: Session) -> Charged:
        result, usage = settled(session)
        return Charged(result, usage, charge(session.site_id, result.started_at, usage, self._tables))


def _differs(before: Charged, after: Charged) -> bool:
    """Whether what was announced needs a correction: not for another split of its time if nothing is paid for that."""
    old, new = before.result, after.result
    times = {"charging_s": new.charging_s, "suspended_s": new.suspended_s, "idle_s": new.idle_s}
    return before.charge != after.charge or msgspec.structs.replace(old, **times) != new


def _hash_of(session: Session) -> str:
    return "" if session.issued is None else session.issued.hash


def _told(session: Session) -> tuple[tuple[int, int | None, str | None], str | None, int | None]:
    """What SessionUpdated says."""
    return running(session), session.id_token, session.evse_id


def _fold(
    state: StationSessions | None, step: TransactionStep, message: Message, tables: Tables, show_every: int
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
        shown: tuple[Emit, ...] = ()
        if show_every and cause.recorded_at >= session.show_at:
            session, shown = shown_price.so_far(before.station_id, session, show_every, cause, tables)
        return _progress(before, known, session, cause, shown)
    book = _Book(before, tables)
    if step.kind == "started":
        for other in superseded(before, session):
            book.give_up(other, cause)
    book.put(known, session, cause)
    if len(book.open) > MOST_OPEN:
        book.give_up(min(book.open, key=deadline), cause)
    return book.step()


def _progress(
    state: StationSessions, known: Session, session: Session, cause: Cause, shown: tuple[Emit, ...]
) -> Step[StationSessions]:
    """The short way of most steps: a session under way stays so. News can only put its deadline off, so that a
    tick at the old one finds nothing to do and sets the next."""
    station_id = state.station_id
    sessions = tuple([session if s is known else s for s in state.open])
    after = StationSessions(station_id, sessions, state.closed, state.due_at, state.chain, state.decisions)
    if _told(session) == _told(known):
        return Step(after, shown)
    return Step(after, (records.updated(station_id, session, cause), *shown))


def _with_answer(
    done: Step[StationSessions], step: TransactionStep, call: OcppCallReceived
) -> Step[StationSessions]:
    session = None if done.state is None else find(done.state, step, call.version)
    return Step(done.state, (*done.out, shown_price.answer(call, session)))


def _unshown(state: StationSessions | None) -> Step[StationSessions]:
    if state is None or not state.open:
        return Step(state)
    return Step(msgspec.structs.replace(state, open=tuple(map(shown_price.unshown, state.open))))


def _decide(
    state: StationSessions, record: SessionDecided | SessionRecalled, message: Message, tables: Tables
) -> Step[StationSessions]:
    """Follow an operator's decision, or refuse it; once only, however often it comes."""
    if record.event_id in state.decisions:
        return Step(state)
    book = _Book(state, tables)
    book.decisions = (*state.decisions, record.event_id)[-decisions.MOST_REMEMBERED :]
    known = book.find(record.session_id)
    cause = Cause(record.event_id, record.occurred_at, record.recorded_at)
    if isinstance(record, SessionRecalled):
        session, detail = decisions.recalled(known, record)
        if session is not None:
            book.recall(known, session, cause)
    else:
        detail = decisions.refusal(known, record)
        if known is not None and not detail:
            book.put(known, decisions.decided(known, message), cause)
    now = book.find(record.session_id)
    book.out.append(decisions.concluded(record, detail, 0 if now is None else now.revision))
    return book.step()


def _expire(state: StationSessions, at: int, tables: Tables) -> Step[StationSessions]:
    book = _Book(state, tables)
    book.closed = [s for s in state.closed if deadline(s) > at]
    for session in state.open:
        if deadline(session) <= at:
            # What led to it is the last that was heard of the session.
            book.give_up(session, Cause(session.cause_id, at, at))
    return book.step()
