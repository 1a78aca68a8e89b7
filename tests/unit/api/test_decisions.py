"""Decisions: in whose name they are, and what an Idempotency-Key stands for."""

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import Response
from pydantic import ValidationError

from libs.access.principal import principal
from libs.access.roles import Role
from libs.events.decisions import SessionDecided
from services.api.billing.decisions import NewDecision, ShownDecision, decide
from services.api.domain.errors import Conflict
from services.api.domain.scope import Scope

WISH = {"decision": "accept", "version": 1, "reason": "looked at"}
CDR = {
    "station_id": "cp-1",
    "version": 1,
    "review": ["no_stop"],
    "decision_id": None,
    "energy_wh": 9_000,
    "issued_at": datetime(2026, 11, 22, tzinfo=UTC),
}


class Platform:
    """Of an API process what decisions need: `written` is what it wrote, `stored` what the history has of that."""

    def __init__(self) -> None:
        self.written: list[SessionDecided] = []
        self.stored: list[dict[str, Any]] = []

    def decide(self, wish: dict[str, Any], key: str | None = None, requester: str = "api") -> ShownDecision:
        async def write(topic: str, station_id: str, record: SessionDecided) -> None:
            self.written.append(record)

        async def decisions(session_id: str) -> list[dict[str, Any]]:
            return self.stored

        async def session(session_id: str) -> dict[str, Any]:
            return {"station_id": "cp-1", "status": "ended"}

        async def cdr_of(station_id: str, session_id: str) -> dict[str, Any]:
            return CDR

        nowhere: Any = None
        api: Any = SimpleNamespace(
            writer=SimpleNamespace(write=write),
            history=SimpleNamespace(decisions=decisions, session=session, cdr_of=cdr_of),
            scope=Scope(principal("api", [Role.PLATFORM_ADMIN]), nowhere),
        )
        return asyncio.run(
            decide(
                api=api,
                response=Response(),
                requester=requester,
                session_id="s-1",
                body=NewDecision.model_validate(WISH | wish),
                idempotency_key=key,
            )
        )


def test_a_decision_is_in_the_name_of_whose_key_it_was_asked_for_with() -> None:
    platform = Platform()
    assert platform.decide({}, requester="anna").decided_by == "anna"
    with pytest.raises(ValidationError, match="decided_by"):
        platform.decide({"decided_by": "ben"}, requester="anna")


def test_a_key_of_another_operator_is_another_key() -> None:
    platform = Platform()
    first = platform.decide({}, key="k-1", requester="anna")
    assert platform.decide({}, key="k-1", requester="ben").decision_id != first.decision_id


def test_another_decision_under_the_same_key_is_not_taken_for_a_repeat_of_the_first() -> None:
    # Given a decision that is not in the history yet, another one is one of its own.
    platform = Platform()
    first = platform.decide({}, key="k-1")
    assert platform.decide({}, key="k-1").decision_id == first.decision_id
    other = platform.decide({"decision": "write_off"}, key="k-1")
    assert other.decision_id != first.decision_id
    assert platform.decide({"decision": "adjust", "billed_wh": 1}, key="k-1").decision_id not in {
        first.decision_id,
        other.decision_id,
    }
    # When it is there, then it is refused.
    platform.stored.append(first.model_dump(mode="json"))
    written = len(platform.written)
    assert platform.decide({}, key="k-1").decision_id == first.decision_id
    with pytest.raises(Conflict, match="another decision"):
        platform.decide({"decision": "write_off"}, key="k-1")
    assert len(platform.written) == written
    assert platform.decide({"decision": "write_off"}, key="k-2").decision_id != other.decision_id
