"""A repeat of a bulk command is found before anything is planned."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from fastapi import Response

from libs.events.bulk import BulkTarget, RequestBulkCommand
from services.api.commands.bulk import start_bulk_command
from services.api.commands.bulk_bodies import BulkCommand, NewBulkCommand
from services.api.context import Context
from services.api.domain.errors import NotFound


class Known:
    """The bulk commands: there is one already, whatever it is called."""

    async def find(self, bulk_id: str) -> RequestBulkCommand:
        return RequestBulkCommand(
            event_id=bulk_id,
            occurred_at=1,
            recorded_at=1,
            cause_id=bulk_id,
            bulk_id=bulk_id,
            requested_by="anna",
            reason="they hang",
            messages=(),
            stations=(BulkTarget(station_id="cp-1", message=0, skipped=0),),
            skip_reasons=(),
            concurrency=1,
            ttl_ms=0,
            call_timeout_ms=0,
        )

    async def progress(self, bulk_id: str) -> None:
        return None


async def start(*, sees: bool) -> BulkCommand:
    body = {"command": "Reset", "payload": {"type": "Soft"}, "filter": {"q": "cp"}, "reason": "they hang"}
    # No registry, no reader, no writer: whoever plans or sends fails.
    api: Any = SimpleNamespace(bulk=Known(), scope=SimpleNamespace(sees_stations=lambda _: sees))
    return await start_bulk_command(
        api=cast(Context, api),
        response=Response(),
        requester="anna",
        must=lambda _: None,
        body=NewBulkCommand.model_validate(body),
        idempotency_key="once",
    )


async def test_a_repeat_is_the_same_whatever_would_be_chosen_now() -> None:
    first, again = await start(sees=True), await start(sees=True)
    assert first.bulk_id == again.bulk_id


async def test_a_repeat_shows_nothing_that_is_out_of_reach_now() -> None:
    with pytest.raises(NotFound):
        await start(sees=False)
