"""What a scenario says: which chargers stand where, who comes to charge, what goes wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from services.simulator.domain.makes import MAKES, Make

Stamp = Literal["real", "simulated"]
FirmwareFault = Literal["download", "install", "rollback"]


@dataclass(frozen=True, slots=True)
class Demand:
    """How many cars come and what they want; ranges are (least, most), each choice is equally likely."""

    sessions_per_evse: float = 1.0
    energy_wh: tuple[int, int] = (4_000, 30_000)
    car_power_w: tuple[int, ...] = (3_680, 7_360, 11_040, 22_080)
    stay_s: tuple[int, int] = (1_800, 14_400)
    # Hours of the run around which arrivals crowd, each with this standard deviation; none: spread evenly.
    peak_hours: tuple[float, ...] = ()
    peak_width_h: float = 1.5


@dataclass(frozen=True, slots=True)
class Group:
    """`count` chargers of one make at one site, numbered from `first`: NRV-0001 and so on.

    `password` (if given) is sent as HTTP basic authentication. `reuse_message_ids`: a retried call keeps its
    message id. `outages_per_day` and `demand` go before the make's and the scenario's.
    """

    make: str
    count: int
    site: str
    first: int = 1
    demand: Demand | None = None
    outages_per_day: float | None = None
    password: str | None = None
    reuse_message_ids: bool = False


@dataclass(frozen=True, slots=True)
class Arrival:
    """A car at `at_s` simulated seconds that wants `energy_wh` and leaves after at most `stay_s`."""

    station_id: str
    evse_id: int
    at_s: float
    energy_wh: int
    max_power_w: int
    id_token: str
    stay_s: float = 86_400
    phases: int = 3


@dataclass(frozen=True, slots=True)
class Outage:
    """`station_id` has no network from `at_s` for `duration_s`, both simulated seconds."""

    station_id: str
    at_s: float
    duration_s: float


@dataclass(frozen=True, slots=True)
class Scenario:
    """A whole run. Durations are simulated seconds; `demand` None means: only the arrivals that are listed.

    `firmware_faults` names the step at which a station's firmware update fails: in the "download", in the
    "install", or after both when it boots with the old version again ("rollback").
    """

    fleet: tuple[Group, ...]
    name: str = ""
    duration_s: float = 3_600
    speed: float = 60.0
    stamp: Stamp = "real"
    start: str | None = None
    seed: int = 1
    sample_interval_s: int = 60
    tokens: int = 50
    demand: Demand | None = None
    arrivals: tuple[Arrival, ...] = ()
    outages: tuple[Outage, ...] = ()
    firmware_faults: Mapping[str, FirmwareFault] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if unknown := {group.make for group in self.fleet} - set(MAKES):
            raise ValueError(f"unknown make: {', '.join(sorted(unknown))} (known: {', '.join(MAKES)})")
        ids = [station.id for station in self.stations]
        if len(ids) != len(set(ids)):
            raise ValueError("two stations share an id: give the second group of a make a higher `first`")

    @property
    def stations(self) -> tuple[Station, ...]:
        """Every charger of the fleet, in order."""
        return tuple(
            Station(f"{MAKES[group.make].prefix}-{group.first + index:04d}", group)
            for group in self.fleet
            for index in range(group.count)
        )

    @property
    def id_tokens(self) -> tuple[str, ...]:
        """The id tokens that generated arrivals and remote starts use."""
        return tuple(f"TAG{number:05d}" for number in range(1, self.tokens + 1))


@dataclass(frozen=True, slots=True)
class Station:
    """One charger of a scenario."""

    id: str
    group: Group

    @property
    def make(self) -> Make:
        """Its make."""
        return MAKES[self.group.make]

    @property
    def site(self) -> str:
        """Where it stands."""
        return self.group.site
