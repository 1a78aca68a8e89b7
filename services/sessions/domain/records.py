"""Sessions to the records that announce them. Ids derive from the session, so that a repeat can be dropped."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from libs.bus.message import Emit
from libs.events.cdr_hash import sealed
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
    SessionReopened,
    SessionStarted,
    SessionUpdated,
)
from libs.events.topics import (
    BILLING_CDRS,
    BILLING_DECISIONS,
    BILLING_PREPAID,
    OCPP_LIFECYCLE,
    OCPP_TRANSACTIONS,
    SESSIONS_EVENTS,
)
from services.sessions.domain.charge import Charge, Charged
from services.sessions.domain.origin import Cause
from services.sessions.domain.session import Issued, Outcome, Session, own, running

NO_TARIFF: Final = "no_tariff"


def started(station_id: str, session: Session, cause: Cause) -> Emit:
    """SessionStarted, once per session."""
    return Emit(
        SESSIONS_EVENTS,
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
            trigger="" if session.started_at is None else cause.trigger,
        ),
    )


def updated(station_id: str, session: Session, cause: Cause) -> Emit:
    """SessionUpdated, one per cause."""
    return Emit(SESSIONS_EVENTS, station_id, _update(station_id, session, cause))


def reopened(station_id: str, session: Session, cause: Cause) -> Emit:
    """SessionReopened, one per cause: what `session` is now, after the end that it was announced to have."""
    told = msgspec.structs.asdict(_update(station_id, session, cause))
    told["event_id"] = derive_id(cause.event_id, "session-reopened")
    return Emit(SESSIONS_EVENTS, station_id, SessionReopened(**told, started_at=session.begun_at))


def _update(station_id: str, session: Session, cause: Cause) -> SessionUpdated:
    energy_wh, meter_wh, charging_state = running(session)
    return SessionUpdated(
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
        trigger=cause.trigger,
        revision=session.revision,
    )


def ended(station_id: str, session: Session, charged: Charged, cause: Cause) -> Emit:
    """SessionEnded; from the second revision on SessionCorrected."""
    common, revision = _common(station_id, session, charged, cause), session.revision
    if revision == 1:
        first = SessionEnded(event_id=derive_id(session.session_id, "ended"), **common)
        return Emit(SESSIONS_EVENTS, station_id, first)
    event_id = derive_id(session.session_id, f"corrected:{revision}")
    return Emit(SESSIONS_EVENTS, station_id, SessionCorrected(event_id=event_id, version=revision, **common))


def _common(station_id: str, session: Session, charged: Charged, cause: Cause) -> dict[str, Any]:
    return {
        "occurred_at": cause.occurred_at,
        "recorded_at": cause.recorded_at,
        "cause_id": cause.event_id,
        "station_id": station_id,
        "session_id": session.session_id,
        "transaction_id": session.transaction_id,
        "site_id": session.site_id,
        "quirks": session.quirks,
        **msgspec.structs.asdict(charged.result),
    }


def documents(
    station_id: str, session: Session, charged: Charged, cause: Cause, chain: str
) -> tuple[Issued, list[Emit]]:
    """The charge record; from the second revision on after a credit note over the version before.

    They follow on `chain`, the hash of the station's last document.
    """
    revision, before, ended = session.revision, session.issued, charged.result.ended_at
    common = _common(station_id, session, charged, cause) | {"group_id": session.group_id}
    out: list[Emit] = []
    if before is not None:
        credit = _credit(session, before, common, chain)
        chain = credit.hash
        out.append(Emit(BILLING_CDRS, station_id, credit))
    cdr = sealed(
        CdrIssued(
            event_id=derive_id(session.session_id, f"cdr:{revision}"),
            cdr_id=derive_id(session.session_id, "cdr"),
            version=revision,
            previous_hash=chain,
            sources=_sources(session),
            readings=tuple(CdrReading(at=min(at, ended), wh=wh) for at, wh in own(session, session.meter)),
            max_power_w=session.most_w,
            timezone=session.timezone,
            intervals=tuple(
                CdrInterval(to_at=each.end, energy_wh=each.energy_wh, kind=each.kind.value)
                for each in charged.usage
            ),
            **{**common, **_priced(charged.result, charged.charge)},
        )
    )
    out.append(Emit(BILLING_CDRS, station_id, cdr))
    return msgspec.structs.replace(said(session, charged), hash=cdr.hash), out


def said(session: Session, charged: Charged) -> Issued:
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
        prepaid_wh=priced.get("prepaid_wh", 0),
        id_token=result.id_token,
        group_id=session.group_id,
        site_id=session.site_id,
    )


def _credit(session: Session, before: Issued, common: dict[str, Any], chain: str) -> CdrCredited:
    """Takes back what was issued, of whom it was charged to; else says of the session what is known now."""
    return sealed(
        CdrCredited(
            **{
                **common,
                "energy_wh": -before.energy_wh,
                "billed_wh": -before.billed_wh,
                "review_wh": before.billed_wh + before.written_off_wh - before.energy_wh,
                "written_off_wh": -before.written_off_wh,
                "exported_wh": -before.exported_wh,
                "id_token": before.id_token,
                "group_id": before.group_id,
                "site_id": before.site_id,
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
            prepaid_wh=-before.prepaid_wh,
            credited_hash=before.hash,
            previous_hash=chain,
        )
    )


def _sources(session: Session) -> tuple[CdrSource, ...]:
    evidence = CdrSource(
        topic=OCPP_TRANSACTIONS,
        partition=session.partition,
        first_offset=session.first_offset,
        last_offset=session.last_offset,
    )
    sources = [evidence]
    if session.last_status >= 0:
        # The partition of a station is the same in every topic that a processor reads.
        place = {"first_offset": session.first_status, "last_offset": session.last_status}
        sources.append(CdrSource(topic=OCPP_LIFECYCLE, partition=session.partition, **place))
    decision = session.decision
    if decision is not None:
        place = {"first_offset": decision.offset, "last_offset": decision.offset}
        sources.append(CdrSource(topic=BILLING_DECISIONS, partition=decision.partition, **place))
    grant = session.grant
    if grant is not None:
        place = {"first_offset": grant.offset, "last_offset": grant.offset}
        sources.append(CdrSource(topic=BILLING_PREPAID, partition=grant.partition, **place))
    return tuple(sources)


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
        "prepaid_wh": bill.prepaid_wh,
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
