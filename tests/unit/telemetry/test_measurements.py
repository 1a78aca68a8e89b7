"""Meter values of every version come out as canonical samples."""

import pytest

from libs.bus.message import Emit
from libs.bus.runtime_memory import MemoryRuntime
from libs.events.ids import derive_id
from libs.events.ocpp_log import OcppCallReceived
from libs.events.registry import StationRegistered
from libs.events.telemetry import MeasurementsTaken
from libs.events.topics import OCPP_TRANSACTIONS, TELEMETRY_MEASUREMENTS
from services.telemetry.domain.measurements.processor import MeasurementsProcessor
from tests.unit.sessions.exchanges import HOUR, NOON, STATION, event2, exchange, meter16, start16, stop16


def taken(record: OcppCallReceived, timezone: str | None = None) -> list[MeasurementsTaken]:
    station = StationRegistered(
        event_id="s", occurred_at=0, recorded_at=0, cause_id="s", station_id=STATION, timezone=timezone
    )
    runtime = MemoryRuntime(MeasurementsProcessor(), {"registry.stations": {STATION: station}})
    emits: list[Emit] = runtime.feed(OCPP_TRANSACTIONS, STATION, record)
    assert not runtime.dead, runtime.dead
    assert all((emit.topic, emit.key) == (TELEMETRY_MEASUREMENTS, STATION) for emit in emits)
    assert runtime.state_of(STATION) is None
    return [emit.record for emit in emits if isinstance(emit.record, MeasurementsTaken)]


def test_meter_values_of_16() -> None:
    record = meter16(7, NOON, 12_345)
    (measured,) = taken(record)
    assert (measured.evse_id, measured.connector_id, measured.transaction_id) == (1, 1, "7")
    assert [(s.measurand, s.value_milli, s.unit, s.sampled_at) for s in measured.samples] == [
        ("Energy.Active.Import.Register", 12_345_000, "Wh", NOON),
        ("Power.Active.Import", 11_040_000, "W", NOON),
    ]
    assert measured.cause_id == record.event_id
    assert measured.event_id == derive_id(record.event_id, "measurements")
    assert (measured.occurred_at, measured.recorded_at) == (record.occurred_at, record.recorded_at)


def test_meter_values_outside_a_transaction() -> None:
    (measured,) = taken(meter16(None, NOON, 1, connector=0))
    assert (measured.evse_id, measured.transaction_id) == (0, None)


@pytest.mark.parametrize("version", ["ocpp2.0.1", "ocpp2.1"])
def test_transaction_events(version: str) -> None:
    (measured,) = taken(event2("Updated", "tx", 1, NOON, 4000, evse=2, version=version))
    assert (measured.evse_id, measured.connector_id, measured.transaction_id) == (2, 1, "tx")
    assert measured.samples[0].value_milli == 4_000_000
    assert measured.samples[0].context == "Sample.Periodic"


def test_meter_values_of_2x() -> None:
    payload = {
        "evseId": 1,
        "meterValue": [
            {
                "timestamp": "2026-11-22T12:00:00Z",
                "sampledValue": [
                    {"value": 230.4, "measurand": "Voltage", "phase": "L1-N", "location": "Outlet"},
                    {"value": 7.2, "measurand": "Power.Active.Import", "unitOfMeasure": {"unit": "kW"}},
                ],
            }
        ],
    }
    (measured,) = taken(exchange("MeterValues", payload, at=NOON, version="ocpp2.0.1"))
    assert [(s.value_milli, s.unit, s.phase, s.location) for s in measured.samples] == [
        (230_400, "V", "L1-N", "Outlet"),
        (7_200_000, "W", None, None),
    ]


def test_transaction_data_of_a_stop() -> None:
    payload = {
        "transactionId": 7,
        "meterStop": 900,
        "timestamp": "2026-11-22T12:00:00Z",
        "transactionData": [
            {
                "timestamp": "2026-11-22T12:00:00Z",
                "sampledValue": [{"value": "900", "context": "Transaction.End"}],
            }
        ],
    }
    (measured,) = taken(exchange("StopTransaction", payload, at=NOON))
    assert measured.transaction_id == "7"


def test_exchanges_without_samples_say_nothing() -> None:
    for record in (start16(7, NOON, 0), stop16(7, NOON, 1), event2("Updated", "tx", 1, NOON)):
        assert taken(record) == []


def test_a_bent_payload_is_read_as_the_edge_read_it() -> None:
    payload = {
        "connectorId": 1,
        "meterValue": {
            "timestamp": "2026-11-22T12:00:00Z",
            "sampledValue": [{"value": 17, "measurand": "Voltage", "unit": "V"}, {"value": ""}],
        },
    }
    (measured,) = taken(
        exchange("MeterValues", payload, at=NOON, quirks=("object_for_list", "number_for_string"))
    )
    assert [(s.measurand, s.value_milli) for s in measured.samples] == [("Voltage", 17_000)]


def test_zoneless_times_are_read_in_the_stations_zone() -> None:
    payload = {
        "connectorId": 1,
        "meterValue": [{"timestamp": "2026-11-22T13:00:00", "sampledValue": [{"value": "1"}]}],
    }
    record = exchange("MeterValues", payload, at=NOON, recorded_at=NOON + HOUR, quirks=("timestamp_format",))
    (measured,) = taken(record, "Europe/Berlin")
    assert measured.samples[0].sampled_at == NOON


def test_a_payload_that_cannot_be_read_is_put_aside() -> None:
    runtime = MemoryRuntime(MeasurementsProcessor())
    runtime.feed(OCPP_TRANSACTIONS, STATION, exchange("MeterValues", {"connectorId": 1}, at=NOON))
    assert len(runtime.dead) == 1


@pytest.mark.parametrize("number", [2**31, 2**40, 2**63, -1])
def test_a_connector_number_that_no_station_has_costs_no_sample(number: int) -> None:
    (measured,) = taken(meter16(7, NOON, 12_345, connector=number))
    assert (measured.evse_id, measured.connector_id, measured.transaction_id) == (0, None, "7")
    assert len(measured.samples) == 2
