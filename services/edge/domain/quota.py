"""What each station may take of its edge process: messages, bytes and CPU. None lives at the others' expense."""

from collections import OrderedDict
from typing import Final

import msgspec

from services.edge.domain.limits import GarbageMeter

_REMEMBERED: Final = 20_000
_MOST_CPU_S: Final = 0.1
"""Of one message: where it took longer, the process itself had to wait for its core."""


class Rates(msgspec.Struct, frozen=True):
    """What one station may take per second, for ever: messages, bytes of them, and a part of one core; 0: no bound.

    `saved_s`: so many seconds' worth may be taken at once.
    """

    messages: float
    bytes: float
    cpu: float
    saved_s: float


class Account:
    """One station's. All that it takes is counted as time: a thirtieth of a second if thirty a second are allowed.

    `garbage`: its unusable frames.
    """

    __slots__ = ("_even_at", "_per_byte", "_per_cpu_s", "_per_message", "_saved_s", "garbage")

    def __init__(self, rates: Rates, garbage: GarbageMeter) -> None:
        self._per_message = 1 / rates.messages if rates.messages else 0.0
        self._per_byte = 1 / rates.bytes if rates.bytes else 0.0
        self._per_cpu_s = 1 / rates.cpu if rates.cpu else 0.0
        self._saved_s = rates.saved_s
        self._even_at = 0.0
        self.garbage = garbage

    def spend(self, now: float, size: int, cpu_s: float) -> None:
        """Count a message of `size` bytes that was worked on for `cpu_s`; `now` is a monotonic time."""
        # Without min and max, which would be most of it.
        worked_s = cpu_s if cpu_s < _MOST_CPU_S else _MOST_CPU_S
        owed_from = self._even_at if self._even_at > now else now
        self._even_at = owed_from + self._per_message + size * self._per_byte + worked_s * self._per_cpu_s

    def wait(self, now: float) -> float:
        """Seconds until its next message may be looked at; 0 or less: now."""
        return self._even_at - self._saved_s - now


class Quota:
    """The stations' accounts. They outlive connections, so that nobody gets a new one by connecting again."""

    def __init__(self, rates: Rates, garbage_limit: int, window_us: int) -> None:
        self._rates = rates
        self._garbage = (garbage_limit, window_us)
        self._accounts: OrderedDict[str, Account] = OrderedDict()

    def __len__(self) -> int:
        return len(self._accounts)

    def account(self, station_id: str) -> Account:
        """The station's account; of more than 20,000 those that were asked for longest ago are forgotten."""
        account = self._accounts.get(station_id)
        if account is None:
            account = self._accounts[station_id] = Account(self._rates, GarbageMeter(*self._garbage))
            if len(self._accounts) > _REMEMBERED:
                self._accounts.popitem(last=False)
        self._accounts.move_to_end(station_id)
        return account
