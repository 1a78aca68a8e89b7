"""What a rule may do to a message: a closed set of effects with parameters, each with the flag that it leaves.

An effect acts on the payload before it is read, on the events that came of it, or on both. Payloads are changed in
place. Everything is deterministic: the same message gives the same events whenever it is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from typing import Any, ClassVar, Final, Literal, TypeVar, get_args

import msgspec

from libs.ocpp import quirks
from libs.ocpp.quirks.corrected_text import CorrectedText
from libs.ocpp.semantics.measurements import REGISTER, default_unit
from libs.ocpp.semantics.model import Reading, SemanticEvent, TransactionStep
from libs.ocpp.times import format_timestamp, local_moment, parse_timestamp
from libs.runtime.clock import SECOND

Payload = dict[str, Any]
Event = TypeVar("Event", bound=msgspec.Struct)

_METERED: Final = frozenset({"MeterValues", "StopTransaction", "TransactionEvent"})
_TRANSACTIONS: Final = _METERED | {"StartTransaction"}

SampleField = Literal["context", "unit", "measurand", "phase", "location"]
MessageField = Literal["errorCode", "status", "reason"]
Energy = Literal["Wh", "kWh", "MWh"]

_MESSAGE_FIELDS: Final = frozenset(get_args(MessageField))

_WH_OF: Final[dict[str, int]] = {"Wh": 1, "kWh": 1_000, "MWh": 1_000_000}


class RuleEffect(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="effect"):
    """The base of every effect. `flag` is what it leaves; `actions` are those whose messages it may concern."""

    flag: ClassVar[str]
    actions: ClassVar[frozenset[str]]

    def correct_payload(self, payload: Payload, received_at: int, zone: tzinfo) -> bool:
        """Change the payload; True if all its events are to carry the flag.

        Samples and timestamps that are changed carry it themselves. `received_at`: microseconds; `zone`: where the
        charger's local times are.
        """
        return False

    def correct_event(self, event: SemanticEvent) -> SemanticEvent:
        """Return the event as it is to be, the same object if nothing is to be changed."""
        return event


class ReadEnergyAs(RuleEffect, frozen=True, tag="read_energy_as"):
    """Samples of `measurand` that are labelled `labelled` (empty: not at all) are in `unit`.

    With `meter` the meterStart and meterStop of 1.6 are, too.
    """

    flag: ClassVar = quirks.UNIT_RELABELLED
    actions: ClassVar = _TRANSACTIONS

    unit: Energy
    labelled: tuple[Literal["Wh", "kWh", "MWh", ""], ...] = ("Wh", "")
    measurand: str = REGISTER
    meter: bool = False

    def correct_payload(self, payload: Payload, received_at: int, zone: tzinfo) -> bool:
        """Relabel the samples; convert meterStart and meterStop."""
        for sampled in _samples(payload):
            label = _label(sampled)
            if sampled.get("measurand", REGISTER) == self.measurand and (label or "") in self.labelled:
                _set_label(sampled, CorrectedText(self.unit, self.flag))
        corrected = False
        if self.meter:
            for name in ("meterStart", "meterStop"):
                if payload.get(name):
                    payload[name] *= _WH_OF[self.unit]
                    corrected = True
        return corrected


class RegisterPerSession(RuleEffect, frozen=True, tag="register_per_session"):
    """The register counts from zero in each session, whatever meterStart says."""

    flag: ClassVar = quirks.REGISTER_PER_SESSION
    actions: ClassVar = frozenset({"StartTransaction"})

    def correct_payload(self, payload: Payload, received_at: int, zone: tzinfo) -> bool:
        """Start at zero."""
        if not payload["meterStart"]:
            return False
        payload["meterStart"] = 0
        return True

    def correct_event(self, event: SemanticEvent) -> SemanticEvent:
        """A zero that another rule doubts is one."""
        if not isinstance(event, TransactionStep) or event.meter_wh is not None:
            return event
        return flagged(msgspec.structs.replace(event, meter_wh=0), (self.flag,))


class ZeroStartIsUnknown(RuleEffect, frozen=True, tag="zero_start_is_unknown"):
    """The register is a lifetime one, but told as 0 when a transaction starts: the first real reading counts."""

    flag: ClassVar = quirks.START_REGISTER_UNKNOWN
    actions: ClassVar = _TRANSACTIONS

    def correct_event(self, event: SemanticEvent) -> SemanticEvent:
        """Forget a zero at the start, be it the step's own or sampled with the context Transaction.Begin."""
        if not isinstance(event, TransactionStep):
            return event
        readings = tuple([r for r in event.readings if r.wh or r.context != "Transaction.Begin"])
        meter = event.meter_wh
        if event.kind == "started" and meter == 0:
            meter = None
        elif event.kind == "updated" and readings != event.readings:
            meter = _last(readings)
        if meter == event.meter_wh and readings == event.readings:
            return event
        return flagged(msgspec.structs.replace(event, meter_wh=meter, readings=readings), (self.flag,))


