"""What the vehicle did during a session: charging, suspended, idle. Pure.

Where the charger tells its charging state (2.x), that counts. Else the registers must do: where one stood still for
`STILL` or longer, nothing was charged; that was idling if it never rose again, and suspended charging if it did.
"""

from __future__ import annotations

from typing import Final

from libs.runtime.clock import SECOND
from libs.tariffs.usage import Kind

STATES: Final = {"Charging": 0, "SuspendedEV": 1, "SuspendedEVSE": 1, "EVConnected": 2, "Idle": 2}
"""Charging states of 2.x (ChargingStateEnumType): number of their kind in `_KINDS`."""
STILL: Final = 900 * SECOND

_KINDS: Final = (Kind.CHARGING, Kind.SUSPENDED, Kind.IDLE)

States = list[tuple[int, Kind]]


def told(reports: list[tuple[int, int]]) -> States:
    """From reports of states; a vehicle that has not charged yet waits, and does not idle."""
    found: States = []
    charged = False
    for at, code in reports:
        kind = _KINDS[code]
        charged = charged or kind is Kind.CHARGING
        kind = Kind.SUSPENDED if kind is Kind.IDLE and not charged else kind
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
            found += [(since, Kind.SUSPENDED), (seen, Kind.CHARGING)]
        since = seen = at
        top = wh
    if seen - since >= STILL:
        found.append((since, Kind.IDLE))
    return found
