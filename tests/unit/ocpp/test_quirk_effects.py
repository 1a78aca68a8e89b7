"""What each effect of a rule does, beyond the examples of the rules in force."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import orjson
import pytest

from libs.events.ocpp_log import CallOutcome, OcppCallReceived, OcppCallSent
from libs.ocpp import quirks
from libs.ocpp.quirks.book import RuleBook, clock_rule
from libs.ocpp.quirks.rules import QuirkRule
from libs.ocpp.semantics.model import (
    ConnectorStatusReported,
    MeasurementsReported,
    MeterSample,
    Reading,
    TransactionStep,
)
from libs.ocpp.semantics.plausibility import contradicts_power
from libs.ocpp.semantics.received_calls import read_exchange, read_step
from libs.ocpp.semantics.reports import VariablesReported
from libs.ocpp.semantics.sent_calls import read_sent

NOW = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
SECOND = 1_000_000
REGISTER = "Energy.Active.Import.Register"
BERLIN = ZoneInfo("Europe/Berlin")


def book(*effects: dict[str, Any]) -> RuleBook:
    example = {"frame": "[]", "received_at": "2026-01-01T00:00:00Z"}
    rule = {
        "name": "r",
        "about": "",
        "match": {"vendor": "odd"},
        "effects": list(effects),
        "examples": [example],
    }
    return RuleBook([msgspec.convert(rule, QuirkRule)])


def call(action: str, payload: dict[str, Any], version: str = "ocpp1.6", **more: Any) -> OcppCallReceived:
    return OcppCallReceived(
        event_id="e",
        occurred_at=NOW,
        recorded_at=NOW,
        cause_id="e",
        station_id="cp",
        connection_epoch=1,
        edge_id="edge",
        version=version,
        message_id="m",
        action=action,
        payload=orjson.dumps(payload).decode(),
        **({"answer": "{}", "vendor": "Odd"} | more),
    )


def meter(*samples: dict[str, Any], at: str = "2026-01-01T00:00:00Z", **more: Any) -> dict[str, Any]:
    return {"connectorId": 1, "meterValue": [{"timestamp": at, "sampledValue": list(samples)}], **more}


def measured(record: OcppCallReceived, rules: RuleBook, zone: Any = BERLIN) -> MeasurementsReported:
    (found,) = [e for e in read_exchange(record, zone, rules) if isinstance(e, MeasurementsReported)]
    return found


ENERGY = {"effect": "read_energy_as", "unit": "kWh"}


@pytest.mark.parametrize(
    ("sampled", "value_milli", "bent"),
    [
        ({"value": "1.2345", "unit": "Wh"}, 1_234_500, True),  # no digit is lost
        ({"value": "1.2345"}, 1_234_500, True),
        ({"value": "1.2345", "unit": "kWh"}, 1_234_500, False),
        ({"value": "7", "measurand": "Energy.Active.Export.Register", "unit": "Wh"}, 7_000, False),
        ({"value": "7", "measurand": "Power.Active.Import", "unit": "W"}, 7_000, False),
    ],
)
def test_energy_is_read_in_its_true_unit(sampled: dict[str, Any], value_milli: int, bent: bool) -> None:
    found = measured(call("MeterValues", meter(sampled)), book(ENERGY))
    assert found.samples[0].value_milli == value_milli
    assert found.samples[0].quirks == found.quirks == ((quirks.UNIT_RELABELLED,) if bent else ())


def test_energy_of_2_x_keeps_its_multiplier() -> None:
    sampled = {"value": 12, "unitOfMeasure": {"unit": "Wh", "multiplier": 1}}
    payload = {
        "evseId": 1,
        "meterValue": [{"timestamp": "2026-01-01T00:00:00Z", "sampledValue": [sampled]}],
    }
    found = measured(call("MeterValues", payload, "ocpp2.0.1"), book(ENERGY))
    assert (found.samples[0].value_milli, found.samples[0].quirks) == (
        120_000_000,
        (quirks.UNIT_RELABELLED,),
    )


def test_meter_start_and_stop_are_converted_only_if_the_rule_says_so() -> None:
    stop = call("StopTransaction", {"transactionId": 1, "meterStop": 5, "timestamp": "2026-01-01T00:00:00Z"})
    plain, with_meter = (read_step(stop, BERLIN, book(ENERGY | more)) for more in ({}, {"meter": True}))
    assert plain is not None
    assert with_meter is not None
    assert (plain.meter_wh, plain.quirks) == (5, ())
    assert (with_meter.meter_wh, with_meter.quirks) == (5000, (quirks.UNIT_RELABELLED,))


START = {"connectorId": 1, "idTag": "T", "timestamp": "2026-01-01T00:00:00Z"}
STARTED = {"answer": '{"idTagInfo":{"status":"Accepted"},"transactionId":9}'}


@pytest.mark.parametrize(("told", "read", "bent"), [(500, 0, True), (0, 0, False)])
def test_a_register_per_session_starts_at_zero(told: int, read: int, bent: bool) -> None:
    step = read_step(
        call("StartTransaction", START | {"meterStart": told}, **STARTED),
        BERLIN,
        book({"effect": "register_per_session"}),
    )
    assert step is not None
    assert (step.meter_wh, step.quirks) == (read, (quirks.REGISTER_PER_SESSION,) if bent else ())


ZERO = {"effect": "zero_start_is_unknown"}


@pytest.mark.parametrize(("told", "read"), [(0, None), (157_440, 157_440)])
def test_a_zero_at_the_start_says_nothing(told: int, read: int | None) -> None:
    step = read_step(call("StartTransaction", START | {"meterStart": told}, **STARTED), BERLIN, book(ZERO))
    assert step is not None
    assert (step.meter_wh, step.quirks) == (read, (quirks.START_REGISTER_UNKNOWN,) if read is None else ())


def test_a_zero_sampled_as_of_the_start_says_nothing() -> None:
    samples = (
        {"value": "163630", "context": "Sample.Periodic"},
        {"value": "0", "context": "Transaction.Begin"},
    )
    step = read_step(call("MeterValues", meter(*samples, transactionId=9)), BERLIN, book(ZERO))
    assert step is not None
    assert step.readings == (Reading(NOW, 163_630, "Sample.Periodic"),)
    assert (step.meter_wh, step.quirks) == (163_630, (quirks.START_REGISTER_UNKNOWN,))
    alone = read_step(call("MeterValues", meter(samples[1], transactionId=9)), BERLIN, book(ZERO))
    assert alone is not None
    assert (alone.meter_wh, alone.readings) == (None, ())


CLOCK = {"effect": "local_time_marked_utc", "tolerance_s": 300}


def status(timestamp: str | None, **more: Any) -> OcppCallReceived:
    payload = {"connectorId": 1, "errorCode": "NoError", "status": "Available"}
    return call(
        "StatusNotification", payload if timestamp is None else payload | {"timestamp": timestamp}, **more
    )


@pytest.mark.parametrize(
    ("timestamp", "seconds", "bent"),
    [
        ("2026-01-01T00:59:58Z", -2, True),  # Berlin is an hour ahead
        ("2026-01-01T01:04:59.5Z", 299.5, True),
        ("2025-12-31T23:59:58Z", -2, False),
        ("2026-01-01T00:04:59Z", 299, False),
        ("2026-01-01T01:30:00Z", 5400, False),  # neither the one nor the other
        ("2025-12-31T20:00:00Z", -14_400, False),  # from a queue
        ("2026-01-01T00:59:58+00:00", 3598, False),
        (None, 0, False),
    ],
)
def test_local_time_is_told_by_its_skew(timestamp: str | None, seconds: float, bent: bool) -> None:
    (event,) = read_exchange(status(timestamp), BERLIN, book(CLOCK))
    assert isinstance(event, ConnectorStatusReported)
    assert event.at - NOW == seconds * SECOND
    assert event.quirks == ((quirks.LOCAL_TIME_MARKED_UTC,) if bent else ())


def test_local_time_needs_a_zone_other_than_utc() -> None:
    (event,) = read_exchange(status("2026-01-01T00:59:58Z"), ZoneInfo("UTC"), book(CLOCK))
    assert isinstance(event, ConnectorStatusReported)
    assert event.quirks == ()


def test_all_times_of_a_message_are_local_if_the_newest_is() -> None:
    payload = {
        "connectorId": 1,
        "transactionId": 9,
        "meterValue": [
            {"timestamp": f"2026-01-01T00:{minute}:00Z", "sampledValue": [{"value": "1"}]}
            for minute in ("15", "59")
        ],
    }
    found = measured(call("MeterValues", payload), book(CLOCK))
    assert [(s.at - NOW) // SECOND for s in found.samples] == [-45 * 60, -60]
    assert [s.quirks for s in found.samples] == [(quirks.LOCAL_TIME_MARKED_UTC,)] * 2


def test_the_clock_rule_of_a_make_is_found() -> None:
    assert clock_rule("ocpp1.6", "Chago", "Pro", "") is not None
    assert clock_rule("ocpp1.6", "Legrand", "GreenUp", "") is None


@pytest.mark.parametrize(
    ("field", "sent", "listed", "attribute"),
    [
        ("context", {"context": "Daily"}, "Sample.Clock", "context"),
        ("measurand", {"measurand": "Energy"}, REGISTER, "measurand"),
        ("phase", {"phase": "R"}, "L1", "phase"),
        ("location", {"location": "Socket"}, "Outlet", "location"),
        ("unit", {"unit": "kw", "measurand": "Power.Active.Import"}, "kW", "unit"),
    ],
)
def test_a_vendors_word_becomes_the_listed_one(
    field: str, sent: dict[str, Any], listed: str, attribute: str
) -> None:
    rules = book({"effect": "alias", "field": field, "values": {sent[field]: listed}})
    found = measured(call("MeterValues", meter({"value": "5"} | sent, {"value": "6"})), rules)
    expected = {"kW": "W"}.get(listed, listed)
    assert getattr(found.samples[0], attribute) == expected
    assert [s.quirks for s in found.samples] == [(quirks.VALUE_ALIAS,), ()]
    assert found.quirks == (quirks.VALUE_ALIAS,)


def test_a_named_measurand_keeps_its_unit() -> None:
    rules = book({"effect": "name_measurand", "unit": "kW", "measurand": "Power.Active.Import"})
    found = measured(call("MeterValues", meter({"value": "7.4", "unit": "kW"}, {"value": "6"})), rules)
    assert [(s.measurand, s.value_milli, s.quirks) for s in found.samples] == [
        ("Power.Active.Import", 7_400_000, (quirks.MEASURAND_NAMED,)),
        (REGISTER, 6_000, ()),
    ]


def test_a_register_that_a_rule_names_is_a_step_too() -> None:
    """What a rule makes of a sample decides what is read, also where only registers are."""
    rules = book({"effect": "alias", "field": "measurand", "values": {"Energy": REGISTER}})
    record = call("MeterValues", meter({"value": "5", "measurand": "Energy"}, transactionId=9))
    step = read_step(record, BERLIN, rules)
    assert step is not None
    assert (step.meter_wh, step.quirks) == (5, (quirks.VALUE_ALIAS,))
    assert step in read_exchange(record, BERLIN, rules)


def test_numbers_are_brought_to_one_topology() -> None:
    """Connectors that a 2.0.1 station numbers through the whole station."""
    rules = book({"effect": "renumber", "numbers": {"2/2": "2/1", "3/3": "3/1"}})
    seen = []
    for evse, connector in ((1, 1), (2, 2), (3, 3), (2, 1)):
        payload = {
            "timestamp": "2026-01-01T00:00:00Z",
            "connectorStatus": "Available",
            "evseId": evse,
            "connectorId": connector,
        }
        (event,) = read_exchange(call("StatusNotification", payload, "ocpp2.0.1"), BERLIN, rules)
        assert isinstance(event, ConnectorStatusReported)
        seen.append((event.evse_id, event.connector_id, event.quirks))
    bent = (quirks.CONNECTOR_RENUMBERED,)
    assert seen == [(1, 1, ()), (2, 1, bent), (3, 1, bent), (2, 1, ())]


def test_several_effects_act_one_after_the_other() -> None:
    rules = book({"effect": "alias", "field": "measurand", "values": {"Energy": REGISTER}}, ENERGY, CLOCK)
    sampled = {"value": "5", "measurand": "Energy", "unit": "Wh"}
    found = measured(call("MeterValues", meter(sampled, at="2026-01-01T01:00:00Z")), rules)
    assert found.samples[0].quirks == (
        quirks.LOCAL_TIME_MARKED_UTC,
        quirks.VALUE_ALIAS,
        quirks.UNIT_RELABELLED,
    )
    assert (found.samples[0].at, found.samples[0].value_milli) == (NOW, 5_000_000)


def test_what_the_schema_check_bent_is_told_by_the_events() -> None:
    record = call(
        "StatusNotification",
        {"connectorId": "1", "errorCode": "NoError", "status": "Available"},
        quirks=(quirks.STRING_FOR_NUMBER,),
    )
    (event,) = read_exchange(record)
    assert isinstance(event, ConnectorStatusReported)
    assert (event.evse_id, event.quirks) == (1, (quirks.STRING_FOR_NUMBER,))


def test_others_are_read_as_ever() -> None:
    record = call("MeterValues", meter({"value": "1"}, transactionId=9), vendor="Even")
    rules = book(ENERGY, CLOCK)
    assert read_exchange(record, BERLIN, rules) == read_exchange(record, BERLIN, RuleBook([]))
    for fact in read_exchange(record, BERLIN, rules):
        if isinstance(fact, TransactionStep | MeasurementsReported):
            assert fact.quirks == ()


def history(*moments: tuple[int, int, int], unit: str = "Wh") -> OcppCallReceived:
    """Minutes, register and watts of each moment."""
    data = [
        {
            "timestamp": f"2025-12-31T{20 + minute // 60}:{minute % 60:02d}:00Z",
            "sampledValue": [
                {"value": str(register), "unit": unit},
                {"value": str(watts), "measurand": "Power.Active.Import", "unit": "W"},
            ],
        }
        for minute, register, watts in moments
    ]
    payload = {
        "transactionId": 9,
        "meterStop": 1,
        "timestamp": "2026-01-01T00:00:00Z",
        "transactionData": data,
    }
    return call("StopTransaction", payload)


@pytest.mark.parametrize(
    ("moments", "doubted"),
    [
        (((0, 354, 8000), (60, 362, 8000)), True),  # kWh
        (((0, 354_000, 8000), (60, 362_000, 8000)), False),
        (((0, 354_000, 8000), (30, 357_000, 4000), (60, 359_500, 8000)), False),
        (((0, 100, 0), (60, 9_000_100, 8000)), True),  # a lifetime register, or mWh
        (((0, 354, 100), (60, 354, 100)), False),  # too little to tell
        (((0, 354, 8000),), False),
        (((0, 8000, 8000), (60, 1000, 8000)), True),  # backwards
        (((0, 354, 1900), (60, 355, 1900)), False),  # 1.9 kWh, and a register in whole kWh has moved by one
        (((0, 354, 2100), (60, 355, 2100)), True),
    ],
)
def test_a_register_that_power_contradicts_is_flagged(
    moments: tuple[tuple[int, int, int], ...], doubted: bool
) -> None:
    record = history(*moments)
    step = read_step(record)
    assert step is not None
    flags = (quirks.ENERGY_CONTRADICTS_POWER,) if doubted else ()
    assert step.quirks == flags
    assert measured(record, RuleBook([])).quirks == flags


@pytest.mark.parametrize(
    ("registers", "doubted"),
    [
        (((30, 354_000), (44, 354_000)), False),  # no more than 2,000 Wh in that time
        (((0, 354), (60, 362)), True),
        (((30, 354), (60, 358)), True),
        (((30, 1_000), (30, 9_000)), False),  # no time between them
    ],
)
def test_power_counts_only_between_the_registers(
    registers: tuple[tuple[int, int], ...], doubted: bool
) -> None:
    minute = 60 * 1_000_000
    readings = [Reading(at * minute, wh) for at, wh in registers]
    samples = [MeterSample(at * minute, "Power.Active.Import", 8_000_000, "W") for at in (0, 60, 240)]
    assert contradicts_power(readings, samples) is doubted


def test_an_absurd_number_of_connectors_is_learned_bounded_and_flagged() -> None:
    sent = OcppCallSent(
        event_id="e",
        occurred_at=NOW,
        recorded_at=NOW,
        cause_id="d",
        station_id="cp",
        connection_epoch=1,
        edge_id="edge",
        command_id="c",
        version="ocpp1.6",
        message_id="m",
        action="GetConfiguration",
        payload="{}",
        outcome=CallOutcome.RESULT,
        result='{"configurationKey":[{"key":"NumberOfConnectors","readonly":true,"value":"1634030126"}]}',
        sent_at=NOW,
        round_trip_us=1,
    )
    (event,) = [e for e in read_sent(sent) if isinstance(e, VariablesReported)]
    assert [(v.name, v.value) for v in event.variables] == [("NumberOfConnectors", "256")]
    assert event.quirks == (quirks.CONNECTOR_COUNT_ABSURD,)
