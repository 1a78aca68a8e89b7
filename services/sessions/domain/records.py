"""Sessions to the records that announce them. Ids derive from the session, so that a repeat can be dropped."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

from libs.bus.message import Emit
from libs.events.ids import derive_id
from libs.events.sessions import (
    CdrCredited,
    CdrInterval,
    CdrIssued,
    CdrLine,
    CdrReading,
    CdrSource,
    CdrTax,
    SessionCorrected,
    SessionEnded,
    SessionStarted,
    SessionUpdated,
    digest,
)
from libs.tariffs.usage import Usage
from services.sessions.domain.decisions import DECISIONS
from services.sessions.domain.pricing import Charge
from services.sessions.domain.session import Issued, Outcome, Session, running

TRANSACTIONS: Final = "ocpp.transactions"
EVENTS: Final = "sessions.events"
CDRS: Final = "billing.cdrs"
NO_TARIFF: Final = "no_tariff"

D = TypeVar("D", CdrIssued, CdrCredited)


class Charged(msgspec.Struct, frozen=True, gc=False):
    """What a session amounts to, what of it is billed, and the bill; None without a tariff."""

    result: Outcome
    usage: Usage
    charge: Charge | None


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
    station_id: str, session: Session, charged: Charged, cause: Cause, chain: str
) -> tuple[Issued, list[Emit]]:
    """SessionEnded and the charge record; from the second revision on SessionCorrected, a credit note over the version
    before, and the next one. Documents follow on `chain`, the hash of the station's last one."""
    result = charged.result
    revision, before = session.revision, session.issued
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
    out: list[Emit] = []
    if before is None:
        out.append(
            Emit(EVENTS, station_id, SessionEnded(event_id=derive_id(session.session_id, "ended"), **common))
        )
    else:
        event_id = derive_id(session.session_id, f"corrected:{revision}")
        out.append(Emit(EVENTS, station_id, SessionCorrected(event_id=event_id, version=revision, **common)))
        credit = _credit(session, before, common, chain)
        chain = credit.hash
        out.append(Emit(CDRS, station_id, credit))
    cdr = _sealed(
        CdrIssued(
            event_id=derive_id(session.session_id, f"cdr:{revision}"),
            cdr_id=derive_id(session.session_id, "cdr"),
            version=revision,
            previous_hash=chain,
            sources=_sources(session),
            readings=tuple(CdrReading(at=at, wh=wh) for at, wh in session.meter.readings()),
            max_power_w=session.most_w,
            intervals=tuple(
                CdrInterval(to_at=each.end, energy_wh=each.energy_wh, kind=each.kind.value)
                for each in charged.usage
            ),
            **{**common, **_priced(result, charged.charge)},
        )
    )
    out.append(Emit(CDRS, station_id, cdr))
    return msgspec.structs.replace(said(charged), hash=cdr.hash), out


def said(charged: Charged) -> Issued:
    """What a charge record says of it that a credit note would take back, without its hash."""
    result = charged.result
    priced = _priced(result, charged.charge)
    return Issued(
        tariff_id=priced.get("tariff_id"),
        tariff_version=priced.get("tariff_version"),
        currency=priced.get("currency"),
        net_minor=priced.get("net_minor", 0),
        tax_minor=priced.get("tax_minor", 0),
        amount_minor=priced["amount_minor"],
        energy_wh=result.energy_wh,
        billed_wh=result.billed_wh,
        exported_wh=result.exported_wh,
        hash="",
        written_off_wh=result.written_off_wh,
    )


def _sealed(document: D) -> D:
    return msgspec.structs.replace(document, hash=digest(document))


def _credit(session: Session, before: Issued, common: dict[str, Any], chain: str) -> CdrCredited:
    """Takes back what was issued; says of the session what is known now, but the energy as it was then."""
    return _sealed(
        CdrCredited(
            **{
                **common,
                "energy_wh": -before.energy_wh,
                "billed_wh": -before.billed_wh,
                "review_wh": before.billed_wh + before.written_off_wh - before.energy_wh,
                "written_off_wh": -before.written_off_wh,
                "exported_wh": -before.exported_wh,
            },
            event_id=derive_id(session.session_id, f"credit:{session.revision - 1}"),
            cdr_id=derive_id(session.session_id, "cdr"),
            version=session.revision - 1,
            tariff_id=before.tariff_id,
            tariff_version=before.tariff_version,
            currency=before.currency,
            amount_minor=-before.amount_minor,
            net_minor=-before.net_minor,
            tax_minor=-before.tax_minor,
            credited_hash=before.hash,
            previous_hash=chain,
        )
    )


def _sources(session: Session) -> tuple[CdrSource, ...]:
    evidence = CdrSource(
        topic=TRANSACTIONS,
        partition=session.partition,
        first_offset=session.first_offset,
        last_offset=session.last_offset,
    )
    decision = session.decision
    if decision is None:
        return (evidence,)
    place = {"first_offset": decision.offset, "last_offset": decision.offset}
    return evidence, CdrSource(topic=DECISIONS, partition=decision.partition, **place)


def _priced(result: Outcome, charge: Charge | None) -> dict[str, Any]:
    if charge is None:
        return {"amount_minor": 0, "review": tuple(sorted({*result.review, NO_TARIFF}))}
    bill = charge.bill
    return {
        "tariff_id": charge.tariff_id,
        "tariff_version": charge.version,
        "currency": charge.currency,
        "amount_minor": bill.gross_minor,
        "net_minor": bill.net_minor,
        "tax_minor": bill.tax_minor,
        "lines": tuple(
            CdrLine(
                kind=line.kind.value,
                quantity=line.quantity,
                unit=line.unit,
                price_milli=line.price_milli,
                amount_minor=line.gross_minor,
                net_minor=line.net_minor,
                tax_minor=line.tax_minor,
                from_at=line.start,
                to_at=line.end,
            )
            for line in bill.lines
        ),
        "taxes": tuple(
            CdrTax(name=t.name, rate_milli=t.rate_milli, net_minor=t.net_minor, tax_minor=t.tax_minor)
            for t in bill.taxes
        ),
    }
