"""What the platform may want of a charger, version-free. `libs.ocpp.semantics.encoding` puts it in a version's words.

`evse_id` 0 is the station itself. In OCPP 1.6, which has no EVSEs, an EVSE's number is its connector's. Times are
microseconds since the Unix epoch (UTC).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

MOST_VARIABLES = 50
"""How many variables one command may be about."""


class SetLimit(msgspec.Struct, frozen=True, tag=True):
    """Limit an EVSE's current (0: the station's), for one transaction or for all.

    ``limit_milliamp`` is rounded down to the 0.1 A of OCPP. ``starts_at`` (microseconds) is where the limit
    begins, by default at once; ``valid_seconds`` needs it, because the charger must know when it ends.
    """

    evse_id: int
    transaction_id: str | None
    limit_milliamp: int
    profile_id: int
    stack_level: int
    valid_seconds: int | None = None
    phases: int | None = None
    starts_at: int | None = None


class SetDefaultLimit(msgspec.Struct, frozen=True, tag=True):
    """Limit the current of each transaction that has no limit of its own, on one EVSE (0: on every EVSE alike).

    A ``SetLimit`` for the transaction takes its place, be it higher or lower (1.6 §3.13.1, 2.x K01).
    ``limit_milliamp`` is rounded down to the 0.1 A of OCPP. ``starts_at`` (microseconds) is where the limit begins, by
    default at once. ``ClearLimit`` removes it by ``profile_id``.
    """

    evse_id: int
    limit_milliamp: int
    profile_id: int
    stack_level: int
    phases: int | None = None
    starts_at: int | None = None


class ClearLimit(msgspec.Struct, frozen=True, tag=True):
    """Remove the limit with ``profile_id``, or every limit of an EVSE, or (neither given) all of them."""

    evse_id: int | None = None
    profile_id: int | None = None


class GetCompositeSchedule(msgspec.Struct, frozen=True, tag=True):
    """Tell what limits are in force on an EVSE (0: the station) from now on, for ``duration_s`` seconds."""

    evse_id: int
    duration_s: int
    unit: Literal["A", "W"] | None = None


class RemoteStart(msgspec.Struct, frozen=True, tag=True):
    """Start a transaction; without ``evse_id`` the charger chooses. 1.6 has no ``remote_start_id``."""

    evse_id: int | None
    id_token: str
    remote_start_id: int
    id_token_type: str = "Central"  # noqa: S105  (a kind of token, not a secret)


class RemoteStop(msgspec.Struct, frozen=True, tag=True):
    """Stop a transaction."""

    transaction_id: str


class GetTransactionStatus(msgspec.Struct, frozen=True, tag=True):
    """Tell whether a transaction goes on and whether messages of it (of any: None) are queued. Not in 1.6."""

    transaction_id: str | None = None


class UpdateFirmware(msgspec.Struct, frozen=True, tag=True):
    """Fetch firmware from ``location`` (a URL) at ``retrieve_at`` (microseconds) and install it.

    With ``signing_certificate`` (PEM) and ``signature`` (base64) the charger proves it before; 1.6 does with its
    security extension. 1.6 has no ``request_id`` without.
    """

    location: str
    retrieve_at: int
    request_id: int
    install_at: int | None = None
    signing_certificate: str | None = None
    signature: str | None = None


class Reset(msgspec.Struct, frozen=True, tag=True):
    """Restart: ``soft`` lets transactions end first (2.x OnIdle), ``hard`` does not (2.x Immediate).

    ``evse_id``: only that one; not in 1.6.
    """

    kind: Literal["soft", "hard"]
    evse_id: int | None = None


class UnlockConnector(msgspec.Struct, frozen=True, tag=True):
    """Release the plug of a connector of an EVSE; in 1.6 ``evse_id`` says which."""

    evse_id: int
    connector_id: int = 1


class ChangeAvailability(msgspec.Struct, frozen=True, tag=True):
    """Take the station, an EVSE or one of its connectors into or out of service, once idle.

    ``connector_id`` needs an EVSE; 1.6 has none below that.
    """

    operative: bool
    evse_id: int = 0
    connector_id: int | None = None


class TriggerMessage(msgspec.Struct, frozen=True, tag=True):
    """Send a message now; about one EVSE or connector where ``evse_id`` is given.

    ``transaction``, ``publish_firmware_status``, ``sign_v2g_certificate`` and ``sign_combined_certificate`` are not
    in 1.6; ``log_status`` and ``sign_certificate`` take its security extension.
    """

    message: Literal[
        "boot",
        "heartbeat",
        "status",
        "meter_values",
        "firmware_status",
        "log_status",
        "sign_certificate",
        "transaction",
        "publish_firmware_status",
        "sign_v2g_certificate",
        "sign_combined_certificate",
    ]
    evse_id: int | None = None
    connector_id: int | None = None


class ReserveNow(msgspec.Struct, frozen=True, tag=True):
    """Keep an EVSE (0: any one) for a token, or for its group, until ``expires_at``."""

    reservation_id: int
    evse_id: int
    id_token: str
    expires_at: int
    id_token_type: str = "Central"  # noqa: S105  (a kind of token, not a secret)
    group_id: str | None = None


class CancelReservation(msgspec.Struct, frozen=True, tag=True):
    """Give up a reservation."""

    reservation_id: int


class LocalListEntry(msgspec.Struct, frozen=True):
    """A token of the local list; without ``status`` a partial update removes it."""

    id_token: str
    status: Literal["Accepted", "Blocked", "Expired", "Invalid", "ConcurrentTx"] | None = "Accepted"
    id_token_type: str = "ISO14443"  # noqa: S105  (a kind of token, not a secret)
    expires_at: int | None = None
    group_id: str | None = None


class SendLocalList(msgspec.Struct, frozen=True, tag=True):
    """Replace (``full``) or update the charger's list of tokens, which then has ``list_version``."""

    list_version: int
    full: bool
    entries: tuple[LocalListEntry, ...] = ()


