"""What happened at a station, as the sink stored it up to about a second ago."""

from datetime import datetime, timedelta
from typing import Any, Final

from libs.runtime.clock import micros
from services.api.rows import Row
from services.api.scoped import Rows

PERIODS: Final = {
    "1h": timedelta(hours=1),
    "24h": timedelta(days=1),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
"""Lengths of time that a list can look back, by the name in its address."""
YEARS: Final = {**PERIODS, "1y": timedelta(days=366), "10y": timedelta(days=3653)}
"""Those of a list that is found part by part."""

SINCE: Final = "fromUnixTimestamp64Micro(%(since)s, 'UTC')"
UNTIL: Final = "fromUnixTimestamp64Micro(%(until)s, 'UTC')"
"""Bounds of a period in SQL, from parameters in microseconds: the driver writes moments to the second."""
_MOST_SAMPLES: Final = 5_000

# Each part is of one table, by its sorting key: a station's history is read, not the network's.
_TIMELINE: Final = """
SELECT at, kind, title, detail, event_id, link FROM (
    SELECT recorded_at AS at,
           multiIf(_type = 'ConnectionOpened', 'connected', _type = 'ConnectionClosed', 'disconnected',
                   action = 'BootNotification', 'boot', action = 'SecurityEventNotification', 'security',
                   'status') AS kind,
           multiIf(_type = 'OcppCallReceived', ifNull(action, ''), _type) AS title,
           multiIf(_type = 'ConnectionOpened', ifNull(remote_address, ''),
                   _type = 'ConnectionClosed', concat(toString(ifNull(code, 0)), ' ', ifNull(reason, '')),
                   if(%(frames)s, left(ifNull(payload, ''), 300), '')) AS detail,
           event_id, '' AS link
    FROM ocpp_lifecycle FINAL
    WHERE station_id = %(station_id)s AND recorded_at >= {since} AND recorded_at < {until}
      AND (_type IN ('ConnectionOpened', 'ConnectionClosed')
           OR (_type = 'OcppCallReceived'
               AND action IN ('BootNotification', 'StatusNotification', 'SecurityEventNotification')))
    UNION ALL
    SELECT recorded_at, 'session', _type, concat(transaction_id, ' ', ifNull(reason, '')), event_id, session_id
    FROM sessions_events FINAL
    WHERE station_id = %(station_id)s AND recorded_at >= {since} AND recorded_at < {until}
      AND _type IN ('SessionStarted', 'SessionEnded', 'SessionCorrected')
    UNION ALL
    SELECT recorded_at, 'command', action, concat(fate, ' ', reason), event_id, command_id
    FROM commands_outcomes FINAL
    WHERE station_id = %(station_id)s AND recorded_at >= {since} AND recorded_at < {until}
      AND _type = 'CommandConcluded'
    UNION ALL
    SELECT recorded_at, 'alert', kind, detail, event_id, ''
    FROM security_alerts FINAL
    WHERE station_id = %(station_id)s AND recorded_at >= {since} AND recorded_at < {until} AND NOT _deleted
    UNION ALL
    SELECT recorded_at, 'rejected', _type, reason, event_id, ''
    FROM ocpp_rejected FINAL
    WHERE station_id = %(station_id)s AND recorded_at >= {since} AND recorded_at < {until}
)
ORDER BY at DESC, event_id DESC LIMIT %(limit)s
"""

_COMMANDS: Final = """
SELECT * FROM commands
WHERE station_id = %(station_id)s AND requested_at >= {since} AND requested_at < {until}
ORDER BY requested_at DESC LIMIT %(limit)s
"""

_SAMPLES: Final = """
SELECT sampled_at, measurand, phase, value_milli, unit FROM measurements
WHERE station_id = %(station_id)s AND evse_id = %(evse_id)s AND recorded_at >= {since} AND recorded_at < {until}
  AND transaction_id = %(transaction_id)s AND phase IS NULL
  AND measurand IN ('Power.Active.Import', 'Energy.Active.Import.Register')
ORDER BY sampled_at LIMIT %(limit)s
"""


class StationHistory:
    """Queries of one station's past. Every method raises ClickHouseUnavailableError while ClickHouse is away.

    `since` (inclusive), `until` (exclusive): of when the platform recorded it. The latest comes first.
    """

    def __init__(self, reader: Rows, station_id: str) -> None:
        self._reader = reader
        self._station_id = station_id

    async def timeline(self, since: datetime, until: datetime, limit: int, *, frames: bool) -> list[Row]:
        """Connections, boots, states, sessions, commands, alerts and refusals; `link`: a session's or command's id.

        `frames`: with what the station wrote.
        """
        return await self._rows(_TIMELINE, since, until, limit=limit, frames=int(frames))

    async def commands(self, since: datetime, until: datetime, limit: int) -> list[Row]:
        """Commands and their fates."""
        return await self._rows(_COMMANDS, since, until, limit=limit)

    async def samples(self, evse_id: int, transaction_id: str, since: datetime, until: datetime) -> list[Row]:
        """A session's power and energy, the earliest first, at most some thousands."""
        return await self._rows(
            _SAMPLES, since, until, limit=_MOST_SAMPLES, evse_id=evse_id, transaction_id=transaction_id
        )

    async def _rows(self, sql: str, since: datetime, until: datetime, **others: Any) -> list[Row]:
        period = {"since": micros(since), "until": micros(until)}
        return await self._reader.rows(
            sql.format(since=SINCE, until=UNTIL), {"station_id": self._station_id, **period, **others}
        )
