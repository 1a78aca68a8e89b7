"""The makes of virtual chargers: names are invented, habits are those of real products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from services.simulator.domain.power import Current, Outlet

Version = Literal["1.6", "2.0.1"]


@dataclass(frozen=True, slots=True)
class Make:
    """One make: what it is and how it misbehaves.

    `connectors` is the number of connectors per EVSE; in 1.6 they are numbered through the whole station, in
    2.0.1 within their EVSE. The habits:

    - `naive_times`: timestamps carry no zone.
    - `loose_samples`: sampled values in kWh and kW with decimals (power with a decimal comma), and contexts and
      units that no specification lists.
    - `second_stop`, `second_start`: share of transactions whose StopTransaction is followed by another with a
      greater meter value, or whose StartTransaction is sent again under a new message id.
    - `boots_on_connect`: sends BootNotification on every connection, not only after a boot.
    - `offline_starts`: starts charging offline with a token that it does not know.
    - `ended_first`: replays a queue with each Ended event before the Updated ones.
    - `outages_per_day`: mean number of lost connections in a simulated day, unless the scenario says otherwise.
    """

    name: str
    prefix: str
    version: Version
    vendor: str
    model: str
    firmware: str
    evses: int = 2
    connectors: int = 1
    current: Current = "AC"
    phases: int = 3
    max_power_w: int = 22_080
    naive_times: bool = False
    loose_samples: bool = False
    second_stop: float = 0.0
    second_start: float = 0.0
    boots_on_connect: bool = False
    offline_starts: bool = False
    ended_first: bool = False
    outages_per_day: float = 0.0

    @property
    def outlet(self) -> Outlet:
        """What each EVSE delivers."""
        return Outlet(self.current, self.phases, self.max_power_w)


MAKES: dict[str, Make] = {
    make.name: make
    for make in (
        Make("Norvolt", "NRV", "1.6", "Norvolt", "Fjord 22", "2.4.0"),
        Make("Ampera", "AMP", "2.0.1", "Ampera", "Rapide 50", "5.1.0", current="DC", max_power_w=50_000),
        Make("AmperaAC", "AMA", "2.0.1", "Ampera", "Place 22", "5.1.0"),
        Make(
            "Kaskade",
            "KSK",
            "1.6",
            "Kaskade",
            "Quelle 11",
            "0.9.7",
            connectors=2,
            max_power_w=11_040,
            naive_times=True,
            loose_samples=True,
            second_stop=0.3,
            second_start=0.3,
            boots_on_connect=True,
        ),
        Make(
            "Drifter",
            "DRF",
            "2.0.1",
            "Drifter",
            "Nomad",
            "1.0.3",
            evses=1,
            offline_starts=True,
            ended_first=True,
            outages_per_day=8,
        ),
        Make(
            "Relais",
            "REL",
            "1.6",
            "Relais",
            "Poste 7",
            "3.0.2",
            evses=1,
            offline_starts=True,
            outages_per_day=6,
        ),
    )
}
