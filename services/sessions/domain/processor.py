"""The sessions processor: steps of transactions in, session events and charge records out."""

from __future__ import annotations

from typing import Final

import msgspec

from libs.bus.message import Emit, Message
from libs.bus.processor import Processor, Step, Tables, Tick
from libs.bus.shapes import grown
from libs.events.commands import CommandConcluded
from libs.events.decisions import SessionRecalled
from libs.events.ocpp_log import OcppCallReceived
from libs.events.plans import PrepaidGranted
from libs.events.topics import (
    BILLING_CDRS,
    BILLING_DECIDED,
    BILLING_DECISIONS,
    BILLING_PREPAID,
    BILLING_PREPAID_ASKED,
    COMMANDS_DISPATCH,
    COMMANDS_OUTCOMES,
    COMMANDS_REQUESTED,
    OCPP_LIFECYCLE,
    OCPP_TRANSACTIONS,
    REGISTRY_SITES,
    REGISTRY_STATIONS,
    REGISTRY_TARIFFS,
    REGISTRY_TOKENS,
    SESSIONS_EVENTS,
    SESSIONS_EVIDENCE,
)
from libs.ocpp.quirks.book import RuleBook
from libs.ocpp.semantics.model import TransactionStep
from libs.ocpp.semantics.received_calls import read_step, zone_of
from libs.runtime.clock import SECOND
from services.sessions.domain import plans, records, rules, shown_price, statuses
from services.sessions.domain.book import Book
from services.sessions.domain.decisions import Ruling, decision_id
from services.sessions.domain.evidence import absorb, begin
from services.sessions.domain.origin import Cause, Source
from services.sessions.domain.pricing import placed
from services.sessions.domain.session import Session, running
from services.sessions.domain.station import StationSessions, begins_none, find
from services.sessions.domain.statuses import Status

_ACTIONS: Final = frozenset({"StartTransaction", "StopTransaction", "MeterValues", "TransactionEvent"})
_SIGNS: Final = frozenset({"StatusNotification", "BootNotification"})


