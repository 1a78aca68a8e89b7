"""Wrong passwords: whoever tries many is told to wait before the next one is looked at."""

from math import ceil
from typing import Final

from libs.runtime.addresses import network_of
from libs.runtime.allowance import Allowance
from libs.runtime.clock import SECOND
from libs.runtime.logging import get_logger
from services.api.http import metrics

log = get_logger(__name__)

_WINDOW: Final = 15 * 60 * SECOND
_KNOWN: Final = 10_000
_LINES: Final = 60
_MINUTE: Final = 60 * SECOND


class Tries:
    """Counts wrong passwords in a quarter of an hour: `of_both` of an account from an address (IPv6: /64), ten times as
    many from an address, and of an account from all addresses. 0: any number.

    Unlike a key, a password can be guessed: a right one waits, too. So that guessers elsewhere shut nobody out, the
    account's allowance does not count for addresses that the account is signed in from.
    """

    def __init__(self, of_both: int) -> None:
        self._both: Allowance[tuple[str, str]] = Allowance(of_both, _WINDOW, _KNOWN)
        self._of_address: Allowance[str] = Allowance(10 * of_both, _WINDOW, _KNOWN)
        self._of_account: Allowance[str] = Allowance(10 * of_both, _WINDOW, _KNOWN)
        self._lines: Allowance[None] = Allowance(_LINES, _MINUTE, 1)

    def wait_s(self, account_id: str, address: str, now: int, *, known: bool) -> int:
        """For how many seconds nobody looks at another try; `known`: the account is signed in from this address."""
        network = network_of(address)
        waits = [self._both.wait((account_id, network), now), self._of_address.wait(network, now)]
        if not known:
            waits.append(self._of_account.wait(account_id, now))
        return ceil(max(waits) / SECOND)

    def spend(self, account_id: str, address: str, now: int, *, exists: bool) -> None:
        """Count a wrong try, and log it: at most 60 lines a minute.

        A name without an account is not logged: some type their password there.
        """
        network = network_of(address)
        self._both.spend((account_id, network), now)
        self._of_address.spend(network, now)
        self._of_account.spend(account_id, now)
        metrics.WRONG_PASSWORDS.inc()
        if not self._lines.wait(None, now):
            self._lines.spend(None, now)
            log.warning("wrong_password", account_id=account_id if exists else "", address=address)
