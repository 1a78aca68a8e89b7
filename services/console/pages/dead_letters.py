"""Dead letters: records that a processor could not handle."""

from typing import Final

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from libs.access.roles import Permission
from libs.runtime.clock import micros
from libs.runtime.logging import get_logger
from services.api.domain.errors import NotFound
from services.api.domain.permitted import must_be_permitted_everywhere
from services.api.http.permissions import needs_everywhere
from services.console.dead_letters import Letter, NotAllowed, letter, write_back
from services.console.editing import Trouble, sent, tried
from services.console.history import SINCE, UNTIL
from services.console.pages.queries import Period
from services.console.web.visit import Visit, Visiting

log = get_logger(__name__)

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


@router.get("/dead-letters/{event_id}", response_class=HTMLResponse)
async def show_dead_letter(visit: Visiting, event_id: str) -> Response:
    """One with its bytes, its error and its place."""
    return visit.page("dead_letter.html", letter=await _letter(visit, event_id))


@router.get("/dead-letters/{event_id}/replay", response_class=HTMLResponse)
async def ask_to_replay(visit: Visiting, event_id: str) -> Response:
    """What writing it back means, before it is done."""
    must_be_permitted_everywhere(visit.principal, Permission.EDIT_PLATFORM)
    return _replay_page(visit, await _letter(visit, event_id), Trouble({}, 200))


@router.post("/dead-letters/{event_id}/replay", response_class=HTMLResponse)
async def replay(visit: Visiting, event_id: str) -> Response:
    """Write it back, and show what came of it."""
    given = await sent(visit)
    found = await _letter(visit, event_id)
    _ = visit.words.text
    try:
        outcome = await tried(visit, given, Permission.EDIT_PLATFORM, lambda: _written_back(visit, found))
    except NotAllowed:
        text = _("Kafka does not let the console do this. Whoever deploys the platform does it with:")
        outcome = Trouble(
            {"": f"{text} voltbus dlq replay {found.source_topic} --offset {found.offset}"}, 403
        )
    if isinstance(outcome, Trouble):
        return _replay_page(visit, found, outcome)
    log.info(
        "dead_letter_replayed",
        topic=found.source_topic,
        offset=found.offset,
        by=visit.principal.name,
        records=outcome,
    )
    return _replay_page(visit, found, Trouble({}, 200), outcome)


async def _written_back(visit: Visit, found: Letter) -> int:
    must_be_permitted_everywhere(visit.principal, Permission.EDIT_PLATFORM)
    return await write_back(visit.api, found)


async def _letter(visit: Visit, event_id: str) -> Letter:
    found = await letter(visit.api, event_id)
    if found is None:
        raise NotFound(f"there is no dead letter {event_id!r}")
    return found


def _replay_page(visit: Visit, found: Letter, trouble: Trouble, written: int | None = None) -> Response:
    return visit.page(
        "dead_letter_replay.html", trouble.status, letter=found, trouble=trouble, written=written
    )
