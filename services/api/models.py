"""Bodies of stations, sites, tokens and tariffs."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from libs.events.registry import BootStatus, TokenStatus
from libs.tariffs.model import TariffTerms
from libs.tariffs.written import render
from services.api.http.fields import (
    Currency,
    Flag,
    Folded,
    Input,
    Label,
    Milliampere,
    Moment,
    Output,
    Price,
    StationId,
    Terms,
    Text,
    Time,
    WrittenTokenId,
    Zone,
)
from services.api.http.paging import Query

_MOST_ASSIGNMENTS = 1000


class Assignment(Output):
    """What is assigned from a moment on, until the next one."""

    id: str
    valid_from: Time


class NewAssignment(Input):
    """One entry of a list that replaces the assignments there are."""

    id: Label
    valid_from: Moment


Assignments = Annotated[list[NewAssignment], Field(max_length=_MOST_ASSIGNMENTS)]


# --- stations


class StationSettings(Input):
    """What operators say about a station."""

    name: Text = ""
    site_id: Label | None = Field(
        None, description="Assigns the station to this site from `site_valid_from` on; earlier sites stay."
    )
    site_valid_from: Moment | None = Field(
        None, description="Default: a few seconds from now, when every service will know of it."
    )
    sites: Assignments | None = Field(
        None, description="Rewrites all assignments, the past included: for corrections. Not with `site_id`."
    )
    boot_status: BootStatus = BootStatus.ACCEPTED
    heartbeat_interval_s: Annotated[int, Field(strict=True, ge=1, le=604_800)] = 300
    evses: Annotated[int, Field(strict=True, ge=0, le=1000, description="0: not known yet.")] = 0
    max_current_ma: Milliampere = 32_000
    phases: Literal[1, 3] = 3
    max_power_w: Annotated[int, Field(strict=True, ge=1, le=10_000_000)] | None = Field(
        None,
        description="What a connector can deliver, from now on: sessions with clearly more energy go to review."
        " null leaves it as it is.",
    )
    timezone: Zone | None = Field(None, description="Of timestamps that the charger sends without one.")
    allow_no_subprotocol: Flag = Field(False, description="Let it connect (as 1.6) without a subprotocol.")
    security_profile: Annotated[int, Field(strict=True, ge=0, le=3)] | None = Field(
        None,
        description="Least that it may connect with: 0 none, 1 password, 2 TLS and password, 3 client certificate."
        " A connection with less is closed. Default for a new station: the platform's least one.",
    )
    allow_security_downgrade: Flag = Field(
        False,
        description="Needed to lower `security_profile`, as OCPP knows no way down, and to set one below the"
        " platform's least: the station is exempt from that then.",
    )
    certificate_name: Annotated[Text, Field(min_length=1, max_length=64)] | None = Field(
        None, description="Common name of its client certificate; null: its station id."
    )
    certification: Flag = Field(
        False, description="Send it nothing that no operator asked for: no questions on boot, no load limits."
    )

    @model_validator(mode="after")
    def _one_way_to_assign(self) -> Self:
        if self.sites is not None and self.site_id is not None:
            raise ValueError("either site_id or sites, not both")
        if self.site_valid_from is not None and self.site_id is None:
            raise ValueError("site_valid_from needs site_id")
        return self


class NewStation(StationSettings):
    """A station to be created."""

    station_id: StationId


class Station(Output):
    """A station as configured. `site_id`: where it is now."""

    station_id: str
    name: str
    site_id: str | None = None
    sites: list[Assignment]
    boot_status: str
    heartbeat_interval_s: int
    evses: int
    max_current_ma: int
    phases: int
    max_power_w: int | None = None
    timezone: str | None
    allow_no_subprotocol: bool
    security_profile: int
    profile_exempt: bool
    certificate_name: str | None
    certification: bool
    updated_at: Time = Field(validation_alias="recorded_at")
    changed_by: str


class StationQuery(Query):
    """Filters of stations."""

    site_id: str | None = Field(None, description="Stations that are at this site now.")
    boot_status: BootStatus | None = None
    q: Folded | None = Field(None, description="Part of the id or name.")


# --- sites


class SiteSettings(Input):
    """What operators say about a site."""

    name: Text = ""
    timezone: Zone = "UTC"
    limit_ma: Annotated[int, Field(strict=True, ge=0, le=100_000_000)] | None = Field(
        None, description="What all its EVSEs may draw together, per phase; null: no limit."
    )
    tariff_id: Label | None = Field(
        None, description="Charges by this tariff from `tariff_valid_from` on; earlier tariffs stay."
    )
    tariff_valid_from: Moment | None = Field(
        None, description="Default: a few seconds from now, when every service will know of it."
    )
    tariffs: Assignments | None = Field(
        None,
        description="Rewrites all assignments, the past included: for corrections. Not with `tariff_id`.",
    )
    latitude: Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)] | None = None
    longitude: Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _one_way_to_assign(self) -> Self:
        if self.tariffs is not None and self.tariff_id is not None:
            raise ValueError("either tariff_id or tariffs, not both")
        if self.tariff_valid_from is not None and self.tariff_id is None:
            raise ValueError("tariff_valid_from needs tariff_id")
        return self


class NewSite(SiteSettings):
    """A site to be created."""

    site_id: Label


class Site(Output):
    """A site as configured. `tariff_id`: in force now."""

    site_id: str
    name: str
    timezone: str
    limit_ma: int | None
    tariff_id: str | None = None
    tariffs: list[Assignment]
    latitude: float | None
    longitude: float | None
    updated_at: Time = Field(validation_alias="recorded_at")
    changed_by: str


class SiteQuery(Query):
    """Filters of sites."""

    tariff_id: str | None = Field(None, description="Sites where this tariff is in force now.")
    q: Folded | None = Field(None, description="Part of the id or name.")


# --- tokens

TokenType = Literal[
    "Central",
    "DirectPayment",
    "eMAID",
    "EVCCID",
    "ISO14443",
    "ISO15693",
    "KeyCode",
    "Local",
    "MacAddress",
    "VIN",
]


class TokenSettings(Input):
    """What operators say about an id token."""

    type: TokenType = "ISO14443"
    status: TokenStatus = TokenStatus.ACCEPTED
    valid_until: Moment | None = None
    group_id: WrittenTokenId | None = None
    driver: Text = ""


class NewToken(TokenSettings):
    """A token to be created."""

    id_token: WrittenTokenId


class Token(Output):
    """An id token as configured."""

    id_token: str
    type: str
    status: str
    valid_until: Time | None
    group_id: str | None
    driver: str
    updated_at: Time = Field(validation_alias="recorded_at")
    changed_by: str


class TokenQuery(Query):
    """Filters of tokens."""

    status: TokenStatus | None = None
    group_id: Folded | None = None
    q: Folded | None = Field(None, description="Part of the token or driver.")


# --- tariffs


_TERMS_TEXT = (
    "Elements, limits, taxes, rounding and plans, instead of one price per kWh: see the page on tariffs."
)


class TariffChange(Input):
    """A new name, or a new price or terms: that makes a new version, and the earlier ones stay as they are."""

    name: Text | None = None
    currency: Currency | None = None
    price_per_kwh_milli: Price | None = None
    terms: Terms | None = Field(None, description=_TERMS_TEXT)
    valid_from: Moment | None = Field(
        None, description="Sessions that start from this moment on. Default: a few seconds from now."
    )

    @model_validator(mode="after")
    def _one_way_to_price(self) -> Self:
        if self.terms is not None and self.price_per_kwh_milli is not None:
            raise ValueError("either price_per_kwh_milli or terms, not both")
        return self


class TariffSettings(Input):
    """A tariff's name and price, or terms."""

    name: Text = ""
    currency: Currency
    price_per_kwh_milli: Price | None = None
    terms: Terms | None = Field(None, description=_TERMS_TEXT)
    valid_from: Moment | None = Field(
        None, description="Sessions that start from this moment on. Default: a few seconds from now."
    )

    @model_validator(mode="after")
    def _one_way_to_price(self) -> Self:
        if (self.terms is None) == (self.price_per_kwh_milli is None):
            raise ValueError("either price_per_kwh_milli or terms")
        return self


class NewTariff(TariffSettings):
    """A tariff to be created, with its first version."""

    tariff_id: Label


class TariffVersion(Output):
    """Prices from a moment on, until the next version's; never changed.

    `price_per_kwh_milli`: where there are terms, what a kWh costs where nothing restricts.
    """

    version: int
    valid_from: Time
    currency: str
    price_per_kwh_milli: int
    terms: Terms | None = None

    @field_validator("terms", mode="before")
    @classmethod
    def _as_written(cls, value: Any, info: ValidationInfo) -> Any:
        return render(value, info.data["currency"]) if isinstance(value, TariffTerms) else value


class Tariff(Output):
    """A tariff with all its versions. `version`: the one in force now."""

    tariff_id: str
    name: str
    version: int | None = None
    versions: list[TariffVersion]
    updated_at: Time = Field(validation_alias="recorded_at")
    changed_by: str


class TariffQuery(Query):
    """Filters of tariffs."""

    q: Folded | None = Field(None, description="Part of the id or name.")
