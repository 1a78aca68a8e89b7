"""A station's sessions: which of them a step belongs to, when one is given up, and how long it is remembered.

State is bounded: at most `MOST_OPEN` sessions, and `MOST_STARTLESS` without a start, the oldest being closed by
rule; of the closed, the last `CLOSED_PER_EVSE` of an EVSE, at most `MOST_CLOSED`, and none that brought no
news for `REMEMBER`. Of those that an operator has to decide about, another `MOST_HELD`, for `REMEMBER_HELD`; of those
that wait for what a bundle covers, another `MOST_WAITING`. Others that had to make room are recognised for `REMEMBER`.
What is retransmitted after that leads to records with the ids that it led to before.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from libs.ocpp import quirks
from libs.ocpp.semantics.model import TransactionStep
from libs.ocpp.versions import Version
from services.sessions.domain import past, statuses
from services.sessions.domain.energy import ROLLBACK_TOLERANCE_WH
from services.sessions.domain.grants import EarlyGrant
from services.sessions.domain.plans import MOST_WAITING, awaits
from services.sessions.domain.rules import REMEMBER, deadline
from services.sessions.domain.session import Session
from services.sessions.domain.waiting import Waiting

MOST_OPEN: Final = 128
MOST_STARTLESS: Final = 32
MOST_CLOSED: Final = 32
CLOSED_PER_EVSE: Final = 3
MOST_HELD: Final = 16
MOST_ALIASES: Final = 4

_MOST_ISSUED: Final = 2**31 - 1
_CLOCKS: Final = frozenset(
    {
        quirks.TIMESTAMP_FORMAT,
        quirks.TIMESTAMP_WITHOUT_ZONE,
        quirks.TIMESTAMP_NUMBER,
        quirks.TIMESTAMP_OUT_OF_BOUNDS,
        quirks.TIMESTAMP_UNREADABLE,
        quirks.LOCAL_TIME_MARKED_UTC,
    }
)


class StationSessions(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Sessions under way and closed, each in the order in which they became so; `due_at`: the next deadline.

    `chain`: hash of the last document about a charge, which outlives the sessions. `decisions`: ids of the last that
    operators made, applied or not. `statuses`: what connectors were, for sessions that may begin (`statuses.joined`).
    `waiting`: documents that are not issued yet, in their order. `early`: answers about bundles that came too soon.
    `past`: by what sessions are recognised that had to make room (`past.recognised`). `show_at`: when it is reckoned
    again what sessions cost so far that told something since; None if none did.
    """

    station_id: str
    open: tuple[Session, ...] = ()
    closed: tuple[Session, ...] = ()
    due_at: int | None = None
    chain: str = ""
    decisions: tuple[str, ...] = ()
    statuses: bytes = b""
    waiting: tuple[Waiting, ...] = ()
    early: tuple[EarlyGrant, ...] = ()
    past: bytes = b""
    show_at: int | None = None


def arrange(state: StationSessions, sessions: list[Session], closed: list[Session]) -> StationSessions | None:
    """`state` with these sessions; None if nothing is to be kept. Forgets closed ones beyond the bounds."""
    gone = state.past
    if len(closed) > CLOSED_PER_EVSE:
        kept = _latest(closed)
        if len(kept) < len(closed):
            stay, now = set(map(id, kept)), max([session.recorded_at for session in closed])
            until = [(s, s.recorded_at + REMEMBER) for s in closed if id(s) not in stay]
            gone = past.added(gone, [each for each in until if each[1] > now])
            closed = kept
    due = [*map(deadline, sessions), *map(deadline, closed)]
    due += [at for at in (statuses.expiry(state.statuses), past.expiry(gone)) if at is not None]
    if state.waiting:
        due.append(state.waiting[0].until)
    after = msgspec.structs.replace(
        state, open=tuple(sessions), closed=tuple(closed), due_at=min(due, default=None), past=gone
    )
    return None if after == StationSessions(state.station_id) else after


def _latest(closed: list[Session]) -> list[Session]:
    kept: list[Session] = []
    per_evse: dict[int | None, int] = {}
    held = awaiting = 0
    for session in reversed(closed):
        count = per_evse.get(session.evse_id, 0)
        if count < CLOSED_PER_EVSE and len(kept) - held - awaiting < MOST_CLOSED:
            per_evse[session.evse_id] = count + 1
            kept.append(session)
        elif session.held and held < MOST_HELD:
            held += 1
            kept.append(session)
        elif awaits(session) and awaiting < MOST_WAITING:
            awaiting += 1
            kept.append(session)
    kept.reverse()
    return kept


