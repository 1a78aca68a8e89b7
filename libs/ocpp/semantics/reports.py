"""What charger messages mean beside status, transactions and meter values (`libs.ocpp.semantics.model`).

Times are microseconds since the Unix epoch (UTC). Currents are mA, voltages mV, powers mW, energies Wh; amounts of
money are thousandths of the currency's unit; other numbers thousandths of what the message gives. ``evse_id`` 0
is the station itself. ``last``: no more parts of the same report follow.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from libs.ocpp.semantics.reports_v21 import Report21


class FaultReported(msgspec.Struct, frozen=True, tag=True):
    """Something is wrong with a connector, an EVSE or the station, or (``cleared``) no longer is.

    ``code``: 1.6 errorCode, 2.x ``Component.Variable``. 1.6 never says what was cleared: its next status without an
    error means that all is well. ``vendor_code``: the maker's own (1.6 vendorErrorCode, 2.x techCode).
    """

    evse_id: int
    connector_id: int
    code: str
    cleared: bool
    at: int
    vendor_code: str | None = None
    info: str | None = None
    severity: int | None = None
    quirks: tuple[str, ...] = ()


class VariableSeen(msgspec.Struct, frozen=True):
    """A configuration key (1.6) or ``Component.Variable[instance]`` (2.x) and its present value."""

    name: str
    value: str
    evse_id: int | None = None
    connector_id: int | None = None


class VariablesReported(msgspec.Struct, frozen=True, tag=True):
    """Configuration or device model: values that were asked for, reported, or accepted when they were set."""

    variables: tuple[VariableSeen, ...]
    request_id: int | None
    last: bool
    at: int
    quirks: tuple[str, ...] = ()


class VariableObserved(msgspec.Struct, frozen=True, tag=True):
    """A monitored variable of 2.x has a value that is worth telling, and is no fault or connector status."""

    variable: VariableSeen
    trigger: str
    cleared: bool
    monitor_id: int | None
    severity: int | None
    at: int
    quirks: tuple[str, ...] = ()


class ActionUnsupported(msgspec.Struct, frozen=True, tag=True):
    """The charger cannot do what we asked: ``NotImplemented``, ``NotSupported``, of the action or one argument."""

    action: str
    argument: str | None
    at: int


class ActionAnswered(msgspec.Struct, frozen=True, tag=True):
    """The charger knows an action (with that argument), whatever it answered."""

    action: str
    argument: str | None
    at: int


class CertificateHash(msgspec.Struct, frozen=True):
    """How OCPP names a certificate: hashes of its issuer and its serial number, all hex."""

    algorithm: str
    issuer_name_hash: str
    issuer_key_hash: str
    serial_number: str


class CertificateSigningAsked(msgspec.Struct, frozen=True, tag=True):
    """The charger wants ``csr`` (PEM) signed; ``use`` in the words of `CertificateSigned`, ``v2g20`` in 2.1."""

    csr: str
    use: Literal["station", "v2g", "v2g20"]
    request_id: int | None
    at: int


class CertificateStatusAsked(msgspec.Struct, frozen=True, tag=True):
    """The charger wants to know whether a certificate still holds; ``urls``: of OCSP responders or CRLs."""

    certificate: CertificateHash
    source: Literal["OCSP", "CRL"]
    urls: tuple[str, ...]
    at: int


class ContractCertificateAsked(msgspec.Struct, frozen=True, tag=True):
    """A vehicle wants its contract certificate; ``request`` is its EXI message in base64."""

    action: str
    schema_version: str
    request: str
    at: int


class InstalledCertificate(msgspec.Struct, frozen=True):
    """A certificate in the charger; ``use`` as its version names it, empty if it does not (1.6)."""

    use: str
    certificate: CertificateHash
    children: tuple[CertificateHash, ...] = ()


class InstalledCertificatesReported(msgspec.Struct, frozen=True, tag=True):
    """All certificates of the kinds that were asked for."""

    certificates: tuple[InstalledCertificate, ...]
    at: int


class FirmwarePublishReported(msgspec.Struct, frozen=True, tag=True):
    """Progress of firmware that a local controller publishes; ``locations`` once it has."""

    status: str
    locations: tuple[str, ...]
    request_id: int | None
    at: int


class LogStatusReported(msgspec.Struct, frozen=True, tag=True):
    """Progress of a log upload, in the words of LogStatusNotification (1.6 diagnostics translated)."""

    status: str
    request_id: int | None
    at: int


class ChargingNeedsReported(msgspec.Struct, frozen=True, tag=True):
    """What a vehicle needs (ISO 15118). ``transfer`` as the version names it; ``max_tuples`` that its schedule takes.

    ``energy_wh``: until departure. ``soc_percent``, ``capacity_wh``: of its battery.
    """

    evse_id: int
    transfer: str
    departure_at: int | None
    at: int
    energy_wh: int | None = None
    min_current_ma: int | None = None
    max_current_ma: int | None = None
    max_voltage_mv: int | None = None
    max_power_mw: int | None = None
    soc_percent: int | None = None
    capacity_wh: int | None = None
    max_tuples: int | None = None
    quirks: tuple[str, ...] = ()


class SchedulePeriod(msgspec.Struct, frozen=True):
    """From ``start_s`` seconds after the schedule's start: at most ``limit_milli`` (mA or mW, see the schedule)."""

    start_s: int
    limit_milli: int | None
    phases: int | None = None


