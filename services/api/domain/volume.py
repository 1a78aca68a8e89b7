"""How many commands each of those who ask has asked for."""

from collections import Counter
from typing import Final

from libs.events.commands import RequestCommand
from libs.events.ids import derive_id
from libs.events.security import SecurityAlertKind, SecurityAlertRaised
from libs.runtime.clock import SECOND

HOUR: Final = 3600 * SECOND


class Volume:
    """Commands by who asks, in the hour that is; `many` of one are told of, once (0: never)."""

    def __init__(self, many: int) -> None:
        self._many = many
        self._hour = 0
        self._asked: Counter[str] = Counter()

    def note(self, request: RequestCommand) -> SecurityAlertRaised | None:
        """Count a command; the alert if it is one too many."""
        hour = request.recorded_at - request.recorded_at % HOUR
        if hour > self._hour:
            self._hour = hour
            self._asked.clear()
        self._asked[request.requested_by] += 1
        if self._asked[request.requested_by] != self._many:
            return None
        return SecurityAlertRaised(
            event_id=derive_id(request.event_id, "many-commands"),
            occurred_at=request.occurred_at,
            recorded_at=request.recorded_at,
            cause_id=request.event_id,
            station_id=request.station_id,
            kind=SecurityAlertKind.MANY_COMMANDS,
            detail=f"{request.requested_by} has asked for {self._many} commands within an hour, the last of them here",
            count=self._many,
            requested_by=request.requested_by,
        )
