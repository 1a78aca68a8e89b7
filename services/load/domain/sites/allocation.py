"""Sharing a current among charging EVSEs."""

from __future__ import annotations

from collections.abc import Sequence

MIN_SHARE_MA = 6_000
"""Below 6 A a vehicle does not charge (IEC 61851-1): an EVSE gets that much or waits with 0."""

STEP_MA = 100
"""OCPP limits have one decimal of an ampere."""


def share(limit_ma: int, usable_ma: Sequence[int]) -> list[int]:
    """Share `limit_ma` among EVSEs given in order of arrival, each able to use `usable_ma`; milliampere per phase.

    As many as can have 6 A get a share, the later arrivals 0. Shares are max-min fair in steps of 0.1 A: nobody
    gets more than it can use (but at least 6 A), and whoever gets less than it can use gets as much as anybody,
    to a step. Their sum never exceeds the limit.
    """
    admitted = min(len(usable_ma), max(limit_ma, 0) // MIN_SHARE_MA)
    caps = [max(usable, MIN_SHARE_MA) // STEP_MA for usable in usable_ma[:admitted]]
    shares = [0] * len(usable_ma)
    left = limit_ma // STEP_MA
    # From the least able on, each gets an equal part of what is left; the earliest come last to the odd steps.
    order = sorted(range(admitted), key=lambda index: (caps[index], -index))
    for taken, index in enumerate(order):
        given = min(caps[index], left // (admitted - taken))
        shares[index] = given * STEP_MA
        left -= given
    return shares
