"""Bodies of commands, sessions, charge records, states, plans and campaigns."""

from typing import Annotated

from pydantic import Field, StringConstraints

from services.api.http.fields import Input, Moment, Output, StationId, Text, Time
from services.api.http.paging import ListQuery

# --- commands


# --- sessions and charge records


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
