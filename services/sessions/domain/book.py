"""A station's sessions while one event is folded into them, and what is announced of that."""

from __future__ import annotations

import msgspec

from libs.bus.message import Emit, Message
from libs.bus.processor import Step, Tables
from libs.events.decisions import SessionDecided
from libs.tariffs.engine import NO_CONTRACT, DriverContract
from services.sessions.domain import past, plans, records, rules, statuses
from services.sessions.domain.charge import Charge, Charged
from services.sessions.domain.decisions import (
    MOST_REMEMBERED,
    Ruling,
    concluded,
    decided,
    decision_id,
    of_driver,
    open_to_decision,
    recalled,
    refusal,
    settled,
)
from services.sessions.domain.grants import Grant
from services.sessions.domain.origin import Cause, Source
from services.sessions.domain.pricing import charge, placed
from services.sessions.domain.session import Session, running, session_id_of
from services.sessions.domain.station import StationSessions, arrange, followed, follower, surplus
from services.sessions.domain.statuses import Status
from services.sessions.domain.waiting import Waiting


class Book:
    """Sessions under way and closed; `out` collects what is announced, `bounded` the bounds that were reached.
    `step` makes a state of them in the end."""

    def __init__(self, state: StationSessions, tables: Tables) -> None:
        self.station_id = state.station_id
        self.open = list(state.open)
        self.closed = list(state.closed)
        self.chain = state.chain
        self.decisions = state.decisions
        self.statuses = state.statuses
        self.past = state.past
        self.waiting = list(state.waiting)
        self.early = state.early
        self.out: list[Emit] = []
        self.bounded: tuple[str, ...] = ()
        self._state = state
        self._tables = tables
        self._expired_at = 0
        self._leaving: list[Session] = []

    def join(self, known: Session | None, session: Session, cause: Cause) -> None:
        """Take over what is more than one more step of a session under way: its begin, EVSE or end are news."""
        if known is None or known.closed_by_rule or known.started_at is None:
            session = statuses.adopted(session, self.statuses)
        if known is None or known.started_at is None or session.evse_id != known.evse_id:
            session = self._among(session, cause)
        self._put(known, session, cause)
        if known is not None and known.session_id and not known.over and not session.over:
            self.out.append(records.updated(self.station_id, session, cause))

    def close_surplus(self, cause: Cause) -> None:
        """Close a session by rule if too many are under way."""
        one = surplus(self.open)
        if one is not None:
            self._give_up(one, cause)
            self.bounded = ("open",)

    def hear(self, told: bytes, status: Status, source: Source, cause: Cause) -> None:
        """Join a connector's status to the sessions that it tells of; `told`: the station's statuses with it."""
        self.statuses = told
        repeated = statuses.repeats(told, status)
        news: list[Emit] = []
        for known in (*self.open, *self.closed):
            seen = statuses.seen(known, told, status)
            if seen is None:
                continue
            session = statuses.absorbed(known, seen, source, repeated=repeated)
            if session is known:
                continue
            self._put(known, session, cause)
            latest = (session.state_at, session.charging_state) != (known.state_at, known.charging_state)
            if known.session_id and not known.over and latest and not repeated and seen.at >= known.begun_at:
                # Of several sessions that a connector cannot have at once, the one that came last.
                news = [records.updated(self.station_id, session, cause)]
        self.out += news

    def restart(self, source: Source, cause: Cause) -> None:
        """The station started anew."""
        for known in tuple(self.open):
            session = statuses.booted(known, source)
            if session is not known:
                self._put(known, session, cause)

    def decide(self, message: Message, record: Ruling, cause: Cause) -> None:
        """Follow what an operator decided, the `record` of `message`, or refuse it, and say which."""
        self.decisions = (*self.decisions, decision_id(record))[-MOST_REMEMBERED:]
        known = self._find(record.session_id)
        if isinstance(record, SessionDecided):
            detail = refusal(known, record)
            if known is not None and not detail:
                self._put(known, decided(known, message), cause)
        else:
            waits = any(each.session.session_id == record.session_id for each in self.waiting)
            session, detail = recalled(known, record, waits=waits)
            if session is not None:
                self._recall(known, session, cause, anew=record.corrected)
        now = self._find(record.session_id)
        self.out.append(concluded(record, detail, 0 if now is None else now.revision))

    def granted(self, session_id: str, revision: int, grant: Grant, cause: Cause) -> None:
        """A bundle covers so much of a session: issue what waits for that, or correct what was issued without."""
        if any(each.asks(grant) for each in self.waiting):
            self.waiting = [each.answered(grant) for each in self.waiting]
            return
        known = self._find(session_id)
        if known is None or known.revision < revision:
            self.early = plans.kept_early(self.early, grant, cause.recorded_at)
        elif plans.awaits(known) and known.asked is not None and known.asked.ask_id == grant.ask_id:
            self._put(known, plans.granted(known, grant), cause)

    def expire(self, at: int) -> None:
        """Forget what has been remembered long enough at `at`, and close what has waited long enough."""
        self._expired_at = at
        self.statuses = statuses.unexpired(self.statuses, at)
        self.past = past.unexpired(self.past, at)
        self._leaving += [session for session in self.closed if rules.deadline(session) <= at]
        self.closed = [session for session in self.closed if rules.deadline(session) > at]
        for session in tuple(self.open):
            if rules.deadline(session) <= at or rules.endless(session):
                # What led to it is the last that was heard of the session.
                self._give_up(session, Cause(session.cause_id, at, at))

    def step(self) -> Step[StationSessions]:
        """The processor's decision."""
        if self.waiting:
            self._issue_waiting()
        state = msgspec.structs.replace(
            self._state,
            chain=self.chain,
            decisions=self.decisions,
            statuses=self.statuses,
            past=self.past,
            waiting=tuple(self.waiting),
            early=self.early,
        )
        after = arrange(state, self.open, self.closed)
        self._give_up_grants(after)
        return Step(after, tuple(self.out), self.bounded)

    def _among(self, session: Session, cause: Cause) -> Session:
        """`session`, whose start may be news, with the begin of the next one; those that it follows are over."""
        sessions = (*self.open, *self.closed)
        for other in followed(sessions, session):
            after = msgspec.structs.replace(other, until=session.begun_at)
            self._put(other, after if after.over else rules.closed(after, cause.recorded_at), cause)
        return msgspec.structs.replace(session, until=follower(sessions, session))

    def _put(self, before: Session | None, after: Session, cause: Cause) -> None:
        """Announce what changed from `before` (None: nothing known) to `after`, and remember `after`."""
        after = self._announce(before, after, cause)
        if before is not None and before.over == after.over:
            among = self.closed if after.over else self.open
            among[among.index(before)] = after
            return
        if before is not None:
            (self.closed if before.over else self.open).remove(before)
        (self.closed if after.over else self.open).append(after)

    def _find(self, session_id: str) -> Session | None:
        """The session that was announced by this id, if it is remembered."""
        if not session_id:
            return None
        return next((s for s in (*self.open, *self.closed) if s.session_id == session_id), None)

    def _give_up(self, session: Session, cause: Cause) -> None:
        """Close `session` by rule."""
        self._put(session, rules.closed(session, cause.recorded_at), cause)

    def _recall(self, known: Session | None, session: Session, cause: Cause, *, anew: bool) -> None:
        """Remember a closed session again, and correct what was charged for it if that is now another thing.

        `anew`: the next version is issued even if the same is charged.
        """
        charged = self._charged(session)
        if anew or session.issued != msgspec.structs.replace(
            records.said(session, charged), hash=_hash_of(session)
        ):
            session = self._conclude(session, charged, cause)
        if known is not None:
            self.closed.remove(known)
        self.closed.append(msgspec.structs.replace(session, held=True))

    def _give_up_grants(self, after: StationSessions | None) -> None:
        """Of sessions that await an answer and are not remembered: it would find nobody."""
        last = {each.session_id: each for each in (*self._leaving, *self.closed)}
        lost = {session_id: each for session_id, each in last.items() if plans.awaits(each)}
        if not lost:
            return
        if after is not None:
            for each in (*after.open, *after.closed, *[waiting.session for waiting in after.waiting]):
                lost.pop(each.session_id, None)
        at = max([self._expired_at, *(each.recorded_at for each in last.values())])
        for each in lost.values():
            self.out += plans.given_up(self.station_id, each, Cause(each.cause_id, at, at))

    def _announce(self, before: Session | None, after: Session, cause: Cause) -> Session:
        if after.started_at is None and not after.closed_by_rule and not after.session_id:
            return after
        if not after.session_id:
            after = placed(self.station_id, after, self._tables)
            after = msgspec.structs.replace(after, session_id=session_id_of(self.station_id, after))
            self.out.append(records.started(self.station_id, after, cause))
            if not after.over and running(after) != (0, after.meter_start_wh, None):
                self.out.append(records.updated(self.station_id, after, cause))
        elif before is not None and before.over and not after.over:
            self.out.append(records.reopened(self.station_id, after, cause))
        if not after.over:
            return after
        charged = self._charged(after)
        if before is None or not before.over or self._differs(before, after, charged):
            return self._conclude(after, charged, cause)
        return after

    def _differs(self, before: Session, after: Session, charged: Charged) -> bool:
        """Whether what was announced needs a correction, whatever a bundle covers: that may come later."""
        if (before.site_id, before.group_id) != (after.site_id, after.group_id):
            return True
        known = self._charged(before)
        bundled = after.asked is not None and after.asked.bundle_wh > 0
        return _differs(known, charged) or (bundled and known.usage != charged.usage)

    def _conclude(self, session: Session, charged: Charged, cause: Cause) -> Session:
        session = msgspec.structs.replace(
            session, revision=session.revision + 1, held=open_to_decision(charged.result)
        )
        self.out.append(records.ended(self.station_id, session, charged, cause))
        if session.group_id is not None or session.asked is not None:
            billed_wh = charged.result.billed_wh
            session, questions = plans.ask(self.station_id, session, billed_wh, charged.charge, cause)
            self.out += questions
        if not self.waiting and not plans.awaits(session):
            return self._issue(session, charged, cause)
        entry = Waiting(session, cause.event_id, cause.occurred_at, cause.recorded_at)
        for grant in (*(each.grant for each in self.waiting), *(each.grant for each in self.early)):
            entry = entry if grant is None else entry.answered(grant)
        self.waiting.append(entry)
        return session

    def _issue(self, session: Session, charged: Charged, cause: Cause) -> Session:
        issued, out = records.documents(self.station_id, session, charged, cause, self.chain)
        self.chain = issued.hash
        self.out += out
        return msgspec.structs.replace(session, issued=issued)

    def _issue_waiting(self) -> None:
        """Issue what waits and may not, or need not wait longer, in its order."""
        while self.waiting:
            first = self.waiting[0]
            overdue = first.until <= self._expired_at or len(self.waiting) > plans.MOST_WAITING
            if not (first.ready or overdue):
                return
            del self.waiting[0]
            session = plans.granted(first.session, first.grant)
            cause = Cause(first.event_id, first.occurred_at, first.recorded_at)
            issued = self._issue(session, self._charged(session), cause)
            for among in (self.open, self.closed):
                among[:] = [plans.carried(s, issued) for s in among]
            self.waiting = [each.carrying(issued) for each in self.waiting]
            self._leaving.append(issued)

    def _charged(self, session: Session) -> Charged:
        result, usage = settled(session)
        contract = NO_CONTRACT
        if session.group_id is not None and of_driver(session, result):
            contract = DriverContract(session.group_id, plans.granted_wh(session))
        begun, zone = result.started_at, session.timezone
        return Charged(
            result, usage, charge(session.site_id, begun, usage, self._tables, contract, timezone=zone)
        )


def _differs(before: Charged, after: Charged) -> bool:
    """Whether what was announced needs a correction: not for another split of its time if nothing is paid for that."""
    old, new = before.result, after.result
    times = {"charging_s": new.charging_s, "suspended_s": new.suspended_s, "idle_s": new.idle_s}
    return _paid(before.charge) != _paid(after.charge) or msgspec.structs.replace(old, **times) != new


def _paid(charged: Charge | None) -> Charge | None:
    """The charge, but for when what is paid for was used."""
    if charged is None:
        return None
    lines = tuple([msgspec.structs.replace(line, start=0, end=0) for line in charged.bill.lines])
    return msgspec.structs.replace(charged, bill=msgspec.structs.replace(charged.bill, lines=lines))


def _hash_of(session: Session) -> str:
    return "" if session.issued is None else session.issued.hash
