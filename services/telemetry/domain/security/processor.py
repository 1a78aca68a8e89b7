"""What operators ought to look at: what stations report, and what is noticed in their connections and commands."""

from __future__ import annotations

from typing import Any, Final, get_args

import msgspec

from libs.bus.message import Emit, Message
from libs.bus.processor import Processor, Step, Tables, Tick
from libs.events.commands import RequestCommand
from libs.events.ids import derive_id
from libs.events.ocpp_log import ConnectionClosed, ConnectionOpened, OcppCallReceived
from libs.events.security import SecurityAlertKind, SecurityAlertRaised
from libs.events.topics import COMMANDS_REQUESTED, OCPP_LIFECYCLE, SECURITY_ALERTS
from libs.ocpp.semantics.received_calls import read_exchange
from libs.ocpp.semantics.reports import SecurityEventReported
from libs.runtime.addresses import network_of
from libs.runtime.clock import SECOND

HOUR: Final = 3600 * SECOND
"""Counts are per hour of the platform's clock."""
MOST_REPORTED: Final = 100
"""Security events of a station that are told of in an hour; ocpp.lifecycle has all."""
DISPLACED: Final = 3
"""Connections of a station that were displaced within an hour, from which on it is told, once."""
MANY_COMMANDS: Final = 100
"""Commands to a station within an hour, from which on it is told, once."""
_ROUTINE: Final = frozenset({"load", "onboarding", "firmware", "sessions"})
"""Who asks for commands as part of the daily round: as often as vehicles come and go."""
_KNOWN: Final = 16
_REPLACED: Final = "replaced"
_SECURITY_EVENT: Final = "SecurityEventNotification"
_MOST_TEXT: Final = 255
_MOST_ADDRESS: Final = 64

_Input = ConnectionOpened | ConnectionClosed | OcppCallReceived | RequestCommand
_KINDS: Final = frozenset(kind.__name__ for kind in get_args(_Input)) - {OcppCallReceived.__name__}


class Watched(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A station. Counts are of the hour that begins at `hour`; `known`: networks that it came from, newest last."""

    hour: int = 0
    reported: int = 0
    moved: int = 0
    displaced: int = 0
    commands: int = 0
    address: str = ""
    known: tuple[str, ...] = ()


_Noticed = tuple[Watched, SecurityAlertRaised | None, tuple[str, ...]]
"""The station afterwards, what is told, and the bounds that were reached."""


class SecurityWatch(Processor[Watched]):
    """One SecurityAlertRaised for each security event that a station reports, and once an hour for what else is odd.

    An address is odd if none of the last 16 networks of the station holds it. Commands of the platform's own daily
    round do not count.
    """

    name = "security-watch"
    inputs = (OCPP_LIFECYCLE, COMMANDS_REQUESTED)
    outputs = (SECURITY_ALERTS,)
    state = Watched
    linger_s = 0.25

    def wants(self, topic: str, kind: str, subject: str | None) -> bool:
        """Connections, commands, and the one message of OCPP that is about security."""
        return kind in _KINDS or (kind == OcppCallReceived.__name__ and subject == _SECURITY_EVENT)

    def key(self, message: Message) -> str | None:
        """The station."""
        record = message.record
        if isinstance(record, OcppCallReceived) and record.action != _SECURITY_EVENT:
            return None
        return record.station_id if isinstance(record, _Input) else None

    def step(self, state: Watched | None, event: Message | Tick, tables: Tables) -> Step[Watched]:
        """Fold one event."""
        assert isinstance(event, Message)
        record = event.record
        assert isinstance(record, _Input)
        watched = _in_hour_of(state or Watched(), record.recorded_at)
        match record:
            case ConnectionOpened():
                after, alert, bounded = _opened(watched, record)
            case ConnectionClosed():
                after, alert, bounded = _closed(watched, record)
            case RequestCommand():
                after, alert, bounded = _requested(watched, record)
            case OcppCallReceived():
                after, alert, bounded = _reported(watched, record)
        out = () if alert is None else (Emit(SECURITY_ALERTS, record.station_id, alert),)
        return Step(after, out, bounded)


def _in_hour_of(state: Watched, at: int) -> Watched:
    """With counts from zero if a new hour has begun; what comes late counts for the hour that is."""
    hour = at - at % HOUR
    if hour <= state.hour:
        return state
    return Watched(hour, address=state.address, known=state.known)


def _opened(state: Watched, record: ConnectionOpened) -> _Noticed:
    address = record.remote_address[:_MOST_ADDRESS]
    network = network_of(address)
    odd = bool(state.known) and network not in state.known
    known = (*(each for each in state.known if each != network), network)[-_KNOWN:]
    after = msgspec.structs.replace(state, address=address, known=known, moved=state.moved + odd)
    if not odd or state.moved:
        return after, None, ()
    detail = f"connected with security profile {record.security_profile} from an address that is new for it"
    return (
        after,
        _alert(
            record,
            SecurityAlertKind.ADDRESS_CHANGED,
            detail,
            remote_address=address,
            former_address=state.address,
        ),
        (),
    )


def _closed(state: Watched, record: ConnectionClosed) -> _Noticed:
    if record.reason != _REPLACED:
        return state, None, ()
    after = msgspec.structs.replace(state, displaced=state.displaced + 1)
    if after.displaced != DISPLACED:
        return after, None, ()
    detail = f"{DISPLACED} of its connections were displaced by newer ones within an hour: do two devices bear its id?"
    return (
        after,
        _alert(
            record,
            SecurityAlertKind.DISPLACED,
            detail,
            count=after.displaced,
            remote_address=state.address,
        ),
        (),
    )


def _requested(state: Watched, record: RequestCommand) -> _Noticed:
    if record.requested_by in _ROUTINE:
        return state, None, ()
    after = msgspec.structs.replace(state, commands=state.commands + 1)
    if after.commands != MANY_COMMANDS:
        return after, None, ()
    detail = f"{MANY_COMMANDS} commands within an hour, the last by {record.requested_by[:_MOST_TEXT]}"
    return after, _alert(record, SecurityAlertKind.MANY_COMMANDS, detail, count=after.commands), ()


def _reported(state: Watched, record: OcppCallReceived) -> _Noticed:
    fact = next((fact for fact in read_exchange(record) if isinstance(fact, SecurityEventReported)), None)
    if fact is None:
        return state, None, ()
    after = msgspec.structs.replace(state, reported=state.reported + 1)
    if after.reported > MOST_REPORTED:
        return after, None, ("reported",)
    alert = _alert(
        record,
        SecurityAlertKind.REPORTED_BY_STATION,
        f"the station reports {fact.kind[:_MOST_TEXT]}",
        event_type=fact.kind[:_MOST_TEXT],
        tech_info=None if fact.info is None else fact.info[:_MOST_TEXT],
        count=after.reported,
    )
    return after, alert, ()


def _alert(record: _Input, kind: SecurityAlertKind, detail: str, **fields: Any) -> SecurityAlertRaised:
    return SecurityAlertRaised(
        event_id=derive_id(record.event_id, "security-alert"),
        occurred_at=record.occurred_at,
        recorded_at=record.recorded_at,
        cause_id=record.event_id,
        station_id=record.station_id,
        kind=kind,
        detail=detail,
        **fields,
    )
