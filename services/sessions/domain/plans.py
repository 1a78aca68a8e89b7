"""What a session asks of the bundle of its driver group's plan, and what it is granted. Pure.

The ledger is the `plans` processor's. A session asks once its end is announced, and again when a correction changes
what is billed of it; its charge record waits for the answer, for `AWAIT_GRANT` at most.
"""

from __future__ import annotations

from typing import Final

import msgspec

from libs.bus.message import Emit, Message
from libs.events.ids import derive_id
from libs.events.plans import PrepaidAsked, PrepaidGranted, withdrawal_id
from libs.events.topics import BILLING_PREPAID_ASKED
from libs.runtime.clock import SECOND
from services.sessions.domain.charge import Charge
from services.sessions.domain.grants import Asked, EarlyGrant, Grant
from services.sessions.domain.origin import Cause
from services.sessions.domain.session import Session

AWAIT_GRANT: Final = 3600 * SECOND
"""How long a charge record waits for what the bundle covers; then it is issued without, and corrected later.

By recorded time: who catches up with more than this reaches the end of the wait before the answer.
"""
MOST_WAITING: Final = 64
"""Charge records of a station that wait; where there are more, the first is issued at once."""
MOST_EARLY: Final = 8
_EARLY_KEPT: Final = 24 * 3600 * SECOND


def grant_in(message: Message) -> Grant:
    """The grant that `message` brings."""
    record = message.record
    assert isinstance(record, PrepaidGranted)
    wh = None if record.closed else record.granted_wh
    return Grant(record.cause_id, wh, message.partition, message.offset)


def granted(session: Session, grant: Grant | None) -> Session:
    """`session` with the answer, if there is one."""
    if grant is None:
        return session
    if grant.wh is None:
        grant = msgspec.structs.replace(grant, wh=granted_wh(session))
    return msgspec.structs.replace(session, grant=grant)


def granted_wh(session: Session) -> int:
    """What a bundle covers of it, as far as it is known."""
    return 0 if session.grant is None else session.grant.wh or 0


def ask(
    station_id: str, session: Session, billed_wh: int, charge: Charge | None, cause: Cause
) -> tuple[Session, list[Emit]]:
    """`session` with its question, and what is asked. Nothing if it has asked that already.

    What another ledger had granted, or an earlier version of the tariff (the driver or the start turned out to be
    others), is given back.
    """
    before = session.asked
    under = None if charge is None else charge.under
    asked = None
    if charge is not None and under is not None:
        asked = Asked(
            derive_id(session.session_id, f"prepaid-asked:{session.revision}"),
            under.group_id,
            charge.tariff_id,
            charge.version,
            under.month,
            under.timezone,
            under.bundle_wh,
            billed_wh,
        )
    if (
        before is not None
        and asked is not None
        and before.ledger == asked.ledger
        and bool(before.bundle_wh) == bool(asked.bundle_wh)
    ):
        if not asked.bundle_wh or (before.billed_wh, before.bundle_wh) == (billed_wh, asked.bundle_wh):
            return session, []
        return msgspec.structs.replace(session, asked=asked), [_question(station_id, session, asked, cause)]
    out = []
    if before is not None and before.bundle_wh:
        ask_id = derive_id(session.session_id, f"prepaid-returned:{session.revision}")
        returned = msgspec.structs.replace(before, ask_id=ask_id, billed_wh=0)
        out.append(_question(station_id, session, returned, cause))
    if asked is not None:
        out.append(_question(station_id, session, asked, cause))
    if before is None and asked is None:
        return session, out
    return msgspec.structs.replace(session, asked=asked, grant=None), out


def awaits(session: Session) -> bool:
    """Whether its charge record needs an answer that has not come."""
    asked, grant = session.asked, session.grant
    if asked is None or not asked.bundle_wh or not asked.billed_wh:
        return False
    return grant is None or grant.ask_id != asked.ask_id


def given_up(station_id: str, session: Session, cause: Cause) -> list[Emit]:
    """What is asked once a session that awaits an answer is forgotten: that the ledger keeps no more for it than its
    charge record says. The ledger has this after the question that was not answered."""
    asked = session.asked
    if asked is None:
        return []
    ask_id = withdrawal_id(session.session_id, session.revision)
    charged_wh = 0 if session.issued is None else session.issued.prepaid_wh
    asked = msgspec.structs.replace(asked, ask_id=ask_id, billed_wh=charged_wh)
    return [_question(station_id, session, asked, cause)]


def carried(later: Session, issued: Session) -> Session:
    """`later`, if it is evidence of the session `issued` whose charge record was just issued, with that."""
    if later.session_id != issued.session_id:
        return later
    same = later.asked is not None and issued.asked is not None and later.asked.ledger == issued.asked.ledger
    return msgspec.structs.replace(later, issued=issued.issued, grant=issued.grant if same else later.grant)


def kept_early(early: tuple[EarlyGrant, ...], grant: Grant, recorded_at: int) -> tuple[EarlyGrant, ...]:
    """`early` with one more: the last `MOST_EARLY` of a day."""
    kept = [each for each in early if each.recorded_at > recorded_at - _EARLY_KEPT]
    return (*kept, EarlyGrant(grant, recorded_at))[-MOST_EARLY:]


def _question(station_id: str, session: Session, asked: Asked, cause: Cause) -> Emit:
    return Emit(
        BILLING_PREPAID_ASKED,
        asked.group_id,
        PrepaidAsked(
            event_id=asked.ask_id,
            occurred_at=cause.occurred_at,
            recorded_at=cause.recorded_at,
            cause_id=cause.event_id,
            station_id=station_id,
            group_id=asked.group_id,
            session_id=session.session_id,
            revision=session.revision,
            tariff_id=asked.tariff_id,
            tariff_version=asked.tariff_version,
            month=asked.month,
            timezone=asked.timezone,
            bundle_wh=asked.bundle_wh,
            billed_wh=asked.billed_wh,
        ),
    )
