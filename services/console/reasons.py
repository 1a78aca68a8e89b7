"""Why a value is what it is: the record of the log by which it became so."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from libs.events.load import LoadPlanMade
from libs.events.ocpp_log import StationLocated
from libs.events.record import Record
from libs.events.stations import CapabilitiesLearned
from libs.events.telemetry import StationStateChanged
from libs.runtime.clock import micros
from services.api.rows import record_of
from services.api.scoped import Rows
from services.console.history import UNTIL

MOST: Final = 1_000
"""So many records are gone back through."""
_PAGE: Final = 100

# By the order of the table; a record that was stored twice says the same twice.
_ROWS: Final = """
SELECT * FROM {table} WHERE {key} = %(owner)s AND recorded_at < {until} AND _type = %(type)s
ORDER BY recorded_at DESC, _offset DESC LIMIT %(limit)s
"""

Value = Callable[[Any, str, str], Any]
"""What a record says of what is named, about a station: record, station, name."""


class Reason(msgspec.Struct, frozen=True):
    """Where a value comes from: records of `kind` in `table`, found by `key`, that say it whole."""

    kind: type[Record]
    table: str
    key: str
    value: Value


def _connector(record: StationStateChanged, _station_id: str, name: str) -> Any:
    evse_id, _, connector_id = name.partition(".")
    found = [
        (each.status, each.error_code)
        for each in record.connectors
        if (str(each.evse_id), str(each.connector_id)) == (evse_id, connector_id)
    ]
    return found or None


def _limit(record: LoadPlanMade, station_id: str, name: str) -> Any:
    shares = [each for each in record.allocations if each.station_id == station_id]
    return next((each.current_ma for each in shares if str(each.evse_id) == name), None)


def _setting(record: CapabilitiesLearned, _station_id: str, name: str) -> Any:
    return next((each.value for each in record.variables if each.name == name), None)


def _field(record: StationStateChanged, _station_id: str, name: str) -> Any:
    return getattr(record, name) if name in ("vendor", "model", "serial", "firmware_version") else None


REASONS: Final = {
    "connector": Reason(StationStateChanged, "telemetry_health", "station_id", _connector),
    "equipment": Reason(StationStateChanged, "telemetry_health", "station_id", _field),
    "connection": Reason(
        StationLocated,
        "edge_connections",
        "station_id",
        lambda record, *_: (record.connected, record.version),
    ),
    "limit": Reason(LoadPlanMade, "load_plans", "site_id", _limit),
    "lacking": Reason(
        CapabilitiesLearned,
        "stations_capabilities",
        "station_id",
        lambda record, _, name: name in record.lacking,
    ),
    "setting": Reason(CapabilitiesLearned, "stations_capabilities", "station_id", _setting),
}
"""By what is asked about. Names: `<EVSE>.<connector>`, a field of the equipment, an EVSE, a feature, a setting."""


async def record_behind(
    reader: Rows, what: str, name: str, *, owner: str, station_id: str, until: datetime
) -> Record | None:
    """The record by which the value became what it was at `until`; None if nothing says it.

    `owner`: the station, or for a limit its site. Goes back through MOST records at most; the last of these then.
    Raises KeyError for what nobody can ask about, ClickHouseUnavailableError while ClickHouse is away.
    """
    reason = REASONS[what]
    found: Record | None = None
    said: Any = None
    before = micros(until + timedelta(microseconds=1))
    for _ in range(MOST // _PAGE):
        rows = await reader.rows(
            _ROWS.format(table=reason.table, key=reason.key, until=UNTIL),
            {"owner": owner, "until": before, "type": reason.kind.__name__, "limit": _PAGE},
        )
        for row in rows:
            record = record_of(reason.kind, row)
            value = reason.value(record, station_id, name)
            if found is None:
                said = value
            elif value != said:
                return found
            found = record
        if len(rows) < _PAGE or found is None:
            break
        before = found.recorded_at
    return found if said not in (None, False) else None
