"""What chargers answer: one verdict for the results of all commands of all versions, and what they tell by the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from libs.ocpp.errors import ErrorCode, canonical
from libs.ocpp.inbound import CheckedCall, check_result
from libs.ocpp.schemas import Violation
from libs.ocpp.semantics import reports as r
from libs.ocpp.semantics.abilities import argument_of
from libs.ocpp.semantics.v2_reports import certificate_hash, variables_of
from libs.ocpp.versions import Version

Payload = Mapping[str, Any]
ResultReader = Callable[[Payload, Payload, int], list[r.Report]]
Verdict = Literal["accepted", "rejected"]

_SHOWN: Final = 64

# Statuses by which a charger says that it does, did or will do what was asked.
ACCEPTING: Final = frozenset(
    {
        "Accepted",
        "AcceptedCanceled",  # GetLog, UpdateFirmware: done, and the earlier one cancelled
        "Scheduled",  # ChangeAvailability, Reset: after the transaction
        "RebootRequired",  # ChangeConfiguration, SetVariables: after a reboot
        "Unlocked",
        "Unpublished",
    }
)
_REFUSING = """
    Rejected Failed Faulted Invalid Unknown Unavailable Occupied NotFound NotSupported NotImplemented Duplicate
    VersionMismatch EmptyResultSet TooManyElements UnknownMessageId UnknownVendorId UnknownConnector
    UnknownTransaction TxNotFound UnknownComponent UnknownVariable NotSupportedAttributeType UnsupportedMonitorType
    InvalidCertificate RevokedCertificate DownloadOngoing NoFirmware UnlockFailed OngoingAuthorizedTransaction
    NoProfile NoProfiles ConditionNotSupported NotSupportedMessageFormat NotSupportedPriority NotSupportedState
    LanguageNotSupported NoTariff NoCurrencyChange DuplicateTariffId
"""
REFUSING: Final = frozenset(_REFUSING.split())
"""Statuses by which a charger says that it does not."""
CHANGES_NOTHING: Final = frozenset(
    {
        "GetCompositeSchedule",
        "GetConfiguration",
        "GetInstalledCertificateIds",
        "GetLocalListVersion",
        "GetPeriodicEventStream",
        "GetTariffs",
        "GetTransactionStatus",
        "GetVariables",
    }
)
"""Actions that only ask: all that comes of them is the answer."""

_WORDS: Final = {word.casefold(): word for word in ACCEPTING | REFUSING}
# Commands about several items: their list, the list of their results, and the name of an item's status.
_ITEMS: Final[Mapping[str, tuple[str, str, str]]] = {
    "SetVariables": ("setVariableData", "setVariableResult", "attributeStatus"),
    "GetVariables": ("getVariableData", "getVariableResult", "attributeStatus"),
    "SetVariableMonitoring": ("setMonitoringData", "setMonitoringResult", "status"),
    "ClearVariableMonitoring": ("id", "clearMonitoringResult", "status"),
    "ClearTariffs": ("tariffIds", "clearTariffsResult", "status"),
}


def interpret_result(version: Version, action: str, payload: Payload, result: Payload) -> tuple[Verdict, str]:
    """Return whether a CALLRESULT to our ``payload`` means that the charger agreed, and its word for it.

    Of several items each must have a result, and all must be accepted. A result without a status (GetLocalListVersion,
    CostUpdated, 1.6 UpdateFirmware) that conforms to its schema means agreement: refusing those takes a CALLERROR.
    Raises ValueError for a result by which the charger says neither yes nor no.
    """
    checked = check_result(version, action, dict(result))
    if isinstance(checked, CheckedCall):
        result = checked.payload
    if action in _ITEMS:
        words = _words_of_items(payload, result, *_ITEMS[action])
    elif "status" in result:
        words = [_word(result["status"])]
    elif isinstance(checked, Violation):
        raise ValueError(f"{checked.path or '/'}: {checked.message}")
    elif action == "GetConfiguration" and not result:
        raise ValueError("it tells of no key")
    else:
        words = []
    verdict: Verdict = "accepted" if ACCEPTING.issuperset(words) else "rejected"
    if action not in _ITEMS and words:
        return verdict, words[0]
    return verdict, "accepted" if verdict == "accepted" else "refused"


def _words_of_items(payload: Payload, result: Payload, asked: str, told: str, status: str) -> list[str]:
    items = result.get(told)
    if not isinstance(items, list):
        raise ValueError(f"it has no list {told}")
    words = [_word(item.get(status) if isinstance(item, dict) else None) for item in items]
    most = len(payload.get(asked) or ("all",))
    if len(words) < most:
        raise ValueError(f"{len(words)} results for {most} items")
    return words


def _word(status: object) -> str:
    """The status in the specification's spelling. Raises ValueError for what is none."""
    word = _WORDS.get(status.strip().casefold()) if isinstance(status, str) else None
    if word is None:
        raise ValueError(f"{str(status)[:_SHOWN]!r} is no status")
    return word


