"""Dead letters: records that a processor could not handle."""

from typing import Final

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from libs.access.roles import Permission
from libs.runtime.clock import micros
from services.api.http.permissions import needs_everywhere
from services.console.history import SINCE, UNTIL
from services.console.pages.queries import Period
from services.console.web.visit import Visiting

router = APIRouter(dependencies=needs_everywhere(Permission.READ_FRAMES))

_MOST: Final = 100
_LONGEST: Final = 200
# What was read may be anything: bytes that are no text are shown as ClickHouse replaces them.
_LETTERS: Final = """
SELECT event_id, recorded_at, processor, source_topic, source_partition, source_offset, error_type, error,
       toValidUTF8(ifNull(key, '')) AS key, toValidUTF8(left(ifNull(value, ''), 2000)) AS value
FROM dead_letters
WHERE recorded_at >= {since} AND recorded_at < {until} AND (%(topic)s = '' OR source_topic = %(topic)s)
ORDER BY recorded_at DESC LIMIT 1 BY event_id LIMIT %(limit)s
"""


@router.get("/dead-letters", response_class=HTMLResponse)
async def show_dead_letters(visit: Visiting) -> HTMLResponse:
    """The latest of a period, with the error and where the record stands in its topic."""
    params = visit.request.query_params
    period = Period(params, visit.now)
    topic = params.get("topic", "")[:_LONGEST]
    rows = await visit.api.reader.rows(
        _LETTERS.format(since=SINCE, until=UNTIL),
        {"since": micros(period.since), "until": micros(period.until), "topic": topic, "limit": _MOST + 1},
    )
    return visit.page("dead_letters.html", rows=rows[:_MOST], more=len(rows) > _MOST, period=period)
