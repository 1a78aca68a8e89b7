from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.ocpp import quirks
from libs.ocpp.semantics.measurements import MeterRead, read_meter_values
from libs.ocpp.semantics.model import MeterSample, Reading

AT = "2026-01-01T00:00:00Z"
NOW = 1_767_225_600_000_000
REGISTER = "Energy.Active.Import.Register"


def read(*samples: dict[str, Any], at: str = AT) -> MeterRead:
    return read_meter_values([{"timestamp": at, "sampledValue": list(samples)}], NOW, UTC)


def one(**sampled: Any) -> tuple[str, int, str] | None:
    found = read(sampled).samples
    return (found[0].measurand, found[0].value_milli, found[0].unit) if found else None


@pytest.mark.parametrize(
    ("sampled", "expected"),
    [
        # 1.6 §7.43: measurand and unit have defaults
        ({"value": "1234"}, (REGISTER, 1_234_000, "Wh")),
        ({"value": "1.2345", "unit": "kWh"}, (REGISTER, 1_234_500, "Wh")),
        (
            {"value": "7", "measurand": "Power.Active.Import", "unit": "kW"},
            ("Power.Active.Import", 7_000_000, "W"),
        ),
        ({"value": "16.05", "measurand": "Current.Import"}, ("Current.Import", 16_050, "A")),
        ({"value": "230.1", "measurand": "Voltage", "unit": "V"}, ("Voltage", 230_100, "V")),
        ({"value": "50.02", "measurand": "Frequency"}, ("Frequency", 50_020, "Hz")),
        ({"value": "50", "measurand": "Frequency", "unit": "Hertz"}, ("Frequency", 50_000, "Hz")),
        (
            {"value": "41.5", "measurand": "Temperature", "unit": "Celcius"},
            ("Temperature", 41_500, "Celsius"),
        ),
        (
            {"value": "41.5", "measurand": "Temperature", "unit": "Celsius"},
            ("Temperature", 41_500, "Celsius"),
        ),
        ({"value": "300", "measurand": "Temperature", "unit": "K"}, ("Temperature", 26_850, "Celsius")),
        (
            {"value": "212", "measurand": "Temperature", "unit": "Fahrenheit"},
            ("Temperature", 100_000, "Celsius"),
        ),
        ({"value": "80", "measurand": "SoC", "unit": "Percent"}, ("SoC", 80_000, "Percent")),
        ({"value": "0.98", "measurand": "Power.Factor"}, ("Power.Factor", 980, "ratio")),
        ({"value": "98", "measurand": "Power.Factor", "unit": "Percent"}, ("Power.Factor", 980, "ratio")),
        ({"value": "-3.5", "measurand": "Current.Export", "unit": "A"}, ("Current.Export", -3_500, "A")),
        (
            {"value": "1", "measurand": "Power.Reactive.Import", "unit": "kvar"},
            ("Power.Reactive.Import", 1_000_000, "var"),
        ),
        ({"value": "5", "measurand": "Mood", "unit": "Furlong"}, ("Mood", 5_000, "Furlong")),
        ({"value": "1."}, (REGISTER, 1_000, "Wh")),
        ({"value": ".5"}, (REGISTER, 500, "Wh")),
        ({"value": "."}, None),
        ({"value": "1.2.3"}, None),
        ({"value": "-0.0"}, (REGISTER, 0, "Wh")),
        ({"value": "1e3"}, (REGISTER, 1_000_000, "Wh")),
        ({"value": "1e-400000"}, (REGISTER, 0, "Wh")),
        # 2.x: numbers, a unit object, a multiplier
        (
            {"value": 8.1, "measurand": "Current.Import", "unitOfMeasure": {"unit": "A"}},
            ("Current.Import", 8_100, "A"),
        ),
        ({"value": 12.3456, "unitOfMeasure": {"unit": "kWh"}}, (REGISTER, 12_345_600, "Wh")),
        ({"value": 12, "unitOfMeasure": {"unit": "Wh", "multiplier": 3}}, (REGISTER, 12_000_000, "Wh")),
        ({"value": 12, "unitOfMeasure": {"multiplier": -1}}, (REGISTER, 1_200, "Wh")),
        ({"value": 1e15, "unitOfMeasure": {"unit": "Wh", "multiplier": -3}}, None),
        ({"value": 5, "unitOfMeasure": {"unit": "Wh", "multiplier": 999_999_999}}, None),
        ({"value": 5, "unitOfMeasure": {"unit": "Wh", "multiplier": -999_999_999}}, (REGISTER, 0, "Wh")),
        # rounding is half to even
        ({"value": "0.0005"}, (REGISTER, 0, "Wh")),
        ({"value": "0.0015"}, (REGISTER, 2, "Wh")),
        # no number, or one that no meter shows
        ({"value": ""}, None),
        ({"value": "NaN"}, None),
        ({"value": "Infinity"}, None),
        ({"value": "1e999999999"}, None),
        ({"value": "9" * 5000}, None),
        ({"value": "٣"}, (REGISTER, 3_000, "Wh")),
        ({"value": "0x10"}, None),
        ({}, None),
        ({"value": None}, None),
        ({"value": True}, None),
        # a unit that does not measure the measurand
        ({"value": "1", "unit": "V"}, None),
        ({"value": "1", "measurand": "Voltage", "unit": "A"}, None),
    ],
)
def test_samples_become_integers_of_canonical_units(
    sampled: dict[str, Any], expected: tuple[str, int, str] | None
) -> None:
    assert one(**sampled) == expected
    assert read(sampled).quirks == (() if expected else (quirks.SAMPLE_DROPPED,))


