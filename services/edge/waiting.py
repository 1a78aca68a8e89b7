"""Sockets that are open and have not asked for anything yet."""

from collections import OrderedDict
from typing import Generic, Protocol, TypeVar

from services.edge import metrics


class Abortable(Protocol):
    """A socket that can be dropped."""

    def abort(self) -> None:
        """Drop the connection."""


S = TypeVar("S", bound=Abortable)


class WaitingRoom(Generic[S]):
    """At most `most` sockets whose handshake is under way: who has been at it longest goes first.

    A station's handshake takes milliseconds; those that are here for long are not meant to be finished, and must not
    keep the others out.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: OrderedDict[S, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, socket: S) -> None:
        """Take note of a new socket."""
        self._waiting[socket] = None
        if len(self._waiting) > self._most:
            slowest, _ = self._waiting.popitem(last=False)
            metrics.HANDSHAKES_CUT.inc()
            slowest.abort()

    def leave(self, socket: S) -> None:
        """Take note that a socket has asked, or is gone."""
        self._waiting.pop(socket, None)
