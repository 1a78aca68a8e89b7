"""One session as the evidence seen of it. `absorb` joins a step to it, `outcome` says what it amounts to.

Whatever the order in which the steps of a truthful charger arrive, and however often, the joined evidence and
thus the outcome is the same: extremes are joined by min and max, and of what may happen only once the first
counts. Times are microseconds since the Unix epoch, energy is int Wh.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from libs.events.ids import derive_id
from libs.ocpp import quirks
from libs.ocpp.semantics.model import TransactionStep

METER_ROLLBACK: Final = "meter_rollback"
NO_METER: Final = "no_meter"
NO_METER_START: Final = "no_meter_start"
NO_METER_STOP: Final = "no_meter_stop"
NO_START: Final = "no_start"
NO_STOP: Final = "no_stop"
STOP_CONFLICT: Final = "stop_conflict"
CLOCK_DOUBT: Final = "clock_doubt"
IMPLAUSIBLE_ENERGY: Final = "implausible_energy"

ROLLBACK_TOLERANCE_WH: Final = 100
"""Sampled registers come in tenths of a kWh where the transaction's own are whole Wh."""
IMPLAUSIBLE_WH: Final = 2_000_000
"""No vehicle takes that much at once: a lifetime register was taken for a session's."""

_CLOCK_QUIRKS: Final = frozenset({quirks.TIMESTAMP_OUT_OF_BOUNDS, quirks.TIMESTAMP_UNREADABLE})


