"""Bodies of commands, sessions, charge records, states, plans and campaigns."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from services.api.http.fields import Folded, Input, Moment, Output, StationId, Text, Time
from services.api.http.paging import ListQuery

# --- commands


# --- sessions and charge records


class PastQuery(ListQuery):
    """Filters of sessions and charge records. `since` (inclusive), `until` (exclusive): of the time of the order."""

    station_id: Folded | None = None
    site_id: str | None = None
    id_token: Folded | None = None
    since: Moment | None = None
    until: Moment | None = None


class SessionQuery(PastQuery):
    """Filters of sessions; by start."""

    status: Literal["running", "ended"] | None = None


class CdrQuery(PastQuery):
    """Filters of charge records; by end."""

    session_id: str | None = None
    tariff_id: str | None = None


class Session(Output):
    """A charging session. Energy and meter readings in Wh.

    `correction`: the version of its end once that was corrected (2, 3 and so on), 0 before.
    """

    session_id: str
    station_id: str
    evse_id: int
    site_id: str | None
    status: str
    started_at: Time
    ended_at: Time | None
    energy_wh: int
    id_token: str | None
    transaction_id: str
    meter_start_wh: int | None
    meter_wh: int | None
    meter_stop_wh: int | None
    charging_state: str | None
    reason: str
    review: list[str]
    decision_id: str | None
    correction: int
    ocpp_version: str
    updated_at: Time


class CdrLine(Output):
    """One line of a charge record."""

    kind: str
    quantity: int
    unit: str
    price_milli: int
    amount_minor: int


class Cdr(Output):
    """A charge record in its newest version. Amounts in minor currency units.

    `charging_s`, `suspended_s`, `idle_s`: seconds of charging, of charging held back, and connected after it was done.
    `prepaid_wh`: of the energy billed, what came out of the bundle of the driver group `group_id`.
    """

    cdr_id: str
    version: int
    session_id: str
    station_id: str
    evse_id: int
    transaction_id: str
    site_id: str | None
    id_token: str | None
    started_at: Time
    ended_at: Time
    meter_start_wh: int | None
    meter_stop_wh: int | None
    energy_wh: int
    billed_wh: int
    review_wh: int
    written_off_wh: int
    exported_wh: int
    reason: str
    review: list[str]
    decision_id: str | None
    decided_by: str | None
    token_refusal: str
    charging_s: int
    suspended_s: int
    idle_s: int
    timezone: str | None
    group_id: str | None
    prepaid_wh: int
    tariff_id: str | None
    tariff_version: int | None
    currency: str | None
    amount_minor: int
    net_minor: int
    tax_minor: int
    hash: str
    lines: list[CdrLine]
    issued_at: Time


# --- live state


class Connector(Output):
    """State of one connector, in the words of the charger's OCPP version."""

    evse_id: int
    connector_id: int
    status: str
    error_code: str
    since: Time


class StationState(Output):
    """What is known of a station now. `connection_changed_at`: when its socket was opened or closed."""

    station_id: str
    name: str = ""
    site_id: str | None = None
    registered: bool
    connected: bool
    connection_changed_at: Time | None = None
    edge_id: str | None = None
    version: str = ""
    vendor: str = ""
    model: str = ""
    serial: str = ""
    firmware_version: str = ""
    connectors: list[Connector] = Field(default_factory=list)
    last_boot_at: Time | None = None
    updated_at: Time | None = None


class StateQuery(ListQuery):
    """Filters of states."""

    connected: bool | None = None
    site_id: str | None = None


# --- load


class Allocation(Output):
    """One EVSE's share; 0: it waits. `drawn_ma`: what it draws although its share is less; 0: it keeps to it."""

    station_id: str
    evse_id: int
    transaction_id: str
    current_ma: int
    drawn_ma: int = 0


class LoadPlan(Output):
    """How a site's limit is shared now."""

    site_id: str
    plan_no: int
    limit_ma: int | None
    allocations: list[Allocation]
    waiting: int
    made_at: Time = Field(validation_alias="recorded_at")


# --- firmware campaigns


class NewCampaign(Input):
    """Bring stations to a firmware version. `location`: the URL from which they fetch it."""

    name: Annotated[Text, Field(min_length=1)]
    target_version: Annotated[Text, Field(min_length=1, max_length=50)]
    location: Annotated[
        str, StringConstraints(max_length=512, pattern=r"^(https?|ftps?|sftp)://[\x21-\x7e]+$")
    ]
    stations: Annotated[list[StationId], Field(min_length=1, max_length=10_000)]
    deadline: Moment | None = Field(None, description="Default: a day from now.")


class Campaign(Output):
    """A campaign and how far it is."""

    campaign_id: str
    name: str
    target_version: str
    location: str
    requested_by: str
    requested_at: Time
    deadline: Time
    stations: list[str]
    total: int
    pending: int
    installed: int
    failed: int
    finished: bool
    updated_at: Time


class CampaignStation(Output):
    """A station's part in a campaign, as the charger or the platform reported it last."""

    station_id: str
    status: str
    detail: str = ""
    firmware_version: str = ""
    updated_at: Time | None = None


class CampaignStations(Output):
    """Every station of a campaign, in its order."""

    items: list[CampaignStation]
