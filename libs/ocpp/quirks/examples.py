"""Proving the examples of rules: a frame through the RPC machine, the schema check and the reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import orjson

from libs.events.ids import derive_id
from libs.events.ocpp_log import OcppCallReceived
from libs.ocpp.errors import spell
from libs.ocpp.frames import CallReceived, Refused, SendReceived
from libs.ocpp.inbound import check_call
from libs.ocpp.quirks.book import RuleBook
from libs.ocpp.quirks.rules import Example, QuirkRule
from libs.ocpp.rpc import Role, RpcMachine
from libs.ocpp.schemas import Violation
from libs.ocpp.semantics.received_calls import read_exchange
from libs.runtime.clock import micros


def problems(rule: QuirkRule, book: RuleBook) -> list[str]:
    """What does not come of the rule's examples as it says, each in a line; `book` must hold the rule."""
    found = []
    for number, example in enumerate(rule.examples, 1):
        found += [f"{rule.name}, example {number}: {text}" for text in _problems(rule, example, book)]
    return found


def _problems(rule: QuirkRule, example: Example, book: RuleBook) -> list[str]:
    received = RpcMachine(example.version, Role.CSMS).receive(example.frame.encode())
    if isinstance(received, Refused):
        code = spell(example.version, received.code)
        return [] if code == example.refused else [f"is refused with {code}: {received.reason}"]
    if not isinstance(received, CallReceived | SendReceived):
        return ["the frame is neither a CALL nor a SEND"]
    checked = check_call(example.version, received.action, received.payload)
    if isinstance(checked, Violation):
        code = spell(example.version, checked.code)
        return [] if code == example.refused else [f"is refused with {code}: {checked.message}"]
    if example.refused:
        return [f"is not refused, but should be with {example.refused}"]
    found = [] if checked.quirks == example.quirks else [f"quirks are {list(checked.quirks)}"]
    if rule.match is not None and rule.effects:
        equipment = (example.vendor, example.model, example.firmware)
        if not rule.match.covers(example.version, *equipment):
            found.append("`match` does not cover the example's vendor, model and firmware")
    events = read_exchange(_record(example, received, checked.quirks), ZoneInfo(example.zone), book)
    kinds = {event["type"] for event in example.events}
    actual = [e for e in msgspec.to_builtins(events) if e["type"] in kinds or not kinds]
    return found + _differences("events", list(example.events), actual)


def _record(
    example: Example, received: CallReceived | SendReceived, quirks: tuple[str, ...]
) -> OcppCallReceived:
    event_id = derive_id(example.frame, "example")
    at = micros(example.received_at)
    return OcppCallReceived(
        event_id=event_id,
        occurred_at=at,
        recorded_at=at,
        cause_id=event_id,
        station_id="example",
        connection_epoch=0,
        edge_id="",
        version=example.version.value,
        message_id=received.message_id,
        action=received.action,
        payload=received.payload_json,
        answer=None if example.answer is None else orjson.dumps(example.answer).decode(),
        quirks=quirks,
        vendor=example.vendor,
        model=example.model,
        firmware=example.firmware,
    )


def _differences(path: str, expected: Any, actual: Any) -> list[str]:
    """Where `actual` is not what `expected` says; what `expected` leaves out is not looked at, but for quirks."""
    if isinstance(expected, datetime):
        expected = micros(expected)
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        found = [f"{path} has no {name!r}" for name in expected if name not in actual]
        if actual.get("quirks") and "quirks" not in expected:
            found.append(f"{path}.quirks are {list(actual['quirks'])}")
        for name, value in expected.items():
            if name == "quirks":
                found += _differences(f"{path}.{name}", sorted(value), sorted(actual.get(name, ())))
            elif name in actual:
                found += _differences(f"{path}.{name}", value, actual[name])
        return found
    if _is_list(expected) and _is_list(actual):
        if len(expected) != len(actual):
            return [f"{path} are {len(actual)}, not {len(expected)}: {actual}"]
        return [
            text
            for number, (one, two) in enumerate(zip(expected, actual, strict=True))
            for text in _differences(f"{path}[{number}]", one, two)
        ]
    return [] if expected == actual else [f"{path} is {actual!r}, not {expected!r}"]


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
