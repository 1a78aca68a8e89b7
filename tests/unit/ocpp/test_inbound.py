from typing import Any

import pytest

from libs.ocpp import quirks
from libs.ocpp.bends import LONGEST_TEXT
from libs.ocpp.errors import ErrorCode
from libs.ocpp.inbound import CheckedCall, check_call, check_result
from libs.ocpp.quirks import MEANINGS
from libs.ocpp.schemas import Violation
from libs.ocpp.versions import Version

AT = "2026-01-01T00:00:00Z"
V16, V201 = Version.V16, Version.V201
STATUS = {"connectorId": 1, "errorCode": "NoError", "status": "Available"}
START = {"connectorId": 1, "idTag": "TAG", "timestamp": AT, "meterStart": 0}
STOP = {"transactionId": 7, "timestamp": AT, "meterStop": 5}
BOOT = {"chargePointVendor": "V", "chargePointModel": "M"}


def _meter(*samples: Any, **more: Any) -> dict[str, Any]:
    return {"connectorId": 1, "meterValue": [{"timestamp": AT, "sampledValue": list(samples)}], **more}


def _event(**more: Any) -> dict[str, Any]:
    return {
        "eventType": "Updated",
        "timestamp": AT,
        "triggerReason": "MeterValuePeriodic",
        "seqNo": 1,
        "transactionInfo": {"transactionId": "t"},
        **more,
    }


GOOD = {"value": "1", "unit": "Wh"}

