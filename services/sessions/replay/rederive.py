"""Sessions that a corrected fold makes something else of, brought back so that their records are corrected. Pure."""

from __future__ import annotations

from hashlib import sha256

import msgspec

from libs.events.decisions import SessionEvidenceRecalled, SessionRecalled
from libs.events.ids import derive_id
from libs.events.sessions import CdrIssued
from libs.events.topics import BILLING_PREPAID
from libs.tariffs.months import month_at, month_text
from services.sessions.domain.decisions import evidence_of
from services.sessions.domain.grants import Asked, Grant
from services.sessions.domain.session import Issued, Session
from services.sessions.replay.compare import Entry


class Sorted(msgspec.Struct):
    """Sessions that differ from their records. Only those in `recalled` are corrected.

    `decided`: operators decided about them. `regrouped`: their drivers belong to other groups now. `orphaned`: the
    registry has no site or no tariff for them any more. `unissued`: they never had a record. `unknown`: the fold knows
    no such session.
    """

    recalled: list[Entry] = msgspec.field(default_factory=list)
    decided: list[Entry] = msgspec.field(default_factory=list)
    regrouped: list[Entry] = msgspec.field(default_factory=list)
    orphaned: list[Entry] = msgspec.field(default_factory=list)
    unissued: list[Entry] = msgspec.field(default_factory=list)
    unknown: list[Entry] = msgspec.field(default_factory=list)

    def add(self, entry: Entry, fields: tuple[str, ...]) -> None:
        """Sort in a session in which these differ."""
        before, after = entry.before, entry.after
        if not fields:
            return
        if before is None:
            self.unissued.append(entry)
        elif after is None:
            self.unknown.append(entry)
        elif before.decision_id is not None:
            # The fold may have forgotten it since: it waited for the decision alone.
            self.decided.append(entry)
        elif entry.session is None:
            self.unknown.append(entry)
        elif before.group_id != after.group_id:
            self.regrouped.append(entry)
        elif _gone(before.site_id, after.site_id) or _gone(before.tariff_id, after.tariff_id):
            self.orphaned.append(entry)
        else:
            self.recalled.append(entry)


def _gone(before: str | None, after: str | None) -> bool:
    """Whether it was removed. Another one is none: these have dates, so that somebody rewrote the past on purpose."""
    return before is not None and after is None


def issued_of(cdr: CdrIssued) -> Issued:
    """What a credit note over this record has to take back."""
    return Issued(**{name: getattr(cdr, name) for name in Issued.__struct_fields__})


def _by_its_clock(before: CdrIssued, session: Session) -> Session:
    """`session` with the clock by which its record was priced, if it is of that site: the fold has the one of now."""
    if before.timezone is None or before.site_id != session.site_id:
        return session
    asked = session.asked
    if asked is not None:
        asked = msgspec.structs.replace(asked, timezone=before.timezone)
    return msgspec.structs.replace(session, timezone=before.timezone, asked=asked)


def _as_asked(before: CdrIssued, session: Session) -> Session:
    """`session` with what was asked of a bundle and granted when its record was issued: the ledger knows no other."""
    asked, grant = session.asked or _drawn(before), session.grant
    if asked is None:
        return session
    asked = msgspec.structs.replace(
        asked,
        tariff_id=before.tariff_id or asked.tariff_id,
        month=month_text(month_at(before.started_at, asked.timezone)),
        bundle_wh=asked.bundle_wh or before.prepaid_wh,
        billed_wh=before.billed_wh,
    )
    place = next((source for source in before.sources if source.topic == BILLING_PREPAID), None)
    if grant is not None:
        grant = msgspec.structs.replace(grant, ask_id=asked.ask_id, wh=before.prepaid_wh)
    elif place is not None:
        grant = Grant(asked.ask_id, before.prepaid_wh, place.partition, place.last_offset)
    else:
        # There never was an answer: so it asks anew, even if as much is billed.
        asked = msgspec.structs.replace(asked, billed_wh=0)
    return msgspec.structs.replace(session, asked=asked, grant=grant)


def _drawn(before: CdrIssued) -> Asked | None:
    """What the record draws from a bundle, for a session that is under no plan as it is folded now."""
    if not before.prepaid_wh or before.group_id is None or before.timezone is None:
        return None
    return Asked(
        ask_id="",
        group_id=before.group_id,
        tariff_id=before.tariff_id or "",
        tariff_version=before.tariff_version or 0,
        month="",
        timezone=before.timezone,
        bundle_wh=before.prepaid_wh,
        billed_wh=before.billed_wh,
    )


def recall_of(
    before: CdrIssued, session: Session, *, reason: str, decided_by: str, now: int, event_id: str = ""
) -> tuple[SessionRecalled, SessionEvidenceRecalled]:
    """`session`, as it was folded anew, with the last record that was issued of it: what is told, and the evidence.

    With `event_id` only to be remembered; without it to be corrected, under an id that follows from both, so that a
    repeat is dropped.
    """
    session = msgspec.structs.replace(
        _as_asked(before, _by_its_clock(before, session)),
        session_id=before.session_id,
        revision=before.version,
        issued=issued_of(before),
    )
    corrected = not event_id
    digest = sha256(msgspec.msgpack.encode(session)).hexdigest()
    event_id = event_id or derive_id(before.hash, f"recalled:{digest}")
    recall = SessionRecalled(
        event_id=event_id,
        occurred_at=now,
        recorded_at=now,
        cause_id=event_id,
        station_id=before.station_id,
        session_id=before.session_id,
        evidence=b"",
        reason=reason,
        decided_by=decided_by,
        corrected=corrected,
    )
    return recall, evidence_of(recall, session)
