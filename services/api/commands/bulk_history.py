"""Bulk commands and how far they are: the recent ones as followed, the others from ClickHouse."""

import asyncio
import time
from collections import OrderedDict
from typing import Any, Final

from libs.bus.message import Message
from libs.clickhouse.client import ClickHouseError
from libs.clickhouse.reader import Reader
from libs.events.bulk import (
    STOPPED_BY,
    BulkCommandProgressed,
    BulkStatus,
    RequestBulkCommand,
    SteerBulkCommand,
)
from libs.events.topics import COMMANDS_BULK, COMMANDS_BULK_PROGRESS
from libs.runtime.logging import get_logger
from services.api.http import metrics
from services.api.recent import RecentRecords
from services.api.rows import Row, record_of

log = get_logger(__name__)

TOPICS: Final = (COMMANDS_BULK, COMMANDS_BULK_PROGRESS)
_BYTES: Final = 32 << 20
_STEERED: Final = 10_000
_LOOK_S: Final = 0.05
_STORED: Final = "SELECT * FROM commands_bulk WHERE _type = 'RequestBulkCommand'"


class BulkCommands:
    """The first request of an id counts, as for the processor."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._requests = RecentRecords(RequestBulkCommand, _BYTES)
        self._progress = RecentRecords(BulkCommandProgressed, _BYTES)
        self._steered: OrderedDict[str, None] = OrderedDict()

    def take(self, message: Message) -> None:
        """Take note of a message of any followed topic."""
        match message.record:
            case RequestBulkCommand() as request:
                self.note(request)
            case SteerBulkCommand() as steer:
                self._steered[steer.event_id] = None
                if len(self._steered) > _STEERED:
                    self._steered.popitem(last=False)
            case BulkCommandProgressed() as progress:
                self._note_progress(progress)
            case _:
                pass

    def note(self, request: RequestBulkCommand) -> None:
        """Take note of a request, unless one with its id is known."""
        if request.bulk_id not in self._requests:
            self._requests.put(request.bulk_id, request)

    def was_steered(self, event_id: str) -> bool:
        """Whether this stop, resumption or retry was asked for lately."""
        return event_id in self._steered

    async def progress_after(
        self, cause_id: str, bulk_id: str, timeout_s: float
    ) -> BulkCommandProgressed | None:
        """The counts once that has led to some; the newest ones after the time."""
        ends = time.monotonic() + timeout_s
        while time.monotonic() < ends:
            known = self._progress.get(bulk_id)
            if known is not None and known.cause_id == cause_id:
                return known
            await asyncio.sleep(_LOOK_S)
        return self._progress.get(bulk_id)

    def _note_progress(self, progress: BulkCommandProgressed) -> None:
        before = self._progress.get(progress.bulk_id)
        self._progress.put(progress.bulk_id, progress)
        stopped = progress.status is BulkStatus.STOPPED and not progress.reason.startswith(STOPPED_BY)
        if stopped and (before is None or before.status is not BulkStatus.STOPPED):
            metrics.BULK_STOPPED.inc()
            log.warning("bulk_command_stopped", bulk_id=progress.bulk_id, reason=progress.reason)

    async def find(self, bulk_id: str) -> RequestBulkCommand | None:
        """The request, as far as it is remembered here or ClickHouse knows it. Raises ClickHouseError."""
        if (known := self._requests.get(bulk_id)) is not None:
            return known
        rows = await self._reader.rows(
            f"{_STORED} AND bulk_id = %(id)s ORDER BY _offset LIMIT 1", {"id": bulk_id}
        )
        return record_of(RequestBulkCommand, rows[0]) if rows else None

    async def progress(self, bulk_id: str) -> BulkCommandProgressed | None:
        """The newest counts; None if none are known."""
        if (known := self._progress.get(bulk_id)) is not None:
            return known
        try:
            rows = await self._reader.rows(
                "SELECT * FROM commands_bulk_progress WHERE bulk_id = %(id)s AND _type = 'BulkCommandProgressed'"
                " ORDER BY _offset DESC LIMIT 1",
                {"id": bulk_id},
            )
        except ClickHouseError as error:
            log.warning("bulk_progress_not_read", bulk_id=bulk_id, error=str(error)[:300])
            return None
        return record_of(BulkCommandProgressed, rows[0]) if rows else None

    async def newest(self, before: tuple[int, str] | None, limit: int) -> list[RequestBulkCommand]:
        """The next requests, the newest first. `before`: `recorded_at` and id of the last. Raises ClickHouseError."""
        after = (
            ""
            if before is None
            else " AND (recorded_at, bulk_id) < (fromUnixTimestamp64Micro(%(at)s, 'UTC'), %(id)s)"
        )
        at, bulk_id = before or (0, "")
        rows = await self._reader.rows(
            f"SELECT * FROM ({_STORED} ORDER BY _offset LIMIT 1 BY bulk_id) WHERE 1{after}"  # noqa: S608
            " ORDER BY recorded_at DESC, bulk_id DESC LIMIT %(limit)s",
            {"at": at, "id": bulk_id, "limit": limit},
        )
        found = {row["bulk_id"]: record_of(RequestBulkCommand, row) for row in rows}
        # What was asked for just now is not in ClickHouse yet.
        for key in self._requests:
            recent = self._requests.get(key)
            if (
                key not in found
                and recent is not None
                and (before is None or (recent.recorded_at, key) < before)
            ):
                found[key] = recent
        return sorted(found.values(), key=lambda each: (each.recorded_at, each.bulk_id), reverse=True)[:limit]

    async def station_rows(self, bulk_id: str) -> dict[str, Row]:
        """The newest word of each station of which there is one. Raises ClickHouseError."""
        rows: list[dict[str, Any]] = await self._reader.rows(
            "SELECT station_id, status, reason, command_id, updated_at FROM bulk_command_stations"
            " WHERE bulk_id = %(id)s",
            {"id": bulk_id},
        )
        return {row["station_id"]: row for row in rows}
