"""What is known of a station: its connection, what it says it is, its connectors, and counts per window.

Times are microseconds since the Unix epoch.
"""

from __future__ import annotations

from typing import Final

import msgspec

from libs.events.telemetry import ConnectorState
from libs.ocpp.semantics.model import Booted, ConnectorStatusReported
from libs.ocpp.semantics.numbers import evse_number
from libs.runtime.clock import SECOND

WINDOW: Final = 300 * SECOND
"""Windows are this long and aligned to the epoch, by the platform's clock (`recorded_at`)."""
GRACE: Final = 60 * SECOND
"""How long a window stays open after its end for what another topic still brings."""
LATE: Final = 3600 * SECOND
"""A status that comes this long after a newer one of its connection is no straggler: the clock went back."""
MOST_CONNECTORS: Final = 64
"""Connector numbers come from chargers; some name one in the thousand millions."""
_REMEMBERED: Final = 32

Heard = tuple[int, int, int]
"""Which connection told the last status of a connector, of which moment it was, and when it was recorded."""


class Window(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Counts since `start`; `cause_id` is the latest event counted, recorded at `latest_at`."""

    start: int
    latest_at: int
    cause_id: str
    calls: int = 0
    boots: int = 0
    disconnects: int = 0
    faults: int = 0
    quirks: int = 0
    rejected: int = 0


class Counts(msgspec.Struct, frozen=True, gc=False):
    """What one event adds to a window."""

    calls: int = 0
    boots: int = 0
    disconnects: int = 0
    faults: int = 0
    quirks: int = 0
    rejected: int = 0


class StationHealth(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """State of one station.

    `epoch`: of its newest connection. `windows`: open, oldest first. `closed_until`: end of the last closed
    window. `seen`: checksums of the last events, newest last. `heard`: of each of the connectors, in their order.
    """

    station_id: str
    epoch: int = -1
    connected: bool = False
    version: str = ""
    vendor: str = ""
    model: str = ""
    serial: str = ""
    firmware_version: str = ""
    connectors: tuple[ConnectorState, ...] = ()
    last_boot_at: int | None = None
    windows: tuple[Window, ...] = ()
    closed_until: int = 0
    seen: tuple[int, ...] = ()
    heard: tuple[Heard, ...] = ()


def same_to_readers(one: StationHealth, other: StationHealth) -> bool:
    """Whether nothing differs that StationStateChanged is about; moments alone are no change."""
    return (
        one.connectors == other.connectors
        and one.connected == other.connected
        and one.version == other.version
        and one.vendor == other.vendor
        and one.model == other.model
        and one.serial == other.serial
        and one.firmware_version == other.firmware_version
    )


def opened(state: StationHealth, epoch: int, version: str) -> StationHealth:
    """A connection exists. Older ones than the newest known, and the newest told again, say nothing new."""
    if epoch <= state.epoch:
        return state
    return msgspec.structs.replace(state, epoch=epoch, connected=True, version=version)


def closed(state: StationHealth, epoch: int) -> StationHealth:
    """A connection is gone. One that was displaced by a newer leaves the station connected."""
    if epoch < state.epoch:
        return state
    return msgspec.structs.replace(state, epoch=epoch, connected=False)


def booted(state: StationHealth, fact: Booted) -> StationHealth:
    """The station said what it is."""
    return msgspec.structs.replace(
        state,
        vendor=fact.vendor,
        model=fact.model,
        serial=fact.serial or "",
        firmware_version=fact.firmware_version or "",
        last_boot_at=fact.at,
    )


def admits(state: StationHealth, fact: ConnectorStatusReported) -> bool:
    """Whether there is room for the connector, and there can be one of that number."""
    if evse_number(fact.evse_id) is None or evse_number(fact.connector_id) is None:
        return False
    place = (fact.evse_id, fact.connector_id)
    known = any((c.evse_id, c.connector_id) == place for c in state.connectors)
    return known or len(state.connectors) < MOST_CONNECTORS


def reported(
    state: StationHealth, fact: ConnectorStatusReported, epoch: int, recorded_at: int
) -> StationHealth:
    """The status of a connector that the state `admits`. One that is older than what is known changes nothing.

    Over a newer connection it is news all the same, as the clock may be another one, and when it comes so late that the
    clock must have gone back. A moment in the future counts as that of its record.
    """
    error_code = fact.error_code or "NoError"
    place = (fact.evse_id, fact.connector_id)
    heard = _heard(state)
    current = next((c for c in state.connectors if (c.evse_id, c.connector_id) == place), None)
    connectors = state.connectors
    if current is not None and _straggles(state, heard[place], fact.at, epoch, recorded_at):
        return state
    if current is None or (current.status, current.error_code) != (fact.status, error_code):
        connector = ConnectorState(
            evse_id=fact.evse_id,
            connector_id=fact.connector_id,
            status=fact.status,
            error_code=error_code,
            since=min(fact.at, recorded_at),
        )
        others = [c for c in connectors if c is not current]
        connectors = tuple(sorted([*others, connector], key=lambda c: (c.evse_id, c.connector_id)))
    heard[place] = (epoch, min(fact.at, recorded_at), recorded_at)
    kept = tuple([heard[c.evse_id, c.connector_id] for c in connectors])
    return msgspec.structs.replace(state, connectors=connectors, heard=kept)


def _straggles(state: StationHealth, heard: Heard, at: int, epoch: int, recorded_at: int) -> bool:
    told_by, moment, heard_at = heard
    if at >= moment:
        return False
    return epoch < state.epoch or (epoch == told_by and recorded_at - heard_at < LATE)


def _heard(state: StationHealth) -> dict[tuple[int, int], Heard]:
    # Where it was not kept yet, whatever comes over the present connection is news.
    heard = state.heard or [(-1, connector.since, 0) for connector in state.connectors]
    return {(c.evse_id, c.connector_id): each for c, each in zip(state.connectors, heard, strict=True)}


def counted(state: StationHealth, checksum: int, cause_id: str, at: int, counts: Counts) -> StationHealth:
    """Add `counts` to the window of `at`, or to the oldest open one if that is closed already."""
    start = max(at - at % WINDOW, state.closed_until)
    windows = {window.start: window for window in state.windows}
    window = windows.get(start, Window(start, at, cause_id))
    windows[start] = Window(
        start,
        *max((window.latest_at, window.cause_id), (at, cause_id)),
        window.calls + counts.calls,
        window.boots + counts.boots,
        window.disconnects + counts.disconnects,
        window.faults + counts.faults,
        window.quirks + counts.quirks,
        window.rejected + counts.rejected,
    )
    return msgspec.structs.replace(
        state,
        windows=tuple(windows[start] for start in sorted(windows)),
        seen=(*state.seen, checksum)[-_REMEMBERED:],
    )


def due(state: StationHealth) -> int | None:
    """When the oldest window closes."""
    return state.windows[0].start + WINDOW + GRACE if state.windows else None
