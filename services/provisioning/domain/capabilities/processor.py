"""What a station is and can do, learned from what it says and from how it answers.

Whatever it said with other firmware, or in another OCPP version, says nothing of what it can do now. A refusal says
less: it counts until the next boot, or until something is switched on or off.
"""

import re
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec.structs import replace

from libs.bus.message import Emit, Message
from libs.bus.processor import Processor, Step, Tables, Tick
from libs.events.ids import derive_id
from libs.events.ocpp_log import CallOutcome, OcppCallReceived, OcppCallSent
from libs.events.stations import CapabilitiesLearned, KnownVariable
from libs.events.topics import OCPP_COMMANDS, OCPP_LIFECYCLE, STATIONS_CAPABILITIES
from libs.ocpp.semantics.abilities import lacking_name
from libs.ocpp.semantics.model import Booted, SemanticEvent
from libs.ocpp.semantics.received_calls import read_exchange
from libs.ocpp.semantics.reports import ActionAnswered, ActionUnsupported, VariableSeen, VariablesReported
from libs.ocpp.semantics.results import MAY_BE_UNSUPPORTED
from libs.ocpp.semantics.sent_calls import read_sent
from libs.ocpp.semantics.variables import AVAILABLE, limits
from libs.ocpp.versions import Version

MOST_VARIABLES: Final = 128
MOST_LACKING: Final = 64
LONGEST_VALUE: Final = 500
LONGEST_NAME: Final = 200
"""In bytes, as is the longest value: what has a longer one is not kept."""

_TOLD: Final = frozenset({"BootNotification", "NotifyReport"})
_ASKED: Final = frozenset({"GetConfiguration", "ChangeConfiguration", "GetVariables", "SetVariables"})
_SWITCH: Final = re.compile(r"(Enabled|Available)(\[.*\])?$", re.IGNORECASE)
_PROFILES: Final = "SupportedFeatureProfiles"


class Station(msgspec.Struct, frozen=True):
    """What is known of one station; fields as in `CapabilitiesLearned`, variables by name."""

    version: str = ""
    vendor: str = ""
    model: str = ""
    firmware: str = ""
    serial_number: str = ""
    features: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    variables: dict[str, str] = {}


class CapabilitiesProcessor(Processor[Station]):
    """Boots, configuration, reports and refusals to what is known of stations, keyed by station."""

    name = "capabilities"
    inputs = (OCPP_LIFECYCLE, OCPP_COMMANDS)
    outputs = (STATIONS_CAPABILITIES,)
    state = Station
    unmarked_state = "4c4f0a27fcfae18a"
    max_state_bytes = 160 << 10
    linger_s = 0.25

    def wants(self, topic: str, kind: str, subject: str | None) -> bool:
        """Boots, reports, and whatever chargers answered."""
        if topic == OCPP_COMMANDS:
            return kind == OcppCallSent.__name__
        return kind == OcppCallReceived.__name__ and subject in _TOLD

    def key(self, message: Message) -> str | None:
        """Boots, reports, and answers."""
        match message.record:
            case OcppCallReceived(action=action) if action in _TOLD:
                return message.key
            case OcppCallSent(outcome=CallOutcome.RESULT | CallOutcome.ERROR):
                return message.key
            case _:
                return None

    def step(self, state: Station | None, event: Message | Tick, tables: Tables) -> Step[Station]:
        """Fold what a station told or answered."""
        match event:
            case Message(record=OcppCallReceived() as record):
                facts: Iterable[SemanticEvent] = read_exchange(record)
            case Message(record=OcppCallSent() as record):
                # Nearly all of them: an answer to what it was known to take.
                if record.outcome is CallOutcome.RESULT and not (
                    record.action in _ASKED or _may_lack(state, record.action)
                ):
                    return Step(state)
                facts = read_sent(record)
            case _:
                return Step(state)
        before = state or Station(version=record.version)
        after, bounded = before, False
        for fact in facts:
            after, left_out = _learn(after, fact, record.version)
            bounded = bounded or left_out
        bounds = ("abilities",) if bounded else ()
        if after == before:
            return Step(state, (), bounds)
        return Step(after, (Emit(STATIONS_CAPABILITIES, record.station_id, _learned(record, after)),), bounds)


