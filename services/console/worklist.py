"""What needs a person now, grouped by its cause."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

import msgspec

from libs.clickhouse.client import ClickHouseError
from libs.runtime.clock import micros
from libs.runtime.logging import get_logger
from services.api.context import Context
from services.api.domain.dated import in_force
from services.api.http.problems import Unavailable
from services.console.history import SINCE, UNTIL

log = get_logger(__name__)

SHOWN: Final = 20
"""Examples of each cause."""


class Example(msgspec.Struct, frozen=True):
    """One station, session or command that has the cause. `detail`: in the words of whoever reported it."""

    station_id: str
    detail: str = ""
    session_id: str = ""


class Cause(msgspec.Struct, frozen=True):
    """What is wrong, at how many. `kind`: one of the sections of the page; `title`: what tells it from others there."""

    kind: str
    title: str
    count: int
    examples: tuple[Example, ...]


_REVIEW: Final = """
SELECT doubt, count() AS many, sum(review_wh) AS wh,
       groupArray({shown})((station_id, concat(toString(review_wh), ' Wh'), session_id)) AS examples
FROM (SELECT station_id, session_id, review_wh, arrayJoin(doubts) AS doubt
      FROM sessions_in_review(since = {since}, until = {until}) WHERE {within} ORDER BY review_wh DESC)
GROUP BY doubt ORDER BY wh DESC
"""
_COMMANDS: Final = """
SELECT concat(action, ' ', fate) AS title, uniqExact(command_id) AS many,
       groupArray({shown})((station_id, reason, '')) AS examples
FROM commands_outcomes FINAL
WHERE {within} AND _type = 'CommandConcluded' AND fate != 'ACCEPTED'
  AND recorded_at >= {since} AND recorded_at < {until}
GROUP BY title ORDER BY many DESC LIMIT 50
"""
_REJECTED: Final = """
SELECT reason AS title, sum(ifNull(count, 1)) AS many,
       groupUniqArray({shown})((station_id, ifNull(remote_address, ''), '')) AS examples
FROM ocpp_rejected FINAL
WHERE {within} AND _type != 'FrameRejected' AND recorded_at >= {since} AND recorded_at < {until}
GROUP BY title ORDER BY many DESC LIMIT 50
"""
_ALERTS: Final = """
SELECT kind AS title, uniqExact(alert_id) AS many, groupArray({shown})((station_id, detail, '')) AS examples
FROM security_events WHERE {within} AND recorded_at >= {since} AND recorded_at < {until}
GROUP BY title ORDER BY many DESC LIMIT 50
"""
_DEAD: Final = """
SELECT concat(source_topic, ': ', error_type) AS title, uniqExact(event_id) AS many,
       groupArray({shown})((ifNull(key, ''), error, '')) AS examples
FROM dead_letters FINAL WHERE recorded_at >= {since} AND recorded_at < {until}
GROUP BY title ORDER BY many DESC LIMIT 50
"""
_STORED: Final = {
    "review": _REVIEW,
    "command": _COMMANDS,
    "rejected": _REJECTED,
    "alert": _ALERTS,
    "dead": _DEAD,
}


async def worklist(api: Context, since: datetime, until: datetime, now_us: int) -> tuple[list[Cause], bool]:
    """The causes, those of one kind together, and whether ClickHouse told what it keeps."""
    found = [*_offline(api, now_us), *_faulted(api)]
    told = True
    bounds = {"since": micros(since), "until": micros(until)}
    try:
        # Long queries, one after the other: whoever looks at a station does not wait for them.
        async with api.reports.turn() as reader:
            for kind, sql in _STORED.items():
                # A dead letter may be about anything.
                if kind == "dead" and not api.scope.everywhere:
                    continue
                asked = sql.format(shown=SHOWN, since=SINCE, until=UNTIL, within=api.scope.within)
                rows = await reader.rows(asked, bounds)
                found += (_cause(kind, row) for row in rows)
    except (ClickHouseError, Unavailable) as error:
        log.warning("page_without_history", error=str(error)[:300])
        told = False
    return found, told


def _offline(api: Context, now_us: int) -> Iterable[Cause]:
    """Registered stations without a socket, by site."""
    away: defaultdict[str, list[str]] = defaultdict(list)
    all_of: Counter[str] = Counter()
    for station_id, station in api.registry.stations.items():
        site_id = in_force(station.sites, now_us) or ""
        all_of[site_id] += 1
        located = api.registry.locations.get(station_id)
        if located is None or not located.connected:
            away[site_id].append(station_id)
    for site_id, stations in sorted(away.items(), key=lambda each: -len(each[1])):
        title = f"{site_id or '-'} ({len(stations)}/{all_of[site_id]})"
        yield Cause("offline", title, len(stations), tuple(map(Example, sorted(stations)[:SHOWN])))


def _faulted(api: Context) -> Iterable[Cause]:
    """Connectors that report a fault, by error code."""
    by_code: defaultdict[str, list[Example]] = defaultdict(list)
    for state in api.live.states.records.values():
        for connector in state.connectors:
            if connector.status == "Faulted":
                where = f"EVSE {connector.evse_id}"
                by_code[connector.error_code].append(Example(state.station_id, where))
    for code, examples in sorted(by_code.items(), key=lambda each: -len(each[1])):
        yield Cause("faulted", code, len(examples), tuple(examples[:SHOWN]))


def _cause(kind: str, row: dict[str, Any]) -> Cause:
    title = str(row["doubt"] if kind == "review" else row["title"])
    return Cause(kind, title, int(row["many"]), tuple(Example(*each) for each in row["examples"]))
