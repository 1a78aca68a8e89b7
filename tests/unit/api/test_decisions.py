"""Decisions: who may decide in whose name."""

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import Response

from libs.events.decisions import SessionDecided
from services.api.domain.errors import Invalid
from services.api.routes.decisions import NewDecision, ShownDecision, decide

WISH = {"decision": "accept", "version": 1, "reason": "looked at", "decided_by": "clara"}
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

    def decide(self, wish: dict[str, Any], key: str | None = None, operator: str = "") -> ShownDecision:
        async def write(topic: str, station_id: str, record: SessionDecided) -> None:
            self.written.append(record)

        async def decisions(session_id: str) -> list[dict[str, Any]]:
            return self.stored

        async def session(session_id: str) -> dict[str, Any]:
            return {"station_id": "cp-1", "status": "ended"}

        async def cdr_of(station_id: str, session_id: str) -> dict[str, Any]:
            return CDR

        api: Any = SimpleNamespace(
            settings=SimpleNamespace(keys={"": "the-platforms-key", "anna": "annas-own-key"}),
            writer=SimpleNamespace(write=write),
            history=SimpleNamespace(decisions=decisions, session=session, cdr_of=cdr_of),
        )
        request: Any = SimpleNamespace(state=SimpleNamespace(operator=operator))
        return asyncio.run(
            decide(
                api=api,
                request=request,
                response=Response(),
                session_id="s-1",
                body=NewDecision.model_validate(WISH | wish),
                idempotency_key=key,
            )
        )


@pytest.mark.parametrize("name", ["anna", "Anna", " anna "])
def test_nobody_decides_with_the_platforms_key_in_the_name_of_who_has_an_own(name: str) -> None:
    platform = Platform()
    with pytest.raises(Invalid, match="own key") as refused:
        platform.decide({"decided_by": name})
    assert refused.value.path == "/decided_by"
    assert not platform.written
    assert platform.decide({"decided_by": "clara"}).decided_by == "clara"
    assert platform.decide({"decided_by": "anna"}, operator="anna").decided_by == "anna"
