"""Whatever a charger sends: the check judges it, and what passes can be read and is never altered in place."""

import copy
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.ocpp.inbound import CheckedCall, check_call
from libs.ocpp.schemas import Violation
from libs.ocpp.semantics import read_call
from libs.ocpp.versions import Version

NOW = 1_767_225_600_000_000
AT = "2026-01-01T00:00:00Z"
VALUE_16 = {
    "timestamp": AT,
    "sampledValue": [
        {"value": "12.5", "unit": "kWh", "context": "Sample.Periodic", "location": "Outlet", "format": "Raw"},
        {"value": "16", "unit": "A", "measurand": "Current.Import", "phase": "L1"},
    ],
}
VALUE_2 = {
    "timestamp": AT,
    "sampledValue": [
        {"value": 12.5, "unitOfMeasure": {"unit": "kWh", "multiplier": 0}, "context": "Sample.Periodic"},
        {"value": 16, "measurand": "Current.Import", "phase": "L1", "location": "Outlet"},
    ],
}
CALLS: list[tuple[Version, str, dict[str, Any]]] = [
    (Version.V16, "MeterValues", {"connectorId": 1, "transactionId": 7, "meterValue": [VALUE_16]}),
    (
        Version.V16,
        "StopTransaction",
        {"transactionId": 7, "timestamp": AT, "meterStop": 5, "idTag": "T", "transactionData": [VALUE_16]},
    ),
    (Version.V16, "StartTransaction", {"connectorId": 1, "idTag": "T", "timestamp": AT, "meterStart": 0}),
    (
        Version.V16,
        "StatusNotification",
        {"connectorId": 1, "errorCode": "NoError", "status": "Available", "timestamp": AT},
    ),
    (
        Version.V201,
        "TransactionEvent",
        {
            "eventType": "Updated",
            "timestamp": AT,
            "triggerReason": "Authorized",
            "seqNo": 1,
            "offline": False,
            "transactionInfo": {"transactionId": "t", "chargingState": "Charging"},
            "evse": {"id": 1, "connectorId": 1},
            "idToken": {"idToken": "T", "type": "Central"},
            "meterValue": [VALUE_2, VALUE_2],
        },
    ),
    (Version.V21, "MeterValues", {"evseId": 1, "meterValue": [VALUE_2]}),
    (
        Version.V201,
        "NotifyEvent",
        {
            "generatedAt": AT,
            "seqNo": 0,
            "eventData": [
                {
                    "eventId": 1,
                    "timestamp": AT,
                    "trigger": "Delta",
                    "actualValue": "Available",
                    "eventNotificationType": "HardWiredNotification",
                    "component": {"name": "EVSE", "evse": {"id": 1}},
                    "variable": {"name": "AvailabilityState"},
                }
            ],
        },
    ),
]

junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "1,5", "NaN", "1e9999999", "x" * 600, AT, "2026-01-01T00:00:00", "kwh", "L1"])
    | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    return [path, *(found for key, child in items for found in _paths(child, (*path, key)))]


@settings(max_examples=600, deadline=None)
@given(data=st.data())
def test_mutated_calls_are_judged_and_what_passes_is_readable(data: st.DataObject) -> None:
    version, action, payload = data.draw(st.sampled_from(CALLS))
    sent = orjson.loads(orjson.dumps(payload))
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from([p for p in _paths(sent) if p]))
        parent = sent
        for key in path[:-1]:
            parent = parent[key]
        if data.draw(st.booleans()):
            parent[path[-1]] = data.draw(junk)
        else:
            del parent[path[-1]]
        if not sent:
            break
    before = copy.deepcopy(sent)
    checked = check_call(version, action, sent)
    assert sent == before
    assert isinstance(checked, CheckedCall | Violation)
    if isinstance(checked, CheckedCall):
        for event in read_call(version, action, checked.payload, {"transactionId": 1}, NOW):
            assert event == event
