"""An audit trail in memory: what an application would have written."""

from libs.bus.errors import BusUnavailableError
from libs.events.audit import AuditOutcome, AuditRecorded


class KeptTrail:
    """Keeps every event. `away`: nothing can be written."""

    def __init__(self) -> None:
        self.events: list[AuditRecorded] = []
        self.away = False

    async def record(self, event: AuditRecorded) -> None:
        """Keep it. Raises BusUnavailableError while the bus is away."""
        if self.away:
            raise BusUnavailableError("away")
        self.events.append(event)

    def later(self, event: AuditRecorded) -> None:
        """Keep it."""
        self.events.append(event)

    def repeats(self, event: AuditRecorded, target: str) -> bool:
        """Nothing is taken for a repetition."""
        return False

    def note_read(self, event: AuditRecorded, target: str) -> None:
        """Nothing is kept of it."""

    def refused(self, event: AuditRecorded) -> None:
        """Keep it."""
        self.events.append(event)

    @property
    def outcomes(self) -> list[AuditRecorded]:
        """What came of requests."""
        return [each for each in self.events if each.outcome is not AuditOutcome.STARTED]
