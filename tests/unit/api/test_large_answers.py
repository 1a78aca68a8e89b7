"""Answers that may be large are made beside the event loop."""

import json
import threading
from datetime import UTC, datetime

from services.api.http.paging import Page
from services.api.http.routing import in_thread
from services.api.live.campaigns import CampaignStation


async def test_a_large_answer_is_made_in_a_thread() -> None:
    made_by: list[int] = []

    def make() -> Page[CampaignStation]:
        made_by.append(threading.get_ident())
        at = datetime(2026, 11, 1, tzinfo=UTC)
        return Page(items=[CampaignStation(station_id="cp-1", status="FAILED", updated_at=at)])

    response = await in_thread(make)
    assert made_by != [threading.get_ident()]
    assert response.media_type == "application/json"
    shown = {"station_id": "cp-1", "status": "FAILED", "detail": "", "firmware_version": ""}
    assert json.loads(bytes(response.body)) == {
        "items": [shown | {"updated_at": "2026-11-01T00:00:00Z"}],
        "next_cursor": None,
    }
