"""Sessions of models that rules know: billed right, without review where the rule tells all."""

from typing import Any

import msgspec
import orjson

from libs.events.ocpp_log import OcppCallReceived
from libs.ocpp.times import format_timestamp
from tests.unit.sessions.exchanges import HOUR, MINUTE, NOON, exchange, meter16, start16, stop16
from tests.unit.sessions.given import Told, registry


def of(vendor: str, model: str, firmware: str, *exchanges: OcppCallReceived) -> Told:
    made = {"vendor": vendor, "model": model, "firmware": firmware}
    return Told([msgspec.structs.replace(each, **made) for each in exchanges])


def test_kwh_labelled_wh_are_billed_as_kwh() -> None:
    """OpenEVSE."""
    session = (start16(7, NOON, 354), meter16(7, NOON + MINUTE, 358), stop16(7, NOON + HOUR, 362))
    told = of("OpenEVSE", "Advanced Series", "4.2.2", *session)
    assert [(e.energy_wh, e.meter_start_wh, e.review) for e in told.ends] == [(8000, 354_000, ())]
    assert [u.energy_wh for u in told.updates] == [4000]
    assert told.ends[0].quirks == told.cdrs[0].quirks == ("unit_relabelled",)
    mended = of("OpenEVSE", "Advanced Series", "5.1.0", *session)
    assert [(e.energy_wh, e.quirks) for e in mended.ends] == [(8, ())]


def test_a_register_per_session_is_billed_from_zero() -> None:
    """Grizzl-E."""
    session = (start16(7, NOON, 21_840), meter16(7, NOON + MINUTE, 1500), stop16(7, NOON + HOUR, 15_174))
    told = of("UnitedChargers", "Grizzl-E Smart Connect", "GWM-07.020-03", *session)
    assert [(e.energy_wh, e.meter_start_wh, e.review) for e in told.ends] == [(15_174, 0, ())]


def growatt_meter(at: int, begin: int, now: int) -> OcppCallReceived:
    payload: dict[str, Any] = {
        "connectorId": 1,
        "transactionId": 7,
        "meterValue": [
            {
                "timestamp": format_timestamp(at),
                "sampledValue": [
                    {"value": str(now), "context": "Sample.Periodic", "unit": "Wh"},
                    {"value": str(begin), "context": "Transaction.Begin", "unit": "Wh"},
                ],
            }
        ],
    }
    return exchange("MeterValues", payload, at=at)


def test_a_start_told_as_zero_is_taken_from_the_samples() -> None:
    """Growatt: never the lifetime register."""
    session = (
        start16(7, NOON, 0),
        growatt_meter(NOON + MINUTE, 157_440, 158_000),
        growatt_meter(NOON + 30 * MINUTE, 157_440, 163_630),
        stop16(7, NOON + HOUR, 169_500),
    )
    told = of("Growatt", "THOR-22AS-S", "2.4.1", *session)
    assert [(e.energy_wh, e.meter_start_wh, e.review) for e in told.ends] == [(12_060, 157_440, ())]
    assert [u.energy_wh for u in told.updates] == [560, 6190]
    bare = of("Growatt", "THOR-22AS-S", "2.4.1", start16(7, NOON, 0), stop16(7, NOON + HOUR, 169_500))
    assert [(e.energy_wh, e.review) for e in bare.ends] == [(0, ("no_meter", "no_meter_start"))]


def test_the_current_register_is_not_taken_for_that_of_the_start() -> None:
    """Whoever repeats the register of the start beside the current one, whatever the order."""
    for reverse in (False, True):
        sample = growatt_meter(NOON + MINUTE, 157_440, 158_000)
        if reverse:
            payload = orjson.loads(sample.payload)
            payload["meterValue"][0]["sampledValue"].reverse()
            sample = msgspec.structs.replace(sample, payload=orjson.dumps(payload).decode())
        told = Told([start16(7, NOON, 157_440), sample])
        assert [u.energy_wh for u in told.updates] == [560]


def test_a_clock_that_was_not_set_yet_does_not_move_the_session() -> None:
    """Chago: local time marked as UTC, until the first answer."""
    start = start16(7, NOON, 1000, timestamp=format_timestamp(NOON + HOUR))
    told = Told(
        [
            msgspec.structs.replace(start, vendor="Chago", recorded_at=NOON + 1_000_000),
            msgspec.structs.replace(stop16(7, NOON + HOUR, 3000), vendor="Chago"),
        ],
        registry(timezone="Europe/Berlin"),
    )
    assert [(e.started_at, e.ended_at, e.energy_wh) for e in told.ends] == [(NOON, NOON + HOUR, 2000)]


def test_flags_of_all_messages_are_told_with_the_end_and_alone_correct_nothing() -> None:
    start = start16(7, NOON, 1000, timestamp="2026-11-22T12:00:00")
    sample = meter16(7, NOON + MINUTE, 1500)
    told = Told([start, sample, stop16(-1, NOON + HOUR, 3000)])
    assert told.ends[0].quirks == ("timestamp_without_zone", "transaction_id_odd")
    comma = msgspec.structs.replace(sample, event_id="late", payload=sample.payload.replace("1500", "1500,0"))
    assert told.tell(comma) == []
    assert told.state is not None
    assert "decimal_comma" in told.state.closed[0].quirks
