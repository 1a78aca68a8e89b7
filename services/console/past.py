"""A station as it was at a moment: what the log had said of it by then, folded as the platform folds it."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

import msgspec

from libs.bus.runtime_memory import MemoryRuntime
from libs.events.catalogue import RECORDS
from libs.events.latest import SessionLatest
from libs.events.load import Allocation, LoadPlanMade
from libs.events.ocpp_log import StationLocated
from libs.events.record import Record
from libs.events.registry import SiteRegistered, StationRegistered
from libs.events.stations import CapabilitiesLearned
from libs.events.telemetry import StationStateChanged
from libs.events.topics import BILLING_CDRS, SESSIONS_EVENTS, SESSIONS_LATEST
from libs.runtime.clock import micros, moment_of
from services.api.live.state import StationState, state_of
from services.api.rows import Row, record_of
from services.api.scoped import Rows
from services.console.history import SINCE, UNTIL
from services.projections.domain.sessions.processor import SessionsLatest

R = TypeVar("R", bound=Record)

KNOWN: Final = timedelta(days=30)
"""Sessions of which nothing but updates was told for so long are not known."""
MOST_RUNNING: Final = 20
MOST_RECENT: Final = 10
_TICK: Final = timedelta(microseconds=1)
_NEIGHBOURS: Final = ("telemetry_health", "edge_connections", "sessions_events", "stations_capabilities")
"""Tables by whose records a station's page changes."""

# By the order of the table, so that one row is read; one that is stored twice is the same.
_LAST: Final = """
SELECT * FROM {table} WHERE {key} = %(owner)s AND recorded_at < {until} AND _type IN ('', %(type)s)
ORDER BY recorded_at DESC, _offset DESC LIMIT 1
"""

_SESSIONS: Final = """
SELECT session_id, argMax(_type, (recorded_at, _offset)) IN ('SessionStarted', 'SessionReopened') AS running,
    max(started_at) AS started
FROM sessions_events
WHERE station_id = %(station_id)s AND recorded_at >= {since} AND recorded_at < {until}
  AND _type IN ('SessionStarted', 'SessionReopened', 'SessionEnded', 'SessionCorrected')
GROUP BY session_id ORDER BY started DESC LIMIT %(most)s BY running
"""

# Of updates of a session the last one says all, until it is over.
_EVENTS: Final = """
SELECT * FROM sessions_events FINAL
WHERE station_id = %(station_id)s AND recorded_at >= {since} AND recorded_at < {until} AND session_id IN %(ids)s
  AND _type != 'undecodable'
ORDER BY recorded_at DESC, _offset DESC
LIMIT 1 BY session_id, if(_type = 'SessionUpdated', toString(ifNull(revision, 0)), event_id)
"""

_CHARGES: Final = """
SELECT * FROM billing_cdrs FINAL
WHERE station_id = %(station_id)s AND recorded_at >= {since} AND recorded_at < {until} AND session_id IN %(ids)s
  AND _type != 'undecodable'
"""


class SessionThen(msgspec.Struct, frozen=True):
    """A session as it was then, as lists show one."""

    session_id: str
    station_id: str
    evse_id: int
    status: str
    started_at: datetime
    ended_at: datetime | None
    id_token: str | None
    energy_wh: int
    review: tuple[str, ...]


class Then(msgspec.Struct, frozen=True):
    """A station at a moment. `limits`: by EVSE, of the plan that was in force. Sessions: the latest start first."""

    at: datetime
    state: StationState
    located: StationLocated | None
    site: SiteRegistered | None
    plan: LoadPlanMade | None
    limits: Mapping[int, Allocation]
    capabilities: CapabilitiesLearned | None
    running: list[SessionThen]
    recent: list[SessionThen]

    def told(self, *, tokens: bool) -> dict[str, Any]:
        """All of it, JSON-like, to be compared; id tokens only with `tokens`."""
        state = self.state.model_dump(mode="json", exclude={"connectors", "updated_at"})
        connectors = self.state.model_dump(mode="json")["connectors"]
        known = () if self.capabilities is None else self.capabilities.variables
        sessions = [
            {name: value for name, value in msgspec.to_builtins(each).items() if tokens or name != "id_token"}
            for each in (*self.running, *self.recent)
        ]
        return {
            "station": state,
            "connectors": {f"{each['evse_id']}.{each['connector_id']}": each for each in connectors},
            "limits_ma": {str(evse): share.current_ma for evse, share in self.limits.items()},
            "plan": None if self.plan is None else self.plan.plan_no,
            "configuration": {each.name: each.value for each in known},
            "sessions": {each["session_id"]: each for each in sessions},
        }


