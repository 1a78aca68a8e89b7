"""Bodies about the security of stations."""

from typing import Annotated

from pydantic import Field

from libs.events.security import SecurityAlertKind
from services.api.http.fields import Folded, Moment, Output, Time
from services.api.http.paging import Query


class ProfileCount(Output):
    """`stations`: registered ones that need this profile. `connections`: open ones that proved it."""

    security_profile: int
    stations: int
    connections: int


class SecurityOverview(Output):
    """Stations and connections by OCPP security profile."""

    least_security_profile: int
    profiles: list[ProfileCount]


class StationSecurityQuery(Query):
    """Filters of stations by their security."""

    at_most: Annotated[int, Field(ge=0, le=3)] = Field(1, description="The highest profile that is listed.")
    q: Folded | None = Field(None, description="Part of the id or name.")


class StationSecurity(Output):
    """How a station proves who it is.

    `required`: what its connections need; null: not registered. `proved`: by the connection that is open; null: none
    is. `advice`: what to do about it.
    """

    station_id: str
    name: str
    registered: bool
    required: int | None
    profile_exempt: bool
    password: bool
    connected: bool
    proved: int | None
    remote_address: str | None
    advice: str


class AlertQuery(Query):
    """Filters of security alerts. `since` (inclusive), `until` (exclusive): of when they were recorded."""

    station_id: Folded | None = None
    kind: SecurityAlertKind | None = None
    since: Moment | None = None
    until: Moment | None = None


class SecurityAlert(Output):
    """Something that an operator ought to look at. `count`: how often within the hour."""

    alert_id: str
    station_id: str
    kind: str
    detail: str
    event_type: str
    tech_info: str | None
    remote_address: str
    former_address: str
    count: int
    requested_by: str
    occurred_at: Time
    recorded_at: Time
    cause_id: str


def advice(required: int | None, proved: int | None, *, password: bool) -> str:
    """What to do about a station that needs (None: not registered) and has proved (None: not connected) so little."""
    if required is None:
        return "anybody may be it: register it, with a password"
    if required == 0:
        if proved is not None and proved >= 1:
            return f"anybody may be it: it proves profile {proved}, so raise security_profile to that"
        return (
            "anybody may be it: "
            + ("tell it its password" if password else "set a password")
            + ", then raise it to 1"
        )
    if required == 1:
        if proved is not None and proved > 1:
            return f"it proves profile {proved}: raise security_profile to that"
        return "its password can be overheard: have it connect by TLS, then raise security_profile to 2"
    return ""
