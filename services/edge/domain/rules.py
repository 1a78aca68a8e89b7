"""The operator's policies and the registry as the edge sees them."""

from collections.abc import Mapping
from datetime import UTC, tzinfo
from enum import StrEnum
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from libs.events.registry import BootStatus, CredentialsRegistered, StationRegistered, TokenRegistered
from libs.events.stations import CapabilitiesLearned


class UnknownStations(StrEnum):
    """What becomes of a station that the registry does not know."""

    ACCEPT = "accept"
    PENDING = "pending"
    REJECT = "reject"


class UnknownTokens(StrEnum):
    """What becomes of an id token that the registry does not know."""

    ACCEPT = "accept"
    REJECT = "reject"


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """Policies that hold for every station.

    `transaction_key` (1 to 64 bytes) makes 1.6 transaction ids; every edge process must have the same.
    `boot_retry_s`: after how many seconds a pending or rejected station shall try to boot again.
    `least_profile`: OCPP security profile that every connection needs, also of stations that are not registered; not
    of those that are exempt by their registry entry.
    `operator`: organisation that client certificates must name; "" for any.
    `certificate_desk`: somebody signs what stations ask to have signed.
    """

    transaction_key: bytes
    unknown_stations: UnknownStations = UnknownStations.REJECT
    unknown_tokens: UnknownTokens = UnknownTokens.REJECT
    heartbeat_interval_s: int = 300
    boot_retry_s: int = 60
    least_profile: int = 0
    operator: str = ""
    certificate_desk: bool = False


class Standing(msgspec.Struct, frozen=True):
    """How a station stands with the platform now. `interval_s` is what its next boot is told."""

    boot_status: BootStatus
    interval_s: int
    registered: bool
    allow_no_subprotocol: bool = False
    zone: tzinfo = UTC
    security_profile: int = 0
    certificate_name: str | None = None

    @property
    def accepted(self) -> bool:
        """Whether the station may do more than boot."""
        return self.boot_status is BootStatus.ACCEPTED


_UNKNOWN_BOOT: Final = {
    UnknownStations.ACCEPT: BootStatus.ACCEPTED,
    UnknownStations.PENDING: BootStatus.PENDING,
}


_NOTHING_LEARNED: Final[Mapping[str, CapabilitiesLearned]] = MappingProxyType({})
_NO_CREDENTIALS: Final[Mapping[str, CredentialsRegistered]] = MappingProxyType({})


class ReadModels:
    """Stations with their credentials and capabilities, and tokens (by case-folded id), and the rules.

    All that an answer depends on.
    """

    def __init__(
        self,
        stations: Mapping[str, StationRegistered],
        tokens: Mapping[str, TokenRegistered],
        rules: Rules,
        capabilities: Mapping[str, CapabilitiesLearned] = _NOTHING_LEARNED,
        credentials: Mapping[str, CredentialsRegistered] = _NO_CREDENTIALS,
    ) -> None:
        self.stations = stations
        self.tokens = tokens
        self.capabilities = capabilities
        self.credentials = credentials
        self.rules = rules
        self._standings: dict[str, tuple[StationRegistered, Standing]] = {}
        boot = _UNKNOWN_BOOT.get(rules.unknown_stations)
        self._unknown = None if boot is None else _unregistered(boot, rules)

    def standing(self, station_id: str) -> Standing | None:
        """How the station stands; None if it is not to be let in."""
        station = self.stations.get(station_id)
        if station is None:
            return self._unknown
        # Asked for at every call, so it is worked out once for each version of the registry entry.
        known = self._standings.get(station_id)
        if known is None or known[0] is not station:
            known = self._standings[station_id] = (station, _standing(station, self.rules))
        return known[1]


def _interval(boot: BootStatus, station: StationRegistered | None, rules: Rules) -> int:
    if boot is not BootStatus.ACCEPTED:
        return rules.boot_retry_s
    return rules.heartbeat_interval_s if station is None else station.heartbeat_interval_s


def _unregistered(boot: BootStatus, rules: Rules) -> Standing:
    return Standing(boot, _interval(boot, None, rules), False, security_profile=rules.least_profile)


def _standing(station: StationRegistered, rules: Rules) -> Standing:
    return Standing(
        station.boot_status,
        _interval(station.boot_status, station, rules),
        True,
        station.allow_no_subprotocol,
        _zone(station.timezone),
        station.security_profile
        if station.profile_exempt
        else max(station.security_profile, rules.least_profile),
        station.certificate_name,
    )


def _zone(name: str | None) -> tzinfo:
    if name is None:
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return UTC
