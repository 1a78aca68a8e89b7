"""Rows of ClickHouse that a principal reaches."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Protocol

from services.api.domain.scope import OF_ORGANISATIONS, Scope
from services.api.rows import Row

ONE_STATION: Final = "station_id = %(station_id)s"
"""What a statement about one station has; the parameter must be of that name."""


class Rows(Protocol):
    """Who reads ClickHouse: `libs.clickhouse.reader.Reader`, or a `ScopedReader` over it."""

    async def rows(self, sql: str, params: Mapping[str, Any] | None = None) -> list[Row]:
        """Rows of a query by column name. Raises ClickHouseError."""


class Turns(Protocol):
    """Who lets questions that take long have their turn: a `Lane`, or a `ScopedLane` over it."""

    def turn(self) -> AbstractAsyncContextManager[Rows]:
        """The reader, as soon as it is one's turn. Raises Unavailable if too many wait."""


class ScopedReader:
    """Reads what is in `scope`.

    A statement is about one station (ONE_STATION), or has the condition `Scope.within`, or each of its rows tells its
    `station_id` or `site_id`, or which of both its `owner` is as `key`. Rows of others are left out even where the
    statement finds them, as ClickHouse may be some seconds behind the registry. LookupError for any other statement:
    nobody could tell whose rows it finds.
    """

    def __init__(self, reader: Rows, scope: Scope) -> None:
        self._reader = reader
        self._scope = scope

    async def rows(self, sql: str, params: Mapping[str, Any] | None = None) -> list[Row]:
        """The rows that are in scope."""
        known = OF_ORGANISATIONS in sql
        if known:
            params = {**(params or {}), "organisations": self._scope.organisations}
        if ONE_STATION in sql:
            if not self._scope.sees_station(str((params or {})["station_id"])):
                return []
            known = True
        return [row for row in await self._reader.rows(sql, params) if self._sees(row, known=known)]

    def _sees(self, row: Row, *, known: bool) -> bool:
        owner = {row["key"]: row["owner"]} if "key" in row and "owner" in row else row
        if "station_id" in owner:
            return self._scope.sees_station(owner["station_id"])
        if "site_id" in owner and not known:
            return self._scope.sees_site(owner["site_id"])
        if not known:
            raise LookupError("nobody can tell to which organisation the rows of this statement belong")
        return True


class ScopedLane:
    """A lane whose reader reads what is in `scope`."""

    def __init__(self, lane: Turns, scope: Scope) -> None:
        self._lane = lane
        self._scope = scope

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Rows]:
        """As the lane's."""
        async with self._lane.turn() as reader:
            yield ScopedReader(reader, self._scope)
