"""Names of configuration: keys of OCPP 1.6, and components' variables of 2.x, written ``Component.Variable[x]``.

``x`` is the variable's instance. A component's own instance stands in the same way: ``Component[x].Variable``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from libs.ocpp.versions import Version

_NAME: Final = re.compile(r"([^.\[\]]+)(?:\[([^\[\]]*)\])?\.([^.\[\]]+)(?:\[([^\[\]]*)\])?")

EQUIVALENTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "AllowOfflineTxForUnknownId": "AuthCtrlr.OfflineTxForUnknownIdEnabled",
        "AuthorizationCacheEnabled": "AuthCacheCtrlr.Enabled",
        "AuthorizationKey": "SecurityCtrlr.BasicAuthPassword",
        "AuthorizeRemoteTxRequests": "AuthCtrlr.AuthorizeRemoteStart",
        "CertificateSignedMaxChainSize": "SecurityCtrlr.MaxCertificateChainSize",
        "CertificateStoreMaxLength": "SecurityCtrlr.CertificateEntries",
        "ChargeProfileMaxStackLevel": "SmartChargingCtrlr.ProfileStackLevel",
        "ChargingScheduleAllowedChargingRateUnit": "SmartChargingCtrlr.RateUnit",
        "ChargingScheduleMaxPeriods": "SmartChargingCtrlr.PeriodsPerSchedule",
        "ClockAlignedDataInterval": "AlignedDataCtrlr.Interval",
        "ConnectionTimeOut": "TxCtrlr.EVConnectionTimeOut",
        "ConnectorSwitch3to1PhaseSupported": "SmartChargingCtrlr.Phases3to1",
        "CpoName": "SecurityCtrlr.OrganizationName",
        "GetConfigurationMaxKeys": "DeviceDataCtrlr.ItemsPerMessage[GetVariables]",
        "HeartbeatInterval": "OCPPCommCtrlr.HeartbeatInterval",
        "LocalAuthListEnabled": "LocalAuthListCtrlr.Enabled",
        "LocalAuthListMaxLength": "LocalAuthListCtrlr.Entries",
        "LocalAuthorizeOffline": "AuthCtrlr.LocalAuthorizeOffline",
        "LocalPreAuthorize": "AuthCtrlr.LocalPreAuthorize",
        "MaxChargingProfilesInstalled": "SmartChargingCtrlr.Entries[ChargingProfiles]",
        "MaxEnergyOnInvalidId": "TxCtrlr.MaxEnergyOnInvalidId",
        "MeterValueSampleInterval": "SampledDataCtrlr.TxUpdatedInterval",
        "MeterValuesAlignedData": "AlignedDataCtrlr.Measurands",
        "MeterValuesSampledData": "SampledDataCtrlr.TxUpdatedMeasurands",
        "ReserveConnectorZeroSupported": "ReservationCtrlr.NonEvseSpecific",
        "ResetRetries": "OCPPCommCtrlr.ResetRetries",
        "SecurityProfile": "SecurityCtrlr.SecurityProfile",
        "SendLocalListMaxLength": "LocalAuthListCtrlr.ItemsPerMessage",
        "StopTransactionOnEVSideDisconnect": "TxCtrlr.StopTxOnEVSideDisconnect",
        "StopTransactionOnInvalidId": "TxCtrlr.StopTxOnInvalidId",
        "StopTxnAlignedData": "AlignedDataCtrlr.TxEndedMeasurands",
        "StopTxnSampledData": "SampledDataCtrlr.TxEndedMeasurands",
        "SupportedFileTransferProtocols": "OCPPCommCtrlr.FileTransferProtocols",
        "TransactionMessageAttempts": "OCPPCommCtrlr.MessageAttempts[TransactionEvent]",
        "TransactionMessageRetryInterval": "OCPPCommCtrlr.MessageAttemptInterval[TransactionEvent]",
        "UnlockConnectorOnEVSideDisconnect": "OCPPCommCtrlr.UnlockOnEVSideDisconnect",
        "WebSocketPingInterval": "OCPPCommCtrlr.WebSocketPingInterval",
    }
)
"""Keys of 1.6 and the variables of 2.x that mean the same (2.0.1 part 2, "Referenced Components and Variables")."""

_KEYS: Final = {variable: key for key, variable in EQUIVALENTS.items()}

LIMITING_KEYS: Final = (
    "GetConfigurationMaxKeys",
    "CertificateSignedMaxChainSize",
    "CertificateStoreMaxLength",
    "ChargeProfileMaxStackLevel",
    "ChargingScheduleAllowedChargingRateUnit",
    "ChargingScheduleMaxPeriods",
    "ConnectorPhaseRotation",
    "ConnectorSwitch3to1PhaseSupported",
    "LocalAuthListEnabled",
    "LocalAuthListMaxLength",
    "MaxChargingProfilesInstalled",
    "NumberOfConnectors",
    "ReserveConnectorZeroSupported",
    "SecurityProfile",
    "SendLocalListMaxLength",
    "SupportedFeatureProfiles",
    "SupportedFileTransferProtocols",
)
"""Keys of OCPP 1.6 that limit what a charger can be asked, first what limits this question."""

LIMITING_VARIABLES: Final = (
    "DeviceDataCtrlr.ItemsPerMessage[GetVariables]",
    "DeviceDataCtrlr.BytesPerMessage[GetVariables]",
    "DeviceDataCtrlr.ItemsPerMessage[SetVariables]",
    "DeviceDataCtrlr.ItemsPerMessage[GetReport]",
    "DeviceDataCtrlr.BytesPerMessage[SetVariables]",
    "DeviceDataCtrlr.BytesPerMessage[GetReport]",
    "LocalAuthListCtrlr.Enabled",
    "LocalAuthListCtrlr.Entries",
    "LocalAuthListCtrlr.ItemsPerMessage",
    "LocalAuthListCtrlr.BytesPerMessage",
    "ReservationCtrlr.Enabled",
    "ReservationCtrlr.NonEvseSpecific",
    "SmartChargingCtrlr.Enabled",
    "SmartChargingCtrlr.Entries[ChargingProfiles]",
    "SmartChargingCtrlr.PeriodsPerSchedule",
    "SmartChargingCtrlr.Phases3to1",
    "SmartChargingCtrlr.ProfileStackLevel",
    "SmartChargingCtrlr.RateUnit",
    "MonitoringCtrlr.Enabled",
    "MonitoringCtrlr.ItemsPerMessage[SetVariableMonitoring]",
    "MonitoringCtrlr.BytesPerMessage[SetVariableMonitoring]",
    "MonitoringCtrlr.ItemsPerMessage[ClearVariableMonitoring]",
    "MonitoringCtrlr.BytesPerMessage[ClearVariableMonitoring]",
    "DisplayMessageCtrlr.DisplayMessages",
    "DisplayMessageCtrlr.SupportedFormats",
    "DisplayMessageCtrlr.SupportedPriorities",
    "TariffCostCtrlr.Enabled[Tariff]",
    "TariffCostCtrlr.Enabled[Cost]",
    "SecurityCtrlr.SecurityProfile",
    "SecurityCtrlr.CertificateEntries",
    "SecurityCtrlr.MaxCertificateChainSize",
    "OCPPCommCtrlr.FileTransferProtocols",
    "ChargingStation.PhaseRotation",
)
"""Variables of 2.x that limit what a charger can be asked, first what limits this question.

