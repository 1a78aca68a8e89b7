"""Which processors a replay from nothing runs again, and which of their topics it has to give again."""

from typing import Any, Final

from msgspec.structs import replace

from libs.bus.processor import Processor
from libs.events.commands import CommandConcluded, Fate
from libs.events.latest import SessionLatest
from libs.events.load import StationNews, StationObserved
from libs.events.record import Record
from services.commands.domain.ledger.processor import CommandsProcessor
from services.commands.domain.ledger.turn import NO_WORD
from services.load.domain.stations.processor import LoadObserver
from services.plans.domain.processor import PlansProcessor
from services.projections.domain.sessions.processor import SessionsLatest
from services.projections.domain.stations.processor import StationsLatest
from services.provisioning.domain.capabilities.processor import CapabilitiesProcessor
from services.sessions.domain.processor import SessionsProcessor
from services.telemetry.domain.health.processor import HealthProcessor
from services.telemetry.domain.measurements.processor import MeasurementsProcessor
from services.telemetry.domain.security.processor import SecurityWatch

REPLAYED: Final[tuple[Processor[Any], ...]] = (
    CommandsProcessor(),
    CapabilitiesProcessor(),
    SessionsProcessor(),
    PlansProcessor(),
    MeasurementsProcessor(),
    HealthProcessor(),
    SecurityWatch(),
    LoadObserver(),
    SessionsLatest(),
    StationsLatest(),
)
SERVICES: Final = ("provisioning", "commands", "sessions", "plans", "telemetry", "load", "projections")
"""Whose processes run them. Those of `load` and `provisioning` that are not replayed go on where they were."""
NOT_REPLAYED: Final = {
    "bulk": "it does nothing but ask and count, and what was asked is kept",
    "load": "a plan is made of what was observed in the order in which it was observed (ADR 0004)",
    "onboarding": "it does nothing but ask, and what was asked is kept",
    "firmware": "its topic has also what operators asked for",
    "firmware-stations": "it tells the campaigns, which are kept, and asks",
}
KEPT: Final = {
    "commands.requested": "what was asked is not derived (ADR 0004)",
    "commands.bulk-progress": NOT_REPLAYED["bulk"],
    "commands.bulk-stations": NOT_REPLAYED["bulk"],
    "commands.dispatch": "what edges were told was done, and is not done again",
    "firmware.campaigns": NOT_REPLAYED["firmware"],
    "firmware.tasks": NOT_REPLAYED["firmware"],
    "firmware.progress": NOT_REPLAYED["firmware-stations"],
    "load.plans": NOT_REPLAYED["load"],
}
"""Topics that are not deleted."""
DERIVED: Final = tuple(sorted({topic for each in REPLAYED for topic in each.outputs} - KEPT.keys()))
NOT_COMPARED: Final = {
    "telemetry.health": "windows that had not closed before have since",
    "stations.latest": "it tells what telemetry.health does",
    "load.observations": "it joins derived topics in the order in which they were written (ADR 0004)",
}
COMPARED: Final = tuple(topic for topic in DERIVED if topic not in NOT_COMPARED)
LATEST: Final = frozenset({"sessions.latest", "billing.cdrs.latest"})
"""Of these the last record of each key is compared: which records led there depends on the order of two topics."""
MAY_BE_EMPTY: Final = frozenset(
    {"billing.decided", "billing.plan-months", "billing.prepaid", "billing.prepaid-asked", "security.alerts"}
)
"""Topics that a round of traffic need not write to."""

# Their commands name what they replace.
_OVERTAKING: Final = ("load", "sessions", "onboarding")
# Moves are told with the session, boot or tick that showed them first.
_MOVES: Final = (StationNews.JOINED, StationNews.LEFT)


def comparable(record: Record) -> Record | None:
    """What of a record a replay has to give again; None for nothing.

    Left out is which limit or cost was overtaken by a newer one, and what follows from it: that the station was not
    reached or said no (ADR 0007). Of a command that no edge reports on, whether it expired or its fate is unknown, why
    and when. Of stations' news the moves, and where a station was before. Of the latest state of a session which of its
    records said it last.
    """
    match record:
        case StationObserved():
            return None if record.news in _MOVES or record.command_id else replace(record, other_site_id=None)
        case CommandConcluded(requested_by=service) if service in _OVERTAKING:
            return None
        case CommandConcluded() if record.fate is Fate.EXPIRED or record.reason == NO_WORD:
            unreported = replace(record, fate=Fate.EXPIRED, reason="", attempts=0, cause_id="")
            return replace(unreported, occurred_at=0, recorded_at=0)
        case SessionLatest():
            return replace(record, event_id="", cause_id="", occurred_at=0, recorded_at=0)
        case _:
            return record
