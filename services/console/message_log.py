"""A station's messages over years: found by what they say, each call with its answer."""

import time
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from libs.runtime.clock import micros
from services.api.rows import Row
from services.api.scoped import Rows
from services.console.history import SINCE, UNTIL

FIRST_SLICE: Final = timedelta(days=1)
_GROWTH: Final = 16
_BUDGET_S: Final = 3.0
"""A search ends after the slice in which this is used up."""
_LONG_S: Final = 0.7
"""Slices grow no longer once one took so long."""
_ANSWERED_WITHIN: Final = timedelta(minutes=10)

# Rows that are stored twice are equal, so that they may be looked through before they are merged.
_SEARCH: Final = """
SELECT * FROM raw_messages
WHERE station_id = %(station_id)s AND recorded_at >= {since} AND recorded_at < {until}
  AND (%(action)s = '' OR action = %(action)s) AND (%(outcome)s = '' OR outcome = %(outcome)s)
  AND (%(direction)s = '' OR direction = %(direction)s) AND (%(error)s = '' OR error_code = %(error)s)
  AND (%(q)s = '' OR positionCaseInsensitiveUTF8(payload, %(q)s) > 0
       OR positionCaseInsensitiveUTF8(ifNull(answer, ''), %(q)s) > 0)
ORDER BY recorded_at DESC, event_id DESC LIMIT %(limit)s
SETTINGS optimize_move_to_prewhere_if_final = 1, max_execution_time = 20
"""

_ANSWERS: Final = """
SELECT cause_id, answer, error_code, error_description, source, recorded_at FROM {table} FINAL
WHERE station_id = %(station_id)s AND recorded_at >= {since} AND recorded_at < {until}
  AND _type = 'OcppCallAnswered' AND cause_id IN %(ids)s
"""

_ROUND_TRIPS: Final = """
SELECT event_id, round_trip_us FROM ocpp_commands FINAL
WHERE station_id = %(station_id)s AND recorded_at >= {since} AND recorded_at < {until} AND event_id IN %(ids)s
"""


class Wanted(msgspec.Struct, frozen=True):
    """What messages have to be; "": anything. `direction`: as the column; `error`: a code; `q`: what they contain."""

    action: str = ""
    direction: str = ""
    outcome: str = ""
    error: str = ""
    q: str = ""


class Found(msgspec.Struct, frozen=True):
    """Messages, the latest first. `reached`: how far back was looked, if that is not all the time asked for."""

    rows: list[Row]
    reached: datetime | None = None


class MessageLog:
    """Messages of one station. Every method raises ClickHouseUnavailableError while ClickHouse is away."""

    def __init__(self, reader: Rows, station_id: str) -> None:
        self._reader = reader
        self._station_id = station_id

    async def search(self, since: datetime, until: datetime, limit: int, wanted: Wanted) -> Found:
        """The latest `limit` that fit, with `latency_ms` where it is known. Ends after some seconds, found or not."""
        rows: list[Row] = []
        begun = time.monotonic()
        end, length = until, FIRST_SLICE
        while end > since and len(rows) < limit and time.monotonic() - begun < _BUDGET_S:
            start = max(since, end - length)
            before = time.monotonic()
            rows += await self._rows(
                _SEARCH, start, end, limit=limit - len(rows), **msgspec.structs.asdict(wanted)
            )
            if time.monotonic() - before < _LONG_S:
                length *= _GROWTH
            end = start
        await self._pair(rows)
        return Found(rows, end if end > since and len(rows) < limit else None)

    async def _pair(self, rows: list[Row]) -> None:
        """Add answers that came later, and how long each took."""
        for row in rows:
            row["latency_ms"] = None
        await self._pair_pending([row for row in rows if row["outcome"] == "PENDING"])
        sent = {row["event_id"]: row for row in rows if row["direction"] == "to station"}
        if sent:
            times = [row["recorded_at"] for row in sent.values()]
            for found in await self._rows(
                _ROUND_TRIPS, min(times), max(times) + timedelta(microseconds=1), ids=tuple(sent)
            ):
                if found["round_trip_us"] is not None:
                    sent[found["event_id"]]["latency_ms"] = found["round_trip_us"] / 1000

    async def _pair_pending(self, rows: list[Row]) -> None:
        for topic in sorted({row["_topic"] for row in rows}):
            pending = {row["event_id"]: row for row in rows if row["_topic"] == topic}
            times = [row["recorded_at"] for row in pending.values()]
            sql = _ANSWERS.replace("{table}", topic.replace(".", "_"))
            for found in await self._rows(sql, min(times), max(times) + _ANSWERED_WITHIN, ids=tuple(pending)):
                row = pending[found["cause_id"]]
                row |= {name: found[name] for name in ("answer", "error_code", "error_description")}
                row["outcome"] = "ANSWERED"
                row["latency_ms"] = (found["recorded_at"] - row["recorded_at"]) / timedelta(milliseconds=1)

    async def _rows(self, sql: str, since: datetime, until: datetime, **others: Any) -> list[Row]:
        period = {"since": micros(since), "until": micros(until)}
        return await self._reader.rows(
            sql.format(since=SINCE, until=UNTIL), {"station_id": self._station_id, **period, **others}
        )