# The table "What real chargers do" of the protocol notes, and what comes of each row.
BENDS: list[tuple[Version, str, dict[str, Any], dict[str, Any], tuple[str, ...]]] = [
    (
        V16,
        "StatusNotification",
        STATUS | {"timestamp": "2026-01-01T00:00:00"},
        STATUS | {"timestamp": "2026-01-01T00:00:00"},
        (quirks.TIMESTAMP_FORMAT,),
    ),
    (
        V16,
        "StartTransaction",
        START | {"timestamp": 1767225600},
        START | {"timestamp": "1767225600"},
        (quirks.NUMBER_FOR_STRING, quirks.TIMESTAMP_FORMAT),
    ),
    (
        V16,
        "StartTransaction",
        START | {"timestamp": "222222017-01-01"},
        START | {"timestamp": "222222017-01-01"},
        (quirks.TIMESTAMP_FORMAT,),
    ),
    (
        V16,
        "StartTransaction",
        START | {"idTag": 1234},
        START | {"idTag": "1234"},
        (quirks.NUMBER_FOR_STRING,),
    ),
    (
        V16,
        "StartTransaction",
        START | {"connectorId": "1"},
        START | {"connectorId": 1},
        (quirks.STRING_FOR_NUMBER,),
    ),
    (
        V16,
        "StartTransaction",
        START | {"meterStart": 12.0},
        START | {"meterStart": 12},
        (quirks.FRACTION_FOR_INTEGER,),
    ),
    (
        V16,
        "StartTransaction",
        START | {"meterStart": 12.5},
        START | {"meterStart": 12},
        (quirks.FRACTION_FOR_INTEGER,),
    ),
    (
        V16,
        "StartTransaction",
        START | {"meterStart": "12,6"},
        START | {"meterStart": 13},
        (quirks.DECIMAL_COMMA,),
    ),
    (V16, "StartTransaction", START | {"reservationId": None}, START, (quirks.NULL_REMOVED,)),
    (V16, "StartTransaction", START | {"idTag": "x" * 30}, START | {"idTag": "x" * 30}, (quirks.TOO_LONG,)),
    (
        V16,
        "BootNotification",
        BOOT | {"chargePointSerialNumber": "s" * 60},
        BOOT | {"chargePointSerialNumber": "s" * 60},
        (quirks.TOO_LONG,),
    ),
    (
        V16,
        "StatusNotification",
        STATUS | {"errorCode": "DoorOpen"},
        STATUS | {"errorCode": "DoorOpen"},
        (quirks.UNLISTED_VALUE,),
    ),
    (V16, "StatusNotification", STATUS | {"status": "available "}, STATUS, (quirks.ENUM_SPELLING,)),
    (V16, "StopTransaction", STOP | {"reason": "Fun"}, STOP | {"reason": "Fun"}, (quirks.UNLISTED_VALUE,)),
    (
        V16,
        "StopTransaction",
        {"timestamp": AT, "meterStop": 5},
        {"timestamp": AT, "meterStop": 5},
        (quirks.TRANSACTION_ID_MISSING,),
    ),
    (
        V16,
        "StopTransaction",
        STOP | {"transactionId": None},
        {"timestamp": AT, "meterStop": 5},
        (quirks.NULL_REMOVED, quirks.TRANSACTION_ID_MISSING),
    ),
    (
        V16,
        "StopTransaction",
        STOP | {"transactionId": 2e19},
        STOP | {"transactionId": 20000000000000000000},
        (quirks.INTEGER_TOO_LARGE,),
    ),
    (
        V16,
        "MeterValues",
        _meter() | {"meterValue": {"timestamp": AT, "sampledValue": GOOD}},
        _meter(GOOD),
        (quirks.OBJECT_FOR_LIST,),
    ),
    (
        V16,
        "MeterValues",
        _meter({"value": 1.5}, GOOD),
        _meter({"value": "1.5"}, GOOD),
        (quirks.NUMBER_FOR_STRING,),
    ),
    (
        V16,
        "MeterValues",
        _meter({"value": "1", "unit": "Furlong"}),
        _meter({"value": "1", "unit": "Furlong"}),
        (quirks.UNLISTED_VALUE,),
    ),
    (
        V16,
        "MeterValues",
        _meter({"value": "1", "context": "Sample"}),
        _meter({"value": "1", "context": "Sample"}),
        (quirks.UNLISTED_VALUE,),
    ),
    (
        V16,
        "MeterValues",
        _meter({"value": "1", "measurand": "Mood"}, GOOD, {}, GOOD, "x"),
        _meter(GOOD, GOOD),
        (quirks.SAMPLE_DROPPED,),
    ),
    (
        V16,
        "MeterValues",
        _meter({"value": "1", "bogus": 1}),
        _meter({"value": "1"}),
        (quirks.PROPERTY_UNLISTED,),
    ),
    (V16, "MeterValues", _meter(), _meter(), (quirks.EMPTY_LIST,)),
    (
        V201,
        "TransactionEvent",
        _event(meterValue=[{"timestamp": AT, "sampledValue": [{"value": ""}, {"value": 5}]}]),
        _event(meterValue=[{"timestamp": AT, "sampledValue": [{"value": 5}]}]),
        (quirks.SAMPLE_DROPPED,),
    ),
    (
        V201,
        "TransactionEvent",
        _event(meterValue=[{"timestamp": AT, "sampledValue": [{"value": "5,25"}]}]),
        _event(meterValue=[{"timestamp": AT, "sampledValue": [{"value": 5.25}]}]),
        (quirks.DECIMAL_COMMA,),
    ),
    (
        V201,
        "TransactionEvent",
        _event(seqNo=3.0, evse={"id": 1.0}),
        _event(seqNo=3, evse={"id": 1}),
        (quirks.FRACTION_FOR_INTEGER,),
    ),
    (V201, "TransactionEvent", _event(offline="true"), _event(offline=True), (quirks.STRING_FOR_BOOLEAN,)),
    (V201, "TransactionEvent", _event(meterValue=[]), _event(meterValue=[]), (quirks.EMPTY_LIST,)),
]


@pytest.mark.parametrize(("version", "action", "sent", "bent", "flags"), BENDS)
def test_known_quirks_are_bent_and_flagged(
    version: Version, action: str, sent: dict[str, Any], bent: dict[str, Any], flags: tuple[str, ...]
) -> None:
    before = repr(sent)
    assert check_call(version, action, sent) == CheckedCall(bent, flags)
    assert repr(sent) == before, "the payload as received is evidence"


def test_a_conforming_payload_is_handed_on_untouched() -> None:
    for unit in ("Celcius", "Celsius"):  # 1.6 errata
        payload = _meter({"value": "1", "measurand": "Temperature", "unit": unit}, transactionId=2**63 - 1)
        checked = check_call(V16, "MeterValues", payload)
        assert isinstance(checked, CheckedCall)
        assert checked.payload is payload
        assert checked.quirks == ()


