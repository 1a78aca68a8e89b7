"""What is known of stations, sites and campaigns now: followed from the log, completed from ClickHouse."""

import asyncio
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from libs.bus.message import Message
from libs.clickhouse.client import ClickHouseError
from libs.clickhouse.reader import Reader
from libs.events.firmware import CampaignProgressed, DefineCampaign
from libs.events.load import LoadPlanMade
from libs.events.record import Record
from libs.events.telemetry import StationStateChanged
from libs.runtime.logging import get_logger
from services.api.rows import record_of

log = get_logger(__name__)

R = TypeVar("R", bound=Record)

_RETRY_S: Final = 2.0


class Latest(Generic[R]):
    """The newest record of each key, whatever the order in which they come."""

    def __init__(
        self, key: Callable[[R], str], rank: Callable[[R], int] = lambda record: record.recorded_at
    ) -> None:
        self._key = key
        self._rank = rank
        self.records: dict[str, R] = {}

    def offer(self, record: R) -> None:
        """Take the record, unless a newer one is known."""
        key = self._key(record)
        known = self.records.get(key)
        if known is None or self._rank(record) >= self._rank(known):
            self.records[key] = record


class Live:
    """Records since this process follows the topics; `states` are completed from ClickHouse in the background."""

    def __init__(self) -> None:
        self.states: Latest[StationStateChanged] = Latest(lambda state: state.station_id)
        self.plans: Latest[LoadPlanMade] = Latest(lambda plan: plan.site_id, lambda plan: plan.plan_no)
        self.campaigns: Latest[DefineCampaign] = Latest(lambda campaign: campaign.campaign_id)
        self.progress: Latest[CampaignProgressed] = Latest(lambda progress: progress.campaign_id)

    def take(self, message: Message) -> None:
        """Take note of a message of any followed topic."""
        match message.record:
            case StationStateChanged() as state:
                self.states.offer(state)
            case LoadPlanMade() as plan:
                self.plans.offer(plan)
            case DefineCampaign() as campaign:
                self.campaigns.offer(campaign)
            case CampaignProgressed() as progress:
                self.progress.offer(progress)
            case _:
                pass

    async def complete(self, reader: Reader, every_s: float) -> None:
        """Read states from ClickHouse again and again.

        telemetry.health is not compacted, so its beginning cannot be followed; and what was written just before
        this process began to follow it may reach ClickHouse only later.
        """
        while True:
            pause = every_s
            try:
                rows = await reader.rows("SELECT * FROM station_state")
            except ClickHouseError as error:
                log.warning("states_not_completed", error=str(error)[:300])
                pause = min(_RETRY_S, every_s)
            else:
                for row in rows:
                    # The view has no use for the rest of the event's envelope.
                    stamp = {"event_id": "", "cause_id": "", "occurred_at": row["changed_at"]}
                    stamped = row | stamp | {"recorded_at": row["changed_at"]}
                    self.states.offer(record_of(StationStateChanged, stamped))
            await asyncio.sleep(pause)
