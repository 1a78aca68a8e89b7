"""A step that is read alone is the one that is read with everything else, of registers."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from libs.events.ocpp_log import OcppCallReceived
from libs.ocpp.semantics.model import TransactionStep
from libs.ocpp.semantics.received_calls import read_exchange, read_step

AT = 1_790_000_000_000_000
REGISTERS = ("Energy.Active.Import.Register", "Energy.Active.Export.Register")

values = st.one_of(
    st.integers(-(10**13), 10**13), st.floats(0, 1e9), st.sampled_from(["5", "12,5", "1e3", "x", ""])
)
samples = st.fixed_dictionaries(
    {"value": values},
    optional={
        "measurand": st.sampled_from(REGISTERS),
        "unit": st.sampled_from(["Wh", "kWh", "MWh", "A"]),
        "unitOfMeasure": st.fixed_dictionaries(
            {}, optional={"unit": st.sampled_from(["Wh", "kWh"]), "multiplier": st.integers(-6, 6)}
        ),
        "context": st.sampled_from(["Transaction.Begin", "Transaction.End", "Sample.Periodic"]),
        "phase": st.sampled_from(["L1", "L2", "N"]),
        "location": st.sampled_from(["Outlet", "Inlet"]),
        "format": st.sampled_from(["Raw", "SignedData"]),
        "signedMeterValue": st.just({}),
    },
)
moments = st.sampled_from(["2026-09-21T14:13:20Z", "2026-09-21T14:13:21", "1999-01-01T00:00:00Z", "?"])
meters = st.lists(
    st.fixed_dictionaries({"timestamp": moments, "sampledValue": st.lists(samples, max_size=3)}), max_size=3
)


def exchange(version: str, action: str, payload: dict[str, Any]) -> OcppCallReceived:
    return OcppCallReceived(
        event_id="e", occurred_at=AT, recorded_at=AT, cause_id="e", station_id="s", connection_epoch=1, edge_id="e",
        version=version, message_id="m", action=action, payload=json.dumps(payload), answer="{}",
    )  # fmt: skip


def same(record: OcppCallReceived) -> None:
    steps: list[TransactionStep | None] = [
        fact for fact in read_exchange(record) if isinstance(fact, TransactionStep)
    ]
    assert [read_step(record)] == (steps or [None])


@given(meters, st.sampled_from([-1, 0, 7, 2**33]))
def test_meter_values_of_16(meter: list[Any], transaction: int) -> None:
    same(
        exchange(
            "ocpp1.6",
            "MeterValues",
            {"connectorId": 1, "transactionId": transaction, "meterValue": meter},
        )
    )


@given(meters, moments)
def test_stops_of_16(meter: list[Any], moment: str) -> None:
    stop = {"transactionId": 7, "timestamp": moment, "meterStop": 5, "transactionData": meter}
    same(exchange("ocpp1.6", "StopTransaction", stop))


@given(meters, moments, st.sampled_from(["Started", "Updated", "Ended"]))
def test_transaction_events(meter: list[Any], moment: str, kind: str) -> None:
    event = {
        "eventType": kind, "triggerReason": "MeterValuePeriodic", "seqNo": 1, "timestamp": moment,
        "transactionInfo": {"transactionId": "t"}, "meterValue": meter,
    }  # fmt: skip
    same(exchange("ocpp2.0.1", "TransactionEvent", event))
