"""How often an outsider may fail, and come back, before he is told to wait. Memory is bounded."""

from libs.runtime.addresses import network_of
from libs.runtime.allowance import Allowance


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
