"""What a station sent that is of no use, on the record."""

from collections.abc import Awaitable, Callable
from typing import Final

from libs.events.record import Record
from libs.events.topics import OCPP_REJECTED
from libs.ocpp.errors import ErrorCode, spell
from libs.ocpp.routing import ROUTES
from libs.ocpp.schemas import Violation
from libs.ocpp.versions import Version
from libs.runtime.clock import now_us
from services.edge import metrics
from services.edge.context import RECORD_OVERHEAD, Context
from services.edge.domain.limits import GarbageMeter
from services.edge.records import FRAME_KEPT, Scribe

IGNORED: Final = "Ignored"
"""Stands for an error code where the station was told nothing."""

_KNOWN_CODES: Final = frozenset(
    {spell(version, code) for version in ROUTES for code in ErrorCode} | {IGNORED}
)


class Rejects:
    """Records one connection's unusable frames; of many in a while only the first, and how many there were."""

    def __init__(
        self,
        context: Context,
        scribe: Scribe,
        version: Version,
        publish: Callable[[str, Record, int], Awaitable[None]],
        garbage: GarbageMeter,
    ) -> None:
        self._post = context.publisher.post
        self._scribe = scribe
        self._version = version
        self._publish = publish
        self._garbage = garbage

    async def record(
        self,
        frame: bytes,
        code: str,
        reason: str,
        message_id: str | None = None,
        action: str | None = None,
        *,
        answered: bool = False,
    ) -> None:
        """Publish an unusable frame, unless there are too many of the station. Raises BusUnavailableError."""
        metrics.FRAMES_REJECTED.labels(self._version, code if code in _KNOWN_CODES else "other").inc()
        now = now_us()
        if not self._garbage.record(now):
            return
        record = self._scribe.rejected(
            frame,
            code,
            reason + self._unrecorded(),
            now,
            message_id=message_id,
            action=action,
            answered=answered,
        )
        await self._publish(OCPP_REJECTED, record, min(len(frame), FRAME_KEPT) + RECORD_OVERHEAD)

    def conclude(self, too_large: bool, now: int) -> None:
        """Post what is still to be said when the connection is over. `too_large`: a frame that was ended it."""
        station_id = self._scribe.station_id
        if too_large:
            code, reason = spell(self._version, ErrorCode.FORMAT_VIOLATION), "frame is far too large"
            self._post(OCPP_REJECTED, station_id, self._scribe.rejected(b"", code, reason, now))
        if self._garbage.unrecorded:
            reason = "the connection ended" + self._unrecorded()
            self._post(OCPP_REJECTED, station_id, self._scribe.rejected(b"", IGNORED, reason, now))

    def _unrecorded(self) -> str:
        count, self._garbage.unrecorded = self._garbage.unrecorded, 0
        return f" (and {count} unusable frames before it)" if count else ""


def describe(violation: Violation) -> str:
    """Where a payload breaks its schema, and how."""
    return f"{violation.path or '/'}: {violation.message}"
