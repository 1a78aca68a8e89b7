"""Rules that close a session without its stop, and when a closed one is forgotten. Pure; by recorded times.

While a closed session is remembered, later evidence reopens it (`reopened`) or corrects it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from libs.ocpp.semantics.model import TransactionStep
from libs.runtime.clock import SECOND
from services.sessions.domain import statuses
from services.sessions.domain.session import ENDLESS, Session, own

DAY: Final = 24 * 3600 * SECOND

AWAIT_START: Final = DAY
"""How long steps wait for the start that they follow."""
AWAIT_STOP: Final = DAY
"""How long a stop is awaited if there is evidence that the session is over."""
AWAIT_NEWS: Final = 7 * DAY
"""How long a session may stay silent before it counts as over."""
LONGEST: Final = 60 * DAY
"""How long a session may last whose register stands still."""
LONGEST_STILL: Final = 7 * DAY
"""How long the register of such a session may stand still."""
REMEMBER: Final = 7 * DAY
"""How long a closed session is kept for messages that come late."""
REMEMBER_HELD: Final = 90 * DAY
"""How long a closed session is kept that an operator may decide about."""


def deadline(session: Session) -> int:
    """When a rule closes the session unless there is news of it; when it is forgotten, if it is closed."""
    if session.over:
        return session.recorded_at + (REMEMBER_HELD if session.held else REMEMBER)
    if session.started_at is None:
        return session.recorded_at + AWAIT_START
    over = session.until is not None or statuses.abandoned(session)
    return session.recorded_at + (AWAIT_STOP if over else AWAIT_NEWS)


def endless(session: Session) -> bool:
    """Whether a session has lasted for `LONGEST`, and its register has not risen for `LONGEST_STILL`."""
    if session.latest_at - session.begun_at < LONGEST:
        return False
    risen_at, known = session.begun_at, session.meter_start_wh
    for at, wh in own(session, session.meter):
        if known is not None and wh > known:
            risen_at = at
        known = wh
    return session.latest_at - risen_at >= LONGEST_STILL


def closed(session: Session, at: int) -> Session:
    """`session`, closed by a rule at `at`."""
    doubts = session.doubts
    if endless(session) and ENDLESS not in doubts:
        doubts = (*doubts, ENDLESS)
    return msgspec.structs.replace(session, closed_by_rule=True, recorded_at=at, doubts=doubts)


def reopened(session: Session, step: TransactionStep) -> Session:
    """`session`, which a rule closed, under way again if `step` shows that it goes on; else the same object.

    One that was endless goes on only when its register rises.
    """
    if session.stopped_at is not None or step.kind != "updated":
        return session
    if step.at <= session.latest_at or mutters(session, step):
        return session
    if session.until is not None and step.at >= session.until:
        return session
    doubts = tuple([doubt for doubt in session.doubts if doubt != ENDLESS])
    return msgspec.structs.replace(session, closed_by_rule=False, doubts=doubts)


def mutters(session: Session, step: TransactionStep) -> bool:
    """Whether `step` continues a session that was closed as endless, without a rise of its register."""
    if ENDLESS not in session.doubts or step.kind != "updated":
        return False
    last = session.meter.last()
    return last is None or all(reading.wh <= last for reading in step.readings)
