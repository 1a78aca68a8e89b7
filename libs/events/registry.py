"""What operators configured.

One class per Avro schema of the same name; the schemas carry each field's meaning and unit.
"""

from enum import StrEnum

from libs.events.record import NestedRecord, Record
from libs.events.tariffs import TariffTerms


class Assignment(NestedRecord, frozen=True, kw_only=True):
    """An assignment valid from a moment; the latest one at or before an event applies."""

    id: str
    valid_from: int


class PowerRating(NestedRecord, frozen=True, kw_only=True):
    """The maximum power of a connector, valid from a moment."""

    power_w: int
    valid_from: int


class BootStatus(StrEnum):
    """Answer to BootNotification."""

    ACCEPTED = "Accepted"
    PENDING = "Pending"
    REJECTED = "Rejected"


class StationRegistered(Record, frozen=True, kw_only=True):
    """A station as operators configured it."""

    station_id: str
    name: str = ""
    sites: tuple[Assignment, ...] = ()
    boot_status: BootStatus = BootStatus.ACCEPTED
    heartbeat_interval_s: int = 300
    evses: int = 0
    max_current_ma: int = 32000
    phases: int = 3
    timezone: str | None = None
    allow_no_subprotocol: bool = False
    security_profile: int = 0
    certificate_name: str | None = None
    certification: bool = False
    power_ratings: tuple[PowerRating, ...] = ()
    profile_exempt: bool = False
    changed_by: str = ""
    organisation_id: str = ""


class PasswordDigest(NestedRecord, frozen=True, kw_only=True):
    """One accepted basic-auth password: HMAC-SHA-256 of its bytes under the salt."""

    salt: str
    digest: str


class CredentialsRegistered(Record, frozen=True, kw_only=True):
    """What a station proves its identity with; only digests, passwords themselves are kept nowhere."""

    station_id: str
    passwords: tuple[PasswordDigest, ...] = ()
    changed_by: str = ""


class SiteRegistered(Record, frozen=True, kw_only=True):
    """A site as operators configured it."""

    site_id: str
    name: str = ""
    timezone: str = "UTC"
    limit_ma: int | None = None
    tariffs: tuple[Assignment, ...] = ()
    latitude: float | None = None
    longitude: float | None = None
    changed_by: str = ""
    organisation_id: str = ""


class TokenStatus(StrEnum):
    """Authorisation status."""

    ACCEPTED = "Accepted"
    BLOCKED = "Blocked"
    EXPIRED = "Expired"
    INVALID = "Invalid"


class GroupMembership(NestedRecord, frozen=True, kw_only=True):
    """The driver group of a token from a moment on; None: none."""

    group_id: str | None = None
    valid_from: int


class TokenRegistered(Record, frozen=True, kw_only=True):
    """An id token (RFID card, app contract) as operators configured it."""

    id_token: str
    type: str = "ISO14443"
    status: TokenStatus = TokenStatus.ACCEPTED
    valid_until: int | None = None
    group_id: str | None = None
    driver: str = ""
    groups: tuple[GroupMembership, ...] = ()
    written: str = ""
    group_written: str = ""
    changed_by: str = ""
    organisation_id: str = ""

    @property
    def shown_id(self) -> str:
        """The token as it was entered: so it is shown, and sent to chargers, of which some compare bytes."""
        return self.written or self.id_token

    @property
    def shown_group(self) -> str | None:
        """The group as it was entered."""
        return self.group_written or self.group_id


class TariffVersion(NestedRecord, frozen=True, kw_only=True):
    """One version of a tariff. `terms`: None means every kWh at `price_per_kwh_milli` and nothing else."""

    version: int
    valid_from: int
    currency: str
    price_per_kwh_milli: int
    terms: TariffTerms | None = None


class TariffRegistered(Record, frozen=True, kw_only=True):
    """A tariff with all its versions; versions are never changed, only added."""

    tariff_id: str
    name: str = ""
    versions: tuple[TariffVersion, ...]
    changed_by: str = ""
    organisation_id: str = ""


class OrganisationDefined(Record, frozen=True, kw_only=True):
    """An organisation, to which stations, sites, tokens and tariffs belong."""

    organisation_id: str
    name: str = ""
    changed_by: str = ""