def read_result(version: Version, action: str, payload: Payload, result: Payload, at: int) -> list[r.Report]:
    """Return what a CALLRESULT to our ``payload`` tells of the charger; that it knows the action, at least.

    Both must conform to their schemas, or be corrected so that they do.
    """
    argument = argument_of(action, payload)
    if result.get("status") in MAY_BE_UNSUPPORTED.get(action, ()):
        return [r.ActionUnsupported(action, argument, at)]
    events: list[r.Report] = [r.ActionAnswered(action, argument, at)]
    reader = result_reader(version, action)
    return events if reader is None else [*events, *reader(payload, result, at)]


def read_error(action: str, payload: Payload, code: str, at: int) -> list[r.Report]:
    """Return what a CALLERROR to our ``payload`` tells of the charger."""
    match canonical(code):
        case ErrorCode.NOT_IMPLEMENTED:
            return [r.ActionUnsupported(action, None, at)]
        case ErrorCode.NOT_SUPPORTED:
            return [r.ActionUnsupported(action, argument_of(action, payload), at)]
        case _:
            return []


MAY_BE_UNSUPPORTED: Final[Mapping[str, tuple[str, ...]]] = {
    "TriggerMessage": ("NotImplemented",),
    "ExtendedTriggerMessage": ("NotImplemented",),
    "SetChargingProfile": ("NotSupported",),
    "SendLocalList": ("NotSupported",),
}
"""Actions with statuses that speak of the request's kind and not of this one request, and these statuses."""


def _configuration(_payload: Payload, result: Payload, at: int) -> list[r.Report]:
    variables = [
        r.VariableSeen(item["key"], item["value"])
        for item in result.get("configurationKey", ())
        if "value" in item
    ]
    return [r.VariablesReported(tuple(variables), None, True, at)]


def _changed_configuration(payload: Payload, result: Payload, at: int) -> list[r.Report]:
    # What takes a reboot first is not in force yet.
    if result["status"] != "Accepted":
        return []
    return [r.VariablesReported((r.VariableSeen(payload["key"], payload["value"]),), None, True, at)]


def _variables(_payload: Payload, result: Payload, at: int) -> list[r.Report]:
    items = [each for each in result["getVariableResult"] if each["attributeStatus"] == "Accepted"]
    return [r.VariablesReported(variables_of(items, "attributeValue"), None, True, at)]


def _set_variables(payload: Payload, result: Payload, at: int) -> list[r.Report]:
    accepted = [
        (each["component"], each["variable"])
        for each in result["setVariableResult"]
        if each["attributeStatus"] == "Accepted"
    ]
    items = [each for each in payload["setVariableData"] if (each["component"], each["variable"]) in accepted]
    return [r.VariablesReported(variables_of(items, "attributeValue"), None, True, at)]


def _certificates_16(_payload: Payload, result: Payload, at: int) -> list[r.Report]:
    hashes = [certificate_hash(each) for each in result.get("certificateHashData", ())]
    return [r.InstalledCertificatesReported(tuple([r.InstalledCertificate("", h) for h in hashes]), at)]


def _certificates_2(_payload: Payload, result: Payload, at: int) -> list[r.Report]:
    installed = [
        r.InstalledCertificate(
            each["certificateType"],
            certificate_hash(each["certificateHashData"]),
            tuple([certificate_hash(child) for child in each.get("childCertificateHashData", ())]),
        )
        for each in result.get("certificateHashDataChain", ())
    ]
    return [r.InstalledCertificatesReported(tuple(installed), at)]


def result_reader(version: Version, action: str) -> ResultReader | None:
    """Return what reads the results of an action beyond whether the charger agreed; None for most."""
    return _RESULTS.get((version.is_v2, action))


_RESULTS: Final[Mapping[tuple[bool, str], ResultReader]] = {
    (False, "GetConfiguration"): _configuration,
    (False, "ChangeConfiguration"): _changed_configuration,
    (False, "GetInstalledCertificateIds"): _certificates_16,
    (True, "GetVariables"): _variables,
    (True, "SetVariables"): _set_variables,
    (True, "GetInstalledCertificateIds"): _certificates_2,
}
