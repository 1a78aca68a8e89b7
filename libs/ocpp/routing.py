"""The whole of OCPP as one table per version: what each action is and where its exchange goes.

``ROUTES[version][action]`` is the only place that names a direction, a topic or an answer policy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import msgspec

from libs.events.topics import OCPP_COMMANDS, OCPP_LIFECYCLE, OCPP_TRANSACTIONS
from libs.ocpp.versions import Version


class Direction(StrEnum):
    """Who may send the CALL (or SEND)."""

    TO_CSMS = "to_csms"
    TO_STATION = "to_station"
    BOTH = "both"


class Policy(StrEnum):
    """How the central system finds its answer to a station's CALL."""

    BOOT = "boot"
    HEARTBEAT = "heartbeat"
    AUTHORIZE = "authorize"
    START_TRANSACTION = "start_transaction"
    STOP_TRANSACTION = "stop_transaction"
    TRANSACTION_EVENT = "transaction_event"
    METER_VALUES = "meter_values"
    STATUS = "status"
    DATA_TRANSFER = "data_transfer"
    DEFAULT = "default"
    NONE = "none"


_OF_THE_MOMENT: Final = frozenset({Policy.BOOT, Policy.HEARTBEAT, Policy.AUTHORIZE})


class Route(msgspec.Struct, frozen=True):
    """One action of one version.

    ``topic`` takes the exchange when the station sends the CALL; when the central system sends it, the topic
    is always ``ocpp.commands``. ``policy`` is ``NONE`` for what the central system never answers.
    ``before_acceptance``: answered although the station's boot is not accepted yet. ``deferred``: the answer
    may need knowledge that only a processor or a partner has. ``is_send``: a SEND of 2.1, never answered.
    """

    action: str
    direction: Direction
    topic: str
    policy: Policy
    before_acceptance: bool
    deferred: bool
    is_send: bool

    @property
    def to_csms(self) -> bool:
        """Whether a station may send it."""
        return self.direction is not Direction.TO_STATION

    @property
    def to_station(self) -> bool:
        """Whether the central system may send it."""
        return self.direction is not Direction.TO_CSMS

    @property
    def lasting(self) -> bool:
        """Whether the answer to a station's CALL still holds when the CALL is repeated later: it tells no time, and
        not how a token stands."""
        return self.policy not in _OF_THE_MOMENT


_TO_CSMS_16 = """
    Authorize BootNotification DataTransfer DiagnosticsStatusNotification FirmwareStatusNotification
    Heartbeat LogStatusNotification MeterValues SecurityEventNotification SignCertificate
    SignedFirmwareStatusNotification StartTransaction StatusNotification StopTransaction
"""
_TO_STATION_16 = """
    CancelReservation CertificateSigned ChangeAvailability ChangeConfiguration ClearCache
    ClearChargingProfile DataTransfer DeleteCertificate ExtendedTriggerMessage GetCompositeSchedule
    GetConfiguration GetDiagnostics GetInstalledCertificateIds GetLocalListVersion GetLog
    InstallCertificate RemoteStartTransaction RemoteStopTransaction ReserveNow Reset SendLocalList
    SetChargingProfile SignedUpdateFirmware TriggerMessage UnlockConnector UpdateFirmware
"""
_TO_CSMS_201 = """
    Authorize BootNotification ClearedChargingLimit DataTransfer FirmwareStatusNotification
    Get15118EVCertificate GetCertificateStatus Heartbeat LogStatusNotification MeterValues
    NotifyChargingLimit NotifyCustomerInformation NotifyDisplayMessages NotifyEVChargingNeeds
    NotifyEVChargingSchedule NotifyEvent NotifyMonitoringReport NotifyReport
    PublishFirmwareStatusNotification ReportChargingProfiles ReservationStatusUpdate
    SecurityEventNotification SignCertificate StatusNotification TransactionEvent
"""
_TO_STATION_201 = """
    CancelReservation CertificateSigned ChangeAvailability ClearCache ClearChargingProfile
    ClearDisplayMessage ClearVariableMonitoring CostUpdated CustomerInformation DataTransfer
    DeleteCertificate GetBaseReport GetChargingProfiles GetCompositeSchedule GetDisplayMessages
    GetInstalledCertificateIds GetLocalListVersion GetLog GetMonitoringReport GetReport
    GetTransactionStatus GetVariables InstallCertificate PublishFirmware RequestStartTransaction
    RequestStopTransaction ReserveNow Reset SendLocalList SetChargingProfile SetDisplayMessage
    SetMonitoringBase SetMonitoringLevel SetNetworkProfile SetVariableMonitoring SetVariables
    TriggerMessage UnlockConnector UnpublishFirmware UpdateFirmware
"""
_TO_CSMS_21 = (
    _TO_CSMS_201
    + """
    BatterySwap ClosePeriodicEventStream GetCertificateChainStatus NotifyDERAlarm NotifyDERStartStop
    NotifyPeriodicEventStream NotifyPriorityCharging NotifySettlement OpenPeriodicEventStream
    PullDynamicScheduleUpdate ReportDERControl VatNumberValidation
"""
)
_TO_STATION_21 = (
    _TO_STATION_201
    + """
    AFRRSignal AdjustPeriodicEventStream ChangeTransactionTariff ClearDERControl ClearTariffs
    GetDERControl GetPeriodicEventStream GetTariffs NotifyAllowedEnergyTransfer
    NotifyWebPaymentStarted RequestBatterySwap SetDERControl SetDefaultTariff UpdateDynamicSchedule
    UsePriorityCharging
"""
)

