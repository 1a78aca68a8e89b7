"""What a station is asked when it has booted, as operators configured it.

A station that is still pending is asked for its configuration only, so that it can be set up first (2.x B02); one
that was rejected is asked nothing (B03), nor is one under certification.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Final

from libs.bus.message import Emit, Message
from libs.bus.processor import Processor, Step, Tables, Tick
from libs.events.commands import CommandDialect, RequestCommand
from libs.events.ids import derive_id
from libs.events.ocpp_log import OcppCallReceived
from libs.events.registry import BootStatus, StationRegistered
from libs.events.topics import COMMANDS_REQUESTED, OCPP_LIFECYCLE, REGISTRY_STATIONS
from libs.ocpp.semantics.commands import Command, GetBaseReport, GetVariables, TriggerMessage, Variable
from libs.ocpp.semantics.dialect import to_request
from libs.ocpp.semantics.model import Booted
from libs.ocpp.semantics.received_calls import read_exchange
from libs.ocpp.semantics.variables import LIMITING_KEYS, LIMITING_VARIABLES
from libs.ocpp.versions import Version
from libs.runtime.clock import SECOND

REQUESTED_BY: Final = "onboarding"
WAITS: Final = 600 * SECOND
"""How long a question may wait for a station that went away again; the next boot asks anew."""
MOST_EVSES: Final = 32

_BOOT: Final = "BootNotification"
_NOTHING: Final[Step[None]] = Step(None)


class OnBoot(StrEnum):
    """CONFIGURATION: report all that can be configured. LIMITS: tell what limits what it can be asked.

    STATUS: report the status of every connector; only of an accepted station.
    """

    CONFIGURATION = "configuration"
    LIMITS = "limits"
    STATUS = "status"


class OnboardingProcessor(Processor[None]):
    """Stateless: boots to the commands that `actions` name, in their order."""

    name = "onboarding"
    inputs = (OCPP_LIFECYCLE,)
    outputs = (COMMANDS_REQUESTED,)
    tables = (REGISTRY_STATIONS,)
    linger_s = 0.25

    def __init__(self, actions: Sequence[OnBoot] = ()) -> None:
        self._actions = tuple(actions)

    def wants(self, topic: str, kind: str, subject: str | None) -> bool:
        """Only boots."""
        return kind == OcppCallReceived.__name__ and subject == _BOOT

    def key(self, message: Message) -> str | None:
        """The station, for boots."""
        record = message.record
        return record.station_id if isinstance(record, OcppCallReceived) and record.action == _BOOT else None

    def step(self, state: None, event: Message | Tick, tables: Tables) -> Step[None]:
        """What follows from one boot."""
        assert isinstance(event, Message)
        record = event.record
        assert isinstance(record, OcppCallReceived)
        boot = next((fact for fact in read_exchange(record) if isinstance(fact, Booted)), None)
        registered = tables[REGISTRY_STATIONS].get(record.station_id)
        station = registered if isinstance(registered, StationRegistered) else None
        if boot is None or (station is not None and station.certification):
            return _NOTHING
        accepted = boot.boot_status == BootStatus.ACCEPTED
        if not accepted and boot.boot_status != BootStatus.PENDING:
            return _NOTHING
        evses = 1 if station is None else min(max(station.evses, 1), MOST_EVSES)
        requests = [
            _request(record, name, command)
            for action in self._actions
            if accepted or action is not OnBoot.STATUS
            for name, command in _commands(action, record, evses)
        ]
        return Step(None, tuple(Emit(COMMANDS_REQUESTED, record.station_id, each) for each in requests))


def _commands(action: OnBoot, boot: OcppCallReceived, evses: int) -> Iterator[tuple[str, Command]]:
    """Commands of an action, each with the name that tells it from the others of the boot."""
    is_v2 = Version(boot.version).is_v2
    match action:
        case OnBoot.CONFIGURATION:
            request_id = int(derive_id(boot.event_id, "report")[:8], 16) & 0x7FFFFFFF
            yield "configuration", GetBaseReport(request_id)
        case OnBoot.LIMITS:
            names = LIMITING_VARIABLES if is_v2 else LIMITING_KEYS
            yield "limits", GetVariables(tuple(Variable(name) for name in names))
        case OnBoot.STATUS if is_v2:
            # 2.x F06.FR.12: of one connector at a time.
            for evse_id in range(1, evses + 1):
                yield f"status:{evse_id}", TriggerMessage("status", evse_id, 1)
        case OnBoot.STATUS:
            yield "status", TriggerMessage("status")


def _request(boot: OcppCallReceived, name: str, command: Command) -> RequestCommand:
    action, payload = to_request(command)
    return RequestCommand(
        event_id=derive_id(boot.event_id, f"on-boot:{name}"),
        occurred_at=boot.recorded_at,
        recorded_at=boot.recorded_at,
        cause_id=boot.event_id,
        station_id=boot.station_id,
        action=action,
        payload=payload,
        dialect=CommandDialect.VOLTBUS,
        requested_by=REQUESTED_BY,
        expires_at=boot.recorded_at + WAITS,
        # A station that boots again and again is not asked again and again.
        replaces=f"on-boot:{name}",
    )
