"""What a command to a charger needs: OCPP's actions of every version, and the platform's version-free commands."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from libs.access.roles import Permission
from libs.ocpp.secrets import is_secret_name

_ASKED: Final = """
    ExtendedTriggerMessage GetBaseReport GetChargingProfiles GetCompositeSchedule GetConfiguration GetDERControl
    GetDiagnostics GetDisplayMessages GetInstalledCertificateIds GetLocalListVersion GetLog GetMonitoringReport
    GetPeriodicEventStream GetReport GetTariffs GetTransactionStatus GetVariables TriggerMessage
"""
# A reservation takes a connector as a remote start does: for one driver, who asks for help.
_FOR_ONE_DRIVER: Final = """
    CancelReservation ClearDisplayMessage CostUpdated NotifyAllowedEnergyTransfer NotifyWebPaymentStarted RemoteStart
    RemoteStartTransaction RemoteStop RemoteStopTransaction RequestBatterySwap RequestStartTransaction
    RequestStopTransaction ReserveNow SetDisplayMessage UnlockConnector UsePriorityCharging
"""
_NOTICED_BY_OTHERS: Final = """
    AFRRSignal AdjustPeriodicEventStream ChangeAvailability ChangeConfiguration ChangeTransactionTariff ClearCache
    ClearChargingProfile ClearDERControl ClearLimit ClearTariffs ClearVariableMonitoring CustomerInformation Reset
    SendLocalList SetChargingProfile SetDERControl SetDefaultLimit SetDefaultTariff SetLimit SetMonitoringBase
    SetMonitoringLevel SetVariableMonitoring SetVariables UpdateDynamicSchedule
"""
# DataTransfer: what a maker's own message does nobody can tell, and some change passwords or firmware.
# SetNetworkProfile: where the charger connects, and with which password.
_OF_SECURITY: Final = """
    CertificateSigned DataTransfer DeleteCertificate InstallCertificate PublishFirmware SetNetworkProfile
    SignedUpdateFirmware UnpublishFirmware UpdateFirmware
"""

COMMAND_CLASSES: Final[Mapping[str, Permission]] = MappingProxyType(
    {
        action: permission
        for permission, actions in (
            (Permission.COMMAND_READ, _ASKED),
            (Permission.COMMAND_SESSION, _FOR_ONE_DRIVER),
            (Permission.COMMAND_DISRUPTIVE, _NOTICED_BY_OTHERS),
            (Permission.COMMAND_SECURITY, _OF_SECURITY),
        )
        for action in actions.split()
    }
)
"""What each command needs at least; with some payloads `permission_of` asks for more or less."""

COMMAND_PERMISSIONS: Final = (
    Permission.COMMAND_READ,
    Permission.COMMAND_SESSION,
    Permission.COMMAND_DISRUPTIVE,
    Permission.COMMAND_SECURITY,
)
"""What a command to one charger can need."""

# OCPP's own names and what makers call theirs: who the charger is, whom it trusts, and where it connects.
_SECURITY: Final = re.compile(
    r"secur|certif|firmware|identity|seccid|cponame|organi[sz]ation|networkconfig|networkprofile|csms|backend"
    r"|central.?system|(?:server|ocpp|websocket|connection).?(?:url|uri|host|address|endpoint)|tls|root.?ca",
    re.IGNORECASE,
)


def permission_of(action: str, payload: Mapping[str, Any]) -> Permission:
    """What a command needs, of OCPP or version-free; COMMAND_SECURITY for one that is not known.

    A payload of another form than OCPP's is not refused here, but asks for COMMAND_SECURITY where the form matters.
    """
    match action, payload:
        case "ChangeConfiguration", _ if _is_of_security(payload.get("key")):
            return Permission.COMMAND_SECURITY
        case "SetVariables", _ if any(map(_is_of_security, _variables(payload))):
            return Permission.COMMAND_SECURITY
        # A new key pair, and the request for its certificate.
        case (("TriggerMessage" | "ExtendedTriggerMessage"), _) if "sign" in _asked_for(payload):
            return Permission.COMMAND_SECURITY
        case "CustomerInformation", {"clear": False}:
            return Permission.COMMAND_READ
    return COMMAND_CLASSES.get(action, Permission.COMMAND_SECURITY)


def _is_of_security(name: Any) -> bool:
    return not isinstance(name, str) or is_secret_name(name) or _SECURITY.search(name) is not None


def _variables(payload: Mapping[str, Any]) -> list[Any]:
    """The names of the variables that are set, `Component.Variable`; None for one that cannot be told.

    Those of OCPP's form and of the version-free one: whoever reads only one of them passes over the other.
    """
    found: list[Any] = []
    for field in ("setVariableData", "values"):
        items = payload.get(field, ())
        found += (
            (name for item in items for name in _named(item)) if isinstance(items, list | tuple) else [None]
        )
    return found or [None]


def _named(item: Any) -> list[str | None]:
    """Every name that a variable is given."""
    found: list[str | None] = []
    match item:
        case {"component": {"name": str(component)}, "variable": {"name": str(name)}}:
            found.append(f"{component}.{name}")
        case {"component": _} | {"variable": _}:
            found.append(None)
    if isinstance(item, Mapping) and "name" in item:
        name = item["name"]
        found.append(name if isinstance(name, str) else None)
    return found or [None]


def _asked_for(payload: Mapping[str, Any]) -> str:
    """Every message that is asked for, in either form."""
    asked = (payload.get(field) for field in ("requestedMessage", "message"))
    return " ".join(each.casefold() for each in asked if isinstance(each, str))