class LocalTimeMarkedUtc(RuleEffect, frozen=True, tag="local_time_marked_utc"):
    """Timestamps end in Z but are local times, always or until the charger has booted.

    Told by the skew: if the newest timestamp of a message is not within `tolerance_s` of its receipt, and is
    when it is read in the charger's configured zone, then all its timestamps are local. What a charger has
    queued cannot be told and is left as it is.
    """

    flag: ClassVar = quirks.LOCAL_TIME_MARKED_UTC
    actions: ClassVar = _TRANSACTIONS | {"StatusNotification", "NotifyEvent", "SecurityEventNotification"}

    tolerance_s: int = 300

    def moment(self, at: int, received_at: int, zone: tzinfo) -> int | None:
        """The true moment of `at`, the newest of a message, if it was local time; None if it was not."""
        tolerance = self.tolerance_s * SECOND
        if abs(at - received_at) <= tolerance:
            return None
        local = _as_local(at, received_at, zone)
        return local if abs(local - received_at) <= tolerance else None

    def correct_payload(self, payload: Payload, received_at: int, zone: tzinfo) -> bool:
        """Read the timestamps in the charger's zone."""
        holders = list(_timestamped(payload, received_at))
        newest = max((at for _, at in holders), default=received_at)
        if self.moment(newest, received_at, zone) is not None:
            for holder, at in holders:
                holder["timestamp"] = CorrectedText(
                    format_timestamp(_as_local(at, received_at, zone)), self.flag
                )
        return False


class Alias(RuleEffect, frozen=True, tag="alias"):
    """A field's values in the vendor's own words, and what OCPP calls them."""

    flag: ClassVar = quirks.VALUE_ALIAS
    actions: ClassVar = _TRANSACTIONS | {"StatusNotification"}

    field: SampleField | MessageField
    values: dict[str, str]

    def correct_payload(self, payload: Payload, received_at: int, zone: tzinfo) -> bool:
        """Replace what is listed in `values`."""
        if self.field in _MESSAGE_FIELDS:
            listed = self.values.get(payload.get(self.field, ""))
            if listed is not None:
                payload[self.field] = listed
            return listed is not None
        for sampled in _samples(payload):
            value = _label(sampled) if self.field == "unit" else sampled.get(self.field)
            listed = None if value is None else self.values.get(value)
            if listed is None:
                continue
            if self.field == "unit":
                _set_label(sampled, CorrectedText(listed, self.flag))
            else:
                sampled[self.field] = listed
                _mark(sampled, self.flag)
        return False


class NameMeasurand(RuleEffect, frozen=True, tag="name_measurand"):
    """A sample without measurand, labelled `unit`, and with `context` if that is given, measures `measurand`."""

    flag: ClassVar = quirks.MEASURAND_NAMED
    actions: ClassVar = _METERED

    unit: str
    measurand: str
    context: str | None = None

    def correct_payload(self, payload: Payload, received_at: int, zone: tzinfo) -> bool:
        """Name the samples that fit."""
        for sampled in _samples(payload):
            if (
                "measurand" not in sampled
                and _label(sampled) == self.unit
                and self.context in (None, sampled.get("context"))
            ):
                sampled["measurand"] = self.measurand
                _mark(sampled, self.flag)
        return False


