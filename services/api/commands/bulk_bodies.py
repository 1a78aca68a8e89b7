"""Bodies of bulk commands."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from services.api.http.fields import Input, Output, StationId, Time
from services.api.live.state import StationFilter

MOST_STATIONS: Final = 10_000
MOST_TTL_S: Final = 24 * 3600

Word = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9]*$")]
Reason = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\p{Cc}\p{Zl}\p{Zp}]*$"
    ),
    Field(description="Why you do it, for those who look at it later."),
]
VersionName = Literal["1.6", "2.0.1", "2.1"]


class VersionAction(Input):
    """A central-system action of one OCPP version."""

    action: Word = Field(description="As OCPP names it.", examples=["Reset"])
    payload: dict[str, Any] = Field(default_factory=dict)


class BulkWish(Input):
    """One command to many stations: to those named, or to all that a filter chooses."""

    stations: Annotated[list[StationId], Field(min_length=1, max_length=MOST_STATIONS)] | None = None
    filter: StationFilter | None = Field(
        None, description="Instead of stations: all that fit. `{}` chooses every station."
    )
    command: Word | None = Field(None, description="A version-free command, such as SetVariables.")
    payload: dict[str, Any] = Field(default_factory=dict, description="Of the version-free command.")
    actions: dict[VersionName, VersionAction] | None = Field(
        None,
        description="Instead of a command: an OCPP action for each version. Stations of other versions are skipped.",
    )
    offline: Literal["skip", "wait"] = Field(
        "skip", description="Stations that are not connected: `skip` them, or `wait` up to `ttl_s` for each."
    )
    ttl_s: Annotated[float, Field(gt=0, le=MOST_TTL_S, allow_inf_nan=False)] = Field(
        60, description="How long each command waits for its station."
    )
    call_timeout_s: Annotated[float, Field(ge=1, le=600, allow_inf_nan=False)] = Field(
        30, description="How long a charger may take to answer."
    )

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if (self.stations is None) == (self.filter is None):
            raise ValueError("either stations or filter")
        if (self.command is None) == (not self.actions):
            raise ValueError("either command or actions")
        return self

    @property
    def by_version(self) -> Mapping[str, tuple[str, dict[str, Any]]]:
        """Action and payload by version."""
        return {version: (each.action, each.payload) for version, each in (self.actions or {}).items()}


class NewBulkCommand(BulkWish):
    """A bulk command to be started."""

    reason: Reason
    expected: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="How many stations it should ask, as the preview said; 409 if it would be others in number.",
    )
    concurrency: Annotated[int, Field(ge=1, le=500)] = Field(
        20, description="How many stations have it without an answer at once."
    )
    stop_at_percent: Annotated[int, Field(ge=1, le=100)] | None = Field(
        20,
        description="Stop once this share of the stations that are through was not successful; null: never.",
    )
    stop_after: Annotated[int, Field(ge=1, le=1000)] = Field(
        10, description="So many stations are through before that share is looked at."
    )


class Steering(Input):
    """Why a bulk command is stopped, goes on or is retried."""

    reason: Reason


class Retry(Steering):
    """Ask again the stations that are through and did not accept."""

    offline: Literal["skip", "wait"] = "skip"


class SkipReason(Output):
    """How many stations are skipped for a reason."""

    reason: str
    stations: int


class PreviewStation(Output):
    """A station that a bulk command would go to. `skipped`: why it would not be asked; empty if it would."""

    station_id: str
    name: str = ""
    version: str
    connected: bool
    skipped: str


class BulkPreview(Output):
    """What a bulk command would do: `asked` of `total` stations, in the order of `stations`."""

    total: int
    asked: int
    skipped: int
    offline: int
    reasons: list[SkipReason]
    stations: list[PreviewStation]


class BulkSent(Output):
    """What stations are sent. `dialect`: VOLTBUS for a version-free command. `version`: for which; empty: any."""

    action: str
    dialect: str
    version: str
    payload: Any


class BulkCommand(Output):
    """A bulk command and how far it is. `total` is the sum of the counts from `waiting` to `skipped`."""

    bulk_id: str
    requested_by: str
    requested_at: Time
    reason: str
    selection: str
    messages: list[BulkSent]
    concurrency: int
    stop_at_percent: int | None
    stop_after: int
    status: str
    stopped_because: str = ""
    round: int
    total: int
    waiting: int
    sent: int
    accepted: int
    rejected: int
    failed: int
    timed_out: int
    skipped: int
    updated_at: Time


class BulkStation(Output):
    """A station's part in a bulk command."""

    station_id: str
    status: str
    reason: str = ""
    command_id: str | None = None
    updated_at: Time | None = None
