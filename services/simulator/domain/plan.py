"""What happens in a run: a pure function of scenario and seed."""

from __future__ import annotations

import math
import random  # noqa: TID251 draws from a given seed
from dataclasses import dataclass

from services.simulator.domain.scenario import Arrival, Demand, Outage, Scenario, Station

# Outages are long enough for a few samples to queue and short enough for several in a run.
OUTAGE_S = (120.0, 1_500.0)


@dataclass(frozen=True, slots=True)
class Plan:
    """Arrivals and outages of a run, each in order of time."""

    arrivals: tuple[Arrival, ...]
    outages: tuple[Outage, ...]


def plan(scenario: Scenario, seed: int) -> Plan:
    """Arrivals and outages of `scenario`: those that it lists and those drawn with `seed`.

    Each station draws from its own generator, so that adding a charger leaves the others' plans alone.
    """
    arrivals = list(scenario.arrivals)
    outages = list(scenario.outages)
    for station in scenario.stations:
        draw = random.Random(f"{seed}:{station.id}:plan")  # noqa: S311 a plan, not a secret
        demand = station.group.demand or scenario.demand
        if demand is not None:
            arrivals += _arrivals(station, demand, scenario, draw)
        outages += _outages(station, scenario, draw)
    return Plan(
        tuple(sorted(arrivals, key=lambda arrival: (arrival.at_s, arrival.station_id, arrival.evse_id))),
        tuple(sorted(outages, key=lambda outage: (outage.at_s, outage.station_id))),
    )


def _arrivals(station: Station, demand: Demand, scenario: Scenario, draw: random.Random) -> list[Arrival]:
    id_tokens = scenario.id_tokens
    return [
        Arrival(
            station_id=station.id,
            evse_id=evse_id,
            at_s=_moment(demand, scenario.duration_s, draw),
            energy_wh=draw.randint(*demand.energy_wh),
            max_power_w=(power := draw.choice(demand.car_power_w)),
            id_token=draw.choice(id_tokens),
            stay_s=draw.uniform(*demand.stay_s),
            # A car that charges at up to 7.4 kW has a single-phase charger on board.
            phases=1 if power <= 7_360 else 3,
        )
        for evse_id in range(1, station.make.evses + 1)
        for _ in range(_whole(demand.sessions_per_evse, draw))
    ]


def _moment(demand: Demand, duration_s: float, draw: random.Random) -> float:
    if not demand.peak_hours:
        return draw.uniform(0, duration_s * 0.9)
    moment = draw.gauss(draw.choice(demand.peak_hours), demand.peak_width_h) * 3_600
    return min(max(0.0, moment), duration_s * 0.95)


def _outages(station: Station, scenario: Scenario, draw: random.Random) -> list[Outage]:
    per_day = station.group.outages_per_day
    mean = (station.make.outages_per_day if per_day is None else per_day) * scenario.duration_s / 86_400
    return [
        Outage(station.id, draw.uniform(0, scenario.duration_s), draw.uniform(*OUTAGE_S))
        for _ in range(_whole(mean, draw))
    ]


def _whole(mean: float, draw: random.Random) -> int:
    return math.floor(mean) + (draw.random() < mean % 1)
