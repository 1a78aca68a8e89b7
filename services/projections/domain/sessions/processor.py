"""The latest state of every session and charge record."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from libs.bus.message import Emit, Message
from libs.bus.processor import Processor, Step, Tables, Tick
from libs.events.ids import derive_id
from libs.events.latest import CdrLatest, SessionLatest
from libs.events.sessions import (
    CdrCredited,
    CdrIssued,
    CompletedSession,
    SessionCorrected,
    SessionEnded,
    SessionRecord,
    SessionReopened,
    SessionStarted,
    SessionUpdated,
)
from libs.events.topics import BILLING_CDRS, BILLING_CDRS_LATEST, SESSIONS_EVENTS, SESSIONS_LATEST
from libs.runtime.clock import SECOND

DAY: Final = 24 * 3600 * SECOND
REMEMBER: Final = DAY
"""How long an ended session is remembered, for what its charge record and corrections do not say themselves."""
REMEMBER_OPEN: Final = 8 * DAY
"""How long one is that has no stop: it may go on for a week after a rule closed it."""
_NO_STOP: Final = "no_stop"

_NOTHING: Final = dict.fromkeys(
    (
        "energy_wh", "billed_wh", "review_wh", "written_off_wh", "exported_wh", "prepaid_wh", "amount_minor",
        "net_minor", "tax_minor",
    ),
    0,
)  # fmt: skip


class Charge(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a charge record says of the price of a session; version 0: none was issued."""

    cdr_version: int = 0
    tariff_id: str | None = None
    tariff_version: int | None = None
    group_id: str | None = None
    currency: str | None = None
    amount_minor: int | None = None
    net_minor: int | None = None
    tax_minor: int | None = None


