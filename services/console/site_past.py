"""What a site drew, and why its limit was shared anew, as ClickHouse keeps it."""

from collections import defaultdict
from datetime import datetime
from typing import Final

from libs.runtime.clock import micros
from services.api.rows import Row
from services.api.scoped import Rows
from services.console.history import SINCE, UNTIL

_MOST_PLANS: Final = 20
_VOLTS: Final = 230
_PHASES: Final = 3

# By station, so that it can be told whose each row is. EVSE 0 is the whole station: it counts if no other tells.
_POWER: Final = f"""
SELECT station_id, bucket, if(countIf(evse_id > 0) > 0, sumIf(watts, evse_id > 0), sum(watts)) AS watts FROM (
    SELECT station_id, evse_id, toStartOfInterval(sampled_at, INTERVAL 10 MINUTE) AS bucket,
           avg(value_milli / if(unit = 'kW', 1, 1000)) AS watts
    FROM measurements
    WHERE station_id IN %(stations)s AND recorded_at >= {SINCE} AND recorded_at < {UNTIL}
      AND sampled_at >= {SINCE} AND sampled_at < {UNTIL}
      AND measurand = 'Power.Active.Import' AND phase IS NULL
    GROUP BY station_id, evse_id, bucket
)
GROUP BY station_id, bucket
"""  # noqa: S608
_PLANS: Final = f"""
SELECT plan.site_id AS site_id, plan.plan_no AS plan_no, plan.recorded_at AS made_at, plan.limit_ma AS limit_ma,
       plan.waiting AS waiting, plan.shared_ma AS shared_ma,
       evse.station_id AS of_station, evse.evse_id AS of_evse, evse.charging AS charging,
       news.station_id AS news_station, news.news AS news
FROM (
    SELECT site_id, plan_no, recorded_at, limit_ma, waiting, arraySum(allocations.current_ma) AS shared_ma, cause_id
    FROM load_plans
    WHERE site_id = %(site_id)s AND recorded_at >= {SINCE} AND recorded_at < {UNTIL} AND _type = 'LoadPlanMade'
    ORDER BY recorded_at DESC LIMIT 1 BY plan_no LIMIT %(most)s
) AS plan
LEFT ANY JOIN (
    SELECT event_id, station_id, evse_id, charging FROM load_observations
    WHERE site_id = %(site_id)s AND recorded_at >= {SINCE}
) AS evse ON evse.event_id = plan.cause_id
LEFT ANY JOIN (
    SELECT event_id, station_id, news FROM load_stations WHERE site_id = %(site_id)s AND recorded_at >= {SINCE}
) AS news ON news.event_id = plan.cause_id
ORDER BY plan_no DESC
"""  # noqa: S608


async def power(
    reader: Rows, stations: tuple[str, ...], since: datetime, until: datetime
) -> list[tuple[float, float]]:
    """(Seconds since 1970, kW) of these stations together, as means of ten minutes. Raises like `Rows.rows`."""
    if not stations:
        return []
    asked = {"stations": stations, "since": micros(since), "until": micros(until)}
    total: dict[float, float] = defaultdict(float)
    for row in await reader.rows(_POWER, asked):
        total[row["bucket"].timestamp()] += row["watts"] / 1000
    return sorted(total.items())


async def plans(reader: Rows, site_id: str, since: datetime, until: datetime) -> list[Row]:
    """The last plans with what each was made for, the latest first. Raises like `Rows.rows`."""
    asked = {"site_id": site_id, "since": micros(since), "until": micros(until), "most": _MOST_PLANS}
    return await reader.rows(_PLANS, asked)


def kilowatts(limit_ma: int | None) -> float | None:
    """What a limit per phase is worth: three phases at 230 V."""
    return None if limit_ma is None else limit_ma * _VOLTS * _PHASES / 1_000_000
