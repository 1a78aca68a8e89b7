"""Sockets that are open and have not asked for anything yet."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

_SHARES: Final = 8


class Abortable(Protocol):
    """A socket that can be dropped."""

    def abort(self) -> None:
        """Drop the connection."""


S = TypeVar("S", bound=Abortable)


class WaitingRoom(Generic[S]):
    """At most `most` sockets whose request is under way, an eighth of them from one address.

    Who has been at it longest goes first: a request takes milliseconds, and those that are here for long are not meant
    to be finished, and must not keep the others out. `on_cut` is called for each that is dropped.
    """

    def __init__(self, most: int, on_cut: Callable[[], None]) -> None:
        self._most = most
        self._share = -(-most // _SHARES)
        self._on_cut = on_cut
        self._address_of: OrderedDict[S, str] = OrderedDict()
        self._waiting: dict[str, OrderedDict[S, None]] = {}

    def __len__(self) -> int:
        return len(self._address_of)

    def enter(self, socket: S, address: str) -> None:
        """Take note of a new socket."""
        neighbours = self._waiting.setdefault(address, OrderedDict())
        neighbours[socket] = None
        self._address_of[socket] = address
        if len(neighbours) > self._share:
            self._cut(next(iter(neighbours)))
        elif len(self._address_of) > self._most:
            self.cut()

    def leave(self, socket: S) -> None:
        """Take note that a socket has asked, or is gone."""
        address = self._address_of.pop(socket, None)
        if address is None:
            return
        neighbours = self._waiting[address]
        del neighbours[socket]
        if not neighbours:
            del self._waiting[address]

    def cut(self) -> bool:
        """Drop the one that has been here longest; False if nobody is here."""
        if not self._address_of:
            return False
        self._cut(next(iter(self._address_of)))
        return True

    def _cut(self, socket: S) -> None:
        self.leave(socket)
        self._on_cut()
        socket.abort()
