"""A station's sessions: which of them a step belongs to, when one is given up, and how long it is remembered.

State is bounded: at most `MOST_OPEN` sessions under way or waiting for their start, the oldest being closed
by rule; of the closed, the last `CLOSED_PER_EVSE` of an EVSE, at most `MOST_CLOSED`, and none that brought no
news for `REMEMBER`. Of those that an operator has to decide about, another `MOST_HELD`, for `REMEMBER_HELD`.
What is retransmitted after that leads to records with the ids that it led to before.
"""

from __future__ import annotations

from typing import Final

import msgspec

from libs.ocpp.semantics.model import TransactionStep
from libs.ocpp.versions import Version
from libs.runtime.clock import SECOND
from services.sessions.domain.session import Session

_HOUR: Final = 3600 * SECOND

AWAIT_START: Final = 24 * _HOUR
"""How long steps wait for the start that they follow."""
AWAIT_NEWS: Final = 7 * 24 * _HOUR
"""How long a session may stay silent before it counts as over."""
REMEMBER: Final = 7 * 24 * _HOUR
"""How long a closed session is kept for messages that come late."""
REMEMBER_HELD: Final = 90 * 24 * _HOUR
"""How long a closed session is kept that an operator may decide about."""
MOST_OPEN: Final = 32
MOST_CLOSED: Final = 32
CLOSED_PER_EVSE: Final = 3
MOST_HELD: Final = 16

_MOST_ISSUED: Final = 2**31 - 1


class StationSessions(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Sessions under way and closed, each in the order in which they became so; `due_at`: the next deadline.

    `chain`: hash of the last document about a charge, which outlives the sessions. `decisions`: ids of the last that
    operators made, applied or not.
    """

    station_id: str
    open: tuple[Session, ...] = ()
    closed: tuple[Session, ...] = ()
    due_at: int | None = None
    chain: str = ""
    decisions: tuple[str, ...] = ()


def deadline(session: Session) -> int:
    """When a rule closes the session unless there is news of it; when it is forgotten, if it is closed."""
    if session.over:
        return session.recorded_at + (REMEMBER_HELD if session.held else REMEMBER)
    return session.recorded_at + (AWAIT_START if session.started_at is None else AWAIT_NEWS)


def arrange(
    station_id: str,
    sessions: list[Session],
    closed: list[Session],
    chain: str,
    decisions: tuple[str, ...] = (),
) -> StationSessions | None:
    """The state that holds these sessions; None if nothing is to be kept. Forgets closed ones beyond the bounds."""
    if len(closed) > CLOSED_PER_EVSE:
        closed = _latest(closed)
    if not sessions and not closed:
        return StationSessions(station_id, chain=chain, decisions=decisions) if chain or decisions else None
    due_at = min(map(deadline, (*sessions, *closed)))
    return StationSessions(station_id, tuple(sessions), tuple(closed), due_at, chain, decisions)


def _latest(closed: list[Session]) -> list[Session]:
    kept: list[Session] = []
    per_evse: dict[int | None, int] = {}
    held = 0
    for session in reversed(closed):
        count = per_evse.get(session.evse_id, 0)
        if count < CLOSED_PER_EVSE and len(kept) - held < MOST_CLOSED:
            per_evse[session.evse_id] = count + 1
            kept.append(session)
        elif session.held and held < MOST_HELD:
            held += 1
            kept.append(session)
    kept.reverse()
    return kept


def find(state: StationSessions, step: TransactionStep, version: str) -> Session | None:
    """The session that `step` belongs to; None if it is the first evidence of one."""
    transaction_id = step.transaction_id
    if version == Version.V16 and not issued_16(transaction_id):
        return _find_odd(state, step)
    same = [s for s in state.open if s.transaction_id == transaction_id]
    same += [s for s in state.closed if s.transaction_id == transaction_id]
    if not same:
        return None
    if step.kind == "started":
        for session in same:
            if session.started_at is None or session.started_at == step.at:
                return session
        # The clock was bent and read otherwise; only a session that is over frees its transaction id.
        return next((s for s in same if not s.over), None)
    best = same[0]
    for session in same[1:]:
        if _fits_better(session, best, step.at):
            best = session
    return best


def _fits_better(session: Session, best: Session, at: int) -> bool:
    """Whether `session` is the later one of those that had begun at `at` (a station may reuse an id)."""
    begun, best_begun = session.started_at or session.earliest_at, best.started_at or best.earliest_at
    if begun > at:
        return best_begun > begun
    return best_begun > at or best_begun < begun


def issued_16(transaction_id: str) -> bool:
    """Whether an OCPP 1.6 transaction id can be one that a central system gave out."""
    try:
        return 0 < int(transaction_id) <= _MOST_ISSUED
    except ValueError:
        return False


def _find_odd(state: StationSessions, step: TransactionStep) -> Session | None:
    """Bind a 1.6 step whose transaction id means nothing (0, -1, 2^63-1, none): by EVSE, time and token.

    A repeated stop is recognised by its time and register. None: it fits no session, or several.
    """
    if step.kind == "ended":
        for known in (*state.open, *state.closed):
            if known.stopped_at == step.at and known.meter_stop_wh == step.meter_wh:
                return known
    fitting = [
        s
        for s in state.open
        if s.started_at is not None
        and s.started_at <= step.at
        and (not step.evse_id or s.evse_id == step.evse_id)
    ]
    if len(fitting) > 1 and step.id_token is not None:
        fitting = [s for s in fitting if s.id_token == step.id_token]
    return fitting[0] if len(fitting) == 1 else None


def superseded(state: StationSessions, session: Session) -> list[Session]:
    """Open sessions that `session` shows to be over: an EVSE has one transaction at a time."""
    if session.started_at is None or session.evse_id is None:
        return []
    return [
        s
        for s in state.open
        if s.evse_id == session.evse_id
        and s.transaction_id != session.transaction_id
        and s.started_at is not None
        and s.started_at < session.started_at
    ]