class Session(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Evidence of one transaction, and how much of it has been announced.

    `earliest_at` and `latest_at` bound the charger's times of all steps; `recorded_at` and `cause_id` belong to
    the last step that brought news. `first_wh` is the register sampled earliest, `low_wh` and `high_wh` the
    extremes. `doubts` are those that come from a single step. `session_id` is empty until SessionStarted is
    out. `closed_by_rule`: given up waiting. `revision`: how often the end has been announced. `quirks`: flags of
    all steps, sorted.
    """

    transaction_id: str
    version: str
    earliest_at: int
    latest_at: int
    recorded_at: int
    cause_id: str
    evse_id: int | None = None
    id_token: str | None = None
    token_at: int | None = None
    started_at: int | None = None
    meter_start_wh: int | None = None
    stopped_at: int | None = None
    meter_stop_wh: int | None = None
    reason: str = ""
    first_at: int | None = None
    first_wh: int | None = None
    low_wh: int | None = None
    high_wh: int | None = None
    charging_state: str | None = None
    state_at: int | None = None
    doubts: tuple[str, ...] = ()
    session_id: str = ""
    site_id: str | None = None
    closed_by_rule: bool = False
    revision: int = 0
    quirks: tuple[str, ...] = ()

    @property
    def over(self) -> bool:
        """Whether nothing more is awaited of it."""
        return self.closed_by_rule or (self.stopped_at is not None and self.started_at is not None)


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What an ended session amounts to. Equal outcomes need no correction."""

    evse_id: int
    id_token: str | None
    started_at: int
    ended_at: int
    meter_start_wh: int | None
    meter_stop_wh: int | None
    energy_wh: int
    reason: str
    review: tuple[str, ...]


def session_id_of(station_id: str, session: Session) -> str:
    """Identity of a session: station, transaction id and start (or earliest evidence, if it has no start)."""
    start = session.earliest_at if session.started_at is None else session.started_at
    return derive_id(f"{station_id}\n{session.transaction_id}\n{start}", "session")


def begin(step: TransactionStep, version: str, event_id: str, recorded_at: int) -> Session:
    """A session of which `step` is the first evidence."""
    empty = Session(step.transaction_id, version, step.at, step.at, recorded_at, event_id)
    return absorb(empty, step, event_id, recorded_at)


def absorb(session: Session, step: TransactionStep, event_id: str, recorded_at: int) -> Session:
    """`session` with `step` joined to it; the same object if the step brings no news."""
    news: dict[str, Any] = {}
    if step.at > session.latest_at:
        news["latest_at"] = step.at
    elif step.at < session.earliest_at:
        news["earliest_at"] = step.at
    if step.evse_id and session.evse_id is None:
        news["evse_id"] = step.evse_id
    if step.id_token is not None and (session.token_at is None or step.at < session.token_at):
        news["id_token"], news["token_at"] = step.id_token, step.at
    if step.charging_state is not None and (session.state_at is None or step.at > session.state_at):
        news["charging_state"], news["state_at"] = step.charging_state, step.at
    if step.quirks and not set(session.quirks).issuperset(step.quirks):
        news["quirks"] = tuple(sorted({*session.quirks, *step.quirks}))
    if step.readings:
        _absorb_readings(session, step, news)
    if step.kind == "started":
        _absorb_start(session, step, news)
    elif step.kind == "ended":
        _absorb_stop(session, step, news)
    if not news:
        return session
    return msgspec.structs.replace(session, cause_id=event_id, recorded_at=recorded_at, **news)


def _absorb_readings(session: Session, step: TransactionStep, news: dict[str, Any]) -> None:
    first_at, first, low, high = session.first_at, session.first_wh, session.low_wh, session.high_wh
    for reading in step.readings:
        wh = reading.wh
        if first_at is None or reading.at < first_at:
            first_at, first = reading.at, wh
        if low is None or wh < low:
            low = wh
        if high is None or wh > high:
            high = wh
        # The history in an Ended event, or the transactionData of a StopTransaction (2.0.1 J02, 1.6 §4.10).
        if reading.context == "Transaction.Begin" and session.meter_start_wh is None:
            news.setdefault("meter_start_wh", wh)
    if first != session.first_wh or first_at != session.first_at:
        news["first_at"], news["first_wh"] = first_at, first
    if low != session.low_wh:
        news["low_wh"] = low
    if high != session.high_wh:
        news["high_wh"] = high


def _absorb_start(session: Session, step: TransactionStep, news: dict[str, Any]) -> None:
    if session.started_at is not None:
        return
    news["started_at"] = step.at
    if step.meter_wh is not None:
        news["meter_start_wh"] = step.meter_wh
    if step.evse_id:
        news["evse_id"] = step.evse_id
    _doubt_clock(session, step, news)


def _absorb_stop(session: Session, step: TransactionStep, news: dict[str, Any]) -> None:
    if session.stopped_at is None:
        news["stopped_at"], news["meter_stop_wh"] = step.at, step.meter_wh
        news["reason"] = step.reason or ""
        _doubt_clock(session, step, news)
    elif step.meter_wh != session.meter_stop_wh and STOP_CONFLICT not in session.doubts:
        news["doubts"] = (*session.doubts, STOP_CONFLICT)


def _doubt_clock(session: Session, step: TransactionStep, news: dict[str, Any]) -> None:
    if CLOCK_DOUBT not in session.doubts and not _CLOCK_QUIRKS.isdisjoint(step.quirks):
        news["doubts"] = (*session.doubts, CLOCK_DOUBT)


def running(session: Session) -> tuple[int, int | None, str | None]:
    """Of a session under way: energy so far in Wh, highest register in Wh, charging state."""
    start, high = session.meter_start_wh, session.high_wh
    if start is None:
        start = session.first_wh
    if high is None or start is None:
        return 0, start, session.charging_state
    return max(0, high - start), max(high, start), session.charging_state


def outcome(session: Session) -> Outcome:
    """What a session amounts to that has ended or was closed by a rule.

    Energy is the difference of two registers, never negative. The register at start is the transaction's own,
    else the earliest sample; at the end the transaction's own, else the highest sample. Whatever stands in for
    something better is named in `review`.
    """
    doubts = set(session.doubts)
    start, stop = session.meter_start_wh, session.meter_stop_wh
    low, high = session.low_wh, session.high_wh
    if session.started_at is None:
        doubts.add(NO_START)
    if session.stopped_at is None:
        doubts.add(NO_STOP)
    if start is None:
        start = session.first_wh
        doubts.add(NO_METER_START)
    if stop is None:
        stop = high
        if session.stopped_at is not None:
            doubts.add(NO_METER_STOP)
    if start is None or stop is None:
        doubts.add(NO_METER)
        energy = 0
    else:
        energy = max(0, stop - start)
        if (
            stop < start
            or (low is not None and low < start - ROLLBACK_TOLERANCE_WH)
            or (high is not None and high > stop + ROLLBACK_TOLERANCE_WH)
        ):
            doubts.add(METER_ROLLBACK)
        if energy > IMPLAUSIBLE_WH:
            doubts.add(IMPLAUSIBLE_ENERGY)
    return Outcome(
        evse_id=session.evse_id or 0,
        id_token=session.id_token,
        started_at=session.earliest_at if session.started_at is None else session.started_at,
        ended_at=session.latest_at if session.stopped_at is None else session.stopped_at,
        meter_start_wh=start,
        meter_stop_wh=stop,
        energy_wh=energy,
        reason=session.reason,
        review=tuple(sorted(doubts)),
    )
