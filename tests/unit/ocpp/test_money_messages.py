"""Of a message that carries money, what can be read is taken: a charger repeats what is refused, and nobody pays."""

from __future__ import annotations

import copy
from time import process_time
from typing import Any

import pytest

from libs.ocpp import quirks, schemas
from libs.ocpp.errors import ErrorCode
from libs.ocpp.inbound import CheckedCall, check_call
from libs.ocpp.schemas import Violation
from libs.ocpp.semantics import read_call
from libs.ocpp.semantics.model import MeasurementsReported, TransactionStep
from libs.ocpp.versions import Version
from tests.unit.ocpp.payloads import UNLISTED, Path, Payload, every_fault, largest

NOW = 1_767_225_600_000_000
AT = "2026-01-01T00:00:00Z"
V16, V201, V21 = Version.V16, Version.V201, Version.V21
MESSAGES = [
    (V16, "Authorize"),
    (V16, "StartTransaction"),
    (V16, "StopTransaction"),
    (V16, "MeterValues"),
    *[
        (version, action)
        for version in (V201, V21)
        for action in ("Authorize", "TransactionEvent", "MeterValues")
    ],
]
NEEDED = {
    "Authorize": {"idTag", "idToken", "certificate", "iso15118CertificateHashData"},
    "StartTransaction": {"connectorId", "idTag", "meterStart", "timestamp"},
    "StopTransaction": set[str](),
    "MeterValues": {"connectorId", "evseId", "meterValue"},
    "TransactionEvent": {"eventType", "triggerReason", "seqNo", "transactionInfo", "idToken"},
}
"""What such a message cannot be read without, by the name at its top."""


@pytest.mark.parametrize(("version", "action"), MESSAGES)
def test_a_property_that_is_not_listed_is_passed_over_wherever_it_stands(
    version: Version, action: str
) -> None:
    whole = largest(version, action, "request")
    places = [fault for fault in every_fault(version, action, "request") if fault.what == "not listed"]
    assert len(places) >= (1 if version is V16 and action in {"Authorize", "StartTransaction"} else 3)
    for fault in places:
        before = copy.deepcopy(fault.payload)
        checked = check_call(version, action, fault.payload)
        assert checked == CheckedCall(whole, (quirks.PROPERTY_UNLISTED,)), fault.path
        assert fault.payload == before, "the payload as received is evidence"


@pytest.mark.parametrize(("version", "action"), MESSAGES)
def test_an_empty_text_for_an_optional_word_is_none(version: Version, action: str) -> None:
    whole = largest(version, action, "request")
    for fault in every_fault(version, action, "request"):
        if fault.what != "not in the enumeration":
            continue
        without = copy.deepcopy(whole)
        del _holder(without, fault.path)[fault.path[-1]]
        for blank in ("", "  "):
            _holder(fault.payload, fault.path)[fault.path[-1]] = blank
            checked = check_call(version, action, fault.payload)
            (told,) = schemas.faults(version, action, "request", fault.payload, 9).faults
            if told.place.lacking:
                assert checked == CheckedCall(without, (quirks.EMPTY_REMOVED,)), fault.path


@pytest.mark.parametrize(("version", "action"), MESSAGES)
def test_one_fault_costs_no_more_than_its_own_place(version: Version, action: str) -> None:
    """Whatever is wrong, in whatever place: the message is taken, but for what it cannot be read without."""
    whole = largest(version, action, "request")
    refused = set()
    for fault in every_fault(version, action, "request"):
        checked, top = check_call(version, action, fault.payload), fault.path[0]
        if isinstance(checked, Violation):
            refused.add(top)
            continue
        assert checked.quirks, fault
        for name in set(whole) - {top}:
            assert checked.payload[name] == whole[name], fault
        read_call(version, action, checked.payload, {"transactionId": 1}, NOW)
    assert refused <= NEEDED[action]


REGISTER = {"value": "1500", "measurand": "Energy.Active.Import.Register"}
PHASE = {"value": "7", "measurand": "Current.Import", "unit": "A"}
BAD_UNITS: tuple[Any, ...] = ([], {"multiplier": "k"}, {"unit": {}})
PHASE_2 = {"value": 7, "measurand": "Current.Import"}


@pytest.mark.parametrize(
    ("version", "fault"),
    [
        *[(V16, {name: "Nonsense"}) for name in ("measurand", "phase", "format")],
        *[
            (V16, {name: {}})
            for name in ("measurand", "phase", "location", "format", "unit", "context", "value")
        ],
        *[(v, {name: "Nonsense"}) for v in (V201, V21) for name in ("measurand", "phase")],
        *[(v, {name: {}}) for v in (V201, V21) for name in ("measurand", "phase", "location", "value")],
        *[(v, {"unitOfMeasure": unit}) for v in (V201, V21) for unit in BAD_UNITS],
    ],
)
def test_a_sample_that_would_mean_another_thing_without_its_fault_is_left_out(
    version: Version, fault: Payload
) -> None:
    good = REGISTER if version is V16 else REGISTER | {"value": 1500}
    bad = (PHASE if version is V16 else PHASE_2) | fault
    where = "connectorId" if version is V16 else "evseId"
    sent = {where: 1, "meterValue": [{"timestamp": AT, "sampledValue": [bad, good]}]}
    kept = {where: 1, "meterValue": [{"timestamp": AT, "sampledValue": [good]}]}
    assert check_call(version, "MeterValues", sent) == CheckedCall(kept, (quirks.SAMPLE_DROPPED,))


