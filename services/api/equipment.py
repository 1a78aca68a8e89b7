"""Bodies of what chargers are asked about themselves: variables, device model, local list, logs, certificates."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from services.api.http.fields import Flag, Folded, Input, Moment, Output, Time

_MOST_VARIABLES = 500

Timeout = Annotated[
    float, Field(ge=1, le=300, allow_inf_nan=False, description="How long all of it may take, in seconds.")
]


class CommandSaid(Output):
    """One of the commands that it took, and its fate."""

    command_id: str
    action: str
    status: Literal["PENDING", "ACCEPTED", "REJECTED", "FAILED", "EXPIRED", "UNKNOWN"]
    reason: str
    degraded: str | None = None


# --- variables and device model


class VariableWanted(Input):
    """A variable: a configuration key of 1.6, or `Component.Variable[instance]` of 2.x; well-known ones by either."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=200)] = Field(
        examples=["OCPPCommCtrlr.HeartbeatInterval"]
    )
    evse_id: Annotated[int | None, Field(strict=True, ge=0)] = None
    connector_id: Annotated[int | None, Field(strict=True, ge=0)] = None


class NewValue(VariableWanted):
    """A variable and what it shall be."""

    value: Annotated[str, StringConstraints(max_length=2500)]


def _by_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class VariablesWish(Input):
    """The variables to be read, each as a name alone or as an object."""

    variables: Annotated[
        list[
            Annotated[VariableWanted, BeforeValidator(_by_name, json_schema_input_type=VariableWanted | str)]
        ],
        Field(max_length=_MOST_VARIABLES),
    ] = Field(
        default_factory=list,
        description="None: the whole configuration of a 1.6 charger.",
        examples=[["HeartbeatInterval", {"name": "Connector.AvailabilityState", "evse_id": 1}]],
    )
    timeout_s: Timeout = 60


class VariablesChange(Input):
    """The variables to be changed."""

    variables: Annotated[list[NewValue], Field(min_length=1, max_length=_MOST_VARIABLES)]
    timeout_s: Timeout = 60


class VariableTold(Output):
    """What the charger said of one variable. `status`: its word, null if it said nothing."""

    name: str
    evse_id: int | None
    connector_id: int | None
    status: str | None
    value: str | None
    read_only: bool | None


class Variables(Output):
    """What the charger said, in the order of the request, and the commands that it took."""

    station_id: str
    version: str
    items: list[VariableTold]
    commands: list[CommandSaid]


class DeviceVariable(Output):
    """A variable as it was last told. `component`: empty for the configuration keys of 1.6."""

    component: str
    component_instance: str
    evse_id: int
    connector_id: int
    variable: str
    variable_instance: str
    attribute: str
    value: str | None
    mutability: str
    source: str
    at: Time


class DeviceReport(Output):
    """A report as far as it has come. `complete`: every part is here."""

    request_id: int
    parts: int
    complete: bool
    updated_at: Time


class DeviceModel(Output):
    """What a charger told of its variables, and the reports that told it, the latest first."""

    station_id: str
    reports: list[DeviceReport]
    items: list[DeviceVariable]


# --- local list


class LocalListWish(Input):
    """How the list is to be brought in line."""

    full: Flag = Field(default=False, description="Replace the list, whatever the charger has.")
    timeout_s: Timeout = 60


class LocalListSynced(Output):
    """What was done to a charger's local list, and why.

    `version_before`: of the list that it had; `version`: of the one that it has now, null if that is not known.
    `sent`: entries; `left_out`: tokens that are too long for the charger's OCPP version.
    """

    station_id: str
    outcome: Literal[
        "up_to_date", "differential", "full", "not_supported", "too_long", "failed", "unanswered"
    ]
    why: str
    version_before: int | None
    version: int | None
    sent: int
    left_out: int
    commands: list[CommandSaid]


# --- certificates

RequestStatus = Literal["OPEN", "DECLINED", "PENDING", "ACCEPTED", "REJECTED", "FAILED", "EXPIRED", "UNKNOWN"]


class CertificateRequestQuery(Input):
    """Filters of certificate requests."""

    station_id: Folded | None = None
    status: RequestStatus | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class CertificateRequest(Output):
    """A CSR (PEM) that a charger sent. `subject`: whom it is for, null if it cannot be read.

    `certificate_name`: what the charger's own certificate has to be called; `flaw`: why nobody should sign this, null
    if nothing speaks against it. `status`: OPEN until a certificate is sent, DECLINED if the charger was told that
    nobody signs it; then what became of the command that sent one.
    """

    request_id: str
    station_id: str
    version: str
    certificate_type: str
    csr: str
    subject: str | None
    certificate_name: str
    flaw: str | None
    requested_at: Time
    status: RequestStatus
    command_id: str | None


class CertificateRequests(Output):
    """Certificate requests, open ones first, then the latest first."""

    items: list[CertificateRequest]


class NewCertificate(Input):
    """What answers a CSR."""

    certificate_chain: Annotated[str, StringConstraints(min_length=1, max_length=40_000)] = Field(
        description="PEM, the charger's own certificate first, its issuers after it."
    )
    timeout_s: Timeout = 60


class CertificateSent(Output):
    """The command that took a certificate to its charger."""

    request_id: str
    station_id: str
    command: CommandSaid


# --- logs


class LogWish(Input):
    """A log to be uploaded to a URL that operators allow (VOLTBUS_URL_SCHEMES, _HOSTS, _NETWORKS)."""

    location: Annotated[str, StringConstraints(min_length=1, max_length=512)] = Field(
        examples=["https://logs.example.com/upload/"]
    )
    log: Literal["diagnostics", "security"] = "diagnostics"
    oldest: Moment | None = None
    latest: Moment | None = None
    timeout_s: Timeout = 60


class LogAsked(Output):
    """A request for a log, and the charger's word. `filename`: what it will be called, if the charger says so."""

    station_id: str
    request_id: int
    filename: str | None
    command: CommandSaid


class LogUpload(Output):
    """What the charger said of an upload."""

    status: str
    at: Time


class LogRequested(Output):
    """A request for a log. `uploads`: the status notifications that belong to it, in order."""

    command_id: str
    request_id: int | None
    log: str
    location: str
    requested_at: Time
    requested_by: str
    status: str
    reason: str
    filename: str | None
    uploads: list[LogUpload]


class LogsRequested(Output):
    """The last requests for logs of a charger, the latest first."""

    items: list[LogRequested]
