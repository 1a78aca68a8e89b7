"""The reconciliation report: what of a period a billing clerk should look at, from ClickHouse."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from fastapi import Query, Response
from pydantic import Field, model_validator

from libs.access.roles import Permission
from libs.runtime.clock import micros
from services.api.context import Api
from services.api.http.fields import Input, Moment, Output, Time
from services.api.http.permissions import needs
from services.api.http.routing import in_thread, routes
from services.api.rows import Row
from services.api.scoped import Rows

router = routes("sessions and charge records")

T = TypeVar("T")

_LONGEST_DAYS: Final = 400


class ReportQuery(Input):
    """Which period and site; `from` is in it, `to` is not."""

    since: Moment = Field(alias="from")
    until: Moment = Field(alias="to")
    site_id: str | None = Field(None, description="Only of this site.")
    hours: Annotated[int, Field(ge=1, le=8760)] = Field(48, description="Longer sessions count as long.")
    minutes: Annotated[int, Field(ge=1, le=1440)] = Field(
        5, description="Clocks that are off by more are shown."
    )
    tolerance_wh: Annotated[int, Field(ge=100, le=10_000_000)] = Field(
        1000, description="Registers that depart by more are shown."
    )
    limit: Annotated[int, Field(ge=1, le=10_000)] = Field(
        1000, description="Most items of a part; totals are over all."
    )

    @model_validator(mode="after")
    def _is_a_period(self) -> "ReportQuery":
        if not 0 < (self.until - self.since).total_seconds() <= _LONGEST_DAYS * 86_400:
            raise ValueError(f"to lies after from, by at most {_LONGEST_DAYS} days")
        return self


class Part(Output, Generic[T]):
    """One part of the report: as many items as were asked for, and `total` over all of them, shown or not."""

    total: dict[str, int]
    items: list[T]


class InReview(Output):
    """A session that is to be decided about. `at_stake_minor`: roughly what the energy in review costs."""

    session_id: str
    cdr_id: str
    version: int
    station_id: str
    evse_id: int
    site_id: str | None
    id_token: str | None
    started_at: Time
    ended_at: Time
    doubts: list[str]
    energy_wh: int
    billed_wh: int
    review_wh: int
    written_off_wh: int
    tariff_id: str | None
    currency: str | None
    amount_minor: int
    at_stake_minor: int | None


class Stake(Output):
    """What sessions in review come to in one currency."""

    currency: str
    sessions: int
    amount_minor: int
    at_stake_minor: int


class ReviewPart(Part[InReview]):
    """Sessions to be decided about, those with the most energy in review first."""

    amounts: list[Stake]


class Gap(Output):
    """A session of which something is missing. `gaps`: what. `decided`: an operator has decided about it."""

    session_id: str
    station_id: str
    evse_id: int
    site_id: str | None
    started_at: Time
    ended_at: Time | None
    energy_wh: int
    gaps: list[str]
    missing_messages: int
    decided: bool


class Clock(Output):
    """A station whose clock is off, or whose times could not be taken as they came (`quirks`)."""

    station_id: str
    site_id: str
    messages: int
    ahead_s: int
    behind_s: int
    bent_messages: int
    quirks: list[str]
    last_at: Time


class Register(Output):
    """An EVSE whose register rose by something else than its sessions delivered."""

    station_id: str
    evse_id: int
    site_id: str
    first_at: Time
    last_at: Time
    sessions: int
    register_wh: int
    between_wh: int
    falls: int
    energy_wh: int
    billed_wh: int
    review_wh: int
    written_off_wh: int
    departure_wh: int


class Unbilled(Output):
    """Energy of a station that nobody pays for, and what operators wrote off."""

    station_id: str
    site_id: str
    no_tariff_wh: int
    review_wh: int
    between_wh: int
    unbilled_wh: int
    written_off_wh: int


class Report(Output):
    """The reconciliation of a period."""

    since: Time
    until: Time
    site_id: str | None
    review: ReviewPart
    gaps: Part[Gap]
    clocks: Part[Clock]
    registers: Part[Register]
    unbilled: Part[Unbilled]


class _Section(msgspec.Struct, frozen=True):
    """A view of the period. `arguments`: names of the query's fields that it takes. `sums`: columns with a total."""

    view: str
    count: str
    sums: tuple[str, ...]
    order: str
    arguments: tuple[str, ...] = ()
    condition: str = "1"