class StationPast:
    """Looks at one station's past. Every method raises ClickHouseUnavailableError while ClickHouse is away."""

    def __init__(self, reader: Rows, station_id: str) -> None:
        self._reader = reader
        self._station_id = station_id

    async def at(self, moment: datetime) -> Then:
        """The station after all that was recorded by then."""
        station_id = self._station_id
        entry, located, told, learned, sessions = await asyncio.gather(
            self._last(StationRegistered, "registry_stations", "station_id", station_id, moment),
            self._last(StationLocated, "edge_connections", "station_id", station_id, moment),
            self._last(StationStateChanged, "telemetry_health", "station_id", station_id, moment),
            self._last(CapabilitiesLearned, "stations_capabilities", "station_id", station_id, moment),
            self._sessions(moment),
        )
        state = state_of(station_id, entry, located, told, micros(moment))
        site = plan = None
        if state.site_id is not None:
            site = await self._last(SiteRegistered, "registry_sites", "site_id", state.site_id, moment)
            plan = await self._last(LoadPlanMade, "load_plans", "site_id", state.site_id, moment)
        shares = () if plan is None else plan.allocations
        return Then(
            at=moment,
            state=state,
            located=located,
            site=site,
            plan=plan,
            limits={each.evse_id: each for each in shares if each.station_id == station_id},
            capabilities=learned,
            running=[each for each in sessions if each.status == "running"][:MOST_RUNNING],
            recent=[each for each in sessions if each.status == "ended"][:MOST_RECENT],
        )

    async def neighbours(self, moment: datetime) -> tuple[datetime | None, datetime | None]:
        """When the record before that moment was recorded, and the one after it; None: there is none."""
        return await self._neighbour(moment, "<", "DESC"), await self._neighbour(moment, ">", "ASC")

    async def _neighbour(self, moment: datetime, side: str, order: str) -> datetime | None:
        parts = " UNION ALL ".join(
            f"SELECT * FROM (SELECT recorded_at FROM {table} WHERE station_id = %(station_id)s"  # noqa: S608
            f" AND recorded_at {side} {UNTIL} ORDER BY recorded_at {order} LIMIT 1)"
            for table in _NEIGHBOURS
        )
        found = await self._reader.rows(
            f"SELECT recorded_at FROM ({parts}) ORDER BY recorded_at {order} LIMIT 1",  # noqa: S608
            {"station_id": self._station_id, "until": micros(moment)},
        )
        return found[0]["recorded_at"] if found else None

    async def _last(self, kind: type[R], table: str, key: str, owner: str, moment: datetime) -> R | None:
        """The last record of the kind by then; None if there was none, or it was removed."""
        rows = await self._reader.rows(
            _LAST.format(table=table, key=key, until=UNTIL),
            {"owner": owner, "until": micros(moment + _TICK), "type": kind.__name__},
        )
        return record_of(kind, rows[0]) if rows and rows[0]["_type"] else None

    async def _sessions(self, moment: datetime) -> list[SessionThen]:
        period = {"since": micros(moment - KNOWN), "until": micros(moment + _TICK)}
        asked = {"station_id": self._station_id, **period}
        found = await self._rows(_SESSIONS, {**asked, "most": MOST_RUNNING})
        if not found:
            return []
        asked["ids"] = tuple(row["session_id"] for row in found)
        events = [(SESSIONS_EVENTS, row) for row in await self._rows(_EVENTS, asked)]
        charges = [(BILLING_CDRS, row) for row in await self._rows(_CHARGES, asked)]
        return sessions_of(
            (topic, row["_offset"], record_of(RECORDS[row["_type"]], row))
            for topic, row in [*events, *charges]
        )

    async def _rows(self, sql: str, asked: Mapping[str, Any]) -> list[Row]:
        return await self._reader.rows(sql.format(since=SINCE, until=UNTIL), asked)


def sessions_of(records: Iterable[tuple[str, int, Record]]) -> list[SessionThen]:
    """Sessions after these records, each with its topic and offset: as sessions.latest tells of them."""
    processor = SessionsLatest()
    order = {topic: number for number, topic in enumerate(processor.inputs)}
    runtime = MemoryRuntime(processor)
    for topic, _, record in sorted(records, key=lambda each: (each[2].recorded_at, order[each[0]], each[1])):
        runtime.feed(topic, getattr(record, "station_id", ""), record)
    latest = {
        emit.key: emit.record
        for emit in runtime.emitted
        if emit.topic == SESSIONS_LATEST and isinstance(emit.record, SessionLatest)
    }
    sessions = [_then(record) for record in latest.values()]
    return sorted(sessions, key=lambda each: (each.started_at, each.session_id), reverse=True)


def _then(record: SessionLatest) -> SessionThen:
    return SessionThen(
        session_id=record.session_id,
        station_id=record.station_id,
        evse_id=record.evse_id,
        status="running" if record.running else "ended",
        started_at=moment_of(record.started_at),
        ended_at=None if record.ended_at is None else moment_of(record.ended_at),
        id_token=record.id_token,
        energy_wh=record.energy_wh,
        review=record.review,
    )
