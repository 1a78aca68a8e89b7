"""The past, from ClickHouse. Rows are by column name; times are aware datetimes."""

from collections.abc import Mapping
from typing import Final

from libs.clickhouse.reader import Reader
from services.api.billing.listing import Listing, Row, Wanted, page

_CAMPAIGNS: Final = "SELECT * FROM firmware_campaigns WHERE NOT _deleted"
_FIRST_AND_NEWEST: Final = (
    "ORDER BY if(_type = 'DefineCampaign', -_offset, _offset) DESC LIMIT 1 BY campaign_id, _type"
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

    async def command(self, command_id: str) -> Row | None:
        """The command with its fate as far as it is known, or None."""
        return await self._one("SELECT * FROM commands WHERE command_id = %(id)s", command_id)

    async def plan(self, site_id: str) -> Row | None:
        """The site's newest load plan, or None."""
        return await self._one(
            "SELECT * FROM load_plans WHERE site_id = %(id)s AND _type = 'LoadPlanMade' ORDER BY plan_no DESC",
            site_id,
        )

    async def campaign(self, campaign_id: str) -> list[Row]:
        """The definition and the newest progress of a campaign; `_type` tells which is which.

        The first definition counts, as for the firmware processor.
        """
        return await self._reader.rows(
            f"{_CAMPAIGNS} AND campaign_id = %(id)s {_FIRST_AND_NEWEST}", {"id": campaign_id}
        )

    async def campaigns_after(self, campaign_id: str, limit: int) -> list[Row]:
        """As `campaign`, of the next `limit` campaigns by id after that one."""
        return await self._reader.rows(
            f"{_CAMPAIGNS} AND campaign_id IN (SELECT DISTINCT campaign_id FROM firmware_campaigns"  # noqa: S608
            " WHERE _type = 'DefineCampaign' AND NOT _deleted AND campaign_id > %(id)s"
            f" ORDER BY campaign_id LIMIT %(limit)s) {_FIRST_AND_NEWEST}",
            {"id": campaign_id, "limit": limit},
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
