"""Long lists in ClickHouse, newest first, a page at a time."""

import itertools
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from libs.runtime.clock import micros
from services.api.domain.cursors import LAST, Position, cursor_of, position_at
from services.api.domain.scope import EVERYTHING
from services.api.rows import Row
from services.api.scoped import Rows

_GROWTH: Final = 8
# What is compared with a value that is asked for, where it is not the column as it is.
_COMPARED: Final = {"id_token": "lowerUTF8(id_token)"}


class Listing(msgspec.Struct, frozen=True):
    """A view that is listed newest first.

    `index`: the narrow table that holds the order. `order`: sort key, a time first. `filters`: columns of the view
    that can be asked for, each with conditions on the index: every wanted row meets one of them, and few others do;
    no row meets two. None for those by which the view itself finds few rows at once. Ids of tokens are asked for in
    lower case.
    """

    view: str
    index: str
    order: tuple[str, ...]
    filters: Mapping[str, tuple[str, ...] | None]

    @property
    def keys(self) -> str:
        """The columns after the time, for SQL."""
        return ", ".join(self.order[1:])

    @property
    def newest_first(self) -> str:
        """The order, for SQL."""
        return ", ".join(f"{column} DESC" for column in self.order)


class Wanted(msgspec.Struct, frozen=True):
    """What is asked of a listing.

    `values`: column to value, among the listing's filters. `since` and `until` (exclusive): microseconds. `within`:
    the condition of `Scope.within`.
    """

    values: Mapping[str, str]
    since: int | None = None
    until: int | None = None
    within: str = EVERYTHING


SESSIONS: Final = Listing(
    view="sessions",
    index="sessions_by_start",
    order=("started_at", "station_id", "session_id"),
    filters={
        "station_id": None,
        "site_id": ("site_id = %(site_id)s",),
        "id_token": (
            "has(id_tokens, %(id_token)s)",
            # One that came after the start is not there before the end.
            "modulo(stage, 2) = 1 AND NOT has(id_tokens, %(id_token)s) AND (station_id, session_id) IN"
            " (SELECT station_id, session_id FROM sessions_late_tokens WHERE id_token = %(id_token)s)",
        ),
        "status": ("modulo(stage, 2) = (%(status)s = 'running')",),
    },
)
CDRS: Final = Listing(
    view="cdrs",
    index="cdrs_by_end",
    order=("ended_at", "station_id", "session_id", "cdr_id"),
    filters={
        "station_id": None,
        "session_id": None,
        "site_id": ("site_id = %(site_id)s",),
        "id_token": ("id_token = %(id_token)s",),
        "tariff_id": ("tariff_id = %(tariff_id)s",),
    },
)


async def page(
    reader: Rows, listing: Listing, wanted: Wanted, limit: int, cursor: str | None
) -> tuple[list[Row], str | None]:
    """The next `limit` rows that are wanted, and the cursor of the page after.

    The order is walked in chunks: of what the index says is wanted, what the view shows so. Few places are not,
    so that the first chunk is nearly always enough. Raises like `Rows.rows`, and Invalid for a cursor that is
    none of this list.
    """
    top: Position | None = None
    if cursor is not None:
        top = position_at(cursor, int, *(str for _ in listing.order[1:]))
    rows: list[Row] = []
    if any(listing.filters[column] is None for column in wanted.values):
        rows = await _rows(reader, listing, wanted, _Span(top, None), limit + 1)
    else:
        chunk = limit + 1
        while True:
            count, bottom = await _chunk(reader, listing, wanted, top, chunk)
            if bottom is None:
                break
            rows += await _rows(reader, listing, wanted, _Span(top, bottom), limit + 1 - len(rows))
            if len(rows) > limit or count < chunk:
                break
            top = bottom
            chunk *= _GROWTH
    if len(rows) <= limit:
        return rows, None
    moment, *rest = (rows[limit - 1][column] for column in listing.order)
    return rows[:limit], cursor_of((micros(moment), *rest))


class _Span(msgspec.Struct, frozen=True):
    """What lies below `top` and not below `bottom`."""

    top: Position | None
    bottom: Position | None


