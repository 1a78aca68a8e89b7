"""Whether a message's energy registers and its power tell the same story."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from libs.ocpp.semantics.model import Reading, Sample
from libs.runtime.clock import SECOND

POWER: Final = "Power.Active.Import"

_WH: Final = 3600 * SECOND * 1000
"""What makes milliwatt-microseconds of a Wh."""
_LEAST_WH: Final = 500
"""Below it a register in whole kWh may not have moved yet."""
_TIMES: Final = 10


def contradicts_power(readings: Sequence[Reading], samples: Sequence[Sample]) -> bool:
    """Whether the register moved ten times more or less than the power between its first and last reading.

    The power is integrated by trapezoids over the moments that have a total of it, or a sum of phases. False
    where that is too little to tell: fewer than two such moments, or less than 500 Wh by either account.
    """
    curve = _power(samples)
    if len(curve) < 2:
        return False
    points = [(at, milliwatt) for at, milliwatt in sorted(curve.items())]
    begin, end = points[0][0], points[-1][0]
    within = [r.wh for r in sorted(readings, key=lambda r: r.at) if begin <= r.at <= end]
    if len(within) < 2:
        return False
    moved = within[-1] - within[0]
    integral = sum((b - a) * (p + q) for (a, p), (b, q) in pairwise(points)) // (2 * _WH)
    if max(moved, integral) < _LEAST_WH:
        return False
    return moved > _TIMES * integral or integral > _TIMES * moved


def _power(samples: Sequence[Sample]) -> dict[int, int]:
    """Milliwatts by moment."""
    totals: dict[int, int] = {}
    phases: dict[int, int] = {}
    for sample in samples:
        if sample.measurand != POWER or sample.location not in (None, "Outlet"):
            continue
        if sample.phase is None:
            totals[sample.at] = sample.value_milli
        elif sample.phase[:2] in ("L1", "L2", "L3"):
            phases[sample.at] = phases.get(sample.at, 0) + sample.value_milli
    return phases | totals
