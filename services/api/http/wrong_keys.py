"""Requests with a wrong key: told to wait, and logged, by address."""

from math import ceil
from typing import Final

from libs.runtime.addresses import network_of
from libs.runtime.allowance import Allowance
from libs.runtime.clock import SECOND
from libs.runtime.logging import get_logger
from services.api.http import metrics

log = get_logger(__name__)

_NETWORKS: Final = 10_000
_LINES: Final = 60
_MINUTE: Final = 60 * SECOND


class WrongKeys:
    """Counts wrong keys by address (IPv6: /64), `limit` of them in a minute, 0 for any number.

    They make those wait who are wrong again, never who is right: anybody behind a shared address could turn them
    against the others. The log has at most 60 lines a minute of them.
    """

    def __init__(self, limit: int) -> None:
        self._failures: Allowance[str] = Allowance(limit, _MINUTE, _NETWORKS)
        self._lines: Allowance[None] = Allowance(_LINES, _MINUTE, 1)
        self._throttled: Allowance[str] = Allowance(1, _MINUTE, _NETWORKS)

    def wait_s(self, address: str, now: int) -> int:
        """Count a wrong key from `address`; for how many seconds whoever sent it is to wait, 0 for not yet."""
        network = network_of(address)
        wait = self._failures.wait(network, now)
        self._failures.spend(network, now)
        if not wait:
            self._log("wrong_key", address, now)
        else:
            metrics.WRONG_KEYS_THROTTLED.inc()
            if not self._throttled.wait(network, now):
                self._throttled.spend(network, now)
                self._log("wrong_keys_throttled", address, now)
        return ceil(wait / SECOND)

    def _log(self, event: str, address: str, now: int) -> None:
        if not self._lines.wait(None, now):
            self._lines.spend(None, now)
            log.warning(event, address=address)
