"""Where a station's socket is, and whose business a dispatched command is.

`edge.connections` keeps the last StationLocated by offset; of two records of one station the one with the higher
epoch is right, whatever their order. Epochs of two edges hardly ever meet; if they do, the edge id decides.
"""

from enum import Enum, auto

import msgspec

from libs.events.ids import derive_id
from libs.events.ocpp_log import StationLocated


class Holding(msgspec.Struct, frozen=True):
    """A connection that this edge process holds."""

    station_id: str
    edge_id: str
    epoch: int

    @property
    def connection_id(self) -> str:
        """The event id of the connection's ConnectionOpened."""
        return connection_id(self.station_id, self.edge_id, self.epoch)

    @property
    def ids(self) -> dict[str, object]:
        """By what a log line names the connection."""
        return {"station_id": self.station_id, "connection_id": self.connection_id, "epoch": self.epoch}


def connection_id(station_id: str, edge_id: str, epoch: int) -> str:
    """The id of a connection; whoever knows where it was can name it, also after a crash."""
    return derive_id(f"{edge_id}/{station_id}/{epoch}", "connection")


def next_epoch(now: int, *known: int | None) -> int:
    """The epoch of a connection that opens now (microseconds): above every known one, never below the clock."""
    return max([now, *(epoch + 1 for epoch in known if epoch is not None)])


class Judgement(Enum):
    """What a record of `edge.connections` means to the holder of a connection."""

    OURS = auto()
    """It is our own record: from here on it is the last one."""
    REPLACED = auto()
    """The station connected elsewhere later: close."""
    OVERWRITTEN = auto()
    """An older connection's record came after ours: say again where the station is."""
    NOTHING = auto()


def judge(holding: Holding, located: StationLocated, ours_seen: bool) -> Judgement:
    """Compare a record just read with what we hold. `ours_seen`: whether our own has been read already."""
    ours, theirs = (holding.epoch, holding.edge_id), (located.connection_epoch, located.edge_id)
    if theirs == ours:
        return Judgement.OURS
    if theirs > ours:
        return Judgement.REPLACED
    # Before our own record has been read, an older one is merely history.
    return Judgement.OVERWRITTEN if ours_seen else Judgement.NOTHING


class Addressee(Enum):
    """For whom a dispatched command is."""

    HELD = auto()
    """For a connection that is held here: send it."""
    GONE = auto()
    """For a connection that was held here and is not any more: refuse it."""
    OTHERS = auto()
    """For another process that shares the slot, or for nobody: that is theirs, or the router's deadline's."""


def addressee(
    edge_id: str, dispatch_epoch: int, held_epoch: int | None, was_here: bool, located: StationLocated | None
) -> Addressee:
    """Tell whose business a dispatch for `dispatch_epoch` of one station is.

    `held_epoch`: of the connection held here now. `was_here`: that epoch's connection was held by this process.
    `located`: the station's record in `edge.connections`, which also knows what earlier processes of the same
    edge id held. Exactly one edge process calls a connection its own, so at most one refuses.
    """
    if held_epoch == dispatch_epoch:
        return Addressee.HELD
    if was_here:
        return Addressee.GONE
    named_us = located is not None and located.edge_id == edge_id
    if named_us and located is not None and located.connection_epoch == dispatch_epoch:
        return Addressee.GONE
    return Addressee.OTHERS
