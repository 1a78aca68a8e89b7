"""Sampled values of all versions to canonical samples and register readings. Integers and decimals only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import tzinfo
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any, Final, TypeAlias

import msgspec

from libs.ocpp import quirks
from libs.ocpp.quirks.corrected_text import CorrectedText
from libs.ocpp.semantics.model import LOCATIONS, MeterSample, Reading, place_of
from libs.ocpp.semantics.plausibility import POWER, contradicts_power
from libs.ocpp.times import parse_timestamp

REGISTER: Final = "Energy.Active.Import.Register"
EXPORT_REGISTER: Final = "Energy.Active.Export.Register"
_REGISTERS: Final = (REGISTER, EXPORT_REGISTER)
_REGISTERS_AND_POWER: Final = (*_REGISTERS, POWER)
_SIGNED: Final = frozenset({"format", "signedMeterValue"})
"""Names of what a sample with signed data may have."""
_BEGIN: Final = "Transaction.Begin"
_LONGEST: Final = 40
_PHASES: Final = ("L1", "L2", "L3")
_LARGEST_EXPONENT: Final = 14  # a value of 10^15 of anything is no measurement, and would not fit 64 bits
_MOST_DIGITS: Final = 12
_LARGE: Final = 10**_MOST_DIGITS
_POWERS: Final = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)

# Unit as OCPP lists it: canonical unit and decimal shift.
_LISTED: Final[Mapping[str, tuple[str, int]]] = {
    "Wh": ("Wh", 0),
    "kWh": ("Wh", 3),
    "varh": ("varh", 0),
    "kvarh": ("varh", 3),
    "VAh": ("VAh", 0),
    "kVAh": ("VAh", 3),
    "W": ("W", 0),
    "kW": ("W", 3),
    "VA": ("VA", 0),
    "kVA": ("VA", 3),
    "var": ("var", 0),
    "kvar": ("var", 3),
    "A": ("A", 0),
    "V": ("V", 0),
    "Hz": ("Hz", 0),
    "Hertz": ("Hz", 0),
    "K": ("K", 0),
    "Celsius": ("Celsius", 0),
    "Celcius": ("Celsius", 0),
    "Fahrenheit": ("Fahrenheit", 0),
    "Percent": ("Percent", 0),
    "RPM": ("RPM", 0),
}
_ALIASES: Final[Mapping[str, tuple[str, int]]] = {
    "mA": ("A", -3),
    "mV": ("V", -3),
    "MWh": ("Wh", 6),
    "MW": ("W", 6),
    "kV": ("V", 3),
    "%": ("Percent", 0),
    "C": ("Celsius", 0),
    "°C": ("Celsius", 0),
    "deg C": ("Celsius", 0),
    "F": ("Fahrenheit", 0),
    "°F": ("Fahrenheit", 0),
    "Amp": ("A", 0),
    "Amps": ("A", 0),
    "Ampere": ("A", 0),
    "Volt": ("V", 0),
    "Volts": ("V", 0),
    "Watt": ("W", 0),
    "Watts": ("W", 0),
}
# "mW" and "MW" differ in case only, so folding is for the listed names.
_FOLDED: Final = {name.casefold(): meaning for name, meaning in _LISTED.items()}

_FAMILIES: Final[tuple[tuple[str, str], ...]] = (
    ("Energy.Active.", "Wh"),
    ("Energy.Reactive.", "varh"),
    ("Energy.Apparent.", "VAh"),
    ("Power.Active.", "W"),
    ("Power.Offered", "W"),
    ("Power.Reactive.", "var"),
    ("Power.Factor", "ratio"),
    ("Current.", "A"),
    ("Voltage", "V"),
    ("Frequency", "Hz"),
    ("Temperature", "Celsius"),
    ("SoC", "Percent"),
    ("RPM", "RPM"),
)
_CANONICAL_OF: dict[str, str | None] = {}


class MeterRead(msgspec.Struct, frozen=True):
    """What a list of OCPP meter values holds. `exported`: registers of energy given back. `signed`: has signed data.

    `place`: where the registers were read, 0 for the outlet; the higher, the further from what the vehicle took.
    """

    samples: tuple[MeterSample, ...] = ()
    readings: tuple[Reading, ...] = ()
    quirks: tuple[str, ...] = ()
    exported: tuple[Reading, ...] = ()
    signed: bool = False
    place: int = 0


NO_METER: Final = MeterRead()

_Register: TypeAlias = tuple[int, MeterSample]
"""A sample of a register, and the number of the list's element that has it."""