@pytest.mark.parametrize(
    ("sampled", "value", "flag"),
    [
        ({"value": "12,5"}, 12_500, quirks.DECIMAL_COMMA),
        ({"value": "1", "unit": "KWH"}, 1_000_000, quirks.UNIT_ALIAS),
        ({"value": "1", "unit": " Wh "}, 1_000, quirks.UNIT_ALIAS),
        ({"value": "16000", "measurand": "Current.Import", "unit": "mA"}, 16_000, quirks.UNIT_ALIAS),
        ({"value": "50", "measurand": "SoC", "unit": "%"}, 50_000, quirks.UNIT_ALIAS),
    ],
)
def test_bent_samples_are_flagged(sampled: dict[str, Any], value: int, flag: str) -> None:
    found = read(sampled)
    assert found.samples[0].value_milli == value
    assert found.samples[0].quirks == found.quirks == (flag,)


def test_a_bad_sample_does_not_cost_its_neighbours() -> None:
    """Heidelberg: "" among good samples."""
    found = read({"value": ""}, {"value": "230", "measurand": "Voltage"}, {"value": "7"})
    assert [s.measurand for s in found.samples] == ["Voltage", REGISTER]
    assert found.quirks == (quirks.SAMPLE_DROPPED,)


def test_signed_data_is_no_sample() -> None:
    assert read({"value": "AF03", "format": "SignedData"}) == MeterRead(signed=True)


def test_sample_keeps_where_and_why() -> None:
    found = read({"value": "1", "phase": "L1", "location": "Outlet", "context": "Sample.Clock"})
    assert found.samples == (MeterSample(NOW, REGISTER, 1000, "Wh", "L1", "Outlet", "Sample.Clock"),)


@pytest.mark.parametrize(
    ("samples", "wh"),
    [
        ([{"value": "1000"}], 1000),
        ([{"value": "12.3455", "unit": "kWh"}], 12346),  # 12345.5 Wh, half to even
        ([{"value": "12.3445", "unit": "kWh"}], 12344),
        (
            [{"value": "10", "phase": "L1"}, {"value": "20", "phase": "L2"}, {"value": "30", "phase": "L3"}],
            60,
        ),
        (
            [
                {"value": "10", "phase": "L1-N"},
                {"value": "20", "phase": "L2-N"},
                {"value": "9", "phase": "N"},
            ],
            30,
        ),
        ([{"value": "10", "phase": "L1"}, {"value": "25"}], 25),  # the total wins over a sum
        ([{"value": "5", "location": "Inlet"}, {"value": "6", "location": "Outlet"}], 6),
        ([{"value": "5", "location": "Inlet"}], 5),  # there is no other
        ([{"value": "5", "location": "Inlet"}, {"value": "6", "location": "Body"}], 6),
        ([{"value": "5", "location": "Upstream"}, {"value": "6", "location": "EV"}], 6),
        ([{"value": "5", "location": "Garden"}], 5),
        ([{"value": "5", "location": "Inlet"}, {"value": "6"}], 6),
        (
            [
                {"value": "10", "phase": "L1", "location": "Body"},
                {"value": "20", "phase": "L2", "location": "Body"},
                {"value": "7", "phase": "L1", "location": "Inlet"},
            ],
            30,
        ),
        ([{"value": "5", "measurand": "Energy.Active.Export.Register"}], None),
        ([{"value": "5", "measurand": "Energy.Active.Import.Interval"}], None),
    ],
)
def test_the_register_is_the_total_or_the_sum_of_phases(
    samples: list[dict[str, Any]], wh: int | None
) -> None:
    assert [r.wh for r in read(*samples).readings] == ([] if wh is None else [wh])


