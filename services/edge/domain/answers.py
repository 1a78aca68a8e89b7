"""The answer to each CALL of a station. `answer` is the only entry.

Actions with a policy of their own are answered by the function that `_POLICIES` names; all others by `_BUILT`, a
constant in `_CONSTANTS`, or with an empty payload, which is what most notifications are confirmed with.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from libs.events.registry import TokenStatus
from libs.ocpp.certificates import CsrUnusableError, Owner, foreign, hash_data, read_csr
from libs.ocpp.routing import Policy, Route
from libs.ocpp.times import format_timestamp
from libs.ocpp.transactions import transaction_id_16
from libs.ocpp.versions import Version
from services.edge.domain.authorisation import Verdict, authorise
from services.edge.domain.rules import ReadModels, Standing

Payload = dict[str, Any]

_PARENT_TAG_LENGTH: Final = 20  # CiString20Type of 1.6
_GROUP_TOKEN_LENGTH: Final = 36
_VAT_NUMBER_LENGTH: Final = 20
_INFO_LENGTH: Final = 512  # StatusInfoType of 2.0.1


class Asked(msgspec.Struct, frozen=True):
    """A station's checked CALL and what its answer may depend on. `now`: microseconds."""

    version: Version
    station_id: str
    action: str
    payload: Payload
    standing: Standing
    models: ReadModels
    now: int


def answer(route: Route, asked: Asked) -> Payload:
    """Return the CALLRESULT payload for a checked CALL; conforms to the version's schema.

    The result may be shared: it must not be changed.
    """
    return _POLICIES[route.policy](asked)


_BY_THE_REGISTRY: Final = frozenset(
    (
        Policy.BOOT,
        Policy.AUTHORIZE,
        Policy.START_TRANSACTION,
        Policy.STOP_TRANSACTION,
        Policy.TRANSACTION_EVENT,
    )
)


def is_refused(route: Route, payload: Payload) -> bool:
    """Whether an answer says no by what the registry says, or does not say."""
    if route.policy not in _BY_THE_REGISTRY:
        return False
    said = payload.get("idTagInfo") or payload.get("idTokenInfo") or payload
    return bool(said.get("status", TokenStatus.ACCEPTED) != TokenStatus.ACCEPTED)


_EMPTY: Final[Payload] = {}
_ACCEPTED: Final[Payload] = {"status": "Accepted"}


def _boot(asked: Asked) -> Payload:
    return {
        "currentTime": format_timestamp(asked.now),
        "interval": asked.standing.interval_s,
        "status": asked.standing.boot_status.value,
    }


def _heartbeat(asked: Asked) -> Payload:
    return {"currentTime": format_timestamp(asked.now)}


def _authorize(asked: Asked) -> Payload:
    if asked.version is Version.V16:
        return {"idTagInfo": _tag_info(asked, asked.payload["idTag"])}
    if "certificate" in asked.payload or "iso15118CertificateHashData" in asked.payload:
        # 2.0.1 C07: a contract certificate that nobody here can check authorises nothing.
        refused = {"status": TokenStatus.INVALID.value}
        return {"idTokenInfo": refused, "certificateStatus": "NoCertificateAvailable"}
    return {"idTokenInfo": _token_info(asked)}


def _start_transaction(asked: Asked) -> Payload:
    payload = asked.payload
    # An id is given even to a token that is not accepted (1.6 §4.8): the station may have charged offline.
    transaction_id = transaction_id_16(
        asked.models.rules.transaction_key,
        asked.station_id,
        payload["connectorId"],
        payload["idTag"],
        payload["timestamp"],
        payload["meterStart"],
    )
    return {"idTagInfo": _tag_info(asked, payload["idTag"]), "transactionId": transaction_id}


def _stop_transaction(asked: Asked) -> Payload:
    tag = asked.payload.get("idTag")
    return _EMPTY if tag is None else {"idTagInfo": _tag_info(asked, tag)}


def _transaction_event(asked: Asked) -> Payload:
    return {"idTokenInfo": _token_info(asked)} if "idToken" in asked.payload else _EMPTY


def _data_transfer(_: Asked) -> Payload:
    # Never a CALLERROR, whatever the vendor (1.6 §4.3, 2.0.1 P01).
    return {"status": "UnknownVendorId"}


def _tag_info(asked: Asked, id_tag: str) -> Payload:
    verdict = _verdict(asked, id_tag, None)
    info: Payload = {"status": verdict.status.value}
    if verdict.valid_until is not None:
        info["expiryDate"] = format_timestamp(verdict.valid_until)
    if verdict.group_id and len(verdict.group_id) <= _PARENT_TAG_LENGTH:
        info["parentIdTag"] = verdict.group_id
    return info


