"""How many files and sockets the process may have open."""

import resource
import sys
from contextlib import suppress
from typing import Final

_PLENTY: Final = 1 << 20
_MACOS: Final = 10_240
"""What macOS allows where it says that there is no limit."""


def raise_limit() -> int:
    """Raise the limit to the most that the process may have by itself; returns what is in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _PLENTY if hard == resource.RLIM_INFINITY else hard
    wanted = min(most, _MACOS) if sys.platform == "darwin" else most
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # The system may have a bound that it does not tell.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return limit()


def limit() -> int:
    """The limit in force."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _PLENTY if soft == resource.RLIM_INFINITY else soft
