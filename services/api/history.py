"""The past, from ClickHouse. Rows are by column name; times are aware datetimes."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from libs.clickhouse.reader import Reader
from services.api.domain.paging import Position, cursor_of, position_at
from services.api.fields import micros

Row = dict[str, Any]

_FIRST_CHUNK: Final = 256
_GROWTH: Final = 8


class Listing(msgspec.Struct, frozen=True):
    """A view that is listed newest first, and the narrow table that holds its rows' order.

    `order`: sort key, a time first. `filters`: columns of the view that can be asked for.
    """

    view: str
    index: str
    order: tuple[str, ...]
    filters: frozenset[str]


class Wanted(msgspec.Struct, frozen=True):
    """What is asked of a listing.

    `values`: column to value, among the listing's filters. `since` and `until` (exclusive): microseconds.
    """

    values: Mapping[str, str]
    since: int | None = None
    until: int | None = None


SESSIONS: Final = Listing(
    "sessions",
    "sessions_by_start",
    ("started_at", "station_id", "session_id"),
    frozenset({"station_id", "site_id", "id_token", "status"}),
)
CDRS: Final = Listing(
    "cdrs",
    "cdrs_by_end",
    ("ended_at", "station_id", "session_id", "cdr_id"),
    frozenset({"station_id", "site_id", "id_token", "session_id", "tariff_id"}),
)


class History:
    """Queries of what the sink stored, up to about a second ago.

    Every method raises ClickHouseUnavailableError while ClickHouse is away.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def page(
        self, listing: Listing, wanted: Wanted, limit: int, cursor: str | None
    ) -> tuple[list[Row], str | None]:
        """The next `limit` rows, newest first, and the cursor of the page after.

        The order is walked in chunks that grow, so that a page costs what lies between its ends and not what lies
        in the whole table.
        """
        top: Position | None = None
        if cursor is not None:
            top = position_at(cursor, int, *(str for _ in listing.order[1:]))
        rows: list[Row] = []
        chunk = max(_FIRST_CHUNK, limit + 1)
        while True:
            count, bottom = await self._chunk(listing, wanted, top, chunk)
            if bottom is None:
                break
            rows += await self._rows(listing, wanted, (top, bottom), limit + 1 - len(rows))
            if len(rows) > limit or count < chunk:
                break
            top = bottom
            chunk *= _GROWTH
        if len(rows) <= limit:
            return rows, None
        return rows[:limit], cursor_of(_position(listing, rows[limit - 1]))

    async def _chunk(
        self, listing: Listing, wanted: Wanted, top: Position | None, chunk: int
    ) -> tuple[int, Position | None]:
        """How many of the next `chunk` places there are, and the last of them."""
        conditions, params = _within(listing, wanted, top, None)
        for column in listing.order[1:]:
            if column in wanted.values:
                conditions.append(f"{column} = %({column})s")
                params[column] = wanted.values[column]
        order = ", ".join(listing.order)
        newest_first = ", ".join(f"{column} DESC" for column in listing.order)
        found = await self._reader.rows(
            f"SELECT count() AS places, min(({order})) AS last FROM (SELECT DISTINCT {order} FROM {listing.index}"  # noqa: S608
            f" WHERE {' AND '.join(conditions)} ORDER BY {newest_first} LIMIT %(chunk)s)",
            {**params, "chunk": chunk},
        )
        places: int = found[0]["places"]
        if not places:
            return 0, None
        moment, *rest = found[0]["last"]
        return places, (micros(moment), *rest)

    async def _rows(
        self, listing: Listing, wanted: Wanted, between: tuple[Position | None, Position], limit: int
    ) -> list[Row]:
        """Rows that are wanted, from below the first position down to the second."""
        conditions, params = _within(listing, wanted, *between)
        keys = ", ".join(listing.order[1:])
        inner = f"({keys}) IN (SELECT {keys} FROM {listing.index} WHERE {' AND '.join(conditions)})"  # noqa: S608
        for column in sorted(listing.filters & wanted.values.keys()):
            conditions.append(f"{column} = %({column})s")
            params[column] = wanted.values[column]
        newest_first = ", ".join(f"{column} DESC" for column in listing.order)
        return await self._reader.rows(
            f"SELECT * FROM {listing.view} WHERE {inner} AND {' AND '.join(conditions)}"  # noqa: S608
            f" ORDER BY {newest_first} LIMIT %(limit)s",
            {**params, "limit": limit},
        )

    async def session(self, session_id: str) -> Row | None:
        """The session, or None."""
        return await self._one("SELECT * FROM sessions WHERE session_id = %(id)s", session_id)

    async def cdr(self, cdr_id: str) -> Row | None:
        """The charge record's newest version, or None."""
        return await self._one("SELECT * FROM cdrs WHERE cdr_id = %(id)s", cdr_id)

    async def command(self, command_id: str) -> Row | None:
        """The command with its fate as far as it is known, or None."""
        return await self._one("SELECT * FROM commands WHERE command_id = %(id)s", command_id)

    async def plan(self, site_id: str) -> Row | None:
        """The site's newest load plan, or None."""
        return await self._one(
            "SELECT * FROM load_plans WHERE site_id = %(id)s AND _type = 'LoadPlanMade' ORDER BY plan_no DESC",
            site_id,
        )

    async def campaigns(self, campaign_id: str | None = None) -> list[Row]:
        """The definition and the newest progress of every campaign, or of one; `_type` tells which is which."""
        return await self._reader.rows(
            "SELECT * FROM firmware_campaigns WHERE NOT _deleted AND (%(id)s = '' OR campaign_id = %(id)s)"
            " ORDER BY recorded_at DESC LIMIT 1 BY campaign_id, _type",
            {"id": campaign_id or ""},
        )

    async def campaign_stations(self, campaign_id: str) -> list[Row]:
        """The newest status of each station of a campaign that has one, by station."""
        return await self._reader.rows(
            "SELECT station_id, status, detail, firmware_version, recorded_at AS updated_at FROM firmware_progress"
            " WHERE campaign_id = %(id)s AND _type = 'StationUpdateProgressed'"
            " ORDER BY station_id, recorded_at DESC, _offset DESC LIMIT 1 BY station_id",
            {"id": campaign_id},
        )

    async def _one(self, sql: str, key: str) -> Row | None:
        rows = await self._reader.rows(f"{sql} LIMIT 1", {"id": key})
        return rows[0] if rows else None


