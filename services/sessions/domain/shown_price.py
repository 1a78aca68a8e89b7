"""What the driver is shown: the cost so far while a vehicle charges, the total in the answer to the end. Pure.

Both are numbers in the site's currency, taxes included. OCPP 1.6 has no words for either.
"""

from __future__ import annotations

from typing import Final

import msgspec

from libs.bus.message import Emit
from libs.bus.processor import Tables
from libs.events.commands import AnswerCall, CommandConcluded, CommandDialect, Fate, RequestCommand
from libs.events.ids import derive_id
from libs.events.ocpp_log import OcppCallReceived
from libs.events.registry import StationRegistered
from libs.events.topics import COMMANDS_DISPATCH, COMMANDS_REQUESTED, REGISTRY_STATIONS
from libs.ocpp.semantics.commands import CostUpdated
from libs.ocpp.semantics.dialect import to_request
from libs.ocpp.semantics.replies import ended_reply
from libs.ocpp.versions import Version
from libs.runtime.clock import SECOND
from libs.tariffs.currency import minor_digits
from libs.tariffs.engine import NO_CONTRACT, DriverContract
from services.sessions.domain.decisions import open_to_decision, settled
from services.sessions.domain.origin import Cause
from services.sessions.domain.pricing import charge
from services.sessions.domain.session import NO_STOP, Session, outcome

ACTION: Final = CostUpdated.__name__

FRESH: Final = 30 * SECOND
"""After this long a cost is not worth showing any more."""
NEVER: Final = 1 << 62
_CALL_TIMEOUT_MS: Final = 10_000
_REQUESTED_BY: Final = "sessions"
_WITH_A_MESSAGE: Final = "show-cost"
_WHEN_DUE: Final = "show-cost-when-due"


def answer(call: OcppCallReceived, session: Session | None) -> Emit:
    """The answer that the edge awaits at `call.slot` to a call that ended `session` (None: nothing is settled of it).

    The total is that of the charge record which stands now. It is left out where there is none, or no tariff, and
    where some of the session is in review or its document waits for a bundle: then nobody can say yet what it costs.
    """
    total, digits = None, 2
    issued = None if session is None else session.issued
    if (
        session is not None
        and issued is not None
        and issued.currency
        and not open_to_decision(settled(session)[0])
    ):
        total, digits = issued.amount_minor, minor_digits(issued.currency)
    assert call.slot is not None
    record = AnswerCall(
        event_id=derive_id(call.event_id, "answer"),
        occurred_at=call.recorded_at,
        recorded_at=call.recorded_at,
        cause_id=call.event_id,
        station_id=call.station_id,
        slot=call.slot,
        connection_epoch=call.connection_epoch,
        message_id=call.message_id,
        action=call.action,
        answer=ended_reply(total, digits),
    )
    return Emit(COMMANDS_DISPATCH, str(call.slot), record, call.slot)


def so_far(
    station_id: str,
    session: Session,
    every: int,
    cause: Cause,
    tables: Tables,
    *,
    purpose: str = _WITH_A_MESSAGE,
) -> tuple[Session, tuple[Emit, ...]]:
    """What a session under way costs, as if it ended with the last that was heard of it: to be shown if that is news.

    Time is cut into lengths of `every` microseconds; in each it is reckoned once at most. Nothing is shown of what is
    in review, nor for a refused token, nor to stations under certification, which are sent nothing unasked.
    """
    if session.version == Version.V16:
        return unshown(session), ()
    session = msgspec.structs.replace(session, show_at=(cause.recorded_at // every + 1) * every)
    cost = _cost(station_id, session, tables)
    if cost is None or cost[0] == session.shown_minor:
        return session, ()
    total, currency = cost
    action, payload = to_request(CostUpdated(session.transaction_id, total, minor_digits(currency)))
    request = RequestCommand(
        event_id=derive_id(cause.event_id, purpose),
        occurred_at=cause.occurred_at,
        recorded_at=cause.recorded_at,
        cause_id=cause.event_id,
        station_id=station_id,
        action=action,
        payload=payload,
        dialect=CommandDialect.VOLTBUS,
        requested_by=_REQUESTED_BY,
        expires_at=cause.recorded_at + FRESH,
        call_timeout_ms=_CALL_TIMEOUT_MS,
        replaces=f"cost of {session.session_id}",
    )
    return msgspec.structs.replace(session, shown_minor=total), (
        Emit(COMMANDS_REQUESTED, station_id, request),
    )


def due(
    station_id: str, sessions: list[Session], every: int, at: int, tables: Tables
) -> tuple[list[Session], tuple[Emit, ...]]:
    """The sessions under way, and what is shown of them where a length of `every` ends at `at`: what they told since it
    was reckoned, though nothing more comes."""
    after: list[Session] = []
    out: tuple[Emit, ...] = ()
    for session in sessions:
        if session.session_id and 0 < session.show_at <= at:
            cause = Cause(session.cause_id, at, at)
            session, shown = so_far(station_id, session, every, cause, tables, purpose=_WHEN_DUE)  # noqa: PLW2901
            out += shown
        after.append(session)
    return after, out


def _cost(station_id: str, session: Session, tables: Tables) -> tuple[int, str] | None:
    station = tables[REGISTRY_STATIONS].get(station_id)
    if session.site_id is None or (isinstance(station, StationRegistered) and station.certification):
        return None
    result, usage = outcome(session)
    if result.token_refusal or result.review != (NO_STOP,):
        return None
    contract = NO_CONTRACT if session.group_id is None else DriverContract(session.group_id, 0)
    begun, zone = result.started_at, session.timezone
    charged = charge(session.site_id, begun, usage, tables, contract, timezone=zone)
    if charged is None or (charged.under is not None and charged.under.bundle_wh):
        # What is left of a bundle is not known before the end.
        return None
    return charged.bill.gross_minor, charged.currency


def cannot_show(concluded: CommandConcluded) -> bool:
    """Whether a station turned out not to show costs, or leaves the message without an answer.

    Only what this service sent says so: an operator's own message may fail for what it says.
    """
    ours = concluded.action == ACTION and concluded.requested_by == _REQUESTED_BY
    return ours and concluded.fate in (Fate.FAILED, Fate.UNKNOWN)


def unshown(session: Session) -> Session:
    """A session of such a station: the driver is shown nothing more while it lasts."""
    return msgspec.structs.replace(session, show_at=NEVER)