class SessionsProcessor(Processor[StationSessions]):
    """Folds the transactions of a station, whatever their OCPP version, into sessions.

    SessionStarted, SessionUpdated and SessionEnded follow the evidence; with the end goes a CDR. Evidence that
    comes late and changes an ended session gives a SessionCorrected, a credit note and the CDR's next version. A
    session whose start never came, or whose end, is closed by rule and says so in `review`. So does what an operator
    decides about a session that has ended; SessionDecisionConcluded says what became of that.

    Drivers are shown the cost so far every `show_cost_every_s` seconds (0: never) if it changed, and the total with
    the answer to the end, if the edge awaits it of us. `book`: rules about models that do not follow OCPP; those in
    force without it.
    """

    name = "sessions"
    inputs = (
        OCPP_TRANSACTIONS,
        OCPP_LIFECYCLE,
        BILLING_DECISIONS,
        SESSIONS_EVIDENCE,
        COMMANDS_OUTCOMES,
        BILLING_PREPAID,
    )
    outputs = (
        SESSIONS_EVENTS,
        BILLING_CDRS,
        BILLING_DECIDED,
        COMMANDS_DISPATCH,
        COMMANDS_REQUESTED,
        BILLING_PREPAID_ASKED,
    )
    tables = (REGISTRY_STATIONS, REGISTRY_SITES, REGISTRY_TARIFFS, REGISTRY_TOKENS)
    state = StationSessions
    former_states = (grown("0.1.0", "7cf0d455fc8709c7"),)
    unmarked_state = "7cf0d455fc8709c7"
    max_state_bytes = 2_560 << 10
    linger_s = 0.25

    def __init__(self, show_cost_every_s: int = 0, book: RuleBook | None = None) -> None:
        self._show_every = show_cost_every_s * SECOND
        self._book = book

    def wants(self, topic: str, kind: str, subject: str | None) -> bool:
        """The exchanges that tell of transactions, be it by a connector's status or a boot; not the later answers to
        pending ones, nor authorisations."""
        if topic in (BILLING_DECISIONS, SESSIONS_EVIDENCE, BILLING_PREPAID):
            return True
        if topic == COMMANDS_OUTCOMES:
            return subject == shown_price.ACTION
        return kind == OcppCallReceived.__name__ and (subject in _ACTIONS or subject in _SIGNS)

    def key(self, message: Message) -> str | None:
        """The station, for the exchanges that tell of transactions, and for decisions."""
        record = message.record
        if isinstance(record, OcppCallReceived):
            return record.station_id if record.action in _ACTIONS or statuses.tells(record) else None
        if isinstance(record, SessionRecalled) and not record.evidence:
            return None
        if isinstance(record, Ruling | PrepaidGranted):
            return record.station_id
        if isinstance(record, CommandConcluded) and shown_price.cannot_show(record):
            return record.station_id
        return None

    def step(
        self, state: StationSessions | None, event: Message | Tick, tables: Tables
    ) -> Step[StationSessions]:
        """Fold one exchange, or close what has waited long enough."""
        if isinstance(event, Tick):
            return Step(None) if state is None else _expire(state, event.at, tables, self._show_every)
        record = event.record
        if isinstance(record, Ruling | PrepaidGranted):
            known = state or StationSessions(record.station_id)
            return (_granted if isinstance(record, PrepaidGranted) else _decide)(known, event, tables)
        if isinstance(record, CommandConcluded):
            return _unshown(state)
        assert isinstance(record, OcppCallReceived)
        return (self._sign if record.action in _SIGNS else self._exchange)(state, record, event, tables)

    def _exchange(
        self, state: StationSessions | None, record: OcppCallReceived, message: Message, tables: Tables
    ) -> Step[StationSessions]:
        """Fold a step of a transaction."""
        step = read_step(record, zone_of(tables[REGISTRY_STATIONS].get(record.station_id)), self._book)
        if step is None:
            return Step(state)
        done = _fold(state, step, message, tables, self._show_every)
        return _with_answer(done, step, record) if record.pending and step.kind == "ended" else done

    def _sign(
        self, state: StationSessions | None, record: OcppCallReceived, message: Message, tables: Tables
    ) -> Step[StationSessions]:
        """Fold what tells of transactions without naming them: a boot, or a connector's status."""
        if record.error is not None:
            return Step(state)
        source = Source(record.event_id, record.recorded_at, message.partition, message.offset)
        cause = Cause(record.event_id, record.occurred_at, record.recorded_at)
        if record.action == "BootNotification":
            return _boot(state, source, cause, tables)
        zone = zone_of(tables[REGISTRY_STATIONS].get(record.station_id))
        status = statuses.read(record, message.offset, zone, self._book)
        if status is None:
            return Step(state)
        return _status(state or StationSessions(record.station_id), status, source, cause, tables)

    def due(self, state: StationSessions) -> int | None:
        """The next moment at which a session has waited, or has been remembered, long enough, or the driver be shown
        what it costs."""
        return min([at for at in (state.due_at, state.show_at) if at is not None], default=None)


def _tells(before: Session, after: Session) -> bool:
    """Whether SessionUpdated would say something new. Of triggers only what tells more than measurements."""
    if after.meter is not before.meter and after.meter.last() != before.meter.last():
        return True
    return _told(before) != _told(after)


def _told(session: Session) -> tuple[object, ...]:
    return running(session), session.id_token, session.evse_id, session.trigger_at, session.trigger


def _fold(
    state: StationSessions | None, step: TransactionStep, message: Message, tables: Tables, show_every: int
) -> Step[StationSessions]:
    record = message.record
    assert isinstance(record, OcppCallReceived)
    source = Source(record.event_id, record.recorded_at, message.partition, message.offset)
    before = StationSessions(record.station_id) if state is None else state
    known = find(before, step, record.version)
    if known is not None:
        if known.closed_by_rule and rules.mutters(known, step):
            return _muttered(before, known, source)
        session = absorb(rules.reopened(known, step) if known.closed_by_rule else known, step, source)
        if step.kind == "started" and step.transaction_id not in (known.transaction_id, *known.aliases):
            session = msgspec.structs.replace(session, aliases=(*known.aliases, step.transaction_id))
        if session is known:
            return Step(state)
        if _begun_otherwise(known, session):
            session = placed(before.station_id, session, tables, known.id_token)
    elif begins_none(before, step, record.version):
        return Step(state)
    else:
        session = begin(step, record.version, source)
    cause = Cause(record.event_id, record.occurred_at, record.recorded_at, step.trigger or "")
    shown: tuple[Emit, ...] = ()
    if known is not None and known.session_id and not known.over and not session.over:
        if show_every and cause.recorded_at >= session.show_at:
            session, shown = shown_price.so_far(before.station_id, session, show_every, cause, tables)
        elif show_every and session.show_at < shown_price.NEVER:
            before = msgspec.structs.replace(
                before, show_at=min(session.show_at, before.show_at or session.show_at)
            )
        if session.evse_id == known.evse_id:
            return _progress(before, known, session, cause, shown)
    book = Book(before, tables)
    book.join(known, session, cause)
    book.out += shown
    book.close_surplus(cause)
    return book.step()