_REVIEW: Final = _Section(
    "sessions_in_review",
    "sessions",
    ("energy_wh", "billed_wh", "review_wh", "written_off_wh"),
    "review_wh DESC, ended_at, session_id",
)
_GAPS: Final = _Section(
    "session_gaps", "sessions", ("energy_wh", "missing_messages"), "started_at, session_id", ("hours",)
)
_CLOCKS: Final = _Section(
    "clock_skew",
    "stations",
    ("messages", "bent_messages"),
    "greatest(ahead_s, behind_s) DESC, station_id",
    ("minutes",),
)
_REGISTERS: Final = _Section(
    "register_rises",
    "evses",
    (
        "sessions",
        "register_wh",
        "between_wh",
        "falls",
        "energy_wh",
        "billed_wh",
        "review_wh",
        "written_off_wh",
        "departure_wh",
    ),
    "abs(departure_wh) DESC, station_id, evse_id",
    condition="abs(departure_wh) > %(tolerance_wh)s",
)
_UNBILLED: Final = _Section(
    "unbilled_energy",
    "stations",
    ("no_tariff_wh", "review_wh", "between_wh", "unbilled_wh", "written_off_wh"),
    "unbilled_wh DESC, station_id",
)

_PARTS: Final = {
    "review": _REVIEW,
    "gaps": _GAPS,
    "clocks": _CLOCKS,
    "registers": _REGISTERS,
    "unbilled": _UNBILLED,
}


async def report(reader: Rows, query: ReportQuery, within: str) -> dict[str, Any]:
    """The fields of the `Report`, of stations that `within` (of a `Scope`) holds. Raises like `Rows.rows`."""
    asked: dict[str, Any] = query.model_dump(include={"hours", "minutes", "tolerance_wh", "limit"})
    asked |= {"since": micros(query.since), "until": micros(query.until), "site_id": query.site_id}
    asked["within"] = within
    # One after the other: a report keeps one connection from the API's other work, not all.
    found: dict[str, Any] = {name: await _part(reader, section, asked) for name, section in _PARTS.items()}
    found["review"]["amounts"] = await _amounts(reader, asked)
    period = {"since": query.since, "until": query.until, "site_id": query.site_id}
    return period | found


async def _part(reader: Rows, section: _Section, asked: Mapping[str, Any]) -> dict[str, Any]:
    totals = ", ".join(f"sum({column}) OVER () AS total_{column}" for column in section.sums)
    rows = await reader.rows(
        f"SELECT *, count() OVER () AS total_{section.count}, {totals} FROM {_from(section, asked)}"  # noqa: S608
        f" ORDER BY {section.order} LIMIT %(limit)s",
        asked,
    )
    names = {name: f"total_{name}" for name in (section.count, *section.sums)}
    total = {name: rows[0][column] if rows else 0 for name, column in names.items()}
    return {"total": total, "items": rows}


async def _amounts(reader: Rows, asked: Mapping[str, Any]) -> list[Row]:
    return await reader.rows(
        "SELECT currency, count() AS sessions, sum(amount_minor) AS amount_minor,"  # noqa: S608
        f" sum(ifNull(at_stake_minor, 0)) AS at_stake_minor FROM {_from(_REVIEW, asked)} AND isNotNull(currency)"
        " GROUP BY currency ORDER BY currency",
        asked,
    )


def _from(section: _Section, asked: Mapping[str, Any]) -> str:
    period = ", ".join(f"{name} = fromUnixTimestamp64Micro(%({name})s, 'UTC')" for name in ("since", "until"))
    more = "".join(f", {name} = %({name})s" for name in section.arguments)
    site = "" if asked["site_id"] is None else " AND site_id = %(site_id)s"
    return f"{section.view}({period}{more}) WHERE {section.condition}{site} AND {asked['within']}"


@router.get("/reconciliation", dependencies=needs(Permission.READ, personal=True), response_model=Report)
async def reconcile(api: Api, query: Annotated[ReportQuery, Query()]) -> Response:
    """What of a period a billing clerk should look at; up to about a second old."""
    async with api.reports.turn() as reader:
        found = await report(reader, query, api.scope.within)
    return await in_thread(lambda: Report.model_validate(found))
