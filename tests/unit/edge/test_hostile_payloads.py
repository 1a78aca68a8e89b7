"""Whatever a station sends, it gets a conforming answer or a violation; nothing raises."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.events.registry import BootStatus
from libs.ocpp import schemas
from libs.ocpp.inbound import CheckedCall, check_call
from libs.ocpp.routing import ROUTES, Policy
from services.edge.domain.answers import Asked, answer
from services.edge.domain.rules import ReadModels, Rules, Standing
from services.edge.domain.times import occurred_at

NOW = 1_800_000_000_000_000
MODELS = ReadModels({}, {}, Rules(transaction_key=b"k" * 16))
STANDING = Standing(BootStatus.ACCEPTED, 300, True)
ROWS = sorted(
    (version, route.action)
    for version, routes in ROUTES.items()
    for route in routes.values()
    if route.to_csms and route.policy is not Policy.NONE
)
START = {"connectorId": 1, "idTag": "TAG", "timestamp": "2026-01-01T00:00:00Z", "meterStart": 100}
SEEDS: dict[str, dict[str, Any]] = {
    "StartTransaction": START,
    "StopTransaction": {"idTag": "TAG", "transactionId": 1, "timestamp": START["timestamp"], "meterStop": 5},
    "Authorize": {"idTag": "TAG", "idToken": {"idToken": "TAG", "type": "ISO14443"}},
    "BootNotification": {"chargePointVendor": "v", "chargePointModel": "m"},
    "TransactionEvent": {
        "eventType": "Started",
        "timestamp": START["timestamp"],
        "triggerReason": "Authorized",
        "seqNo": 0,
        "transactionInfo": {"transactionId": "1"},
        "idToken": {"idToken": "TAG", "type": "ISO14443"},
    },
    "MeterValues": {"connectorId": 1, "meterValue": [{"timestamp": "x", "sampledValue": [{"value": "1"}]}]},
}
ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=60)
    | st.sampled_from(["", "1,5", "TRUE", "1e999999999", "9" * 50, "1970-01-01T00:00:00", "=cmd()", "\0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def as_received(payload: Any) -> Any:
    """As JSON gives it: integers beyond 64 bits become floats."""
    try:
        return orjson.loads(orjson.dumps(payload, default=float))
    except (TypeError, orjson.JSONEncodeError):
        return None


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_a_distorted_payload_is_answered_or_refused(data: st.DataObject) -> None:
    version, action = data.draw(st.sampled_from(ROWS))
    payload = dict(SEEDS.get(action, {}))
    for key in data.draw(
        st.lists(st.sampled_from([*payload, "timestamp", "vendorId", "customData"]), max_size=4)
    ):
        payload[key] = data.draw(ODD)
    received = as_received(payload)
    if not isinstance(received, dict):
        return
    checked = check_call(version, action, received)
    if not isinstance(checked, CheckedCall):
        assert checked.message
        return
    asked = Asked(version, "cp1", action, checked.payload, STANDING, MODELS, NOW)
    given_answer = answer(ROUTES[version][action], asked)
    assert schemas.validate(version, action, "response", given_answer) is None
    at, _ = occurred_at(checked.payload, NOW, STANDING.zone)
    assert 0 < at < 2**62
    assert isinstance(orjson.dumps(given_answer), bytes)