async def _chunk(
    reader: Rows, listing: Listing, wanted: Wanted, top: Position | None, chunk: int
) -> tuple[int, Position | None]:
    """How many of the next `chunk` places that the index takes for wanted there are, and the last of them.

    A row may have several places, if its time was corrected; only the one that it shows is its own.
    """
    order = ", ".join(listing.order)
    newest = f" ORDER BY {listing.newest_first} LIMIT %(chunk)s"
    places, params = _indexed(listing, wanted, _Span(top, None), order, then=newest)
    found = await reader.rows(
        f"SELECT count() AS places, min(({order})) AS last FROM (SELECT {order} FROM ({places}){newest})",  # noqa: S608
        {**params, "chunk": chunk},
    )
    count: int = found[0]["places"]
    if not count:
        return 0, None
    moment, *rest = found[0]["last"]
    return count, (micros(moment), *rest)


async def _rows(reader: Rows, listing: Listing, wanted: Wanted, span: _Span, limit: int) -> list[Row]:
    """The first `limit` rows in the span that are wanted."""
    within, params = _within(listing, wanted, span)
    conditions = [
        within,
        *(f"{_COMPARED.get(column, column)} = %({column})s" for column in sorted(wanted.values)),
    ]
    if span.bottom is not None:
        # By key: what these rows were before they were merged need not be read of all the others. FINAL: what has
        # changed since, such as the end of a session, is no longer taken for wanted.
        indexed, params = _indexed(listing, wanted, span, listing.keys, final=" FINAL")
        conditions.append(f"({listing.keys}) IN ({indexed})")
    elif "station_id" not in wanted.values:
        conditions.append(wanted.within)
    return await reader.rows(
        f"SELECT * FROM {listing.view} WHERE {' AND '.join(conditions)}"  # noqa: S608
        f" ORDER BY {listing.newest_first} LIMIT %(limit)s"
        # The other columns of the rows that share granules with the wanted ones are not read; only conditions on
        # the table's key are moved.
        " SETTINGS optimize_move_to_prewhere_if_final = 1",
        {**params, **wanted.values, "limit": limit},
    )


def _indexed(
    listing: Listing, wanted: Wanted, span: _Span, columns: str, *, final: str = "", then: str = ""
) -> tuple[str, dict[str, Any]]:
    """The query for the columns of what the index takes for wanted in the span, and its parameters.

    One part for each way to be wanted, as the data skipping indexes do not serve an OR.
    """
    within, params = _within(listing, wanted, span)
    asked = [listing.filters[column] or ("1",) for column in sorted(wanted.values)]
    parts = [
        f"(SELECT {columns} FROM {listing.index}{final} WHERE {' AND '.join((within, wanted.within, *ways))}{then})"  # noqa: S608
        for ways in itertools.product(*asked)
    ]
    return " UNION ALL ".join(parts), {**params, **wanted.values}


def _within(listing: Listing, wanted: Wanted, span: _Span) -> tuple[str, dict[str, Any]]:
    """The condition on the order: in the wanted time and in the span; and its parameters."""
    conditions = ["1"]
    params: dict[str, Any] = {}
    order = ", ".join(listing.order)
    for name, value, sign in (("since", wanted.since, ">="), ("until", wanted.until, "<")):
        if value is not None:
            conditions.append(f"{listing.order[0]} {sign} fromUnixTimestamp64Micro(%({name})s, 'UTC')")
            params[name] = min(value, LAST)
    for name, position, sign in (("top", span.top, "<"), ("bottom", span.bottom, ">=")):
        if position is None:
            continue
        params |= {f"{name}{index}": part for index, part in enumerate(position)}
        moment = f"fromUnixTimestamp64Micro(%({name}0)s, 'UTC')"
        rest = "".join(f", %({name}{index})s" for index in range(1, len(position)))
        # The first condition is implied by the second; it is the one that the primary index can use.
        conditions.append(f"{listing.order[0]} {sign.rstrip('=')}= {moment}")
        conditions.append(f"({order}) {sign} ({moment}{rest})")
    return " AND ".join(conditions), params