@pytest.mark.parametrize(
    ("action", "payload", "code", "path"),
    [
        (
            "StatusNotification",
            STATUS | {"status": "Asleep"},
            ErrorCode.PROPERTY_CONSTRAINT_VIOLATION,
            "/status",
        ),
        ("StatusNotification", STATUS | {"extra": 1}, ErrorCode.FORMAT_VIOLATION, ""),
        (
            "StatusNotification",
            STATUS | {"connectorId": "one"},
            ErrorCode.TYPE_CONSTRAINT_VIOLATION,
            "/connectorId",
        ),
        (
            "StatusNotification",
            STATUS | {"connectorId": "1e999999"},
            ErrorCode.TYPE_CONSTRAINT_VIOLATION,
            "/connectorId",
        ),
        (
            "StatusNotification",
            STATUS | {"connectorId": "NaN"},
            ErrorCode.TYPE_CONSTRAINT_VIOLATION,
            "/connectorId",
        ),
        ("StatusNotification", STATUS | {"connectorId": None}, ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION, ""),
        ("StatusNotification", STATUS | {"status": []}, ErrorCode.TYPE_CONSTRAINT_VIOLATION, "/status"),
        ("StartTransaction", {"connectorId": 1}, ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION, ""),
        (
            "MeterValues",
            {"connectorId": 1, "meterValue": "x"},
            ErrorCode.TYPE_CONSTRAINT_VIOLATION,
            "/meterValue",
        ),
    ],
)
def test_what_cannot_be_bent_is_refused(
    action: str, payload: dict[str, Any], code: ErrorCode, path: str
) -> None:
    violation = check_call(V16, action, payload)
    assert isinstance(violation, Violation)
    assert (violation.code, violation.path) == (code, path)


@pytest.mark.parametrize(
    ("action", "payload", "code", "path"),
    [
        (
            "MeterValues",
            _meter(*[{}] * 9_900),
            ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION,
            "/meterValue/0/sampledValue/0",
        ),
        (
            "MeterValues",
            _meter(*[1] * 120_000),
            ErrorCode.TYPE_CONSTRAINT_VIOLATION,
            "/meterValue/0/sampledValue/0",
        ),
        (
            "MeterValues",
            _meter(*[{"value": 1}] * 9_000),
            ErrorCode.TYPE_CONSTRAINT_VIOLATION,
            "/meterValue/0/sampledValue/0/value",
        ),
        (
            "StatusNotification",
            STATUS | {f"n{n}": 0 for n in range(9_000)},
            ErrorCode.FORMAT_VIOLATION,
            "",
        ),
    ],
)
def test_more_faults_than_a_payload_of_its_size_may_have_are_refused_at_once(
    action: str, payload: dict[str, Any], code: ErrorCode, path: str
) -> None:
    violation = check_call(V16, action, payload)
    assert isinstance(violation, Violation)
    assert (violation.code, violation.path) == (code, path)


def test_the_faults_of_a_long_transaction_are_bent_one_and_all() -> None:
    """A charger that gets three things wrong in each of eighty samples must not be refused its stop."""
    wrong = {"value": 1_234, "context": "Periodic", "unit": "wh"}
    right = {"value": "1234", "context": "Periodic", "unit": "Wh"}
    stop = {"transactionId": 1, "timestamp": AT, "meterStop": 5}
    data = [{"timestamp": AT, "sampledValue": [wrong] * 80}]
    checked = check_call(V16, "StopTransaction", stop | {"transactionData": data})
    assert isinstance(checked, CheckedCall)
    assert checked.payload["transactionData"][0]["sampledValue"] == [right] * 80


def test_nulls_for_what_is_optional_are_no_matter_of_number() -> None:
    """Some chargers write all that they do not know as null: a day of such samples is taken."""
    unknown = dict.fromkeys(("context", "format", "measurand", "phase", "location"))
    data = [{"timestamp": AT, "sampledValue": [{"value": "1", **unknown}]}] * 1_440
    stop = {"transactionId": 1, "timestamp": AT, "meterStop": 5, "idTag": None, "transactionData": data}
    checked = check_call(V16, "StopTransaction", stop)
    assert isinstance(checked, CheckedCall)
    assert checked.quirks == (quirks.NULL_REMOVED,)
    assert "idTag" not in checked.payload
    assert checked.payload["transactionData"] == [{"timestamp": AT, "sampledValue": [{"value": "1"}]}] * 1_440
    assert stop["idTag"] is None
    assert data[0]["sampledValue"] == [{"value": "1", **unknown}]


