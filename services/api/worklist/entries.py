"""The worklist: what needs a person."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Annotated, Final

from fastapi import Query
from pydantic import Field

from libs.access.roles import Permission
from libs.runtime.clock import moment_of, now_us
from services.api.context import Api, Context
from services.api.domain.errors import Invalid
from services.api.http.fields import Input, Moment, Output
from services.api.http.permissions import needs
from services.api.http.routing import routes
from services.api.worklist.causes import KINDS, Asked, Cause, Example

router = routes("worklist")

_DAY: Final = timedelta(days=1)
_LONGEST: Final = timedelta(days=90)
_HIDDEN: Final = "hidden"


class WorklistQuery(Input):
    """Filters of the worklist. `since` (inclusive), `until` (exclusive): of what is not of now."""

    since: Moment | None = Field(None, description="Default: a day before `until`; at most 90.")
    until: Moment | None = Field(None, description="Default: now.")
    kind: str | None = Field(None, description=f"One of {', '.join(KINDS)}.")


class WorklistExample(Output):
    """One station, session or campaign that has the cause. `detail`: in the words of whoever reported it."""

    station_id: str
    detail: str
    session_id: str
    campaign_id: str


class WorklistEntry(Output):
    """A cause, and at how many."""

    entry_id: str
    kind: str
    title: str
    count: int
    examples: list[WorklistExample]


class Worklist(Output):
    """Entries, those of one kind together. `complete`: False while ClickHouse does not tell what it keeps."""

    items: list[WorklistEntry]
    complete: bool


@router.get("/worklist", dependencies=needs(Permission.READ))
async def list_worklist(api: Api, query: Annotated[WorklistQuery, Query()]) -> Worklist:
    """What needs a person, by cause; what is of the past up to five seconds old."""
    if query.kind is not None and query.kind not in KINDS:
        raise Invalid(f"{query.kind!r} is none of {', '.join(KINDS)}", "kind")
    now = moment_of(now_us())
    until = query.until or now
    since = query.since or until - _DAY
    if not timedelta(0) < until - since <= _LONGEST:
        raise Invalid("the period is empty, or longer than 90 days", "since")
    entries, complete = await worklist(api, since, until, now)
    items = [each for each in entries if query.kind in (None, each.kind)]
    return Worklist(items=items, complete=complete)


async def worklist(
    api: Context, since: datetime, until: datetime, now: datetime
) -> tuple[list[WorklistEntry], bool]:
    """The entries, and whether ClickHouse told what it keeps.

    Who may not read frames is not shown what dead letters are of.
    """
    asked = Asked(api.registry, api.live, api.reports, api.scope)
    causes, complete = await api.causes.of(asked, since, until, now)
    frames = api.principal.may(Permission.READ_FRAMES)
    return [_entry(cause, frames=frames) for cause in causes], complete


def _entry(cause: Cause, *, frames: bool) -> WorklistEntry:
    examples = list(_shown(cause.examples, hidden=cause.kind == "dead" and not frames))
    return WorklistEntry(
        entry_id=cause.entry_id, kind=cause.kind, title=cause.title, count=cause.count, examples=examples
    )


def _shown(examples: Iterable[Example], *, hidden: bool) -> Iterable[WorklistExample]:
    for each in examples:
        yield WorklistExample(
            station_id=_HIDDEN if hidden else each.station_id,
            detail=_HIDDEN if hidden else each.detail,
            session_id=each.session_id,
            campaign_id=each.campaign_id,
        )
