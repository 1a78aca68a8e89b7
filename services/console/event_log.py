"""The log of one station: what led to a record of it, and what came of that."""

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from libs.clickhouse.table_mapping import layouts
from libs.events.catalogue import RECORDS
from libs.events.contract import Contract
from libs.events.record import Record
from libs.runtime.clock import micros
from services.api.rows import record_of
from services.api.scoped import Rows
from services.console.history import SINCE, UNTIL

SOON: Final = timedelta(days=1)
"""What comes of a record is looked for so long after it."""
MOST_EFFECTS: Final = 100
MOST_CAUSES: Final = 20
_NEAR: Final = timedelta(hours=1)
"""Most causes are this close to what they led to."""
_MOST_S: Final = 20

_KEYS: Final = {"station_id": "station_id", "slot": "station_id", "site_id": "site_id"}
"""By what records are found, by the key of their topic. A command goes to an edge's slot; its table is by station."""

_PLACE: Final = """
SELECT '{table}' AS table, '{key}' AS key, {key} AS owner, _topic, _partition, _offset, _type, event_id, cause_id,
    occurred_at, recorded_at
FROM {table}
WHERE {key} IN %({key}s)s AND recorded_at >= {since} AND recorded_at < {until} AND {column} = %(event_id)s
    AND _type IN %(types)s
"""
_BEGINNING: Final = datetime.fromisoformat("1971-01-01T00:00:00+00:00")
_END: Final = datetime.fromisoformat("2200-01-01T00:00:00+00:00")


_Table = tuple[str, str]
"""A table, and by what records are found in it."""


class Place(msgspec.Struct, frozen=True):
    """A record in the log, and where. `owner`: the station or site by which its topic is keyed, as `key` says."""

    table: str
    key: str
    owner: str
    topic: str
    partition: int
    offset: int
    type: str
    event_id: str
    cause_id: str
    occurred_at: datetime
    recorded_at: datetime

    @property
    def station_id(self) -> str:
        """The station that it is about; "" if it is about a site."""
        return self.owner if self.key == "station_id" else ""

    @property
    def from_outside(self) -> bool:
        """Whether nothing in the log led to it."""
        return self.cause_id in ("", self.event_id)


class EventLog:
    """Records about a station and the sites it was at, from ClickHouse.

    Every method raises ClickHouseUnavailableError while ClickHouse is away, or takes too long.
    """

    def __init__(self, reader: Rows, contract: Contract, station_id: str, sites: Collection[str]) -> None:
        self._reader = reader
        self._owners: dict[str, tuple[str, ...]] = {
            "station_ids": (station_id,),
            "site_ids": tuple(sites) or ("",),
        }
        tables = [
            (layout.table, _KEYS[layout.key_column])
            for layout in layouts(contract).values()
            if layout.key_column in _KEYS
        ]
        # Each table costs some milliseconds, and most causes are messages.
        self._messages = [each for each in tables if each[0].startswith("ocpp_")]
        self._others = [each for each in tables if each not in self._messages]

    async def find(self, event_id: str, near: datetime | None = None) -> Place | None:
        """The record with that id; `near`: it was recorded then or up to an hour before. None if there is none."""
        periods = [(_BEGINNING, _END)]
        if near is not None:
            periods.insert(0, (near - _NEAR, near + timedelta(microseconds=1)))
        for period in periods:
            for tables in (self._messages, self._others):
                found = await self._places(tables, "event_id", event_id, period, 1)
                if found:
                    return found[0]
        return None

    async def causes(self, place: Place) -> list[Place]:
        """What led to it: its cause, that one's cause, and so on to what came from outside. At most some."""
        chain: list[Place] = []
        while not place.from_outside and len(chain) < MOST_CAUSES:
            cause = await self.find(place.cause_id, place.recorded_at)
            if cause is None:
                break
            chain.append(cause)
            place = cause
        return chain

    async def effects(self, place: Place) -> list[Place]:
        """What came of it within a day, the earliest first. At most some."""
        period = place.recorded_at, place.recorded_at + SOON
        tables = [*self._messages, *self._others]
        found = await self._places(tables, "cause_id", place.event_id, period, MOST_EFFECTS)
        return [each for each in found if each.event_id != place.event_id]

    async def record(self, place: Place) -> Record:
        """The record itself."""
        rows = await self._reader.rows(
            f"SELECT * FROM {place.table} FINAL"  # noqa: S608
            f" WHERE {place.key} = %(owner)s AND recorded_at = fromUnixTimestamp64Micro(%(at)s, 'UTC')"
            " AND _partition = %(partition)s AND _offset = %(offset)s LIMIT 1",
            {
                "owner": place.owner,
                "at": micros(place.recorded_at),
                "partition": place.partition,
                "offset": place.offset,
            },
        )
        return record_of(RECORDS[place.type], rows[0])

    async def _places(
        self, tables: list[_Table], column: str, event_id: str, period: tuple[datetime, datetime], limit: int
    ) -> list[Place]:
        parts = " UNION ALL ".join(
            _PLACE.format(table=table, key=key, column=column, since=SINCE, until=UNTIL)
            for table, key in tables
        )
        rows = await self._reader.rows(
            # A record that was stored twice is the same one.
            f"SELECT * FROM ({parts}) ORDER BY recorded_at, _topic, _offset LIMIT 1 BY table, _partition, _offset"  # noqa: S608
            f" LIMIT %(limit)s SETTINGS max_execution_time = {_MOST_S}",
            {
                **self._owners,
                "types": tuple(RECORDS),
                "event_id": event_id,
                "since": micros(period[0]),
                "until": micros(period[1]),
                "limit": limit,
            },
        )
        return list(_placed(rows))


def _placed(rows: list[dict[str, Any]]) -> Iterator[Place]:
    for row in rows:
        yield Place(**{name.removeprefix("_"): value for name, value in row.items()})