class GetLocalListVersion(msgspec.Struct, frozen=True, tag=True):
    """Tell the version of the local list; 0: none, -1 (1.6): not supported."""


class ClearCache(msgspec.Struct, frozen=True, tag=True):
    """Forget tokens that were authorised before."""


LogKind = Literal["diagnostics", "security"]


class GetLog(msgspec.Struct, frozen=True, tag=True):
    """Upload a log to ``location`` (a URL), of the time from ``oldest`` to ``latest`` if given."""

    log: LogKind
    location: str
    request_id: int
    oldest: int | None = None
    latest: int | None = None


class Variable(msgspec.Struct, frozen=True):
    """A configuration key (1.6) or ``Component.Variable[instance]`` (2.x); well-known ones by either name.

    Of the whole station unless an EVSE is given, which 1.6 cannot express.
    """

    name: str
    evse_id: int | None = None
    connector_id: int | None = None


class VariableValue(msgspec.Struct, frozen=True):
    """A variable (see `Variable`) and what it is or shall be."""

    name: str
    value: str
    evse_id: int | None = None
    connector_id: int | None = None


class GetVariables(msgspec.Struct, frozen=True, tag=True):
    """Tell the values of variables. What does not fit into one message goes as several."""

    variables: Annotated[tuple[Variable, ...], msgspec.Meta(min_length=1, max_length=MOST_VARIABLES)]


class SetVariables(msgspec.Struct, frozen=True, tag=True):
    """Change variables. What does not fit into one message (1.6: more than one) goes as several."""

    values: Annotated[tuple[VariableValue, ...], msgspec.Meta(min_length=1, max_length=MOST_VARIABLES)]


class GetBaseReport(msgspec.Struct, frozen=True, tag=True):
    """Report what there is: what can be configured, everything, or a summary. 1.6 tells its whole configuration."""

    request_id: int
    kind: Literal["configuration", "full", "summary"] = "configuration"


CertificateUse = Literal["csms_root", "manufacturer_root", "v2g_root", "contract_root"]


class InstallCertificate(msgspec.Struct, frozen=True, tag=True):
    """Trust a root certificate (PEM). 1.6 knows those of central systems and manufacturers."""

    use: CertificateUse
    certificate: str


class DeleteCertificate(msgspec.Struct, frozen=True, tag=True):
    """Forget the installed certificate with these hashes (hex) and serial number (hex)."""

    hash_algorithm: Literal["SHA256", "SHA384", "SHA512"]
    issuer_name_hash: str
    issuer_key_hash: str
    serial_number: str


class GetInstalledCertificateIds(msgspec.Struct, frozen=True, tag=True):
    """Tell which root certificates are installed; without ``use`` all (1.6: those of central systems)."""

    use: CertificateUse | None = None


class CertificateSigned(msgspec.Struct, frozen=True, tag=True):
    """Use the certificate (PEM, its issuers after it) that answers a SignCertificate; ``v2g`` is not in 1.6.

    ``v2g20`` and ``request_id``, that of the SignCertificate, are in 2.1 only.
    """

    certificate_chain: str
    use: Literal["station", "v2g", "v2g20"] = "station"
    request_id: int | None = None


class DataTransfer(msgspec.Struct, frozen=True, tag=True):
    """Something that only a vendor's chargers know."""

    vendor_id: str
    message_id: str | None = None
    data: str | None = None


class CostUpdated(msgspec.Struct, frozen=True, tag=True):
    """Show the driver what a transaction has cost, in minor units, ``minor_digits`` to a unit. Not in 1.6."""

    transaction_id: str
    total_minor: int
    minor_digits: Annotated[int, msgspec.Meta(ge=0, le=4)] = 2


class SetDisplayMessage(msgspec.Struct, frozen=True, tag=True):
    """Show a text; in one state of the station, during one transaction, in a span of time, as far as given.

    Not in 1.6.
    """

    message_id: int
    text: str
    priority: Literal["AlwaysFront", "InFront", "NormalCycle"] = "NormalCycle"
    format: Literal["ASCII", "HTML", "URI", "UTF8"] = "UTF8"
    language: str | None = None
    state: Literal["Charging", "Faulted", "Idle", "Unavailable"] | None = None
    transaction_id: str | None = None
    starts_at: int | None = None
    ends_at: int | None = None


class CustomerInformation(msgspec.Struct, frozen=True, tag=True):
    """Report and/or clear what the charger keeps about a customer: by token, or by ``customer_id``. Not in 1.6."""

    request_id: int
    report: bool
    clear: bool
    id_token: str | None = None
    id_token_type: str = "ISO14443"  # noqa: S105  (a kind of token, not a secret)
    customer_id: str | None = None


Command = (
    SetLimit
    | SetDefaultLimit
    | ClearLimit
    | GetCompositeSchedule
    | RemoteStart
    | RemoteStop
    | GetTransactionStatus
    | UpdateFirmware
    | Reset
    | UnlockConnector
    | ChangeAvailability
    | TriggerMessage
    | ReserveNow
    | CancelReservation
    | SendLocalList
    | GetLocalListVersion
    | ClearCache
    | GetLog
    | GetVariables
    | SetVariables
    | GetBaseReport
    | InstallCertificate
    | DeleteCertificate
    | GetInstalledCertificateIds
    | CertificateSigned
    | DataTransfer
    | CostUpdated
    | SetDisplayMessage
    | CustomerInformation
)