def _begun_otherwise(known: Session, session: Session) -> bool:
    """Whether an announced session turned out to have another driver, or to have begun at another moment."""
    if not session.session_id:
        return False
    if session.id_token != known.id_token or session.started_at is not known.started_at:
        return True
    return session.started_at is None and session.earliest_at != known.earliest_at


def _progress(
    state: StationSessions, known: Session, session: Session, cause: Cause, shown: tuple[Emit, ...]
) -> Step[StationSessions]:
    """The short way of most steps: a session under way stays so. News can only put its deadline off, so that a
    tick at the old one finds nothing to do and sets the next."""
    sessions = tuple([session if s is known else s for s in state.open])
    after = msgspec.structs.replace(state, open=sessions)
    if not _tells(known, session):
        return Step(after, shown)
    return Step(after, (records.updated(state.station_id, session, cause), *shown))


def _status(
    state: StationSessions, status: Status, source: Source, cause: Cause, tables: Tables
) -> Step[StationSessions]:
    heard = statuses.joined(state.statuses, status)
    if heard is state.statuses:
        return Step(state)
    book = Book(state, tables)
    book.hear(heard, status, source, msgspec.structs.replace(cause, trigger=status.name))
    return book.step()


def _boot(
    state: StationSessions | None, source: Source, cause: Cause, tables: Tables
) -> Step[StationSessions]:
    if state is None:
        return Step(None)
    book = Book(state, tables)
    book.restart(source, cause)
    return book.step() if book.open != list(state.open) else Step(state)


def _with_answer(
    done: Step[StationSessions], step: TransactionStep, call: OcppCallReceived
) -> Step[StationSessions]:
    state = done.state
    session = None if state is None else find(state, step, call.version)
    if state is not None and session is not None:
        waits = any(each.session.session_id == session.session_id for each in state.waiting)
        session = None if waits else session
    return Step(state, (*done.out, shown_price.answer(call, session)))


def _unshown(state: StationSessions | None) -> Step[StationSessions]:
    if state is None or not state.open:
        return Step(state)
    return Step(msgspec.structs.replace(state, open=tuple(map(shown_price.unshown, state.open))))


def _muttered(state: StationSessions, known: Session, source: Source) -> Step[StationSessions]:
    """Remember an endless session for as long as the charger goes on with it."""
    if source.recorded_at - known.recorded_at < rules.DAY:
        return Step(state)
    session = msgspec.structs.replace(known, recorded_at=source.recorded_at)
    closed = tuple([session if s is known else s for s in state.closed])
    return Step(msgspec.structs.replace(state, closed=closed))


def _decide(state: StationSessions, message: Message, tables: Tables) -> Step[StationSessions]:
    """Follow an operator's decision, or refuse it; once only, however often it comes."""
    record = message.record
    assert isinstance(record, Ruling)
    if decision_id(record) in state.decisions:
        return Step(state)
    book = Book(state, tables)
    book.decide(message, record, Cause(decision_id(record), record.occurred_at, record.recorded_at))
    return book.step()


def _granted(state: StationSessions, message: Message, tables: Tables) -> Step[StationSessions]:
    record = message.record
    assert isinstance(record, PrepaidGranted)
    book = Book(state, tables)
    cause = Cause(record.event_id, record.occurred_at, record.recorded_at)
    book.granted(record.session_id, record.revision, plans.grant_in(message), cause)
    return book.step()


def _expire(state: StationSessions, at: int, tables: Tables, show_every: int) -> Step[StationSessions]:
    shows = state.show_at is not None and state.show_at <= at
    book = Book(msgspec.structs.replace(state, show_at=None) if shows else state, tables)
    book.expire(at)
    if shows and show_every:
        book.open, out = shown_price.due(book.station_id, book.open, show_every, at, tables)
        book.out += out
    return book.step()