def read_meter_values(meter_values: Iterable[Mapping[str, Any]], received_at: int, zone: tzinfo) -> MeterRead:
    """Read the ``meterValue`` (or ``transactionData``) list of any version.

    A sample that cannot be read (no number, a unit that does not measure its measurand) is left out with the
    quirk ``sample_dropped``. Signed data is no sample; the raw log has it. Registers of one moment belong together
    wherever they stand in the list; of those with the context ``Transaction.Begin`` is a reading of its own, before
    the other's.
    """
    samples: list[MeterSample] = []
    registers: list[_Register] = []
    signed = False
    seen: dict[str, None] = {}
    for element, meter_value in enumerate(meter_values):
        at, odd = parse_timestamp(meter_value.get("timestamp"), received_at, zone)
        for name in odd:
            seen[name] = None
        for sampled in meter_value.get("sampledValue", ()):
            if sampled.get("format") == "SignedData":
                signed = True
                continue
            if "signedMeterValue" in sampled:  # 2.x
                signed = True
            sample = _read_sample(sampled, at, odd)
            if sample is None:
                seen[quirks.SAMPLE_DROPPED] = None
                continue
            for name in sample.quirks:
                seen[name] = None
            samples.append(sample)
            if sample.measurand in _REGISTERS and (sample.phase is None or sample.phase[:2] in _PHASES):
                registers.append((element, sample))
    readings, place = _readings([each for each in registers if each[1].measurand == REGISTER])
    exported, other = _readings([each for each in registers if each[1].measurand == EXPORT_REGISTER])
    if place or other:
        seen[quirks.REGISTER_ELSEWHERE] = None
    if len(readings) > 1 and contradicts_power(readings, samples):
        seen[quirks.ENERGY_CONTRADICTS_POWER] = None
    return MeterRead(tuple(samples), tuple(readings), tuple(seen), tuple(exported), signed, place)


def read_registers(meter_values: Sequence[Mapping[str, Any]], received_at: int, zone: tzinfo) -> MeterRead:
    """Read like `read_meter_values`, but the energy registers alone, and the power if there are several moments."""
    if not meter_values:
        return NO_METER
    wanted = _REGISTERS if len(meter_values) == 1 else _REGISTERS_AND_POWER
    chosen = [
        [s for s in meter_value.get("sampledValue", ()) if s.get("measurand", REGISTER) in wanted]
        for meter_value in meter_values
    ]
    if len(chosen) == 1 and len(chosen[0]) == 1:
        # What nearly every message has: one register at one moment.
        sampled = chosen[0][0]
        if sampled.get("measurand", REGISTER) == REGISTER and _SIGNED.isdisjoint(sampled):
            at, odd = parse_timestamp(meter_values[0].get("timestamp"), received_at, zone)
            sample = _read_sample(sampled, at, odd)
            if sample is not None and sample.phase is None and sample.location in (None, LOCATIONS[0]):
                reading = Reading(at, _wh(sample.value_milli), sample.context)
                return MeterRead((sample,), (reading,), tuple(dict.fromkeys(sample.quirks)))
    lean = [
        {"timestamp": meter_value.get("timestamp"), "sampledValue": samples}
        for meter_value, samples in zip(meter_values, chosen, strict=True)
    ]
    return read_meter_values(lean, received_at, zone)


def _read_sample(sampled: Mapping[str, Any], at: int, odd: tuple[str, ...]) -> MeterSample | None:
    measurand = sampled.get("measurand", REGISTER)
    unit, shift = sampled.get("unit"), 0
    in_unit = sampled.get("unitOfMeasure")
    if in_unit is not None:  # 2.x
        unit, shift = in_unit.get("unit"), in_unit.get("multiplier", 0)
    canonical = _canonical_unit(measurand)
    if not unit:
        if unit is not None:
            odd += (quirks.EMPTY_REMOVED,)
        source = canonical or "Wh"  # the default unit of OCPP
    else:
        known = _LISTED.get(unit)
        if known is None:
            known, alias = _alias(unit)
            odd += alias
        source = known[0]
        shift += known[1]
    value, comma = _milli(sampled.get("value"), shift)
    if value is None:
        return None
    if source != canonical:
        converted = _convert(value, source, canonical)
        if converted is None:
            return None
        value, source = converted
    return MeterSample(
        at,
        measurand,
        value,
        source,
        sampled.get("phase"),
        sampled.get("location"),
        sampled.get("context"),
        (*odd, quirks.DECIMAL_COMMA) if comma else odd,
    )


def default_unit(measurand: str) -> str:
    """Return the unit of a sample that names none."""
    return _canonical_unit(measurand) or "Wh"


def _canonical_unit(measurand: str) -> str | None:
    """Return the unit that the measurand is kept in, ``None`` for one that OCPP 1.6 to 2.0.1 do not list."""
    try:
        return _CANONICAL_OF[measurand]
    except KeyError:
        found = next((unit for prefix, unit in _FAMILIES if measurand.startswith(prefix)), None)
        if len(_CANONICAL_OF) < 256:  # names come from outside
            _CANONICAL_OF[measurand] = found
        return found