def test_a_null_where_anything_may_be_is_kept() -> None:
    payload = {"vendorId": "v", "messageId": None, "data": None}
    assert check_call(Version.V201, "DataTransfer", payload) == CheckedCall(
        {"vendorId": "v", "data": None}, (quirks.NULL_REMOVED,)
    )


@pytest.mark.parametrize(
    ("version", "action", "payload", "part"),
    [
        (V16, "StopTransaction", {"transactionId": 1, "timestamp": AT, "meterStop": 5}, "transactionData"),
        (
            Version.V201,
            "TransactionEvent",
            {
                "eventType": "Ended",
                "timestamp": AT,
                "triggerReason": "EVDeparted",
                "seqNo": 9,
                "transactionInfo": {"transactionId": "t"},
            },
            "meterValue",
        ),
    ],
)
def test_the_end_of_a_transaction_is_taken_without_the_part_that_has_too_many_faults(
    version: Version, action: str, payload: dict[str, Any], part: str
) -> None:
    spoilt = [{"timestamp": AT, "sampledValue": [{"value": []}] * 5_000}]
    assert check_call(version, action, {**payload, part: spoilt}) == CheckedCall(
        payload, (quirks.VALUE_DROPPED,)
    )


SPOILT = [{"timestamp": AT, "sampledValue": [{"value": []}] * 5_000}]


@pytest.mark.parametrize("beside", [{"seqNr": 1}, {"reason": 5}, {"idTag": []}, {"meterStop": "5"}])
def test_what_else_is_wrong_does_not_cost_the_end_of_a_transaction(beside: dict[str, Any]) -> None:
    """The part with most of the faults goes, wherever the others are."""
    stop = {"transactionId": 1, "timestamp": AT, "meterStop": 5} | beside
    alone = check_call(V16, "StopTransaction", stop)
    assert isinstance(alone, CheckedCall)
    for given in ({**stop, "transactionData": SPOILT}, {"transactionData": SPOILT, **stop}):
        checked = check_call(V16, "StopTransaction", given)
        assert isinstance(checked, CheckedCall)
        assert checked.payload == alone.payload
        assert set(checked.quirks) == {quirks.VALUE_DROPPED, *alone.quirks}


@pytest.mark.parametrize("count", [310, 800])
def test_samples_that_need_two_repairs_each_are_taken(count: int) -> None:
    """Neither a list nor a number: both repairs count, and there are two for 71 bytes."""
    samples = [{"timestamp": AT, "sampledValue": {"value": "1.5"}}] * count
    event = {
        "eventType": "Ended",
        "timestamp": AT,
        "triggerReason": "EVDeparted",
        "seqNo": 9,
        "transactionInfo": {"transactionId": "t"},
    }
    checked = check_call(Version.V201, "TransactionEvent", event | {"meterValue": samples})
    assert isinstance(checked, CheckedCall)
    assert checked.payload["meterValue"] == [{"timestamp": AT, "sampledValue": [{"value": 1.5}]}] * count


def test_the_same_fault_is_mended_wherever_it_is() -> None:
    """What helps against a value is remembered, but not where it was, nor for another type or place."""
    samples = [
        {"value": 7},
        {"value": "1"},
        {"value": 7},
        {"value": 7.0},
        {"value": "1", "measurand": 7},
        GOOD,
    ]
    payload = _meter(*samples)
    payload["meterValue"] *= 2
    checked = check_call(V16, "MeterValues", payload)
    assert isinstance(checked, CheckedCall)
    kept = [{"value": "7"}, {"value": "1"}, {"value": "7"}, {"value": "7.0"}, GOOD]
    assert checked.payload == {"connectorId": 1, "meterValue": [{"timestamp": AT, "sampledValue": kept}] * 2}
    assert set(checked.quirks) == {quirks.NUMBER_FOR_STRING, quirks.SAMPLE_DROPPED}


