"""Version-free commands in the words of OCPP 2.0.1 and 2.1."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from libs.ocpp.certificates import SIGNED_USES
from libs.ocpp.semantics import commands as c
from libs.ocpp.semantics.encode_limits import default_limit_profile, limit_profile
from libs.ocpp.semantics.encode_v16 import EncodedCall, hash_data
from libs.ocpp.semantics.variables import named_in, parse_name
from libs.ocpp.times import format_timestamp
from libs.ocpp.versions import Version

_TRIGGERS: Final = {
    "boot": "BootNotification",
    "heartbeat": "Heartbeat",
    "status": "StatusNotification",
    "meter_values": "MeterValues",
    "firmware_status": "FirmwareStatusNotification",
    "log_status": "LogStatusNotification",
    "sign_certificate": "SignChargingStationCertificate",
    "transaction": "TransactionEvent",
    "publish_firmware_status": "PublishFirmwareStatusNotification",
    "sign_v2g_certificate": "SignV2GCertificate",
    "sign_combined_certificate": "SignCombinedCertificate",
}
_BASES: Final = {
    "configuration": "ConfigurationInventory",
    "full": "FullInventory",
    "summary": "SummaryInventory",
}
_USES: Final = {
    "csms_root": "CSMSRootCertificate",
    "manufacturer_root": "ManufacturerRootCertificate",
    "v2g_root": "V2GRootCertificate",
    "contract_root": "MORootCertificate",
}


def _set_limit(command: c.SetLimit) -> EncodedCall:
    common, schedule = limit_profile(command, "ChargingStationMaxProfile")
    profile = {
        "id": command.profile_id,
        **common,
        "chargingSchedule": [{"id": command.profile_id, **schedule}],
    }
    if command.transaction_id is not None:
        profile["transactionId"] = command.transaction_id
    return "SetChargingProfile", {"evseId": command.evse_id, "chargingProfile": profile}


def _set_default_limit(command: c.SetDefaultLimit) -> EncodedCall:
    common, schedule = default_limit_profile(command)
    schedule = {"id": command.profile_id, **schedule}
    profile = {"id": command.profile_id, **common, "chargingSchedule": [schedule]}
    return "SetChargingProfile", {"evseId": command.evse_id, "chargingProfile": profile}


def _clear_limit(command: c.ClearLimit) -> EncodedCall:
    payload: dict[str, Any] = {}
    if command.profile_id is not None:
        payload["chargingProfileId"] = command.profile_id
    elif command.evse_id is not None:
        payload["chargingProfileCriteria"] = {"evseId": command.evse_id}
    return "ClearChargingProfile", payload


def _get_composite_schedule(command: c.GetCompositeSchedule) -> EncodedCall:
    payload = {"evseId": command.evse_id, "duration": command.duration_s}
    return "GetCompositeSchedule", _with(payload, chargingRateUnit=command.unit)


def _remote_start(command: c.RemoteStart) -> EncodedCall:
    payload = {
        "idToken": _token(command.id_token, command.id_token_type),
        "remoteStartId": command.remote_start_id,
    }
    return "RequestStartTransaction", _with(payload, evseId=command.evse_id)


def _remote_stop(command: c.RemoteStop) -> EncodedCall:
    return "RequestStopTransaction", {"transactionId": command.transaction_id}


def _get_transaction_status(command: c.GetTransactionStatus) -> EncodedCall:
    return "GetTransactionStatus", _with({}, transactionId=command.transaction_id)


def _update_firmware(command: c.UpdateFirmware) -> EncodedCall:
    firmware = _with(
        {"location": command.location, "retrieveDateTime": format_timestamp(command.retrieve_at)},
        installDateTime=_time(command.install_at),
        signingCertificate=command.signing_certificate,
        signature=command.signature,
    )
    return "UpdateFirmware", {"requestId": command.request_id, "firmware": firmware}


def _reset(command: c.Reset) -> EncodedCall:
    kind = "OnIdle" if command.kind == "soft" else "Immediate"
    return "Reset", _with({"type": kind}, evseId=command.evse_id or None)


def _unlock(command: c.UnlockConnector) -> EncodedCall:
    return "UnlockConnector", {"evseId": command.evse_id, "connectorId": command.connector_id}


def _change_availability(command: c.ChangeAvailability) -> EncodedCall:
    payload = {"operationalStatus": "Operative" if command.operative else "Inoperative"}
    return "ChangeAvailability", _with(payload, evse=_evse(command.evse_id, command.connector_id))


def _trigger(command: c.TriggerMessage) -> EncodedCall:
    payload = {"requestedMessage": _TRIGGERS[command.message]}
    return "TriggerMessage", _with(payload, evse=_evse(command.evse_id, command.connector_id))


def _reserve(command: c.ReserveNow) -> EncodedCall:
    payload = {
        "id": command.reservation_id,
        "expiryDateTime": format_timestamp(command.expires_at),
        "idToken": _token(command.id_token, command.id_token_type),
    }
    return "ReserveNow", _with(payload, evseId=command.evse_id or None, groupIdToken=_group(command.group_id))


def _cancel_reservation(command: c.CancelReservation) -> EncodedCall:
    return "CancelReservation", {"reservationId": command.reservation_id}


def _send_local_list(command: c.SendLocalList) -> EncodedCall:
    payload: dict[str, Any] = {
        "versionNumber": command.list_version,
        "updateType": "Full" if command.full else "Differential",
    }
    if command.entries:
        payload["localAuthorizationList"] = [_local_list_entry(entry) for entry in command.entries]
    return "SendLocalList", payload


def _local_list_entry(entry: c.LocalListEntry) -> dict[str, Any]:
    token = {"idToken": _token(entry.id_token, entry.id_token_type)}
    if entry.status is None:
        return token
    info = _with(
        {"status": entry.status},
        cacheExpiryDateTime=_time(entry.expires_at),
        groupIdToken=_group(entry.group_id),
    )
    return {**token, "idTokenInfo": info}


def _get_log(command: c.GetLog) -> EncodedCall:
    log = _with(
        {"remoteLocation": command.location},
        oldestTimestamp=_time(command.oldest),
        latestTimestamp=_time(command.latest),
    )
    kind = "DiagnosticsLog" if command.log == "diagnostics" else "SecurityLog"
    return "GetLog", {"log": log, "logType": kind, "requestId": command.request_id}


def _get_variables(command: c.GetVariables) -> EncodedCall:
    return "GetVariables", {"getVariableData": [_place(variable) for variable in command.variables]}


def _set_variables(command: c.SetVariables) -> EncodedCall:
    items = [{**_place(value), "attributeValue": value.value} for value in command.values]
    return "SetVariables", {"setVariableData": items}


def _place(variable: c.Variable | c.VariableValue) -> dict[str, Any]:
    component, named = parse_name(named_in(Version.V201, variable.name))
    component = _with(component, evse=_evse(variable.evse_id, variable.connector_id))
    return {"component": component, "variable": named}


def _get_base_report(command: c.GetBaseReport) -> EncodedCall:
    return "GetBaseReport", {"requestId": command.request_id, "reportBase": _BASES[command.kind]}


def _install_certificate(command: c.InstallCertificate) -> EncodedCall:
    return "InstallCertificate", {
        "certificateType": _USES[command.use],
        "certificate": command.certificate,
    }


def _delete_certificate(command: c.DeleteCertificate) -> EncodedCall:
    return "DeleteCertificate", {"certificateHashData": hash_data(command)}


def _get_installed(command: c.GetInstalledCertificateIds) -> EncodedCall:
    types = None if command.use is None else [_USES[command.use]]
    return "GetInstalledCertificateIds", _with({}, certificateType=types)


def _certificate_signed(command: c.CertificateSigned) -> EncodedCall:
    if command.use == "v2g20":
        raise ValueError("OCPP 2.0.1 signs no certificates of ISO 15118-20")
    return _signed(command)


def _certificate_signed_21(command: c.CertificateSigned) -> EncodedCall:
    action, payload = _signed(command)
    return action, _with(payload, requestId=command.request_id)


def _signed(command: c.CertificateSigned) -> EncodedCall:
    use = SIGNED_USES[command.use]
    return "CertificateSigned", {"certificateChain": command.certificate_chain, "certificateType": use}


def _data_transfer(command: c.DataTransfer) -> EncodedCall:
    payload = {"vendorId": command.vendor_id}
    return "DataTransfer", _with(payload, messageId=command.message_id, data=command.data)


def _cost_updated(command: c.CostUpdated) -> EncodedCall:
    total = command.total_minor / 10**command.minor_digits
    return "CostUpdated", {"transactionId": command.transaction_id, "totalCost": total}


def _set_display_message(command: c.SetDisplayMessage) -> EncodedCall:
    message = _with(
        {
            "id": command.message_id,
            "priority": command.priority,
            "message": _with({"format": command.format, "content": command.text}, language=command.language),
        },
        state=command.state,
        transactionId=command.transaction_id,
        startDateTime=_time(command.starts_at),
        endDateTime=_time(command.ends_at),
    )
    return "SetDisplayMessage", {"message": message}


def _customer_information(command: c.CustomerInformation) -> EncodedCall:
    payload = {"requestId": command.request_id, "report": command.report, "clear": command.clear}
    token = None if command.id_token is None else _token(command.id_token, command.id_token_type)
    return "CustomerInformation", _with(payload, idToken=token, customerIdentifier=command.customer_id)


def _token(id_token: str, kind: str) -> dict[str, str]:
    return {"idToken": id_token, "type": kind}


def _group(group_id: str | None) -> dict[str, str] | None:
    return None if group_id is None else _token(group_id, "Central")


def _evse(evse_id: int | None, connector_id: int | None) -> dict[str, int] | None:
    if not evse_id:
        if connector_id is not None:
            raise ValueError("a connector is one of an EVSE's")
        return None
    return _with({"id": evse_id}, connectorId=connector_id)


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
    c.GetTransactionStatus: _get_transaction_status,
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
    c.CostUpdated: _cost_updated,
    c.SetDisplayMessage: _set_display_message,
    c.CustomerInformation: _customer_information,
}
ENCODERS_21: Final[Mapping[type, Callable[[Any], EncodedCall]]] = {
    **ENCODERS,
    c.CertificateSigned: _certificate_signed_21,
}