_TRANSACTION_ACTIONS = frozenset(
    {"Authorize", "MeterValues", "StartTransaction", "StopTransaction", "TransactionEvent"}
)
_POLICIES = {
    "BootNotification": Policy.BOOT,
    "Heartbeat": Policy.HEARTBEAT,
    "Authorize": Policy.AUTHORIZE,
    "StartTransaction": Policy.START_TRANSACTION,
    "StopTransaction": Policy.STOP_TRANSACTION,
    "TransactionEvent": Policy.TRANSACTION_EVENT,
    "MeterValues": Policy.METER_VALUES,
    "StatusNotification": Policy.STATUS,
    "DataTransfer": Policy.DATA_TRANSFER,
}
_DEFERRED = frozenset(
    {
        "Authorize",
        "TransactionEvent",
        "DataTransfer",
        "SignCertificate",
        "Get15118EVCertificate",
        "GetCertificateStatus",
        "GetCertificateChainStatus",
        "NotifyEVChargingNeeds",
        "PullDynamicScheduleUpdate",
        "VatNumberValidation",
    }
)
_SENDS = frozenset({"NotifyPeriodicEventStream"})


def _route(version: Version, action: str, senders: tuple[bool, bool]) -> Route:
    to_csms, to_station = senders
    direction = Direction.BOTH if to_csms and to_station else Direction.TO_CSMS
    if not to_csms:
        return Route(action, Direction.TO_STATION, OCPP_COMMANDS, Policy.NONE, False, False, False)
    is_send = action in _SENDS
    return Route(
        action=action,
        direction=direction,
        topic=OCPP_TRANSACTIONS if action in _TRANSACTION_ACTIONS else OCPP_LIFECYCLE,
        policy=Policy.NONE if is_send else _POLICIES.get(action, Policy.DEFAULT),
        # 2.0.1 B02, B03: SecurityError for all but BootNotification. 1.6 §4.2 binds only the station, and
        # real ones send a StatusNotification first.
        before_acceptance=version is Version.V16 or action == "BootNotification",
        deferred=action in _DEFERRED,
        is_send=is_send,
    )


def _table(version: Version, to_csms: Iterable[str], to_station: Iterable[str]) -> Mapping[str, Route]:
    up, down = frozenset(to_csms), frozenset(to_station)
    return MappingProxyType(
        {action: _route(version, action, (action in up, action in down)) for action in sorted(up | down)}
    )


ROUTES: Final[Mapping[Version, Mapping[str, Route]]] = MappingProxyType(
    {
        Version.V16: _table(Version.V16, _TO_CSMS_16.split(), _TO_STATION_16.split()),
        Version.V201: _table(Version.V201, _TO_CSMS_201.split(), _TO_STATION_201.split()),
        Version.V21: _table(Version.V21, _TO_CSMS_21.split(), _TO_STATION_21.split()),
    }
)
