"""What the vehicle did during a session: charging, suspended, idle. Pure.

The charger's charging state (2.x) or connector status (1.6) counts. Without one, the registers count: if a register
stands still for `STILL` or longer, the vehicle was suspended if the register rises again, and idle if not.

States are a curve of values: the step's number (2.x seqNo), then the code. Of states at the same moment the one with
the higher number applies, without numbers the one with the higher code: chargers report whole seconds.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from libs.runtime.clock import SECOND
from libs.tariffs.usage import VehicleState
from services.sessions.domain import curve
from services.sessions.domain.curve import POINT, SIZE, Curve, Points, packed

PREPARING: Final = 0
SUSPENDED: Final = 1
CHARGING: Final = 2
FINISHED: Final = 3
GONE: Final = 4

STATES: Final = {
    "Charging": CHARGING,
    "SuspendedEV": SUSPENDED,
    "SuspendedEVSE": SUSPENDED,
    "EVConnected": FINISHED,
    "Idle": FINISHED,
}
"""Codes of the charging states of 2.x (ChargingStateEnumType)."""
STATUSES: Final = {
    "Preparing": PREPARING,
    "SuspendedEV": SUSPENDED,
    "SuspendedEVSE": SUSPENDED,
    "Faulted": SUSPENDED,
    "Charging": CHARGING,
    "Finishing": FINISHED,
    "Available": GONE,
}
"""Codes of the connector statuses of 1.6 that tell of a vehicle."""
STILL: Final = 900 * SECOND
MOST_STATES: Final = 32

# A vehicle that is gone occupies nothing: whatever is left of its session is no idling.
_KINDS: Final = (
    VehicleState.IDLE,
    VehicleState.SUSPENDED,
    VehicleState.CHARGING,
    VehicleState.IDLE,
    VehicleState.SUSPENDED,
)
_CODE_BITS: Final = 3
_CODE: Final = (1 << _CODE_BITS) - 1
_MOST_NUMBER: Final = 2**40

States = list[tuple[int, VehicleState]]


def join(states: Curve, at: int, code: int, number: int = 0) -> Curve:
    """`states` with another one; the same object if that is no news.

    Nothing is lost up to `MOST_STATES`. Beyond that the inner ones of a row of equals go, and if that does not help,
    the curve is thinned by its buckets.
    """
    value = min(max(number, 0), _MOST_NUMBER) << _CODE_BITS | code
    point = (at, value)
    known = states.points
    if known and POINT.unpack_from(known, len(known) - SIZE) >= point:
        points = states.readings()
        index = bisect_left(points, point)
        if points[index] == point:
            return states
        points.insert(index, point)
        known = packed(points)
    else:
        known += POINT.pack(at, value)
    if len(known) > MOST_STATES * SIZE:
        points = _edges(list(POINT.iter_unpack(known)))
        known = packed(points)
        if len(points) > MOST_STATES:
            return curve.thinned(points, states.grain)
    return Curve(states.grain, known)


def last_told(states: Curve) -> tuple[int, int] | None:
    """The moment and the code of what was told last."""
    if not states.points:
        return None
    at, value = POINT.unpack_from(states.points, len(states.points) - SIZE)
    return at, value & _CODE


def says_charging(states: Curve) -> bool:
    """Whether it was told that the vehicle charged."""
    return any(value & _CODE == CHARGING for _, value in states.readings())


def told(reports: Points, begun: int) -> States:
    """From a curve's states, for a session that began at `begun`: of those told before, the last counts.

    A vehicle that has not charged yet waits, and does not idle.
    """
    found: States = []
    charged = False
    before = max(0, bisect_left(reports, (begun + 1, 0)) - 1)
    for at, value in reports[before:]:
        kind = _KINDS[value & _CODE]
        charged = charged or kind is VehicleState.CHARGING
        kind = VehicleState.SUSPENDED if kind is VehicleState.IDLE and not charged else kind
        if found and found[-1][0] == at:
            found.pop()
        if not found or found[-1][1] is not kind:
            found.append((at, kind))
    return found


def still(registers: list[tuple[int, int]]) -> States:
    """From registers in the order of time."""
    found: States = []
    if not registers:
        return found
    since, (seen, top) = registers[0][0], registers[0]
    for at, wh in registers[1:]:
        if wh == top:
            seen = at
            continue
        if seen - since >= STILL:
            found += [(since, VehicleState.SUSPENDED), (seen, VehicleState.CHARGING)]
        since = seen = at
        top = wh
    if seen - since >= STILL:
        found.append((since, VehicleState.IDLE))
    return found


def _edges(points: Points) -> Points:
    """The first and the last of each row of equal codes."""
    codes = [value & _CODE for _, value in points]
    last = len(points) - 1
    return [
        point
        for index, point in enumerate(points)
        if index in (0, last) or not codes[index - 1] == codes[index] == codes[index + 1]
    ]