def test_a_unit_that_is_an_empty_text_is_the_default() -> None:
    for version, sampled in (
        (V16, {"value": "1500", "unit": ""}),
        (V201, {"value": 1500, "unitOfMeasure": {"unit": ""}}),
        (V21, {"value": 1500, "unitOfMeasure": {"unit": ""}}),
    ):
        where = "connectorId" if version is V16 else "evseId"
        sent = {where: 1, "meterValue": [{"timestamp": AT, "sampledValue": [sampled]}]}
        checked = check_call(version, "MeterValues", sent)
        assert isinstance(checked, CheckedCall)
        (measured,) = read_call(version, "MeterValues", checked.payload, None, NOW)
        assert isinstance(measured, MeasurementsReported)
        assert [(s.value_milli, s.unit) for s in measured.samples] == [(1_500_000, "Wh")]
        assert quirks.EMPTY_REMOVED in (*checked.quirks, *measured.quirks)


@pytest.mark.parametrize(
    ("payload", "flags"),
    [
        ({"meterStop": 5, "timestamp": AT}, (quirks.TRANSACTION_ID_MISSING,)),
        ({"transactionId": 7, "timestamp": AT}, (quirks.SAMPLE_DROPPED,)),
        ({"transactionId": 7, "meterStop": 5}, (quirks.TIMESTAMP_UNREADABLE,)),
        (
            {"transactionId": "seven", "meterStop": {}, "timestamp": []},
            (
                quirks.VALUE_DROPPED,
                quirks.TRANSACTION_ID_MISSING,
                quirks.SAMPLE_DROPPED,
                quirks.TIMESTAMP_UNREADABLE,
            ),
        ),
    ],
)
def test_a_stop_is_confirmed_whatever_it_lacks(payload: Payload, flags: tuple[str, ...]) -> None:
    checked = check_call(V16, "StopTransaction", payload)
    assert isinstance(checked, CheckedCall)
    assert set(checked.quirks) == set(flags)
    (step,) = read_call(V16, "StopTransaction", checked.payload, {}, NOW)
    assert isinstance(step, TransactionStep)
    assert step.kind == "ended"


def test_samples_without_a_moment_are_kept_as_undated() -> None:
    sent = {"connectorId": 1, "meterValue": [{"sampledValue": [REGISTER]}]}
    assert check_call(V16, "MeterValues", sent) == CheckedCall(sent, (quirks.TIMESTAMP_UNREADABLE,))


def test_a_token_of_a_type_that_is_not_listed_is_judged_by_its_id() -> None:
    token = {"idToken": "TAG", "type": "Bluetooth"}
    assert check_call(V201, "Authorize", {"idToken": token}) == CheckedCall(
        {"idToken": token}, (quirks.UNLISTED_VALUE,)
    )


@pytest.mark.parametrize(
    "proof",
    [
        {"certificate": {}},
        {"iso15118CertificateHashData": "x"},
        {"iso15118CertificateHashData": [{"hashAlgorithm": "SHA256"}]},
        {"iso15118CertificateHashData": []},
    ],
)
def test_nobody_is_let_in_on_less_than_was_shown(proof: Payload) -> None:
    """A contract certificate that cannot be read leaves no plain id token behind."""
    for version in (V201, V21):
        sent = {"idToken": {"idToken": "EMAID", "type": "eMAID"}, **proof}
        assert isinstance(check_call(version, "Authorize", sent), Violation)


@pytest.mark.parametrize("version", [V201, V21])
def test_an_unreadable_token_of_a_transaction_is_no_missing_one(version: Version) -> None:
    event = {
        "eventType": "Started",
        "timestamp": AT,
        "triggerReason": "Authorized",
        "seqNo": 0,
        "transactionInfo": {"transactionId": "t"},
    }
    tokens: list[Any] = [{}, "TAG", [], {"idToken": "TAG"}, {"idToken": {}, "type": "Central"}]
    for token in tokens:
        violation = check_call(version, "TransactionEvent", event | {"idToken": token})
        assert isinstance(violation, Violation), token
        assert violation.path.startswith("/idToken")


@pytest.mark.parametrize(
    ("version", "action", "payload"),
    [
        (V16, "Heartbeat", {}),
        (V16, "BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"}),
        (V16, "StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Available"}),
        (V201, "Heartbeat", {}),
    ],
)
def test_other_messages_get_the_error_of_the_specification(
    version: Version, action: str, payload: Payload
) -> None:
    violation = check_call(version, action, {**payload, UNLISTED: 1})
    assert isinstance(violation, Violation)
    assert violation.code is ErrorCode.FORMAT_VIOLATION


def test_what_is_passed_over_costs_in_proportion() -> None:
    """Twice the surplus takes twice the time, in one object or in many samples."""

    def in_one(number: int) -> Payload:
        return {"idTag": "TAG"} | {f"property-{n}": "of a vendor" for n in range(number)}

    def in_samples(number: int) -> Payload:
        samples = [{"value": "1", "unit": "", "more": n} for n in range(number // 4)]
        return {"connectorId": 1, "meterValue": [{"timestamp": AT, "sampledValue": samples}]}

    for action, made in (("Authorize", in_one), ("MeterValues", in_samples)):
        few, many = made(80), made(320)
        assert isinstance(check_call(V16, action, many), CheckedCall)
        assert _best(action, many) < 12 * _best(action, few), action


def _best(action: str, payload: Payload) -> float:
    def once() -> float:
        begun = process_time()
        check_call(V16, action, payload)
        return process_time() - begun

    return min(once() for _ in range(5))


def _holder(payload: Any, path: Path) -> Any:
    for part in path[:-1]:
        payload = payload[part]
    return payload
