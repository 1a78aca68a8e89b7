"""What operators decide about sessions that are in review."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import Header, Response, status
from msgspec.structs import asdict
from pydantic import Field

from libs.access.roles import Permission
from libs.events.decisions import Decision, SessionDecided
from libs.events.ids import new_id
from libs.events.topics import BILLING_DECISIONS
from libs.runtime.clock import micros, now_us
from services.api.context import Api, Context, Requester
from services.api.domain.errors import Conflict, Invalid, NotFound
from services.api.domain.wish import repeatable_id
from services.api.http.fields import IdempotencyKey, Input, Output, Text, Time
from services.api.http.permissions import needs
from services.api.http.routing import location, routes
from services.api.rows import Row

router = routes("sessions and charge records")


class NewDecision(Input):
    """What is billed of a session that has ended."""

    decision: Literal[Decision.ACCEPT, Decision.ADJUST, Decision.WRITE_OFF] = Field(
        description="accept: all delivered energy is billed. adjust: `billed_wh` of it, the rest is written off."
        " write_off: nothing is charged at all."
    )
    billed_wh: Annotated[int, Field(strict=True, ge=0)] | None = Field(None, description="For adjust only.")
    version: Annotated[int, Field(strict=True, ge=1)] = Field(
        description="Version of the charge record that this is about: another one is not decided about unseen."
    )
    reason: Annotated[Text, Field(min_length=1)]


class ShownDecision(Output):
    """A decision and what became of it. `resulting_version`: of the charge record after it.

    `detail`: why it was refused. `decision` recall: the session's evidence was brought back.
    """

    decision_id: str
    station_id: str
    session_id: str
    decision: str
    billed_wh: int | None
    version: int | None
    reason: str
    decided_by: str
    decided_at: Time
    status: Literal["pending", "applied", "refused"]
    detail: str
    resulting_version: int | None


class ShownDecisions(Output):
    """Decisions about a session, in their order."""

    items: list[ShownDecision]


@router.post(
    "/sessions/{session_id}/decisions",
    dependencies=needs(Permission.DECIDE_SESSIONS),
    status_code=status.HTTP_202_ACCEPTED,
)
async def decide(
    *,
    api: Api,
    response: Response,
    requester: Requester,
    session_id: str,
    body: NewDecision,
    idempotency_key: Annotated[IdempotencyKey, Header()] = None,
) -> ShownDecision:
    """Decide about a session; 202 once that is durable. The list tells what became of it, within a second or so."""
    decision_id = new_id()
    response.headers["Location"] = location("sessions", session_id, "decisions")
    if idempotency_key is not None:
        wanted = _content(body.model_dump())
        scope = f"{requester}:{session_id}"
        decision_id = _decision_id(scope, idempotency_key, wanted)
        for known in await api.history.decisions(session_id):
            if known["decision_id"] == _decision_id(scope, idempotency_key, _content(known)):
                if known["decision_id"] != decision_id:
                    raise Conflict("this Idempotency-Key was used for another decision")
                return ShownDecision.model_validate(known)
    cdr = await _billed(api, session_id)
    api.scope.must_at(Permission.DECIDE_SESSIONS, [cdr["station_id"]])
    _check(body, cdr)
    # After what it is about, by whatever clock: when the log is folded anew, topics are merged by these times.
    now = max(now_us(), micros(cdr["issued_at"]) + 1)
    record = SessionDecided(
        event_id=decision_id,
        occurred_at=now,
        recorded_at=now,
        cause_id=decision_id,
        station_id=cdr["station_id"],
        session_id=session_id,
        decision=body.decision,
        billed_wh=body.billed_wh,
        version=body.version,
        reason=body.reason,
        decided_by=requester,
    )
    await api.writer.write(BILLING_DECISIONS, record.station_id, record)
    fate = {"decision_id": decision_id, "decided_at": now, "status": "pending", "detail": ""}
    return ShownDecision.model_validate({**asdict(record), **fate, "resulting_version": None})


@router.get("/sessions/{session_id}/decisions", dependencies=needs(Permission.READ))
async def list_decisions(api: Api, session_id: str) -> ShownDecisions:
    """What operators decided about a session, in that order, and what became of it."""
    found = await api.history.decisions(session_id)
    if not found and await api.history.session(session_id) is None:
        raise NotFound(f"there is no session {session_id!r}")
    return ShownDecisions(items=[ShownDecision.model_validate(row) for row in found])


async def _billed(api: Context, session_id: str) -> Row:
    """The session's charge record in its newest version."""
    session = await api.history.session(session_id)
    if session is None:
        raise NotFound(f"there is no session {session_id!r}")
    if session["status"] == "running":
        raise Conflict("the session still runs")
    cdr = await api.history.cdr_of(session["station_id"], session_id)
    if cdr is None:
        raise Conflict("the session has no charge record yet")
    return cdr


def _check(body: NewDecision, cdr: Row) -> None:
    if body.version != cdr["version"]:
        raise Conflict(f"the charge record is at version {cdr['version']}: look at it again", "/version")
    if not cdr["review"] and cdr["decision_id"] is None:
        raise Conflict("the session is not in review: nothing in it is in doubt")
    if (body.decision is Decision.ADJUST) != (body.billed_wh is not None):
        raise Invalid("adjust needs billed_wh, and nothing else has it", "/billed_wh")
    if body.billed_wh is not None and body.billed_wh > cdr["energy_wh"]:
        raise Invalid(f"at most the {cdr['energy_wh']} Wh that were delivered", "/billed_wh")


def _content(decision: Mapping[str, Any]) -> str:
    """What is decided: two decisions under one key are a repeat only if it is the same."""
    return f"{decision['decision']}:{decision['billed_wh']}:{decision['version']}"


def _decision_id(scope: str, key: str, content: str) -> str:
    """By its content, too: what was written just now is not in the history yet, and must not swallow another one."""
    return repeatable_id(f"decision:{scope}:{content}", key)
