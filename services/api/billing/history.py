"""Sessions and charges of the past, from ClickHouse."""

from collections.abc import Mapping

from services.api.billing.listing import Listing, Wanted, page
from services.api.rows import Row
from services.api.scoped import Rows


class History:
    """Queries of what the sink stored, up to about a second ago.

    Every method raises ClickHouseUnavailableError while ClickHouse is away.
    """

    def __init__(self, reader: Rows) -> None:
        self._reader = reader

    async def page(
        self, listing: Listing, wanted: Wanted, limit: int, cursor: str | None
    ) -> tuple[list[Row], str | None]:
        """The next `limit` rows, newest first, and the cursor of the page after."""
        return await page(self._reader, listing, wanted, limit, cursor)

    async def session(self, session_id: str) -> Row | None:
        """The session, or None."""
        return await self._one("SELECT * FROM sessions WHERE session_id = %(id)s", session_id)

    async def cdr(self, cdr_id: str) -> Row | None:
        """The charge record's newest version, or None."""
        return await self._one("SELECT * FROM cdrs WHERE cdr_id = %(id)s", cdr_id)

    async def documents(self, wanted: Mapping[str, str], after: int, limit: int) -> list[Row]:
        """The first `limit` documents about charges beyond the offset `after`, in their order.

        `wanted`: station_id, session_id, cdr_id or hash to value; a station's documents are all in one partition.
        """
        conditions = [f"{column} = %({column})s" for column in sorted(wanted)]
        if "station_id" not in wanted:
            # By the indexes of the newest versions: the documents themselves are sorted by station.
            known = " AND ".join(c for c in conditions if not c.startswith("hash"))
            conditions.append(f"station_id IN (SELECT station_id FROM cdrs_latest WHERE {known})")  # noqa: S608
        return await self._reader.rows(
            "SELECT * FROM billing_cdrs FINAL"  # noqa: S608
            " WHERE _type IN ('CdrIssued', 'CdrCredited') AND _offset > %(after)s"
            f" AND {' AND '.join(conditions)} ORDER BY _offset LIMIT %(limit)s",
            {**wanted, "after": after, "limit": limit},
        )

    async def cdr_of(self, station_id: str, session_id: str) -> Row | None:
        """The newest version of a session's charge record, or None."""
        rows = await self._reader.rows(
            "SELECT * FROM cdrs WHERE station_id = %(station_id)s AND session_id = %(session_id)s LIMIT 1",
            {"station_id": station_id, "session_id": session_id},
        )
        return rows[0] if rows else None

    async def decisions(self, session_id: str) -> list[Row]:
        """What operators decided about a session, in that order."""
        return await self._reader.rows(
            "SELECT * FROM session_decisions WHERE session_id = %(id)s ORDER BY decided_at, decision_id",
            {"id": session_id},
        )

    async def _one(self, sql: str, key: str) -> Row | None:
        rows = await self._reader.rows(f"{sql} LIMIT 1", {"id": key})
        return rows[0] if rows else None
