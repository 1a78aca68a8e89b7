"""Steps of a transaction joined to the evidence of its session.

Whatever the order in which the steps of a truthful charger arrive, and however often, the joined evidence and
thus the outcome is the same: extremes are joined by min and max, and of what may happen only once the first
counts.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from libs.ocpp import quirks
from libs.ocpp.semantics.model import TransactionStep
from libs.runtime.clock import SECOND
from services.sessions.domain import curve, states, tokens
from services.sessions.domain.origin import Source
from services.sessions.domain.session import CLOCK_DOUBT, STOP_CONFLICT, Session, Signed, credible, was_over
from services.sessions.domain.states import STATES

ROUTINE: Final = frozenset({"MeterValuePeriodic", "MeterValueClock", "SignedDataReceived", "Trigger"})
"""Triggers of 2.x (TriggerReasonEnumType) that tell nothing of a transaction but what was measured."""

MOST_AHEAD: Final = 24 * 3600 * SECOND
"""How long before the time that it names a message may have come."""

_CLOCK_QUIRKS: Final = frozenset({quirks.TIMESTAMP_OUT_OF_BOUNDS, quirks.TIMESTAMP_UNREADABLE})


def begin(step: TransactionStep, version: str, source: Source) -> Session:
    """A session of which `step` is the first evidence."""
    empty = Session(
        step.transaction_id,
        version,
        step.at,
        step.at,
        source.recorded_at,
        source.event_id,
        partition=source.partition,
        first_offset=source.offset,
        last_offset=source.offset,
        first_heard_at=source.recorded_at,
        last_heard_at=source.recorded_at,
    )
    return absorb(empty, step, source)


def absorb(session: Session, step: TransactionStep, source: Source) -> Session:
    """`session` with `step` joined to it; the same object if the step brings no news."""
    stopped, until = session.stopped_at, session.until
    if (until is not None or stopped is not None) and step.kind == "updated" and was_over(session, step.at):
        return session
    session, step = _of_one_place(session, step)
    news: dict[str, Any] = {}
    if step.at > session.latest_at:
        news["latest_at"] = step.at
    elif step.at < session.earliest_at:
        news["earliest_at"] = step.at
    if step.evse_id and session.evse_id is None:
        news["evse_id"] = step.evse_id
    if step.id_token is not None:
        _absorb_token(session, step, news)
    if step.trigger is not None:
        _absorb_told(session, step, step.trigger, source, news)
    if step.quirks and not set(session.quirks).issuperset(step.quirks):
        news["quirks"] = tuple(sorted({*session.quirks, *step.quirks}))
    if step.readings or step.exported or step.signed:
        _absorb_meter(session, step, source, news)
    if step.kind != "updated":
        (_absorb_start if step.kind == "started" else _absorb_stop)(session, step, source, news)
    if not news:
        return session
    _heard(session, source.recorded_at, news)
    if source.offset < session.first_offset:
        news["first_offset"] = source.offset
    elif source.offset > session.last_offset:
        news["last_offset"] = source.offset
    return msgspec.structs.replace(session, cause_id=source.event_id, recorded_at=source.recorded_at, **news)


def _of_one_place(session: Session, step: TransactionStep) -> tuple[Session, TransactionStep]:
    """`session` and `step` with the registers of one place only: of the two that which is nearer to the outlet.

    In 2.x the registers at start and stop are samples as well.
    """
    if step.place == session.place or not step.readings:
        return session, step
    sampled = step.seq_no is not None
    known = session.meter.points or session.undated_low is not None
    if sampled:
        known = known or session.meter_start_wh is not None or session.meter_stop_wh is not None
    if known and step.place > session.place:
        own = None if sampled else step.meter_wh
        return session, msgspec.structs.replace(step, readings=(), meter_wh=own)
    start, stop = (None, None) if sampled else (session.meter_start_wh, session.meter_stop_wh)
    return msgspec.structs.replace(
        session,
        place=step.place,
        meter=curve.EMPTY,
        undated_low=None,
        undated_high=None,
        meter_start_wh=start,
        meter_stop_wh=stop,
    ), step


def _heard(session: Session, at: int, news: dict[str, Any]) -> None:
    """The receipts between which the session lies: from the first message to the stop, or the last without one."""
    first, last = session.first_heard_at, session.last_heard_at
    if first is None or last is None:
        return
    if at < first:
        news["first_heard_at"] = at
    if session.stopped_at is None and (at > last or "stopped_at" in news):
        news["last_heard_at"] = at


def _absorb_token(session: Session, step: TransactionStep, news: dict[str, Any]) -> None:
    named = tokens.joined(session.tokens, step)
    if named is not session.tokens:
        news["tokens"], news["id_token"] = named, named[0].id_token


def _absorb_told(
    session: Session, step: TransactionStep, trigger: str, source: Source, news: dict[str, Any]
) -> None:
    """What a charger of 2.x tells of a transaction beside what it measured."""
    at, state = credible(session, step.at, source.recorded_at), step.charging_state
    if trigger not in ROUTINE:
        known = session.trigger_at
        if known is None or at > known or (at == known and trigger > session.trigger):
            news["trigger"], news["trigger_at"] = trigger, at
    if state is None:
        return
    if session.state_at is None or at > session.state_at:
        news["charging_state"], news["state_at"] = state, at
    code = STATES.get(state)
    if code is not None and _CLOCK_QUIRKS.isdisjoint(step.quirks):
        joined = states.join(session.states, at, code, step.seq_no or 0)
        if joined is not session.states:
            news["states"] = joined


def _absorb_meter(session: Session, step: TransactionStep, source: Source, news: dict[str, Any]) -> None:
    if step.readings:
        _absorb_readings(session, step, news)
    if step.exported and _CLOCK_QUIRKS.isdisjoint(step.quirks):
        _absorb_exported(session, step, news)
    if step.signed:
        _absorb_signed(session, Signed(step.at, source.event_id), news)


def _absorb_readings(session: Session, step: TransactionStep, news: dict[str, Any]) -> None:
    meter = session.meter
    undated = bool(step.quirks) and not _CLOCK_QUIRKS.isdisjoint(step.quirks)
    if session.started_at is None and not undated:
        # A history is evidence of its own time, if no start ever comes.
        earliest = min(reading.at for reading in step.readings)
        if earliest < news.get("earliest_at", session.earliest_at):
            news["earliest_at"] = earliest
    for reading in step.readings:
        if reading.context == "Transaction.Begin":
            # The history in an Ended event, or the transactionData of a StopTransaction (2.0.1 J02, 1.6 §4.10).
            if session.meter_start_wh is None:
                news.setdefault("meter_start_wh", reading.wh)
        elif undated:
            _absorb_undated(session, reading.wh, news)
        else:
            meter = curve.join(meter, reading.at, reading.wh)
    if meter is not session.meter:
        news["meter"] = meter


def _absorb_undated(session: Session, wh: int, news: dict[str, Any]) -> None:
    low, high = news.get("undated_low", session.undated_low), news.get("undated_high", session.undated_high)
    if low is None or wh < low:
        news["undated_low"] = wh
    if high is None or wh > high:
        news["undated_high"] = wh


def _absorb_exported(session: Session, step: TransactionStep, news: dict[str, Any]) -> None:
    exported = session.exported
    for reading in step.exported:
        exported = curve.join(exported, reading.at, reading.wh)
    if exported is not session.exported:
        news["exported"] = exported


def _absorb_signed(session: Session, signed: Signed, news: dict[str, Any]) -> None:
    known = session.signed
    if not known:
        news["signed"] = (signed,)
    elif signed.at < known[0].at:
        news["signed"] = (signed, known[-1])
    elif signed.at > known[-1].at:
        news["signed"] = (known[0], signed)


def _absorb_start(session: Session, step: TransactionStep, source: Source, news: dict[str, Any]) -> None:
    if session.started_at is not None:
        return
    news["started_at"] = step.at
    if step.meter_wh is not None:
        news["meter_start_wh"] = step.meter_wh
    if step.evse_id:
        news["evse_id"] = step.evse_id
    _doubt_clock(session, step, source, news)


def _absorb_stop(session: Session, step: TransactionStep, source: Source, news: dict[str, Any]) -> None:
    if session.stopped_at is None:
        news["stopped_at"], news["meter_stop_wh"] = step.at, step.meter_wh
        news["reason"] = _reason(step)
        _doubt_clock(session, step, source, news)
    elif step.meter_wh is not None and step.meter_wh != session.meter_stop_wh:
        if session.meter_stop_wh is None:
            news["meter_stop_wh"] = step.meter_wh
        elif STOP_CONFLICT not in session.doubts:
            news["doubts"] = (*session.doubts, STOP_CONFLICT)


def _reason(step: TransactionStep) -> str:
    """Why it ended: the reason for the stop, else what made the charger tell of it. Of 2.x, where both are missing or
    mean nothing, the reason is the one that may be left out (2.0.1 part 2, stoppedReason)."""
    if step.reason:
        return step.reason
    return "Local" if step.trigger is None or step.trigger in ROUTINE else step.trigger


def _doubt_clock(session: Session, step: TransactionStep, source: Source, news: dict[str, Any]) -> None:
    """Of a clock that could not be read, or was further ahead than any zone is."""
    ahead = step.at > source.recorded_at + MOST_AHEAD
    if CLOCK_DOUBT not in session.doubts and (ahead or not _CLOCK_QUIRKS.isdisjoint(step.quirks)):
        news["doubts"] = (*session.doubts, CLOCK_DOUBT)
