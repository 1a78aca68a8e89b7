"""Campaigns: defined once, by whichever process; the topic is the record of which ones were."""

import asyncio
import random
from typing import Final

from libs.bus.bus import Bus
from libs.bus.errors import BusUnavailableError, ClaimLostError
from libs.bus.lookup import records_of
from libs.bus.message import Emit
from libs.bus.sole_writer import SoleWriter
from libs.clickhouse.reader import Reader
from libs.events.firmware import DefineCampaign
from libs.events.topics import FIRMWARE_CAMPAIGNS
from libs.runtime.clock import SECOND, now_us
from services.api.http.audit_entry import before_write
from services.api.live.latest import Live
from services.api.rows import Row, record_of

_LOOK_BACK_US: Final = 24 * 3600 * SECOND
"""How far back the topic is read: by then ClickHouse knows a campaign."""
_LONGEST_PAUSE_S: Final = 0.5

_STORED: Final = "SELECT * FROM firmware_campaigns WHERE NOT _deleted"
_FIRST_AND_NEWEST: Final = (
    "ORDER BY if(_type = 'DefineCampaign', -_offset, _offset) DESC LIMIT 1 BY campaign_id, _type"
)


class Campaigns:
    """The definitions of campaigns. The first one of an id counts: the firmware processor ignores any other."""

    def __init__(self, bus: Bus, writer: SoleWriter, reader: Reader, live: Live, *, timeout_s: float) -> None:
        self._bus = bus
        self._writer = writer
        self._reader = reader
        self._live = live
        self._timeout_s = timeout_s
        self._one_at_a_time = asyncio.Lock()

    async def define(self, wanted: DefineCampaign) -> DefineCampaign:
        """Define the campaign, unless one with its id was defined before; the definition that counts.

        Raises BusUnavailableError if Kafka did not acknowledge it in time: whether it is defined is not known. Raises
        ClickHouseError if it cannot be told whether there is an older one.
        """
        await before_write(subject_kind="campaign", subject_id=wanted.campaign_id)
        try:
            async with asyncio.timeout(self._timeout_s), self._one_at_a_time:
                return await self._define(wanted)
        except TimeoutError as error:
            raise BusUnavailableError(
                f"{FIRMWARE_CAMPAIGNS}: not acknowledged in {self._timeout_s} s"
            ) from error

    async def stop(self) -> None:
        """Let another process have its turn without waiting."""
        await self._writer.release()

    async def find(self, campaign_id: str) -> DefineCampaign | None:
        """The definition, as far as it is remembered here or ClickHouse knows it. Raises ClickHouseError."""
        known = self._live.campaigns.get(campaign_id)
        if known is not None:
            return known
        for row in await self.rows(campaign_id):
            if row["_type"] == "DefineCampaign":
                return record_of(DefineCampaign, row)
        return None

    async def rows(self, campaign_id: str) -> list[Row]:
        """The definition and the newest progress of a campaign as ClickHouse has them; `_type` tells which is which.

        The first definition counts, as for the firmware processor. Raises ClickHouseError.
        """
        return await self._reader.rows(
            f"{_STORED} AND campaign_id = %(id)s {_FIRST_AND_NEWEST}", {"id": campaign_id}
        )

    async def rows_after(self, campaign_id: str, limit: int) -> list[Row]:
        """As `rows`, of the next `limit` campaigns by id after that one."""
        return await self._reader.rows(
            f"{_STORED} AND campaign_id IN (SELECT DISTINCT campaign_id FROM firmware_campaigns"  # noqa: S608
            " WHERE _type = 'DefineCampaign' AND NOT _deleted AND campaign_id > %(id)s"
            f" ORDER BY campaign_id LIMIT %(limit)s) {_FIRST_AND_NEWEST}",
            {"id": campaign_id, "limit": limit},
        )

    async def station_rows(self, campaign_id: str) -> list[Row]:
        """The newest status of each station of a campaign that has one, by station. Raises ClickHouseError."""
        return await self._reader.rows(
            "SELECT station_id, status, detail, firmware_version, recorded_at AS updated_at FROM firmware_progress"
            " WHERE campaign_id = %(id)s AND _type = 'StationUpdateProgressed'"
            " ORDER BY station_id, recorded_at DESC, _offset DESC LIMIT 1 BY station_id",
            {"id": campaign_id},
        )

    async def _define(self, wanted: DefineCampaign) -> DefineCampaign:
        campaign_id = wanted.campaign_id
        if (known := await self.find(campaign_id)) is not None:
            return known
        while True:
            if not self._writer.holds:
                await self._writer.claim()
            # Of what others wrote before this claim all is in the topic, and after it they write nothing.
            for record in await records_of(
                self._bus, FIRMWARE_CAMPAIGNS, campaign_id, now_us() - _LOOK_BACK_US
            ):
                if isinstance(record, DefineCampaign):
                    return record
            try:
                await self._writer.write([Emit(FIRMWARE_CAMPAIGNS, campaign_id, wanted)])
            except ClaimLostError:
                await asyncio.sleep(random.uniform(0, _LONGEST_PAUSE_S))  # noqa: S311
                continue
            return wanted