def test_a_blank_item_does_not_leave_a_list_too_short() -> None:
    needs = {"chargingNeeds": {"requestedEnergyTransfer": "DC", "availableEnergyTransfer": [""]}, "evseId": 1}
    assert isinstance(check_call(Version.V21, "NotifyEVChargingNeeds", needs), Violation)


def test_results_of_chargers_are_bent_alike() -> None:
    checked = check_result(V16, "GetConfiguration", {"unknownKey": None})
    assert checked == CheckedCall({}, (quirks.NULL_REMOVED,))
    assert isinstance(check_result(V16, "Reset", {}), Violation)


def test_every_flag_is_explained() -> None:
    names = {value for name, value in vars(quirks).items() if name.isupper() and isinstance(value, str)}
    assert names == set(MEANINGS)
    assert {flag for row in BENDS for flag in row[4]} <= names


def test_a_composite_schedule_with_a_decimal_limit_is_taken() -> None:
    schedule = {
        "chargingRateUnit": "A",
        "minChargingRate": 8.1,
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 8.1}, {"startPeriod": 60, "limit": 16.3}],
    }
    payload = {"status": "Accepted", "connectorId": 1, "scheduleStart": AT, "chargingSchedule": schedule}
    assert check_result(V16, "GetCompositeSchedule", payload) == CheckedCall(payload)


@pytest.mark.parametrize(
    ("told", "kept"), [("1634030126", "256"), ("257", "256"), ("256", "256"), ("2", "2")]
)
def test_an_absurd_number_of_connectors_is_bounded(told: str, kept: str) -> None:
    others = [{"key": "HeartbeatInterval", "readonly": False, "value": "86400"}]
    payload = {
        "configurationKey": [*others, {"key": "NumberOfConnectors", "readonly": True, "value": told}],
        "unknownKey": [],
    }
    checked = check_result(V16, "GetConfiguration", payload)
    assert isinstance(checked, CheckedCall)
    assert checked.payload["configurationKey"][1]["value"] == kept
    assert checked.payload["configurationKey"][0] == others[0]
    assert checked.quirks == ((quirks.CONNECTOR_COUNT_ABSURD,) if told != kept else ())
    assert payload["configurationKey"][1]["value"] == told


@pytest.mark.parametrize("value", ["", "many", None])
def test_a_number_of_connectors_that_is_none_is_left_alone(value: str | None) -> None:
    entry = {"key": "NumberOfConnectors", "readonly": True} | ({} if value is None else {"value": value})
    payload = {"configurationKey": [entry]}
    assert check_result(V16, "GetConfiguration", payload) == CheckedCall(payload)


@pytest.mark.parametrize(
    ("action", "payload", "field", "quirk"),
    [
        ("StartTransaction", START, "idTag", quirks.TOO_LONG),
        ("BootNotification", BOOT, "firmwareVersion", quirks.TOO_LONG),
        ("StatusNotification", STATUS, "errorCode", quirks.UNLISTED_VALUE),
    ],
)
def test_a_text_of_any_length_is_kept_up_to_a_bound_and_stays_different_from_others(
    action: str, payload: dict[str, Any], field: str, quirk: str
) -> None:
    found = []
    for text in ("x" * 255, "x" * 256, "x" * 200_000, "x" * 200_000 + "y", "é" * 200_000):
        checked = check_call(V16, action, payload | {field: text})
        assert isinstance(checked, CheckedCall)
        assert checked.quirks == (quirk,)
        found.append(checked.payload[field])
    assert found[0] == "x" * 255
    assert len(set(found)) == len(found)
    assert max(len(text.encode()) for text in found) <= LONGEST_TEXT


@pytest.mark.parametrize("location", ["Upstream", "Socket"])
def test_a_place_that_is_not_listed_does_not_cost_its_sample(location: str) -> None:
    sample = {"value": "8200", "location": location}
    moment = {"timestamp": "2026-03-01T12:00:00Z", "sampledValue": [sample]}
    checked = check_call(Version.V16, "MeterValues", {"connectorId": 1, "meterValue": [moment]})
    assert isinstance(checked, CheckedCall)
    assert checked.payload["meterValue"] == [moment]
    assert checked.quirks == (quirks.UNLISTED_VALUE,)
