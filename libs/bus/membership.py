"""How every process takes part in its consumer groups."""

from typing import Any, Final

from libs.bus.settings import BusSettings

_HEARTBEATS: Final = 4
"""In a session timeout, so that one that is late or lost does not end the session."""
_LONGEST_S: Final = 3.0
"""A member hears of a rebalance by a heartbeat, and the others wait for it."""
METADATA_AGE_MS: Final = 10_000
"""How old what a member knows of topics may be: its leader gives out what it knows, and a new topic, or partitions that
were added, may be unknown to the broker that it asks first. The client's own bound is five minutes.
"""


def heartbeat_interval_s(settings: BusSettings) -> float:
    """Seconds between two heartbeats of a member."""
    return min(settings.kafka_session_timeout_s / _HEARTBEATS, _LONGEST_S)


def membership(settings: BusSettings) -> dict[str, Any]:
    """The arguments of AIOKafkaConsumer that say who a member is, and how it shows that it is alive."""
    return {
        "session_timeout_ms": round(settings.kafka_session_timeout_s * 1000),
        "heartbeat_interval_ms": round(heartbeat_interval_s(settings) * 1000),
        "group_instance_id": settings.kafka_instance_id,
        "metadata_max_age_ms": METADATA_AGE_MS,
    }
