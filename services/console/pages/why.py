"""Why a value is what it is: the rule, and the record by which it became so; of a bill how it came about."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from libs.access.roles import Permission
from libs.events.sessions import CdrCredited, CdrIssued
from libs.runtime.clock import micros, moment_of
from services.api.billing.sessions import get_session
from services.api.domain.errors import NotFound
from services.api.http.permissions import needs
from services.api.live.state import get_state
from services.api.rows import Row, record_of
from services.console.history import SINCE, UNTIL
from services.console.pages.queries import moment_in
from services.console.past import StationPast
from services.console.reasons import REASONS, record_behind
from services.console.web.rendering import address, path_of
from services.console.web.visit import Visit, Visiting
from services.sessions.audit.checks import Check, Document, Priced, checks, chosen, priced_by, recomputed
from services.sessions.audit.text import explained

router = APIRouter(dependencies=needs(Permission.READ))

_MOST_DOCUMENTS: Final = 1_000
_MOST_RECORDS: Final = 200
_LONGEST: Final = 100
_LATE: Final = timedelta(days=1)

# Of its updates the last one says what the session has come to.
_STEPS: Final = """
SELECT _type AS type, event_id, cause_id, recorded_at FROM (
    SELECT * FROM sessions_events FINAL
    WHERE station_id = %(station_id)s AND session_id = %(session_id)s
      AND recorded_at >= {since} AND recorded_at < {until}
    ORDER BY recorded_at DESC, _offset DESC LIMIT 1 BY if(_type = 'SessionUpdated', '', event_id)
)
ORDER BY recorded_at LIMIT %(limit)s
"""

_EVIDENCE: Final = """
SELECT event_id, recorded_at, action, _topic AS topic, _partition AS partition, _offset AS offset FROM {table} FINAL
WHERE station_id = %(station_id)s AND recorded_at >= {since} AND recorded_at < {until}
  AND _partition = %(partition)s AND _offset BETWEEN %(first)s AND %(last)s AND _type = 'OcppCallReceived'
ORDER BY _offset LIMIT %(limit)s
"""


@router.get("/stations/{station_id}/why/{what}", response_class=HTMLResponse)
async def show_reason(visit: Visiting, station_id: str, what: str, name: str = "") -> Response:
    """Leads to the record by which a value became what it is, or was at the moment `at`."""
    state = await get_state(visit.api, station_id.casefold())
    if what not in REASONS:
        raise NotFound(f"there is no {what[:_LONGEST]!r} to ask about")
    at = moment_in(visit.request.query_params, "at") or visit.now
    owner: str | None = state.station_id
    if REASONS[what].key == "site_id":
        owner = (await StationPast(visit.api.reader, state.station_id).at(at)).state.site_id
    found = None
    if owner is not None:
        found = await record_behind(
            visit.api.reader, what, name, owner=owner, station_id=state.station_id, until=at
        )
    if found is None:
        raise NotFound(f"nothing in the log says {what} {name[:_LONGEST]!r} of this station")
    near = moment_of(found.recorded_at).isoformat()
    shown = path_of("stations", state.station_id, "events", found.event_id)
    return RedirectResponse(address(shown, {}, near=near, why=what, name=name), 307)


@router.get(
    "/sessions/{session_id}/why",
    response_class=HTMLResponse,
    dependencies=needs(Permission.READ, personal=True),
)
async def show_session(visit: Visiting, session_id: str) -> Response:
    """How a session's state, energy and bill came about: checks, price lines, and the messages that it is made from."""
    session = await get_session(visit.api, session_id)
    documents = await _documents(visit, {"station_id": session.station_id, "session_id": session.session_id})
    cdr = chosen(documents, None)
    told = {"record": None} if cdr is None else await _explained(visit, cdr, documents)
    until = visit.now + _LATE
    asked = {"station_id": session.station_id, "session_id": session.session_id, "limit": _MOST_RECORDS}
    period = {"since": micros(session.started_at - _LATE), "until": micros(until)}
    steps = await visit.api.reader.rows(_STEPS.format(since=SINCE, until=UNTIL), {**asked, **period})
    return visit.page("session_why.html", session=session, steps=steps, **told)


async def _explained(visit: Visit, cdr: CdrIssued, documents: list[Document]) -> dict[str, Any]:
    priced = _priced(visit, cdr)
    found: list[Check] = checks(cdr, documents, await _predecessor(visit, cdr), priced)
    made = None if priced is None or cdr.tariff_id is None else recomputed(cdr, priced)
    elements = [None] * len(cdr.lines) if made is None else [each.element for each in made.lines]
    shown, all_shown = cdr, documents
    if not visit.may(Permission.READ_TOKENS):
        shown = msgspec.structs.replace(cdr, id_token=None)
        all_shown = [msgspec.structs.replace(each, id_token=None) for each in documents]
    return {
        "record": shown,
        "checks": found,
        "elements": elements,
        "text": "\n".join(explained(shown, all_shown, found, priced)),
        "evidence": await _evidence(visit, cdr) if visit.may(Permission.READ_FRAMES) else None,
    }


async def _documents(visit: Visit, which: Mapping[str, str]) -> list[Document]:
    rows = await visit.api.history.documents(which, -1, _MOST_DOCUMENTS)
    kinds: dict[str, type[Document]] = {CdrIssued.__name__: CdrIssued, CdrCredited.__name__: CdrCredited}
    return [record_of(kinds[row["_type"]], row) for row in rows]


async def _predecessor(visit: Visit, cdr: CdrIssued) -> bool | None:
    """Whether the document that it follows on is there; None if it is the station's first."""
    if not cdr.previous_hash:
        return None
    return bool(await _documents(visit, {"station_id": cdr.station_id, "hash": cdr.previous_hash}))


def _priced(visit: Visit, cdr: CdrIssued) -> Priced | None:
    tariff = visit.api.registry.tariffs.get(cdr.tariff_id or "")
    site = visit.api.registry.sites.get(cdr.site_id or "")
    if tariff is None or (site is None and cdr.timezone is None):
        return None
    return priced_by(cdr, tariff.versions, None if site is None else site.timezone)


async def _evidence(visit: Visit, cdr: CdrIssued) -> list[Row]:
    """The station's messages in the part of the log that the record is made from, at most some."""
    found: list[Row] = []
    since: datetime = moment_of(min(cdr.started_at, cdr.ended_at)) - _LATE
    for source in cdr.sources:
        if not source.topic.startswith("ocpp."):
            continue
        sql = _EVIDENCE.replace("{table}", source.topic.replace(".", "_"))
        found += await visit.api.reader.rows(
            sql.format(since=SINCE, until=UNTIL),
            {
                "station_id": cdr.station_id,
                "since": micros(since),
                "until": cdr.recorded_at + 1,
                "partition": source.partition,
                "first": source.first_offset,
                "last": source.last_offset,
                "limit": _MOST_RECORDS,
            },
        )
    return found