class KnownSession(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is remembered of a session, for records that do not say it again.

    `stage`: how often it has ended and been reopened. Odd: it is under way; even: it has ended. What belongs to an
    earlier stage is old news. `forget_at`: None while it is under way, or until both its end and the charge record for
    that have come: what comes second must not be taken for news of an unknown session.
    """

    stage: int
    started_at: int
    meter_start_wh: int | None
    charge: Charge = Charge()
    forget_at: int | None = None


class SessionsLatest(Processor[KnownSession]):
    """SessionLatest with every event of a session, CdrLatest with every document about a charge.

    State is kept per session, not per station: it is small and is forgotten soon after the session's end. Everything
    goes to the partition of the station, whatever its key. The two inputs may come in any order.
    """

    name = "sessions-latest"
    inputs = (SESSIONS_EVENTS, BILLING_CDRS)
    outputs = (SESSIONS_LATEST, BILLING_CDRS_LATEST)
    state = KnownSession
    linger_s = 0.5

    def key(self, message: Message) -> str | None:
        """The session."""
        return message.record.session_id if isinstance(message.record, SessionRecord) else None

    def step(self, state: KnownSession | None, event: Message | Tick, tables: Tables) -> Step[KnownSession]:
        """Fold one record, or forget the session."""
        if isinstance(event, Tick):
            return Step(None)
        record = event.record
        out: list[Emit] = []
        if isinstance(record, CdrIssued | CdrCredited):
            out.append(Emit(BILLING_CDRS_LATEST, record.cdr_id, _cdr(record), event.partition))
        match record:
            case SessionStarted() | SessionUpdated() | SessionReopened():
                after, told = _running(state, record)
            case SessionEnded() | SessionCorrected():
                after, told = _ended(state, record)
            case CdrIssued():
                after, told = _issued(state, record)
            case _:
                after, told = state, None
        if told is not None:
            out.append(Emit(SESSIONS_LATEST, told.session_id, told, event.partition))
        return Step(after, tuple(out))

    def due(self, state: KnownSession) -> int | None:
        """When the session is forgotten."""
        return state.forget_at


Told = tuple[KnownSession | None, SessionLatest | None]
"""What is remembered next, and what is told; None: nothing new."""


def _running(state: KnownSession | None, record: SessionStarted | SessionReopened | SessionUpdated) -> Told:
    revision = 0 if isinstance(record, SessionStarted) else record.revision
    stage = 2 * revision + 1
    if state is not None and stage < state.stage:
        return state, None
    match record:
        case SessionStarted():
            state = KnownSession(stage, record.started_at, record.meter_start_wh)
            so_far: dict[str, Any] = {"energy_wh": 0, "meter_wh": record.meter_start_wh}
        case SessionReopened() | SessionUpdated():
            if isinstance(record, SessionReopened):
                state = _reopened(state, record)
            so_far = {name: getattr(record, name) for name in ("energy_wh", "meter_wh", "charging_state")}
    if state is None:
        return None, None
    return state, _session(
        record,
        state.charge,
        running=True,
        revision=revision,
        started_at=state.started_at,
        meter_start_wh=state.meter_start_wh,
        **so_far,
    )


def _reopened(state: KnownSession | None, record: SessionReopened) -> KnownSession:
    stage = 2 * record.revision + 1
    if state is None:
        return KnownSession(stage, record.started_at, None)
    return msgspec.structs.replace(state, stage=stage, started_at=record.started_at, forget_at=None)


def _ended(state: KnownSession | None, record: SessionEnded | SessionCorrected) -> Told:
    revision = 1 if isinstance(record, SessionEnded) else record.version
    charge = Charge() if state is None else state.charge
    if state is not None and 2 * revision < state.stage:
        return state, None
    known, told = _over(record, revision, charge)
    if charge.cdr_version < revision:
        return known, told
    # Its charge record came first, and said as much.
    return msgspec.structs.replace(known, forget_at=_forgotten(record)), None


def _issued(state: KnownSession | None, record: CdrIssued) -> Told:
    if state is not None and record.version <= state.charge.cdr_version:
        return state, None
    charge = Charge(
        record.version, record.tariff_id, record.tariff_version, record.group_id, record.currency,
        record.amount_minor, record.net_minor, record.tax_minor,
    )  # fmt: skip
    if state is not None and 2 * record.version < state.stage:
        # The session has gone on. What it is now is told with its next event, this price beside it.
        return msgspec.structs.replace(state, charge=charge), None
    known, told = _over(record, record.version, charge)
    if state is not None and state.stage == 2 * record.version:
        known = msgspec.structs.replace(known, forget_at=_forgotten(record))
    return known, told


def _forgotten(record: CompletedSession) -> int:
    return record.recorded_at + (REMEMBER_OPEN if _NO_STOP in record.review else REMEMBER)


def _over(record: CompletedSession, revision: int, charge: Charge) -> tuple[KnownSession, SessionLatest]:
    known = KnownSession(2 * revision, record.started_at, record.meter_start_wh, charge)
    return known, _session(
        record,
        charge,
        running=False,
        revision=revision,
        started_at=record.started_at,
        ended_at=record.ended_at,
        meter_start_wh=record.meter_start_wh,
        meter_wh=record.meter_stop_wh,
        energy_wh=record.energy_wh,
        billed_wh=record.billed_wh,
        review_wh=record.review_wh,
        written_off_wh=record.written_off_wh,
        exported_wh=record.exported_wh,
        reason=record.reason,
        review=record.review,
        charging_s=record.charging_s,
        suspended_s=record.suspended_s,
        idle_s=record.idle_s,
        decision_id=record.decision_id,
        token_refusal=record.token_refusal,
    )


def _session(record: SessionRecord, charge: Charge, **told: Any) -> SessionLatest:
    return SessionLatest(
        event_id=derive_id(record.event_id, "session-latest"),
        occurred_at=record.occurred_at,
        recorded_at=record.recorded_at,
        cause_id=record.event_id,
        station_id=record.station_id,
        session_id=record.session_id,
        evse_id=record.evse_id,
        transaction_id=record.transaction_id,
        site_id=record.site_id,
        id_token=record.id_token,
        **told,
        **msgspec.structs.asdict(charge),
    )


def _cdr(record: CdrIssued | CdrCredited) -> CdrLatest:
    credited = isinstance(record, CdrCredited)
    told = {name: getattr(record, name) for name in _CDR_FIELDS}
    # What a credit note takes back is charged no more; its own amounts are negative.
    told |= _NOTHING if credited else {}
    return CdrLatest(
        **told, credited=credited, event_id=derive_id(record.event_id, "cdr-latest"), cause_id=record.event_id
    )


_CDR_FIELDS: Final = tuple(
    name for name in CdrLatest.__struct_fields__ if name not in ("event_id", "cause_id", "credited")
)