def find(state: StationSessions, step: TransactionStep, version: str) -> Session | None:
    """The session that `step` belongs to; None if it is the first evidence of one."""
    transaction_id = step.transaction_id
    if step.kind == "updated":
        # The short way of most steps: the last session of that id is under way.
        for session in state.open:
            if session.transaction_id != transaction_id or session.until is not None:
                continue
            if session.started_at is not None and session.started_at <= step.at:
                return session
    if version == Version.V16 and not _issued_16(transaction_id):
        return _find_odd(state, step)
    same = [s for s in state.open if s.transaction_id == transaction_id or transaction_id in s.aliases]
    same += [s for s in state.closed if s.transaction_id == transaction_id or transaction_id in s.aliases]
    if not same:
        return _same_start(state, step) if step.kind == "started" and version == Version.V16 else None
    if step.kind == "started":
        # A station uses an id again, be it that the session before never ended. A clock that was bent may be read
        # otherwise when a start comes again: then only a session that is over frees its id, for another register.
        bent = not _CLOCKS.isdisjoint(step.quirks)
        old = past.recognised(state.past, step)
        for session in same:
            if session.started_at == step.at or (
                session.started_at is None and not old and (bent or step.at <= session.latest_at)
            ):
                return session
        return next((s for s in same if not s.over or _begun_so(s, step)), None) if bent else None
    best = same[0]
    for session in same[1:]:
        if _fits_better(session, best, step.at):
            best = session
    return best


def begins_none(state: StationSessions, step: TransactionStep, version: str) -> bool:
    """Whether `step`, of no session that is known, does not begin one: a sample with an odd id, or old news."""
    odd = step.kind == "updated" and version == Version.V16 and not _issued_16(step.transaction_id)
    return odd or past.recognised(state.past, step)


def surplus(sessions: list[Session]) -> Session | None:
    """Which of the open sessions is to be closed, as there are too many."""
    if len(sessions) <= MOST_STARTLESS:
        return None
    waiting = [session for session in sessions if session.started_at is None]
    if len(waiting) > MOST_STARTLESS:
        return min(waiting, key=deadline)
    return min(sessions, key=deadline) if len(sessions) > MOST_OPEN else None


def _begun_so(session: Session, step: TransactionStep) -> bool:
    """Whether the start says what that of `session` said, but for the time."""
    meter_wh = session.meter_start_wh
    return meter_wh is not None and (meter_wh, session.id_token) == (step.meter_wh, step.id_token)


def _same_start(state: StationSessions, step: TransactionStep) -> Session | None:
    """The 1.6 session that the start began already, when it was given another id."""
    for session in (*state.open, *state.closed):
        if (
            session.started_at == step.at
            and session.evse_id == step.evse_id
            and session.id_token == step.id_token
            and session.meter_start_wh == step.meter_wh
            and len(session.aliases) < MOST_ALIASES
        ):
            return session
    return None


def _fits_better(session: Session, best: Session, at: int) -> bool:
    """Whether `session` is the later one of those that had begun at `at` (a station may reuse an id)."""
    begun, best_begun = session.begun_at, best.begun_at
    if begun > at:
        return best_begun > begun
    return best_begun > at or best_begun < begun


def _issued_16(transaction_id: str) -> bool:
    """Whether an OCPP 1.6 transaction id can be one that a central system gave out."""
    try:
        return 0 < int(transaction_id) <= _MOST_ISSUED
    except ValueError:
        return False


def _find_odd(state: StationSessions, step: TransactionStep) -> Session | None:
    """Bind a 1.6 step whose transaction id means nothing (0, -1, 2^63-1, none): by EVSE, time and token.

    A repeated stop is recognised by its time and register. One that is dated before every session under way is bound
    by its register instead. None: it fits no session, or several.
    """
    if step.kind == "ended":
        for known in (*state.open, *state.closed):
            if known.stopped_at == step.at and known.meter_stop_wh == step.meter_wh:
                return known
    begun = [
        s for s in state.open if s.started_at is not None and (not step.evse_id or s.evse_id == step.evse_id)
    ]
    fitting = [s for s in begun if s.started_at is not None and s.started_at <= step.at]
    if not fitting and step.kind == "ended":
        fitting = [s for s in begun if _register_goes_on(s, step)]
    if len(fitting) > 1 and step.id_token is not None:
        fitting = [s for s in fitting if s.id_token == step.id_token]
    return fitting[0] if len(fitting) == 1 else None


def _register_goes_on(session: Session, stop: TransactionStep) -> bool:
    """Whether the register of `stop` goes on from the last of a session under way: what came before it never does."""
    start, last, end = session.meter_start_wh, session.meter.last(), stop.meter_wh
    if start is None or end is None:
        return False
    return end > start and (last is None or end >= last - ROLLBACK_TOLERANCE_WH)


def followed(known: Iterable[Session], session: Session) -> list[Session]:
    """Sessions that `session` shows to have been over when it began, and that had not stopped by then.

    An EVSE has one transaction at a time, and so has a transaction id.
    """
    begun = session.started_at
    if begun is None or session.evse_id is None:
        return []
    return [
        s
        for s in known
        if s is not session
        and (s.evse_id == session.evse_id or s.transaction_id == session.transaction_id)
        and s.started_at is not None
        and s.started_at < begun
        and (s.stopped_at is None or s.stopped_at > begun)
        and (s.until is None or s.until > begun)
    ]


def follower(known: Iterable[Session], session: Session) -> int | None:
    """When the next session of the same EVSE or id began, of those that are known; None if `session` is the last."""
    begun = session.started_at
    later = [
        s.started_at
        for s in known
        if s.started_at is not None
        and s.evse_id is not None
        and (s.evse_id == session.evse_id or s.transaction_id == session.transaction_id)
        and begun is not None
        and s.started_at > begun
    ]
    return min(later, default=None)