class Renumber(RuleEffect, frozen=True, tag="renumber"):
    """EVSE and connector as the charger numbers them, and as they are numbered here: `{"2/2": "2/1"}`.

    In 1.6 the connector is both.
    """

    flag: ClassVar = quirks.CONNECTOR_RENUMBERED
    actions: ClassVar = _TRANSACTIONS | {"StatusNotification", "NotifyEvent"}

    numbers: dict[str, str]

    def __post_init__(self) -> None:
        for text in (*self.numbers, *self.numbers.values()):
            evse, slash, connector = text.partition("/")
            if not (slash and evse.isdecimal() and connector.isdecimal()):
                raise ValueError(f"{text!r} is not EVSE/connector, such as 2/1")

    def correct_event(self, event: SemanticEvent) -> SemanticEvent:
        """Renumber what the event is about."""
        told = f"{getattr(event, 'evse_id', None)}/{getattr(event, 'connector_id', None)}"
        meant = self.numbers.get(told)
        if meant is None:
            return event
        evse, _, connector = meant.partition("/")
        changed: SemanticEvent = msgspec.structs.replace(
            event, evse_id=int(evse), connector_id=int(connector)
        )
        return flagged(changed, (self.flag,))


AnyEffect = (
    ReadEnergyAs
    | RegisterPerSession
    | ZeroStartIsUnknown
    | LocalTimeMarkedUtc
    | Alias
    | NameMeasurand
    | Renumber
)


def flagged(event: Event, flags: tuple[str, ...]) -> Event:
    """Return the event with more flags; as it is, if it is of a kind that has none."""
    known = getattr(event, "quirks", None)
    if known is None:
        return event
    changed: Event = msgspec.structs.replace(event, quirks=tuple(dict.fromkeys((*known, *flags))))
    return changed


def _last(readings: tuple[Reading, ...]) -> int | None:
    return readings[-1].wh if readings else None


def _meter_values(payload: Payload) -> Iterator[Payload]:
    yield from payload.get("meterValue") or payload.get("transactionData") or ()


def _samples(payload: Payload) -> Iterator[Payload]:
    for meter_value in _meter_values(payload):
        yield from meter_value.get("sampledValue", ())


def _label(sampled: Payload) -> str | None:
    in_unit = sampled.get("unitOfMeasure")
    label = sampled.get("unit") if in_unit is None else in_unit.get("unit")
    return label.meant if type(label) is CorrectedText else label


def _set_label(sampled: Payload, label: CorrectedText) -> None:
    in_unit = sampled.get("unitOfMeasure")
    holder = sampled if in_unit is None else in_unit
    before = holder.get("unit")
    holder["unit"] = (
        CorrectedText(label.meant, *before.flags, *label.flags) if type(before) is CorrectedText else label
    )


def _mark(sampled: Payload, flag: str) -> None:
    """Let the sample carry the flag; its unit stays what it is."""
    _set_label(
        sampled, CorrectedText(_label(sampled) or default_unit(sampled.get("measurand", REGISTER)), flag)
    )


def _timestamped(payload: Payload, received_at: int) -> Iterator[tuple[Payload, int]]:
    """The parts of the payload that have a timestamp marked as UTC, and its moment."""
    for holder in (payload, *_meter_values(payload), *payload.get("eventData", ())):
        text = holder.get("timestamp")
        if type(text) is str and text.endswith("Z"):
            at, odd = parse_timestamp(text, received_at)
            if not odd:
                yield holder, at


def _as_local(at: int, received_at: int, zone: tzinfo) -> int:
    """The moment at which clocks in `zone` show what clocks in UTC show at `at`."""
    shown = datetime.fromtimestamp(at // SECOND, UTC).replace(tzinfo=None)
    return local_moment(shown, received_at, zone) + at % SECOND
