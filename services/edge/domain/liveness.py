"""Whether a silent socket is still alive."""

from enum import Enum, auto

import msgspec


class Patience(msgspec.Struct, frozen=True):
    """Seconds. A socket that was silent for `ping_after_s` is asked, one silent for `dead_after_s` is dead."""

    ping_after_s: float
    dead_after_s: float


class Liveness(Enum):
    """What to do about a socket."""

    FINE = auto()
    PING = auto()
    DEAD = auto()


def liveness(
    patience: Patience, silent_s: float, since_ping_s: float, ponged: bool, heartbeat_interval_s: int
) -> Liveness:
    """Judge a socket from which nothing was received for `silent_s`; anything received is a sign of life.

    `ponged`: it has answered a ping before. One that never did (EN+ chargers do not) is given two of its
    heartbeats' time.
    """
    if silent_s < patience.ping_after_s and silent_s < patience.dead_after_s:
        return Liveness.FINE
    dead_after = patience.dead_after_s
    if not ponged:
        dead_after = max(dead_after, 2 * heartbeat_interval_s + patience.ping_after_s)
    if silent_s >= dead_after:
        return Liveness.DEAD
    return Liveness.PING if since_ping_s >= patience.ping_after_s else Liveness.FINE