class Schedule(msgspec.Struct, frozen=True):
    """A charging schedule; ``unit`` is A or W; without ``starts_at`` it starts when its profile does."""

    unit: str
    periods: tuple[SchedulePeriod, ...]
    starts_at: int | None = None
    duration_s: int | None = None


class VehicleScheduleReported(msgspec.Struct, frozen=True, tag=True):
    """How a vehicle means to charge."""

    evse_id: int
    schedule: Schedule
    at: int


class ExternalLimitReported(msgspec.Struct, frozen=True, tag=True):
    """Something else than we limits the charger: ``source`` EMS, SO, CSO, Other, or another word."""

    evse_id: int
    source: str
    grid_critical: bool
    schedules: tuple[Schedule, ...]
    at: int


class ExternalLimitCleared(msgspec.Struct, frozen=True, tag=True):
    """A limit of such a source is gone."""

    evse_id: int
    source: str
    at: int


class Profile(msgspec.Struct, frozen=True):
    """A charging profile in the charger."""

    profile_id: int
    purpose: str
    stack_level: int
    kind: str
    transaction_id: str | None
    schedules: tuple[Schedule, ...]


class ProfilesReported(msgspec.Struct, frozen=True, tag=True):
    """Charging profiles that an EVSE holds of one source."""

    evse_id: int
    source: str
    profiles: tuple[Profile, ...]
    request_id: int
    last: bool
    at: int


class ReservationEnded(msgspec.Struct, frozen=True, tag=True):
    """A reservation is over without having been used: Expired, Removed, NoTransaction (2.1)."""

    reservation_id: int
    status: str
    at: int


class DisplayMessage(msgspec.Struct, frozen=True):
    """A text that the charger shows."""

    message_id: int
    priority: str
    text: str
    format: str
    state: str | None = None
    transaction_id: str | None = None
    starts_at: int | None = None
    ends_at: int | None = None


class DisplayMessagesReported(msgspec.Struct, frozen=True, tag=True):
    """Texts that the charger holds."""

    messages: tuple[DisplayMessage, ...]
    request_id: int
    last: bool
    at: int


class CustomerInformationReported(msgspec.Struct, frozen=True, tag=True):
    """A part of what the charger keeps about a customer; the parts in order of ``seq_no`` make up its text."""

    request_id: int
    seq_no: int
    text: str
    last: bool
    at: int


class SecurityEventReported(msgspec.Struct, frozen=True, tag=True):
    """Something happened that bears on security; ``kind`` is of OCPP's list or the maker's own."""

    kind: str
    info: str | None
    at: int
    quirks: tuple[str, ...] = ()


class Monitor(msgspec.Struct, frozen=True):
    """A rule by which the charger watches a variable; ``value_milli``: threshold, change, or seconds."""

    monitor_id: int
    name: str
    kind: str
    value_milli: int
    severity: int
    evse_id: int | None = None
    connector_id: int | None = None


class MonitorsReported(msgspec.Struct, frozen=True, tag=True):
    """The monitors that were asked for."""

    monitors: tuple[Monitor, ...]
    request_id: int
    last: bool
    at: int


class VendorDataReceived(msgspec.Struct, frozen=True, tag=True):
    """A DataTransfer; ``data`` that is no text (2.x) is JSON text."""

    vendor_id: str
    message_id: str | None
    data: str | None
    at: int


Report = (
    Report21
    | FaultReported
    | VariablesReported
    | VariableObserved
    | ActionUnsupported
    | ActionAnswered
    | CertificateSigningAsked
    | CertificateStatusAsked
    | ContractCertificateAsked
    | InstalledCertificatesReported
    | FirmwarePublishReported
    | LogStatusReported
    | ChargingNeedsReported
    | VehicleScheduleReported
    | ExternalLimitReported
    | ExternalLimitCleared
    | ProfilesReported
    | ReservationEnded
    | DisplayMessagesReported
    | CustomerInformationReported
    | SecurityEventReported
    | MonitorsReported
    | VendorDataReceived
)