def _may_lack(state: Station | None, action: str) -> bool:
    if action in MAY_BE_UNSUPPORTED:
        return True
    return state is not None and action in state.lacking


def _learn(known: Station, fact: SemanticEvent, version: str) -> tuple[Station, bool]:
    """The station with what `fact` tells, and whether something was left out at a bound."""
    match fact:
        case Booted():
            return _booted(known, fact, version), False
        case _ if version != known.version:
            # It has changed over without a boot: the next one tells what it is now.
            return known, False
        case ActionUnsupported(action=action, argument=argument):
            lacking = {*known.lacking, lacking_name(action, argument)}
        case ActionAnswered(action=action, argument=argument):
            lacking = {*known.lacking} - {action, lacking_name(action, argument)}
        case VariablesReported(variables=variables):
            return _told(known, variables)
        case _:
            return known, False
    kept = sorted(name for name in lacking if len(name.encode()) <= LONGEST_NAME)[:MOST_LACKING]
    return replace(known, lacking=tuple(kept)), len(kept) < len(lacking)


def _booted(known: Station, boot: Booted, version: str) -> Station:
    fresh = Station(version, boot.vendor, boot.model, boot.firmware_version or "", boot.serial or "")
    same = (known.version, known.vendor, known.model, known.firmware) == (
        fresh.version,
        fresh.vendor,
        fresh.model,
        fresh.firmware,
    )
    # Without a boot before, what it answered was answered by this firmware, as far as anyone knows.
    never_booted = (known.version, known.vendor, known.model) == (version, "", "")
    if not (same or never_booted):
        return fresh
    return replace(fresh, features=known.features, variables=known.variables)


def _told(known: Station, variables: Iterable[VariableSeen]) -> tuple[Station, bool]:
    version = Version(known.version)
    values = dict(known.variables)
    left_out = False
    for seen in variables:
        # An EVSE's own variables do not limit what the station can be asked.
        if seen.evse_id is not None or not limits(version, seen.name):
            continue
        room = seen.name in values or len(values) < MOST_VARIABLES
        if room and len(seen.name.encode()) <= LONGEST_NAME and len(seen.value.encode()) <= LONGEST_VALUE:
            values[seen.name] = seen.value
        else:
            left_out = True
    if values == known.variables:
        return known, left_out
    values = dict(sorted(values.items()))
    switched = any(
        value != known.variables.get(name) and _SWITCH.search(name) for name, value in values.items()
    )
    after = replace(
        known,
        variables=values,
        features=_features(version, values),
        lacking=() if switched else known.lacking,
    )
    return after, left_out


def _features(version: Version, values: dict[str, str]) -> tuple[str, ...]:
    """1.6: the feature profiles. 2.x: the components that are available."""
    if not version.is_v2:
        profiles = next(
            (value for name, value in values.items() if name.casefold() == _PROFILES.casefold()), ""
        )
        return tuple(dict.fromkeys(name for each in profiles.split(",") if (name := each.strip())))
    return tuple(
        name[: -len(AVAILABLE)]
        for name, value in values.items()
        if name.endswith(AVAILABLE) and value.strip().casefold() == "true"
    )


def _learned(cause: OcppCallReceived | OcppCallSent, known: Station) -> CapabilitiesLearned:
    return CapabilitiesLearned(
        event_id=derive_id(cause.event_id, "capabilities"),
        station_id=cause.station_id,
        occurred_at=cause.recorded_at,
        recorded_at=cause.recorded_at,
        cause_id=cause.event_id,
        version=known.version,
        vendor=known.vendor,
        model=known.model,
        firmware=known.firmware,
        serial_number=known.serial_number,
        features=known.features,
        lacking=known.lacking,
        variables=tuple(KnownVariable(name=name, value=value) for name, value in known.variables.items()),
    )