def split(*samples: tuple[str, dict[str, Any]]) -> list[Reading]:
    """Readings of a list in which each sample is an element of its own; with the minute of each."""
    elements = [{"timestamp": f"2026-01-01T00:{at}:00Z", "sampledValue": [each]} for at, each in samples]
    return list(read_meter_values(elements, NOW, UTC).readings)


def test_phases_of_one_moment_belong_together_wherever_they_stand() -> None:
    def phases(at: str, wh: int, context: str = "Sample.Periodic") -> list[tuple[str, dict[str, Any]]]:
        values = zip(("L1", "L2", "L3"), (wh, 2 * wh, 3 * wh), strict=True)
        return [(at, {"value": str(v), "phase": phase, "context": context}) for phase, v in values]

    first, later = phases("00", 10), phases("15", 20)
    at = NOW + 900_000_000
    expected = [Reading(NOW, 60, "Sample.Periodic"), Reading(at, 120, "Sample.Periodic")]
    assert split(*first, *later) == expected
    mingled = [each for pair in zip(first, later, strict=True) for each in pair]
    assert split(*mingled) == expected
    # Two moments that look the same, as where neither time can be read.
    assert [r.wh for r in split(*first, *phases("00", 20))] == [60, 120]
    assert [r.wh for r in split(("00", {"value": "1"}), ("00", {"value": "2"}))] == [1, 2]


def test_a_total_and_phases_of_one_moment_are_one_reading() -> None:
    found = split(
        ("00", {"value": "10", "phase": "L1"}), ("00", {"value": "25"}), ("00", {"value": "9", "phase": "L2"})
    )
    assert [r.wh for r in found] == [25]


def test_a_register_that_is_not_the_outlets_says_so() -> None:
    assert read({"value": "5", "location": "Body"}).quirks == (quirks.REGISTER_ELSEWHERE,)
    assert read({"value": "5", "location": "Body"}, {"value": "6", "location": "Outlet"}).quirks == ()


def test_each_moment_has_its_reading() -> None:
    found = read_meter_values(
        [
            {"timestamp": AT, "sampledValue": [{"value": "1", "context": "Transaction.Begin"}]},
            {"timestamp": "2026-01-01T00:15:00", "sampledValue": [{"value": "2"}]},
            {"timestamp": "1970-01-01T00:00:00Z", "sampledValue": []},
        ],
        NOW,
        UTC,
    )
    assert found.readings == (Reading(NOW, 1, "Transaction.Begin"), Reading(NOW + 900_000_000, 2))
    assert found.quirks == (quirks.TIMESTAMP_WITHOUT_ZONE, quirks.TIMESTAMP_OUT_OF_BOUNDS)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9))
def test_three_decimals_are_exact(value: Any) -> None:
    assert one(value=str(value)) == (REGISTER, int(value * 1000), "Wh")


@given(st.text(max_size=45) | st.floats() | st.integers(), st.integers(), st.text(max_size=10) | st.none())
def test_any_value_gives_a_64_bit_sample_or_none(value: Any, multiplier: int, unit: str | None) -> None:
    sampled = {"value": value, "unitOfMeasure": {"unit": unit, "multiplier": multiplier}}
    for sample in read(sampled).samples:
        assert abs(sample.value_milli) < 2**63


def test_power_measured_elsewhere_speaks_against_a_register_too() -> None:
    def moment(minute: str, kwh: str) -> dict[str, Any]:
        power = {"value": "11000", "measurand": "Power.Active.Import", "unit": "W", "location": "Body"}
        register = {"value": kwh, "unit": "Wh", "location": "Body"}  # in fact kWh
        return {"timestamp": f"2026-01-01T0{minute}:00Z", "sampledValue": [register, power]}

    found = read_meter_values([moment("0:00", "100"), moment("1:00", "111")], NOW, UTC)
    assert quirks.ENERGY_CONTRADICTS_POWER in found.quirks
