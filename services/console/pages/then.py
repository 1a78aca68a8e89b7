"""A station as it was at a moment, and what differs between two."""

from datetime import datetime, timedelta
from typing import Final

from fastapi.responses import RedirectResponse, Response

from libs.access.roles import Permission
from libs.runtime.clock import moment_of
from services.api.domain.errors import Invalid
from services.console.differences import differences
from services.console.pages.queries import LONGEST, moment_in
from services.console.past import StationPast
from services.console.web.rendering import address, path_of
from services.console.web.visit import Visit

_STEPS: Final = (
    ("-1 h", timedelta(hours=-1)),
    ("-5 min", timedelta(minutes=-5)),
    ("+5 min", timedelta(minutes=5)),
    ("+1 h", timedelta(hours=1)),
)


async def show_then(visit: Visit, station_id: str) -> Response:
    """The station at the moment `at` of the address; with `and` also how that differs from what was then.

    An address without an offset is sent on to one with it, so that it says the same to everybody.
    """
    params = visit.request.query_params
    here = path_of("stations", station_id)
    moments = {name: _moment(visit, name) for name in ("at", "and") if params.get(name)}
    written = {name: moment.isoformat() for name, moment in moments.items()}
    # As much of it as was taken for a moment.
    if any(datetime.fromisoformat(params[name][:LONGEST]).tzinfo is None for name in moments):
        return RedirectResponse(address(here, written), 307)
    past = StationPast(visit.api.reader, station_id)
    then = await past.at(moments["at"])
    other = await past.at(moments["and"]) if "and" in moments else None
    tokens = visit.may(Permission.READ_TOKENS)
    changes = [] if other is None else differences(then.told(tokens=tokens), other.told(tokens=tokens))
    before, after = await past.neighbours(then.at)
    _ = visit.words.text
    steps = [
        (_("Event before"), before),
        *((text, then.at + step) for text, step in _STEPS),
        (_("Event after"), after),
    ]
    return visit.page(
        "station_then.html",
        tab="then",
        now_address=here,
        then=then,
        other=other,
        changes=changes,
        steps=[(text, None if at is None else at.isoformat()) for text, at in steps],
        state=then.state,
        site=then.site,
        plan=then.plan,
        planned_at=None if then.plan is None else moment_of(then.plan.recorded_at),
        limits=then.limits,
        running=then.running,
        recent=then.recent,
        located=then.located,
    )


def _moment(visit: Visit, name: str) -> datetime:
    found = moment_in(visit.request.query_params, name, visit.words.clock)
    if found is None:
        raise Invalid("that is no moment: write one like 2026-05-01T08:00:00+00:00")
    return found
