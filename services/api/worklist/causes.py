"""What needs a person now, grouped by its cause."""

import asyncio
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import msgspec

from libs.clickhouse.client import ClickHouseError
from libs.runtime.clock import micros
from libs.runtime.logging import get_logger
from services.api.domain.places import NOWHERE
from services.api.domain.scope import Scope
from services.api.http.problems import Unavailable
from services.api.live.latest import Live
from services.api.registry.table import Registry
from services.api.scoped import Turns

log = get_logger(__name__)

SHOWN: Final = 20
"""Examples of each cause."""
FRESH_S: Final = 5.0
"""So long what ClickHouse told is told again."""

_FRESH: Final = timedelta(seconds=FRESH_S)
_QUESTIONS: Final = 64
"""That are remembered."""
_DIGITS: Final = 16
_SINCE: Final = "fromUnixTimestamp64Micro(%(since)s, 'UTC')"
_UNTIL: Final = "fromUnixTimestamp64Micro(%(until)s, 'UTC')"
_Question = tuple[datetime | int, datetime | None, tuple[str, ...] | None]
_OF_ALL: Final = frozenset({"dead", "campaign"})


class Example(msgspec.Struct, frozen=True):
    """One station, session or command that has the cause. `detail`: in the words of whoever reported it."""

    station_id: str
    detail: str = ""
    session_id: str = ""
    campaign_id: str = ""


class Cause(msgspec.Struct, frozen=True):
    """What is wrong, at how many. `kind`: one of KINDS; `title`: what tells it from others there.

    `entry_id`: of its entry in the worklist, the same whenever it comes up.
    """

    entry_id: str
    kind: str
    title: str
    count: int
    examples: tuple[Example, ...]


_REVIEW: Final = """
SELECT doubt AS title, count() AS many, sum(review_wh) AS wh,
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
# Campaigns that go on though stations failed.
_CAMPAIGNS: Final = """
SELECT campaign_id AS key, any(name) AS title, toInt64(any(failed)) AS many,
       groupArray({shown})(('', concat(toString(failed), '/', toString(total)), '', campaign_id)) AS examples
FROM (SELECT * FROM firmware_campaigns WHERE _type = 'CampaignProgressed'
      ORDER BY recorded_at DESC, _offset DESC LIMIT 1 BY campaign_id)
WHERE NOT finished AND failed > 0 AND recorded_at < {until}
GROUP BY campaign_id ORDER BY many DESC LIMIT 50
"""
_STORED: Final = {
    "review": _REVIEW,
    "command": _COMMANDS,
    "rejected": _REJECTED,
    "alert": _ALERTS,
    "dead": _DEAD,
    "campaign": _CAMPAIGNS,
}
KINDS: Final = ("offline", "faulted", *_STORED)


class Asked(msgspec.Struct, frozen=True):
    """What a request reaches: see `Context`."""

    registry: Registry
    live: Live
    reports: Turns
    scope: Scope


class Causes:
    """The causes of now and of a period.

    ClickHouse is asked at most once in some seconds for each period and each set of organisations.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: OrderedDict[_Question, tuple[float, asyncio.Task[list[Cause] | None]]] = OrderedDict()

    async def of(
        self, asked: Asked, since: datetime, until: datetime, now: datetime
    ) -> tuple[list[Cause], bool]:
        """The causes that a request reaches, those of one kind together, and whether ClickHouse told what it keeps.

        `since` (inclusive), `until` (exclusive): of what is not of now.
        """
        found = [*_offline(asked), *_faulted(asked.live)]
        stored = await self._stored(asked, since, until, now)
        return [*found, *(stored or ())], stored is not None

    async def _stored(
        self, asked: Asked, since: datetime, until: datetime, now: datetime
    ) -> list[Cause] | None:
        whose = None if asked.scope.everywhere else asked.scope.organisations
        question: _Question = since, until, whose
        if until >= now - _FRESH:
            # Who asks for a period up to now asks the same as somebody did a second ago.
            question = (now - since) // _FRESH, None, whose
        known = self._known.get(question)
        if known is None or (known[1].done() and self._clock() - known[0] > FRESH_S):
            task = asyncio.create_task(_ask(asked, since, until), name="worklist")
            known = self._known[question] = self._clock(), task
            self._known.move_to_end(question)
            while len(self._known) > _QUESTIONS:
                self._known.popitem(last=False)
        # Others may wait for it, too.
        return await asyncio.shield(known[1])


async def _ask(asked: Asked, since: datetime, until: datetime) -> list[Cause] | None:
    bounds = {"since": micros(since), "until": micros(until)}
    found: list[Cause] = []
    try:
        # Long queries, one after the other: whoever looks at a station does not wait for them.
        async with asked.reports.turn() as reader:
            for kind, sql in _STORED.items():
                # Dead letters and campaigns may be about anything.
                if kind in _OF_ALL and not asked.scope.everywhere:
                    continue
                words = sql.format(shown=SHOWN, since=_SINCE, until=_UNTIL, within=asked.scope.within)
                found += (_cause(kind, row) for row in await reader.rows(words, bounds))
    except (ClickHouseError, Unavailable) as error:
        log.warning("worklist_without_history", error=str(error)[:300])
        return None
    return found


def entry_id_of(kind: str, key: str) -> str:
    """The id of an entry of the worklist: the same for the same cause, whenever it is there. `key`: what tells it
    from others of its kind."""
    return f"{kind}-{sha256(key.encode('utf-8', 'replace')).hexdigest()[:_DIGITS]}"


def _offline(asked: Asked) -> Iterable[Cause]:
    """Registered stations without a socket, by site."""
    places, scope = asked.registry.places, asked.scope
    found = []
    # Places are of all organisations; a station at a site belongs to that of the site.
    for site_id, many, there in places.away():
        first: list[str] = []
        if scope.everywhere or (site_id and scope.sees_site(site_id)):
            first = places.away_at(site_id).after(None, SHOWN)
        elif site_id:
            continue
        else:
            seen = list(filter(scope.sees_station, places.away_at(NOWHERE)))
            there = sum(map(scope.sees_station, places.at(NOWHERE)))  # noqa: PLW2901
            many, first = len(seen), seen[:SHOWN]  # noqa: PLW2901
        if many:
            title = f"{site_id or '-'} ({many}/{there})"
            examples = tuple(map(Example, first))
            found.append(Cause(entry_id_of("offline", site_id), "offline", title, many, examples))
    return sorted(found, key=lambda each: -each.count)


def _faulted(live: Live) -> Iterable[Cause]:
    """Connectors that report a fault, by error code."""
    by_code: defaultdict[str, list[Example]] = defaultdict(list)
    for state in live.states.records.values():
        for connector in state.connectors:
            if connector.status == "Faulted":
                where = f"EVSE {connector.evse_id}"
                by_code[connector.error_code].append(Example(state.station_id, where))
    for code, examples in sorted(by_code.items(), key=lambda each: -len(each[1])):
        yield Cause(entry_id_of("faulted", code), "faulted", code, len(examples), tuple(examples[:SHOWN]))


def _cause(kind: str, row: dict[str, Any]) -> Cause:
    title = str(row["title"])
    examples = tuple(Example(*each) for each in row["examples"])
    return Cause(entry_id_of(kind, str(row.get("key", title))), kind, title, int(row["many"]), examples)