def _alias(unit: str) -> tuple[tuple[str, int], tuple[str, ...]]:
    if type(unit) is CorrectedText:
        listed = _LISTED.get(unit.meant)
        known, odd = (listed, ()) if listed is not None else _alias(unit.meant)
        return known, unit.flags + odd
    tidy = unit.strip()
    alias = _ALIASES.get(tidy) or _FOLDED.get(tidy.casefold())
    if alias is None:
        return (unit, 0), ()
    return alias, (quirks.UNIT_ALIAS,)


def _milli(value: object, shift: int) -> tuple[int | None, bool]:
    """Return ``value * 10^(3 + shift)`` rounded half to even, and whether it had a decimal comma."""
    if type(value) is int and 0 <= value < _LARGE and 0 <= 3 + shift < len(_POWERS):
        return value * _POWERS[3 + shift], False
    if type(value) is str:
        text = value.strip().replace(",", ".") if len(value) <= _LONGEST else ""
        return _scaled(text, shift), "," in value
    if type(value) is int or type(value) is float:
        return _scaled(repr(value), shift), False
    return None, False


def _scaled(text: str, shift: int) -> int | None:
    whole, _, fraction = text.partition(".")
    digits, places = whole + fraction, 3 + shift - len(fraction)
    # What nearly every meter sends needs no Decimal, which would take thrice as long.
    if len(digits) <= _MOST_DIGITS and 0 <= places < len(_POWERS) and digits.isascii() and digits.isdigit():
        return int(digits) * _POWERS[places]
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    # Exponents come from outside: one in the millions would turn into as many digits.
    if not number.is_finite() or max(number.adjusted(), shift, number.adjusted() + shift) > _LARGEST_EXPONENT:
        return None
    if min(number.adjusted(), shift) < -_LONGEST:
        return 0
    return int(number.scaleb(3 + shift).to_integral_value(ROUND_HALF_EVEN))


def _convert(value: int, source: str, canonical: str | None) -> tuple[int, str] | None:
    """Bring thousandths of ``source`` to ``canonical``; ``None`` if the one does not measure the other."""
    if source == "K":
        value, source = value - 273_150, "Celsius"
    elif source == "Fahrenheit":
        value = int(((Decimal(value) - 32_000) * 5 / 9).to_integral_value(ROUND_HALF_EVEN))
        source = "Celsius"
    elif canonical == "ratio" and source == "Percent":
        value, source = round(value / 100), "ratio"
    if canonical is None or source == canonical:
        return value, source
    return None


def _readings(registers: list[_Register]) -> tuple[list[Reading], int]:
    """The readings of one register, in the order of their moments' first samples, and the place where it was read.

    That is the outlet, if there is any sample of it.
    """
    if not registers:
        return [], 0
    place = min([place_of(sample.location) for _, sample in registers])
    moments: dict[int, list[_Moment]] = {}
    for element, sample in registers:
        if place_of(sample.location) != place:
            continue
        same_time = moments.setdefault(sample.at, [_Moment()])
        if not same_time[-1].takes(element, sample):
            same_time.append(_Moment())
            same_time[-1].takes(element, sample)
    return [
        each for same_time in moments.values() for moment in same_time for each in moment.readings()
    ], place


class _Moment:
    """The registers of one moment: that of the begin of the transaction, and the total, or the sum of phases."""

    def __init__(self) -> None:
        self._told: dict[tuple[str | None, bool], _Register] = {}

    def takes(self, element: int, sample: MeterSample) -> bool:
        """Take a sample, unless another element of the list told the same of this moment: then it is of a later one
        that has the same time. Of one element the last counts."""
        same = sample.phase, sample.phase is None and sample.context == _BEGIN
        if self._told.get(same, (element,))[0] != element:
            return False
        self._told[same] = element, sample
        return True

    def readings(self) -> list[Reading]:
        begin, total = (self._told.pop((None, begun), None) for begun in (True, False))
        found = [] if begin is None else [Reading(begin[1].at, _wh(begin[1].value_milli), _BEGIN)]
        if total is not None:
            found.append(Reading(total[1].at, _wh(total[1].value_milli), total[1].context))
        elif begin is None:
            phases = [sample for _, sample in self._told.values()]
            wh = _wh(sum([sample.value_milli for sample in phases]))
            found.append(Reading(phases[0].at, wh, phases[0].context))
        return found


def _wh(milli: int) -> int:
    whole, rest = divmod(milli, 1000)
    return whole + (1 if rest > 500 or (rest == 500 and whole & 1) else 0)