Besides these every ``<Component>.Available``.
"""

_LIMITING_2: Final = frozenset(name.casefold() for name in LIMITING_VARIABLES)
_LIMITING_16: Final = frozenset(name.casefold() for name in LIMITING_KEYS)
AVAILABLE: Final = ".Available"


def limits(version: Version, name: str) -> bool:
    """Whether a key or variable limits what a charger of ``version`` can be asked. Upper and lower case are alike."""
    if not version.is_v2:
        return name.casefold() in _LIMITING_16
    return name.casefold() in _LIMITING_2 or name.casefold().endswith(AVAILABLE.casefold())


def named_in(version: Version, name: str) -> str:
    """The name by which ``version`` knows what ``name`` (of either kind) means; ``name`` itself if it has none."""
    return EQUIVALENTS.get(name, name) if version.is_v2 else _KEYS.get(name, name)


def parse_name(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Component and variable, as 2.x messages hold them, of ``Component.Variable``. Raises ValueError for another."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError(f"{name!r} is not written Component.Variable[instance]")
    component: dict[str, Any] = {"name": found[1]}
    variable: dict[str, Any] = {"name": found[3]}
    if found[2]:
        component["instance"] = found[2]
    if found[4]:
        variable["instance"] = found[4]
    return component, variable


def format_name(component: Mapping[str, Any], variable: Mapping[str, Any]) -> str:
    """``Component.Variable`` of what a 2.x message holds."""
    return f"{_with_instance(component)}.{_with_instance(variable)}"


def _with_instance(part: Mapping[str, Any]) -> str:
    instance = part.get("instance")
    return f"{part['name']}[{instance}]" if instance else str(part["name"])
