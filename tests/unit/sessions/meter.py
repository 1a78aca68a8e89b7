"""The truth: vehicles that visit EVSEs, and what the EVSEs' meters measure of them.

A visit is a row of stretches, each with its energy, which flows evenly. A register of whole Wh is read wherever one
stretch ends and the next begins, so that everything that matters can be known from outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from random import Random
from typing import NamedTuple

from libs.tariffs.usage import Interval, Usage, VehicleState

US = 1_000_000
MOST_W = 22_080
STILL_S = 900


class Stretch(NamedTuple):
    """What a vehicle does for some seconds; `state` in the words of OCPP 2.x. Energy only while charging."""

    state: str
    seconds: int
    wh: int


KINDS = {
    "Charging": VehicleState.CHARGING,
    "SuspendedEV": VehicleState.SUSPENDED,
    "SuspendedEVSE": VehicleState.SUSPENDED,
    "EVConnected": VehicleState.IDLE,
}


@dataclass(frozen=True)
class Visit:
    """One transaction. `begin`: microseconds; `register`: of the meter then; `told`: states are told."""

    evse: int
    number: int
    tag: str
    begin: int
    register: int
    stretches: tuple[Stretch, ...]
    told: bool
    unread: frozenset[int] = frozenset()
    """Readings that the charger does not send, by index: the state that it tells there says as much."""
    refused: bool = False
    """Whether the charger is answered that the token may not charge; this one goes on."""

    @property
    def token_status(self) -> str:
        """What the charger is answered about the token."""
        return "Blocked" if self.refused else "Accepted"

    @property
    def end(self) -> int:
        return self.begin + sum(each.seconds for each in self.stretches) * US

    @property
    def energy_wh(self) -> int:
        return sum(each.wh for each in self.stretches)

    def readings(self) -> list[tuple[int, int]]:
        """(moment, register) at begin and end and between stretches."""
        moments = accumulate((each.seconds * US for each in self.stretches), initial=self.begin)
        registers = accumulate((each.wh for each in self.stretches), initial=self.register)
        return list(zip(moments, registers, strict=True))

    def kind(self, index: int) -> VehicleState:
        """What a stretch counts as: by its state if it was told, else by what the register did before and after."""
        state = self.stretches[index].state
        if state == "Charging":
            return VehicleState.CHARGING
        before, after = self.stretches[:index], self.stretches[index:]
        if not self.told:
            return VehicleState.SUSPENDED if any(each.wh for each in after) else VehicleState.IDLE
        charged = any(each.state == "Charging" for each in before)
        return KINDS[state] if charged else VehicleState.SUSPENDED

    def usage(self) -> Usage:
        """What is to be paid for."""
        return tuple(
            Interval(at, at + each.seconds * US, each.wh, self.kind(index))
            for index, (each, (at, _)) in enumerate(zip(self.stretches, self.readings(), strict=False))
        )

    def seconds(self, kind: VehicleState) -> int:
        return sum(s.seconds for index, s in enumerate(self.stretches) if self.kind(index) is kind)


def visits(random: Random, begin: int, tick: int, told: bool) -> list[Visit]:
    """Visits at one to three EVSEs, up to three at each; moments are multiples of `tick` seconds."""
    found = []
    for evse in range(1, random.randint(1, 3) + 1):
        register, at = random.randrange(10**7), begin + tick * random.randrange(20) * US
        for n in range(random.randint(1, 3)):
            stretches = tuple(a_visit(random, tick, told))
            unread = frozenset(each for each in needless(stretches) if told and random.random() < 0.3)
            visit = Visit(evse, evse * 10 + n, f"TAG-{evse}-{n}", at, register, stretches, told, unread)
            found.append(visit)
            # Between transactions a meter may be replaced, but it does not run.
            register = visit.register + visit.energy_wh if random.random() < 0.9 else random.randrange(10**6)
            at = visit.end + tick * random.randint(1, 30) * US
    return found


def needless(stretches: tuple[Stretch, ...]) -> list[int]:
    """Readings where charging pauses: what was charged since the one before, was charged until then."""
    states = [each.state == "Charging" for each in stretches]
    return [n + 1 for n, (charges, goes_on) in enumerate(pairwise(states)) if charges and not goes_on]


def a_visit(random: Random, tick: int, told: bool) -> list[Stretch]:
    found: list[Stretch] = []
    for _ in range(random.randint(1, 5)):
        state = random.choice(
            ["Charging", "Charging", "Charging", "SuspendedEV", "SuspendedEVSE", "EVConnected"]
        )
        if state == "Charging":
            found.append(charging(random, tick))
        elif told:
            found.append(Stretch(state, seconds(random, tick), 0))
        elif tick > 1:
            # Without states only what lasts is seen, and only if it is sampled.
            pause = STILL_S + tick * random.randint(0, 20)
            found += [Stretch("SuspendedEV", pause, 0), Stretch("SuspendedEV", pause, 0)]
    return found or [charging(random, tick)]


def charging(random: Random, tick: int) -> Stretch:
    length = seconds(random, tick)
    return Stretch("Charging", length, random.randint(101, length * MOST_W // 3600))


def seconds(random: Random, tick: int) -> int:
    """Longer than a bucket of samples, so that none of them is thinned out."""
    return tick * random.randint(2, 40) if tick > 1 else random.randint(70, 200)