def _within(
    listing: Listing, wanted: Wanted, top: Position | None, bottom: Position | None
) -> tuple[list[str], dict[str, Any]]:
    """Conditions on the order: in the wanted span, below `top`, not below `bottom`; and their parameters."""
    conditions = ["1"]
    params: dict[str, Any] = {}
    order = ", ".join(listing.order)
    for name, value, sign in (("since", wanted.since, ">="), ("until", wanted.until, "<")):
        if value is not None:
            conditions.append(f"{listing.order[0]} {sign} fromUnixTimestamp64Micro(%({name})s, 'UTC')")
            params[name] = value
    for name, position, sign in (("top", top, "<"), ("bottom", bottom, ">=")):
        if position is None:
            continue
        params |= {f"{name}{index}": part for index, part in enumerate(position)}
        moment = f"fromUnixTimestamp64Micro(%({name}0)s, 'UTC')"
        rest = "".join(f", %({name}{index})s" for index in range(1, len(position)))
        # The first condition is implied by the second; it is the one that the primary index can use.
        conditions.append(f"{listing.order[0]} {sign.rstrip('=')}= {moment}")
        conditions.append(f"({order}) {sign} ({moment}{rest})")
    return conditions, params


def _position(listing: Listing, row: Row) -> Position:
    moment, *rest = (row[column] for column in listing.order)
    return (micros(moment), *rest)
