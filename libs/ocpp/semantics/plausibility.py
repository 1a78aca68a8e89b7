"""Whether a message's energy registers and its power tell the same story."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from libs.ocpp.semantics.model import MeterSample, Reading, place_of
from libs.runtime.clock import SECOND

POWER: Final = "Power.Active.Import"

_WH: Final = 3600 * SECOND * 1000
"""What makes milliwatt-microseconds of a Wh."""
_LEAST_WH: Final = 2_000
"""Below it a register in whole kWh may have moved by one, or not at all."""
_TIMES: Final = 10


def contradicts_power(readings: Sequence[Reading], samples: Sequence[MeterSample]) -> bool:
    """Whether the register moved ten times more or less than the power between its first and last reading.

    Readings count from the first to the last moment that has a total of the power, or a sum of phases; between the
    two compared, the power is integrated by trapezoids. False where that is too little to tell: fewer than two such
    moments, no time between the readings, or less than 2,000 Wh by either account.
    """
    curve = _power(samples)
    if len(curve) < 2:
        return False
    points = [(at, milliwatt) for at, milliwatt in sorted(curve.items())]
    begin, end = points[0][0], points[-1][0]
    within = [reading for reading in sorted(readings, key=lambda r: r.at) if begin <= reading.at <= end]
    if len(within) < 2 or within[0].at == within[-1].at:
        return False
    moved = within[-1].wh - within[0].wh
    integral = _energy(points, within[0].at, within[-1].at)
    if max(moved, integral) < _LEAST_WH:
        return False
    return moved > _TIMES * integral or integral > _TIMES * moved


def _energy(points: Sequence[tuple[int, int]], begin: int, end: int) -> int:
    """Wh between two moments that the curve of milliwatts spans."""
    twice = 0
    for (a, p), (b, q) in pairwise(points):
        since, until = max(a, begin), min(b, end)
        if since < until:
            both_ends = 2 * p + (q - p) * (since - a + until - a) // (b - a)
            twice += (until - since) * both_ends
    return twice // (2 * _WH)


def _power(samples: Sequence[MeterSample]) -> dict[int, int]:
    """Milliwatts by moment."""
    totals: dict[int, int] = {}
    phases: dict[int, int] = {}
    found = [sample for sample in samples if sample.measurand == POWER]
    place = min([place_of(sample.location) for sample in found], default=0)
    for sample in found:
        if place_of(sample.location) != place:
            continue
        if sample.phase is None:
            totals[sample.at] = sample.value_milli
        elif sample.phase[:2] in ("L1", "L2", "L3"):
            phases[sample.at] = phases.get(sample.at, 0) + sample.value_milli
    return phases | totals
