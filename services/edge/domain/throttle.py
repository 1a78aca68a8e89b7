"""How often an outsider may fail, and come back, before he is told to wait. Memory is bounded."""

from collections import OrderedDict
from typing import Generic, TypeVar

from libs.runtime.addresses import network_of

K = TypeVar("K")


class Allowance(Generic[K]):
    """`limit` events at once per key, refilled evenly over `window_us`; 0 limits nothing.

    Of more than `most` keys those of the oldest events are forgotten.
    """

    def __init__(self, limit: int, window_us: int, most: int) -> None:
        self._limit = limit
        self._interval = window_us // limit if limit else 0
        self._most = most
        # When each key's bucket will be full again.
        self._full_at: OrderedDict[K, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def wait(self, key: K, now: int) -> int:
        """Microseconds until the key may have its next event; 0: now."""
        if not self._limit:
            return 0
        return max(0, self._full_at.get(key, now) - (self._limit - 1) * self._interval - now)

    def spend(self, key: K, now: int) -> None:
        """Count one event."""
        if not self._limit:
            return
        full_at = max(self._full_at.get(key, now), now) + self._interval
        self._full_at[key] = min(full_at, now + self._limit * self._interval)
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._most:
            self._full_at.popitem(last=False)


class Throttle:
    """Failed and successful handshakes by address, and by address and claimed identity.

    Failures make those wait who fail again, never who is right: anybody behind an address, which may be that of a
    whole mobile network or of a balancer, could turn them against a station. Addresses are IPv4 addresses and IPv6 /64
    networks.
    """

    def __init__(
        self, failures: int, failures_per_address: int, visits: int, window_us: int, most: int
    ) -> None:
        self._failures: Allowance[tuple[str, str]] = Allowance(failures, window_us, most)
        self._by_address: Allowance[str] = Allowance(failures_per_address, window_us, most)
        self._visits: Allowance[tuple[str, str]] = Allowance(visits, window_us, most)

    def after_failures(self, address: str, identity: str, now: int) -> int:
        """Microseconds for which a peer that was not believed is told to wait; 0: not yet."""
        network = network_of(address)
        return max(self._failures.wait((network, identity), now), self._by_address.wait(network, now))

    def after_visits(self, address: str, identity: str, now: int) -> int:
        """Microseconds for which this peer is to be refused though it is right: it comes again and again."""
        return self._visits.wait((network_of(address), identity), now)

    def failed(self, address: str, identity: str, now: int) -> None:
        """The peer was not believed."""
        network = network_of(address)
        self._failures.spend((network, identity), now)
        self._by_address.spend(network, now)

    def admitted(self, address: str, identity: str, now: int) -> None:
        """The peer was let in."""
        self._visits.spend((network_of(address), identity), now)
