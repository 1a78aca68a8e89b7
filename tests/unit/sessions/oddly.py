"""Chargers that tell the truth oddly: clocks that are set in mid-session, phases apart, other places, two registers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import msgspec
import orjson

from libs.events.ids import derive_id
from libs.ocpp.times import format_timestamp, parse_timestamp
from tests.unit.sessions.charger import Script
from tests.unit.sessions.exchanges import DAY, HOUR, MINUTE, NOON
from tests.unit.sessions.meter import Visit

Payload = dict[str, Any]
PLACES = ("Body", "Inlet", "Cable", "EV", "Upstream")
PHASES = ("L1", "L2", "L3")


def oddly(random: Random, visit: Visit, script: Script) -> Script:
    """The script with samples told in one or several odd ways, none of which hides what they say."""
    ways: list[Callable[[Payload], None]] = []
    if random.random() < 0.5:
        place = random.choice(PLACES)
        ways.append(lambda payload: elsewhere(payload, place))
    if visit.register > 2 * visit.energy_wh + 1_000 and random.random() < 0.5:
        ways.append(lambda payload: from_zero(payload, visit.register))
    if random.random() < 0.5:
        order = random.random() < 0.5
        ways.append(lambda payload: apart(random if order else None, payload))
    return [rewritten(each, *ways) for each in script]


def rewritten(record: Any, *ways: Callable[[Payload], None]) -> Any:
    """The record with another payload, and an id of its own."""
    payload = orjson.loads(record.payload)
    for way in ways:
        way(payload)
    text = orjson.dumps(payload).decode()
    event_id = derive_id(record.event_id, text)
    return msgspec.structs.replace(record, payload=text, event_id=event_id, cause_id=event_id)


def values(payload: Payload) -> list[Payload]:
    found: list[Payload] = payload.get("meterValue") or payload.get("transactionData") or []
    return found


def samples(payload: Payload) -> Iterator[Payload]:
    for value in values(payload):
        yield from value["sampledValue"]


def elsewhere(payload: Payload, place: str) -> None:
    """Every register is read at `place`."""
    for sample in samples(payload):
        sample["location"] = place


def from_zero(payload: Payload, start_wh: int) -> None:
    """Samples in mid-session count from zero, whatever start and stop are told by."""
    for sample in samples(payload):
        if sample.get("context") in (None, "", "Sample.Periodic"):
            unit = sample.get("unit") or sample.get("unitOfMeasure", {}).get("unit", "Wh")
            thousandths = round(float(sample["value"]) * (1000 if unit == "kWh" else 1)) - start_wh
            value = thousandths / 1000 if unit == "kWh" else thousandths
            sample["value"] = str(value) if isinstance(sample["value"], str) else value


def apart(random: Random | None, payload: Payload) -> None:
    """A register for each phase, each in an element of its own; `random` brings them into another order."""
    found = values(payload)
    split = []
    for value in found:
        for sample in value["sampledValue"]:
            unit = sample.get("unit") or sample.get("unitOfMeasure", {}).get("unit", "Wh")
            factor = 1000 if unit == "kWh" else 1
            wh = round(float(sample["value"]) * factor)
            parts = (wh // 2, wh // 3, wh - wh // 2 - wh // 3)
            for phase, part in zip(PHASES, parts, strict=True):
                told: Any = part / 1000 if factor == 1000 else part
                told = str(told) if isinstance(sample["value"], str) else told
                split.append(value | {"sampledValue": [sample | {"value": told, "phase": phase}]})
    if random is not None:
        random.shuffle(split)
    found[:] = split


OFF = (-8 * 365 * DAY, -200 * DAY, -3 * DAY, -HOUR, -11 * MINUTE, 2 * HOUR, 3 * DAY, 300 * DAY, 900 * DAY)
"""By how much clocks are wrong."""


def wildly(random: Random, script: Script) -> Script:
    """The script by a clock that is wrong, to its end, up to a moment, or from one on."""
    off, change = random.choice(OFF), random.randrange(len(script) + 1)
    before = random.random() < 0.7
    wrong = [(n < change) is before for n in range(len(script))]
    return [
        rewritten(each, lambda payload: shift(payload, off)) if wrong[n] else each
        for n, each in enumerate(script)
    ]


def shift(payload: Payload, off: int) -> None:
    """All moments are told `off` microseconds later."""
    for holder in (payload, *values(payload)):
        if "timestamp" in holder:
            at, _ = parse_timestamp(holder["timestamp"], NOON)
            holder["timestamp"] = format_timestamp(at + off)
