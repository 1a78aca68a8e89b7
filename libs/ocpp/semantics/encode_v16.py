"""Version-free commands in the words of OCPP 1.6, with its security extension."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from libs.ocpp.semantics import commands as c
from libs.ocpp.semantics.encode_limits import default_limit_profile, limit_profile
from libs.ocpp.semantics.variables import named_in
from libs.ocpp.times import format_timestamp
from libs.ocpp.versions import Version

EncodedCall = tuple[str, dict[str, Any]]

PLAIN_TRIGGERS: Final[Mapping[str, str]] = {
    "boot": "BootNotification",
    "heartbeat": "Heartbeat",
    "status": "StatusNotification",
    "meter_values": "MeterValues",
    "firmware_status": "FirmwareStatusNotification",
}
"""What a TriggerMessage of 1.6 can ask for."""
_EXTENDED_TRIGGERS: Final = {
    "log_status": "LogStatusNotification",
    "sign_certificate": "SignChargePointCertificate",
}
_USES: Final = {
    "csms_root": "CentralSystemRootCertificate",
    "manufacturer_root": "ManufacturerRootCertificate",
}


def _set_limit(command: c.SetLimit) -> EncodedCall:
    common, schedule = limit_profile(command, "ChargePointMaxProfile")
    profile = {"chargingProfileId": command.profile_id, **common, "chargingSchedule": schedule}
    if command.transaction_id is not None:
        profile["transactionId"] = _number(command.transaction_id)
    return "SetChargingProfile", {"connectorId": command.evse_id, "csChargingProfiles": profile}


def _set_default_limit(command: c.SetDefaultLimit) -> EncodedCall:
    common, schedule = default_limit_profile(command)
    profile = {"chargingProfileId": command.profile_id, **common, "chargingSchedule": schedule}
    return "SetChargingProfile", {"connectorId": command.evse_id, "csChargingProfiles": profile}


def _clear_limit(command: c.ClearLimit) -> EncodedCall:
    payload: dict[str, Any] = {}
    if command.profile_id is not None:
        payload["id"] = command.profile_id
    elif command.evse_id is not None:
        payload["connectorId"] = command.evse_id
    return "ClearChargingProfile", payload


def _get_composite_schedule(command: c.GetCompositeSchedule) -> EncodedCall:
    payload = {"connectorId": command.evse_id, "duration": command.duration_s}
    return "GetCompositeSchedule", _with(payload, chargingRateUnit=command.unit)


def _remote_start(command: c.RemoteStart) -> EncodedCall:
    return "RemoteStartTransaction", _with({"idTag": command.id_token}, connectorId=command.evse_id)


def _remote_stop(command: c.RemoteStop) -> EncodedCall:
    return "RemoteStopTransaction", {"transactionId": _number(command.transaction_id)}


def _update_firmware(command: c.UpdateFirmware) -> EncodedCall:
    retrieve = format_timestamp(command.retrieve_at)
    if command.signing_certificate is None or command.signature is None:
        return "UpdateFirmware", {"location": command.location, "retrieveDate": retrieve}
    firmware = {
        "location": command.location,
        "retrieveDateTime": retrieve,
        "signingCertificate": command.signing_certificate,
        "signature": command.signature,
    }
    firmware = _with(firmware, installDateTime=_time(command.install_at))
    return "SignedUpdateFirmware", {"requestId": command.request_id, "firmware": firmware}


def _reset(command: c.Reset) -> EncodedCall:
    if command.evse_id:
        raise ValueError("OCPP 1.6 resets the whole station")
    return "Reset", {"type": "Soft" if command.kind == "soft" else "Hard"}


def _unlock(command: c.UnlockConnector) -> EncodedCall:
    return "UnlockConnector", {"connectorId": command.evse_id}


def _change_availability(command: c.ChangeAvailability) -> EncodedCall:
    kind = "Operative" if command.operative else "Inoperative"
    return "ChangeAvailability", {"connectorId": command.evse_id, "type": kind}


def _trigger(command: c.TriggerMessage) -> EncodedCall:
    wanted = PLAIN_TRIGGERS.get(command.message)
    action = "TriggerMessage"
    if wanted is None:
        wanted, action = _EXTENDED_TRIGGERS.get(command.message), "ExtendedTriggerMessage"
    if wanted is None:
        raise ValueError(f"OCPP 1.6 has no {command.message} to send")
    return action, _with({"requestedMessage": wanted}, connectorId=command.evse_id or None)


def _reserve(command: c.ReserveNow) -> EncodedCall:
    payload = {
        "connectorId": command.evse_id,
        "expiryDate": format_timestamp(command.expires_at),
        "idTag": command.id_token,
        "reservationId": command.reservation_id,
    }
    return "ReserveNow", _with(payload, parentIdTag=command.group_id)


def _cancel_reservation(command: c.CancelReservation) -> EncodedCall:
    return "CancelReservation", {"reservationId": command.reservation_id}


def _send_local_list(command: c.SendLocalList) -> EncodedCall:
    payload: dict[str, Any] = {
        "listVersion": command.list_version,
        "updateType": "Full" if command.full else "Differential",
    }
    if command.entries:
        payload["localAuthorizationList"] = [_local_list_entry(entry) for entry in command.entries]
    return "SendLocalList", payload


def _local_list_entry(entry: c.LocalListEntry) -> dict[str, Any]:
    if entry.status is None:
        return {"idTag": entry.id_token}
    info = _with({"status": entry.status}, expiryDate=_time(entry.expires_at), parentIdTag=entry.group_id)
    return {"idTag": entry.id_token, "idTagInfo": info}


def _get_log(command: c.GetLog) -> EncodedCall:
    log = _with(
        {"remoteLocation": command.location},
        oldestTimestamp=_time(command.oldest),
        latestTimestamp=_time(command.latest),
    )
    kind = "DiagnosticsLog" if command.log == "diagnostics" else "SecurityLog"
    return "GetLog", {"log": log, "logType": kind, "requestId": command.request_id}


def get_diagnostics(command: c.GetLog) -> EncodedCall:
    """The diagnostics log in the words of 1.6 without its security extension."""
    return "GetDiagnostics", _with(
        {"location": command.location}, startTime=_time(command.oldest), stopTime=_time(command.latest)
    )


def _get_variables(command: c.GetVariables) -> EncodedCall:
    return "GetConfiguration", {"key": [_key(variable) for variable in command.variables]}


def _set_variables(command: c.SetVariables) -> EncodedCall:
    if len(command.values) != 1:
        raise ValueError("a message of OCPP 1.6 changes one key")
    return "ChangeConfiguration", {"key": _key(command.values[0]), "value": command.values[0].value}


def _key(variable: c.Variable | c.VariableValue) -> str:
    if variable.evse_id is not None:
        raise ValueError("the configuration of OCPP 1.6 is the whole station's")
    return named_in(Version.V16, variable.name)


def _get_base_report(_command: c.GetBaseReport) -> EncodedCall:
    return "GetConfiguration", {}


def _install_certificate(command: c.InstallCertificate) -> EncodedCall:
    return "InstallCertificate", {
        "certificateType": _use(command.use),
        "certificate": command.certificate,
    }


def _delete_certificate(command: c.DeleteCertificate) -> EncodedCall:
    return "DeleteCertificate", {"certificateHashData": hash_data(command)}


def _get_installed(command: c.GetInstalledCertificateIds) -> EncodedCall:
    return "GetInstalledCertificateIds", {"certificateType": _use(command.use or "csms_root")}


def _certificate_signed(command: c.CertificateSigned) -> EncodedCall:
    if command.use != "station":
        raise ValueError("OCPP 1.6 signs no certificates of ISO 15118")
    return "CertificateSigned", {"certificateChain": command.certificate_chain}


def _data_transfer(command: c.DataTransfer) -> EncodedCall:
    payload = {"vendorId": command.vendor_id}
    return "DataTransfer", _with(payload, messageId=command.message_id, data=command.data)


def hash_data(command: c.DeleteCertificate) -> dict[str, str]:
    """CertificateHashData of all versions."""
    return {
        "hashAlgorithm": command.hash_algorithm,
        "issuerNameHash": command.issuer_name_hash,
        "issuerKeyHash": command.issuer_key_hash,
        "serialNumber": command.serial_number,
    }


def _use(use: str) -> str:
    if use not in _USES:
        raise ValueError(f"OCPP 1.6 has no {use} certificates")
    return _USES[use]


def _number(transaction_id: str) -> int:
    try:
        return int(transaction_id)
    except ValueError as error:
        raise ValueError("a transaction id of OCPP 1.6 is a number") from error


def _time(at: int | None) -> str | None:
    return None if at is None else format_timestamp(at)


def _with(payload: dict[str, Any], **optional: Any) -> dict[str, Any]:
    """The payload with those optional properties that there are (rule: no null on the wire)."""
    return payload | {name: value for name, value in optional.items() if value is not None}


ENCODERS: Final[Mapping[type, Callable[[Any], EncodedCall]]] = {
    c.SetLimit: _set_limit,
    c.SetDefaultLimit: _set_default_limit,
    c.ClearLimit: _clear_limit,
    c.GetCompositeSchedule: _get_composite_schedule,
    c.RemoteStart: _remote_start,
    c.RemoteStop: _remote_stop,
    c.UpdateFirmware: _update_firmware,
    c.Reset: _reset,
    c.UnlockConnector: _unlock,
    c.ChangeAvailability: _change_availability,
    c.TriggerMessage: _trigger,
    c.ReserveNow: _reserve,
    c.CancelReservation: _cancel_reservation,
    c.SendLocalList: _send_local_list,
    c.GetLocalListVersion: lambda _command: ("GetLocalListVersion", {}),
    c.ClearCache: lambda _command: ("ClearCache", {}),
    c.GetLog: _get_log,
    c.GetVariables: _get_variables,
    c.SetVariables: _set_variables,
    c.GetBaseReport: _get_base_report,
    c.InstallCertificate: _install_certificate,
    c.DeleteCertificate: _delete_certificate,
    c.GetInstalledCertificateIds: _get_installed,
    c.CertificateSigned: _certificate_signed,
    c.DataTransfer: _data_transfer,
}
