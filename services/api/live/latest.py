"""What is known of stations, sites and campaigns now: followed from the log, completed from ClickHouse."""

import asyncio
import copy
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, Self, TypeVar

from libs.bus.message import Message
from libs.clickhouse.client import ClickHouseError
from libs.clickhouse.reader import Reader
from libs.events.firmware import CampaignProgressed, DefineCampaign
from libs.events.load import Allocation, LoadPlanMade
from libs.events.record import UNWRITTEN, Record
from libs.events.security import SecurityAlertRaised
from libs.events.telemetry import StationStateChanged
from libs.runtime.clock import SECOND, micros, now_us
from libs.runtime.logging import get_logger
from services.api.domain.index import SortedKeys
from services.api.domain.scope import Scope, Within
from services.api.http import metrics
from services.api.recent import RecentRecords
from services.api.rows import record_of

log = get_logger(__name__)

R = TypeVar("R", bound=Record)

_RETRY_S: Final = 2.0
_PAGE: Final = 2_000
_SLICE: Final = 100
"""Rows that are made records before others have their turn."""
_OVERLAP_US: Final = 120 * SECOND
"""Rows may come to ClickHouse this much later than others that changed after them; those later still are found by the
next whole reading."""
_WHOLE_US: Final = 3600 * SECOND
_CAMPAIGN_BYTES: Final = 32 << 20


class Latest(Generic[R]):
    """The newest record of each key, whatever the order in which they come."""

    def __init__(
        self, key: Callable[[R], str], rank: Callable[[R], int] = lambda record: record.recorded_at
    ) -> None:
        self._key = key
        self._rank = rank
        self._records: dict[str, R] = {}
        self.records: Mapping[str, R] = self._records
        self.keys = SortedKeys()

    def within(self, sees: Callable[[str], bool]) -> Self:
        """Those of which `sees` tells so by their key; `keys` are of all."""
        part = copy.copy(self)
        part.records = Within(self._records, lambda key, _: sees(key))
        return part

    def offer(self, record: R) -> None:
        """Take the record, unless a newer one is known."""
        key = self._key(record)
        known = self._records.get(key)
        if known is None:
            self.keys.add(key)
        if known is None or self._rank(record) >= self._rank(known):
            self._records[key] = record


def _disobedient(plan: LoadPlanMade) -> dict[tuple[str, int], Allocation]:
    return {(share.station_id, share.evse_id): share for share in plan.allocations if share.drawn_ma}


class Live:
    """Records since this process follows the topics; `states` are completed from ClickHouse in the background.

    `campaigns` and `progress`: the latest of them.
    """

    def __init__(self) -> None:
        self.states: Latest[StationStateChanged] = Latest(lambda state: state.station_id)
        self.plans: Latest[LoadPlanMade] = Latest(lambda plan: plan.site_id, lambda plan: plan.plan_no)
        self.campaigns = RecentRecords(DefineCampaign, _CAMPAIGN_BYTES)
        self.progress = RecentRecords(CampaignProgressed, _CAMPAIGN_BYTES)

    def within(self, scope: Scope) -> Self:
        """What `scope` reaches of it. `progress` is of all: it is asked for by who knows the campaign."""
        if scope.everywhere:
            return self
        part = copy.copy(self)
        part.states = self.states.within(scope.sees_station)
        part.plans = self.plans.within(scope.sees_site)
        part.campaigns = self.campaigns.within(lambda campaign: scope.sees_stations(campaign.stations))
        return part

    def take(self, message: Message) -> None:
        """Take note of a message of any followed topic."""
        match message.record:
            case StationStateChanged() as state:
                self.states.offer(state)
            case LoadPlanMade() as plan:
                self._take_plan(plan)
            case DefineCampaign() as campaign:
                # The first definition of a campaign is the one that counts.
                if campaign.campaign_id not in self.campaigns:
                    self.campaigns.put(campaign.campaign_id, campaign)
            case CampaignProgressed() as progress:
                self.progress.put(progress.campaign_id, progress)
            case SecurityAlertRaised() as alert:
                _tell(alert)
            case _:
                pass

    def _take_plan(self, plan: LoadPlanMade) -> None:
        before = self.plans.records.get(plan.site_id)
        self.plans.offer(plan)
        if self.plans.records[plan.site_id] is not plan:
            return
        known, found = ({} if each is None else _disobedient(each) for each in (before, plan))
        metrics.DISOBEDIENT_EVSES.inc(len(found) - len(known))
        for (station_id, evse_id), share in found.items():
            if (station_id, evse_id) not in known:
                log.warning(
                    "limit_disobeyed", site_id=plan.site_id, station_id=station_id, evse_id=evse_id,
                    transaction_id=share.transaction_id, share_ma=share.current_ma, drawn_ma=share.drawn_ma,
                    event_id=plan.event_id,
                )  # fmt: skip

    async def complete(self, reader: Reader, every_s: float) -> None:
        """Read states from ClickHouse: all of them once and then now and again, and what has changed in between.

        telemetry.health is not compacted, so its beginning cannot be followed; and what was written just before
        this process began to follow it may reach ClickHouse only later.
        """
        changed_at = whole_at = 0
        while True:
            pause = every_s
            now = now_us()
            whole = now - whole_at >= _WHOLE_US
            try:
                newest = await self._read(reader, 0 if whole else changed_at - _OVERLAP_US)
            except ClickHouseError as error:
                log.warning("states_not_completed", error=str(error)[:300])
                pause = min(_RETRY_S, every_s)
            else:
                # Clocks of edges may be ahead.
                changed_at = min(max(changed_at, newest), now)
                if whole:
                    whole_at = now
            await asyncio.sleep(pause)

    async def _read(self, reader: Reader, since: int) -> int:
        """Take the states that changed since then; the moment of the latest."""
        after, newest = "", 0
        while True:
            rows = await reader.rows(
                "SELECT * FROM station_state WHERE station_id > %(after)s"
                " AND changed_at >= fromUnixTimestamp64Micro(%(since)s, 'UTC') ORDER BY station_id LIMIT %(most)s",
                {"after": after, "since": max(since, 0), "most": _PAGE},
            )
            for number, row in enumerate(rows, 1):
                newest = max(newest, self._offer_row(row))
                if number % _SLICE == 0:
                    await asyncio.sleep(0)
            if len(rows) < _PAGE:
                return newest
            after = rows[-1]["station_id"]

    def _offer_row(self, row: Mapping[str, Any]) -> int:
        changed_at = micros(row["changed_at"])
        known = self.states.records.get(row["station_id"])
        if known is None or known.recorded_at < changed_at:
            # The view has no use for the rest of the event's envelope.
            envelope = {**UNWRITTEN, "occurred_at": row["changed_at"], "recorded_at": row["changed_at"]}
            self.states.offer(record_of(StationStateChanged, {**row, **envelope}))
        return changed_at


def _tell(alert: SecurityAlertRaised) -> None:
    metrics.SECURITY_ALERTS.labels(alert.kind.value).inc()
    log.warning(
        "security_alert",
        station_id=alert.station_id,
        event_id=alert.event_id,
        kind=alert.kind.value,
        detail=alert.detail,
    )
