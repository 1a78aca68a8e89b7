"""Chargers that send more than their version lists, and nothing where a word may be left out."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import orjson

from libs.events.ocpp_log import OcppCallReceived
from libs.ocpp.inbound import CheckedCall, check_call
from libs.ocpp.versions import Version

WORDS = {
    "ocpp1.6": ("unit", "phase", "format", "location", "context"),
    "ocpp2.0.1": ("phase", "location", "context"),
    "ocpp2.1": ("phase", "location", "context"),
}
"""Optional words of a sample that may stand there empty."""
VALUES: tuple[Any, ...] = ("good", 1, 0.5, None, True, [], {"value": "9000000", "unit": "Wh"})


def with_surplus(random: Random, told: OcppCallReceived) -> OcppCallReceived:
    """The message with properties that are not listed, in depth too, and empty words; flagged as the edge does it."""
    if told.action == "StatusNotification":
        return told
    payload = orjson.loads(told.payload)
    _add(random, payload, WORDS[told.version])
    checked = check_call(Version(told.version), told.action, payload)
    assert isinstance(checked, CheckedCall), checked
    return msgspec.structs.replace(told, payload=orjson.dumps(payload).decode(), quirks=checked.quirks)


def _add(random: Random, node: Any, words: tuple[str, ...]) -> None:
    if isinstance(node, list):
        for item in node:
            _add(random, item, words)
        return
    if not isinstance(node, dict):
        return
    for child in list(node.values()):
        _add(random, child, words)
    if "value" in node:
        node |= {word: "" for word in words if word not in node and random.random() < 0.2}
    if random.random() < 0.5:
        # Names that another action, version or level has.
        for name in random.sample(("quality", "meterStop", "disconnectReason", "register", "energy"), 2):
            node.setdefault(name, random.choice(VALUES))
