"""Sessions to the records that announce them. Ids derive from the session, so that a repeat can be dropped."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from libs.bus.message import Emit
from libs.bus.processor import Tables
from libs.events.ids import derive_id
from libs.events.sessions import (
    CdrIssued,
    CdrLine,
    SessionCorrected,
    SessionEnded,
    SessionStarted,
    SessionUpdated,
)
from services.sessions.domain.pricing import amount_minor, price_of
from services.sessions.domain.session import Outcome, Session, running

EVENTS: Final = "sessions.events"
CDRS: Final = "billing.cdrs"
NO_TARIFF: Final = "no_tariff"


class Cause(msgspec.Struct, frozen=True, gc=False):
    """What makes a record be emitted: another record's event_id and times, or a tick's moment as both."""

    event_id: str
    occurred_at: int
    recorded_at: int


def started(station_id: str, session: Session, cause: Cause) -> Emit:
    """SessionStarted, once per session."""
    return Emit(
        EVENTS,
        station_id,
        SessionStarted(
            event_id=derive_id(session.session_id, "started"),
            occurred_at=cause.occurred_at,
            recorded_at=cause.recorded_at,
            cause_id=cause.event_id,
            station_id=station_id,
            session_id=session.session_id,
            evse_id=session.evse_id or 0,
            transaction_id=session.transaction_id,
            site_id=session.site_id,
            id_token=session.id_token,
            version=session.version,
            started_at=session.earliest_at if session.started_at is None else session.started_at,
            meter_start_wh=session.meter_start_wh,
        ),
    )


def updated(station_id: str, session: Session, cause: Cause) -> Emit:
    """SessionUpdated, one per cause."""
    energy_wh, meter_wh, charging_state = running(session)
    return Emit(
        EVENTS,
        station_id,
        SessionUpdated(
            event_id=derive_id(cause.event_id, "session-updated"),
            occurred_at=cause.occurred_at,
            recorded_at=cause.recorded_at,
            cause_id=cause.event_id,
            station_id=station_id,
            session_id=session.session_id,
            evse_id=session.evse_id or 0,
            transaction_id=session.transaction_id,
            site_id=session.site_id,
            id_token=session.id_token,
            energy_wh=energy_wh,
            meter_wh=meter_wh,
            charging_state=charging_state,
        ),
    )


def ended(
    station_id: str, session: Session, result: Outcome, cause: Cause, tables: Tables
) -> tuple[Emit, Emit]:
    """SessionEnded, or SessionCorrected from the second revision on, and the charge record of that version."""
    revision = session.revision
    common: dict[str, Any] = {
        "occurred_at": cause.occurred_at,
        "recorded_at": cause.recorded_at,
        "cause_id": cause.event_id,
        "station_id": station_id,
        "session_id": session.session_id,
        "transaction_id": session.transaction_id,
        "site_id": session.site_id,
        "quirks": session.quirks,
        **msgspec.structs.asdict(result),
    }
    fact: SessionEnded | SessionCorrected
    if revision == 1:
        fact = SessionEnded(event_id=derive_id(session.session_id, "ended"), **common)
    else:
        fact = SessionCorrected(
            event_id=derive_id(session.session_id, f"corrected:{revision}"), version=revision, **common
        )
    priced = {**common, **_priced(session.site_id, result, tables)}
    cdr = CdrIssued(
        event_id=derive_id(session.session_id, f"cdr:{revision}"),
        cdr_id=derive_id(session.session_id, "cdr"),
        version=revision,
        **priced,
    )
    return Emit(EVENTS, station_id, fact), Emit(CDRS, station_id, cdr)


def _priced(site_id: str | None, result: Outcome, tables: Tables) -> dict[str, Any]:
    price = price_of(site_id, result.started_at, tables)
    if price is None:
        return {"amount_minor": 0, "review": tuple(sorted({*result.review, NO_TARIFF}))}
    amount = amount_minor(result.billed_wh, price.price_per_kwh_milli)
    line = CdrLine(
        kind="energy",
        quantity=result.billed_wh,
        unit="Wh",
        price_milli=price.price_per_kwh_milli,
        amount_minor=amount,
    )
    return {
        "tariff_id": price.tariff_id,
        "tariff_version": price.version,
        "currency": price.currency,
        "amount_minor": amount,
        "lines": (line,),
    }
