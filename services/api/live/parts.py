"""Which parts of what operators see a record changes."""

import re
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

from libs.events.record import Record
from libs.events.topics import (
    BILLING_CDRS,
    BILLING_DECIDED,
    COMMANDS_OUTCOMES,
    FIRMWARE_CAMPAIGNS,
    LOAD_PLANS,
    SECURITY_ALERTS,
    SESSIONS_EVENTS,
    TELEMETRY_HEALTH,
)

LISTS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        TELEMETRY_HEALTH: ("stations", "worklist"),
        SESSIONS_EVENTS: ("sessions",),
        BILLING_CDRS: ("sessions",),
        BILLING_DECIDED: ("sessions", "worklist"),
        COMMANDS_OUTCOMES: ("worklist",),
        SECURITY_ALERTS: ("worklist",),
        LOAD_PLANS: ("sites",),
        FIRMWARE_CAMPAIGNS: ("campaigns", "worklist"),
    }
)
"""Lists that each topic changes."""

_ONE: Final[Mapping[str, str]] = MappingProxyType(
    {"session_id": "session", "command_id": "command", "site_id": "site", "campaign_id": "campaign"}
)
"""What a field of a record is the id of."""

_LONGEST: Final = 260
_NAME: Final = re.compile(rf"[a-z]{{1,20}}(/[^\x00-\x20]{{1,{_LONGEST}}})?")


def parts_of(topic: str, record: Record, stations: Collection[str]) -> frozenset[str]:
    """The parts: lists, such as `stations`, and single things, such as `station/cp-1` or `session/{id}`.

    `stations`: those that it concerns.
    """
    found = {*LISTS.get(topic, ()), *(f"station/{each}" for each in stations)}
    for field, kind in _ONE.items():
        if one := getattr(record, field, None):
            found.add(f"{kind}/{one}")
    return frozenset(found)


def is_part(name: str) -> bool:
    """Whether that may be the name of a part."""
    return _NAME.fullmatch(name) is not None