def _token_info(asked: Asked) -> Payload:
    token = asked.payload["idToken"]
    verdict = _verdict(asked, token["idToken"], token["type"])
    info: Payload = {"status": verdict.status.value}
    if verdict.valid_until is not None:
        info["cacheExpiryDateTime"] = format_timestamp(verdict.valid_until)
    if verdict.group_id and len(verdict.group_id) <= _GROUP_TOKEN_LENGTH:
        info["groupIdToken"] = {"idToken": verdict.group_id, "type": "Central"}
    return info


def _verdict(asked: Asked, id_token: str, token_type: str | None) -> Verdict:
    if not asked.standing.accepted:
        return Verdict(TokenStatus.INVALID)
    return authorise(asked.models, id_token, asked.now, token_type)


def _empty(_: Asked) -> Payload:
    return _EMPTY


def _default(asked: Asked) -> Payload:
    if asked.action == "SignCertificate" and asked.models.rules.certificate_desk:
        return _sign_certificate(asked)
    build = _BUILT.get(asked.action)
    constants = _CONSTANTS_21 if asked.version is Version.V21 else _CONSTANTS
    return constants.get(asked.action, _EMPTY) if build is None else build(asked.payload)


def _sign_certificate(asked: Asked) -> Payload:
    """Accepted: the certificate follows as a CertificateSigned (1.6 A02, 2.0.1 A02)."""
    models, payload, name = asked.models, asked.payload, asked.standing.certificate_name
    owner = Owner(asked.station_id, name or asked.station_id, models.rules.operator, models.stations)
    try:
        flaw = foreign(read_csr(payload["csr"]).subject, payload.get("certificateType"), owner)
    except CsrUnusableError as error:
        flaw = str(error)
    if flaw is None:
        return _ACCEPTED
    if asked.version is Version.V16:
        return {"status": "Rejected"}
    return {
        "status": "Rejected",
        "statusInfo": {"reasonCode": "InvalidCSR", "additionalInfo": flaw[:_INFO_LENGTH]},
    }


def _chain_status(payload: Payload) -> Payload:
    """2.1 M: one status for each certificate asked about; nobody here can ask an OCSP responder."""
    return {
        "certificateStatus": [
            {
                "certificateHashData": hash_data(wanted["certificateHashData"]),
                "source": wanted["source"],
                "status": "Failed",
                "nextUpdate": _NEVER_FRESH,
            }
            for wanted in payload["certificateStatusRequests"]
        ]
    }


def _vat_number(payload: Payload) -> Payload:
    told: Payload = {"vatNumber": payload["vatNumber"][:_VAT_NUMBER_LENGTH], "status": "Rejected"}
    return told | {"evseId": payload["evseId"]} if "evseId" in payload else told


_NEVER_FRESH: Final = "1970-01-01T00:00:00.000Z"

# What a central system without a certificate authority, contract certificates, external limits or DER says.
_CONSTANTS: Final[Mapping[str, Payload]] = {
    "SignCertificate": {"status": "Rejected"},
    "Get15118EVCertificate": {"status": "Failed", "exiResponse": ""},
    "GetCertificateStatus": {"status": "Failed"},
    # K15.FR.04: no charging schedule will follow; the station charges within its limits.
    "NotifyEVChargingNeeds": {"status": "Rejected"},
    # K15.FR.16: "Accepted" confirms the message, not the schedule.
    "NotifyEVChargingSchedule": {"status": "Accepted"},
    "OpenPeriodicEventStream": {"status": "Rejected"},
    "PullDynamicScheduleUpdate": {"status": "Rejected"},
}
# 2.1 has a word of its own for that.
_CONSTANTS_21: Final[Mapping[str, Payload]] = {
    **_CONSTANTS,
    "NotifyEVChargingNeeds": {"status": "NoChargingProfile"},
}
_BUILT: Final[Mapping[str, Callable[[Payload], Payload]]] = {
    "GetCertificateChainStatus": _chain_status,
    "VatNumberValidation": _vat_number,
}

_POLICIES: Final[Mapping[Policy, Callable[[Asked], Payload]]] = {
    Policy.BOOT: _boot,
    Policy.HEARTBEAT: _heartbeat,
    Policy.AUTHORIZE: _authorize,
    Policy.START_TRANSACTION: _start_transaction,
    Policy.STOP_TRANSACTION: _stop_transaction,
    Policy.TRANSACTION_EVENT: _transaction_event,
    Policy.METER_VALUES: _empty,
    Policy.STATUS: _empty,
    Policy.DATA_TRANSFER: _data_transfer,
    Policy.DEFAULT: _default,
}
