"""Records that are valid and mean harm, made from the schemas: ever-new numbers and ids, extremes, longest texts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from random import Random
from typing import Any, Final

import msgspec
import orjson

from libs.bus.message import Message
from libs.bus.processor import Processor
from libs.events.catalogue import RECORDS
from libs.events.contract import load_contract
from libs.events.ids import derive_id
from libs.events.record import Record
from libs.events.topics import OCPP_LIFECYCLE, OCPP_TRANSACTIONS
from libs.ocpp import schemas
from libs.ocpp.inbound import CheckedCall, check_call
from libs.ocpp.routing import ROUTES
from libs.ocpp.semantics.variables import LIMITING_KEYS
from libs.ocpp.times import format_timestamp
from libs.ocpp.versions import Version
from tests.unit.ocpp.minimal import schema_of

CONTRACT: Final = load_contract()
T0: Final = 1_795_348_800_000_000
STEP: Final = 250_000
"""Microseconds from one event to the next: 10,000 of them take about 40 minutes."""

_INT: Final = (0, 1, 2, 3, 7, -1, 2**31 - 1, -(2**31))
_LONG: Final = (*_INT, 2**40, 2**63 - 1, -(2**63))
_JSON_INT: Final = (0, 1, 2, 3, 7, -1, 2**31 - 1, 2**31, 2**40, 2**63 - 1, 2**64 - 1, -(2**63))
_TEXTS: Final = ("", "x", "x" * 255, "é" * 127, "0", "Accepted", "a\x00b", "../..")
TELLING: Final = frozenset(
    {
        "BootNotification",
        "FirmwareStatusNotification",
        "MeterValues",
        "NotifyReport",
        "StartTransaction",
        "StatusNotification",
        "StopTransaction",
        "TransactionEvent",
        "ChangeConfiguration",
        "GetConfiguration",
        "GetVariables",
        "SetVariables",
        "TriggerMessage",
    }
)
"""Actions that processors keep something of."""
EXCHANGES: Final = 500
_NOT_AT_WILL: Final = frozenset({"SessionRecalled"})
"""Kinds that only a tool of the platform writes, from state that it read."""


class Hostile:
    """Whatever is hostile to the key that `fixed` names (field name to what it may hold), from `seed` on."""

    def __init__(self, fixed: Mapping[str, Sequence[str]], seed: int) -> None:
        self._fixed = fixed
        self._random = Random(seed)
        self._count = 0
        self._exchanges: dict[tuple[str, str, Version], list[Record]] = defaultdict(list)
        self.now = T0

    def messages(self, processor: Processor[Any], number: int) -> Iterator[Message]:
        """So many messages of all kinds in the processor's inputs that it does not pass over."""
        kinds = [
            (topic, name)
            for topic in processor.inputs
            for name in CONTRACT.topics[topic].schemas
            if name not in _NOT_AT_WILL and _wanted(processor, topic, name)
        ]
        while self._count < number:
            topic, name = self._random.choice(kinds)
            self._count += 1
            self.now += STEP
            record = self.record(processor, topic, name)
            key = getattr(record, CONTRACT.topics[topic].key)
            tombstone = CONTRACT.topics[topic].cleanup == "compact" and self._random.random() < 0.05
            message = Message(topic, 0, self._count, key, None if tombstone else record, self.now)
            if processor.key(message) is not None:
                yield message

    def record(self, processor: Processor[Any], topic: str, name: str) -> Record:
        """A record of that kind; exchanges come again under other ids once there are many."""
        known = self._exchanges[topic, name, self._spoken]
        if len(known) >= EXCHANGES:
            again = self._random.choice(known)
            return msgspec.structs.replace(again, event_id=self._fresh(), recorded_at=self.now)
        fields = self._fields(CONTRACT.schemas[name])
        fields |= {"event_id": self._fresh(), "recorded_at": self.now, "occurred_at": self._moment()}
        if name in ("OcppCallReceived", "OcppCallSent"):
            fields |= self._exchange(processor, topic, name)
            known.append(msgspec.convert(fields, RECORDS[name], strict=False))
            return known[-1]
        if "payload" in fields and name == "RequestCommand":
            fields |= self._command()
        return msgspec.convert(fields, RECORDS[name], strict=False)

    def _command(self) -> dict[str, Any]:
        version, action = self._random.choice(_commands())
        size = self._random.choice((0, 0, 100, 50_000, 1_000_000))
        payload = {**self._payload(version, action, "request"), "padding": "x" * size}
        return {
            "action": action,
            "payload": orjson.dumps(payload).decode(),
            "dialect": self._random.choice(("OCPP", "VOLTBUS")),
            "expires_at": self.now + self._random.choice((0, 3_600_000_000, 2**55)),
            "call_timeout_ms": 30_000,
        }

    def _exchange(self, processor: Processor[Any], topic: str, name: str) -> dict[str, Any]:
        choices = [
            each
            for each in (_commands() if name == "OcppCallSent" else _calls(topic))
            if processor.wants(topic, name, each[1])
        ]
        choices = [each for each in choices if each[0] is self._spoken] or choices
        # One that boots says nothing else.
        boots = self._random.random() < 0.03
        telling = [e for e in choices if e[1] in TELLING and (e[1] == "BootNotification") is boots]
        version, action = self._random.choice(telling if telling and self._random.random() < 0.9 else choices)
        if name == "OcppCallSent":
            return {
                "version": version,
                "action": action,
                "payload": orjson.dumps(self._payload(version, action, "request")).decode(),
                "result": orjson.dumps(self._payload(version, action, "response")).decode(),
                "error": self._random.choice(
                    (None, {"code": "NotSupported", "description": "x" * 255, "details": "{}"})
                ),
                "outcome": self._random.choice(("RESULT", "RESULT", "ERROR", "TIMEOUT")),
            }
        while True:
            payload = self._payload(version, action, "request")
            checked = check_call(version, action, orjson.loads(orjson.dumps(payload)))
            if isinstance(checked, CheckedCall):
                break
        return {
            "version": version,
            "action": action,
            "payload": orjson.dumps(payload).decode(),
            "answer": orjson.dumps(self._answer(action)).decode(),
            "error": None,
            "quirks": checked.quirks,
            "pending": False,
            "slot": 0,
            **dict.fromkeys(("vendor", "model", "firmware"), "x"),
        }

    def _answer(self, action: str) -> dict[str, Any]:
        status = {"status": self._random.choice(("Accepted", "Invalid"))}
        match action:
            case "StartTransaction":
                return {"transactionId": self._random.randint(1, 2**31 - 1), "idTagInfo": status}
            case "BootNotification":
                return {"status": self._random.choice(("Accepted", "Pending", "Rejected")), "interval": 300}
            case "TransactionEvent":
                return {"idTokenInfo": status}
            case _:
                return {}

    def _payload(self, version: Version, action: str, kind: schemas.Kind) -> dict[str, Any]:
        schema = schema_of(version, action, kind)
        found: dict[str, Any] = self._json(schema, schema, "")
        return found

    def _json(self, schema: Mapping[str, Any], root: Mapping[str, Any], name: str) -> Any:
        choose, chance = self._random.choice, self._random.random
        if "$ref" in schema:
            return self._json(root["definitions"][schema["$ref"].rpartition("/")[2]], root, name)
        if "enum" in schema:
            return choose(schema["enum"])
        match schema.get("type", "string"):
            case "object":
                needed = schema.get("required", ())
                return {
                    each: self._json(inner, root, each)
                    for each, inner in schema.get("properties", {}).items()
                    if each != "customData" and (each in needed or chance() < 0.5)
                }
            case "array":
                most = schema.get("maxItems", 100)
                length = max(schema.get("minItems", 0), min(most, choose((0, 1, 1, 2, 3, 20))))
                return [self._json(schema["items"], root, name) for _ in range(length)]
            case "integer":
                low, high = schema.get("minimum", -(2**63)), schema.get("maximum", 2**64)
                fitting = [each for each in (*_JSON_INT, self._count) if low <= each <= high]
                return int(choose(fitting) if chance() < 0.5 else self._number())
            case "number":
                return choose((0, 0.5, 1e15, -1, self._count, 1e300))
            case "boolean":
                return chance() < 0.5
        if schema.get("format") == "date-time":
            return choose(
                (format_timestamp(self._moment()), "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "soon")
            )
        if name == "value":
            return choose((str(self._count), "1e15", "x", "-5", "NaN"))
        if name in ("key", "name") and chance() < 0.5:
            return choose((*LIMITING_KEYS, "Available", "available"))
        longest = schema.get("maxLength", 500)
        return choose(
            (self._fresh()[:longest], "x" * longest, "é" * longest, "y" * 300, f"{self._count}", "")
        )

    def _fields(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        return {field["name"]: self._avro(field["type"], field["name"]) for field in schema["fields"]}

    def _avro(self, schema: Any, name: str) -> Any:
        choose = self._random.choice
        if isinstance(schema, list):
            return self._avro(choose([each for each in schema if each != "null"] + ["null"]), name)
        kind = schema["type"] if isinstance(schema, dict) else schema
        if isinstance(kind, dict | list):
            return self._avro(kind, name)
        match kind:
            case "null":
                return None
            case "boolean":
                return choose((True, False))
            case "int":
                return choose((*_INT, *[self._number()] * len(_INT)))
            case "long":
                moments = isinstance(schema, dict) and "timestamp" in schema.get("logicalType", "")
                if name == "deadline":
                    return self.now + 30 * 86_400_000_000
                return self._moment() if moments else choose((*_LONG, self._count))
            case "float" | "double":
                return choose((0.0, -1.5, 1e300))
            case "bytes":
                return choose((b"", b"x" * 1_000))
            case "enum":
                return choose(schema["symbols"])
            case "array":
                return [self._avro(schema["items"], name) for _ in range(choose((0, 1, 2, 5, 40)))]
            case "map":
                return {self._fresh(): self._avro(schema["values"], name) for _ in range(choose((0, 1, 3)))}
            case "record":
                return self._fields(schema)
            case _:
                return self._string(name)

    def _string(self, name: str) -> str:
        """Some fields have a form that whoever writes the record keeps to."""
        if name in self._fixed:
            return self._random.choice(self._fixed[name])
        match name:
            case "event_id" | "cause_id" | "session_id" | "command_id" | "decision_id" | "connection_id":
                return self._fresh()
            case "month":
                return self._random.choice(("2026-10", "2026-11", "2026-12", "2027-01"))
            case "timezone":
                return self._random.choice(("UTC", "Europe/Berlin", "Pacific/Auckland"))
            case "version":
                return self._random.choice(list(Version))
            case "currency":
                return self._random.choice(("EUR", "JPY", "KWD"))
            case _:
                return self._random.choice((*_TEXTS, self._fresh(), self._fresh(), self._fresh()))

    def _fresh(self) -> str:
        """An id that was not there before, or now and then one that was."""
        number = self._count if self._random.random() < 0.9 else self._random.randint(0, self._count)
        return derive_id("hostile", str(number))

    @property
    def _spoken(self) -> Version:
        """A station speaks one version for a while."""
        return list(Version)[self._count // 250 % len(Version)]

    def _number(self) -> int:
        """Ever-new, or one of a few."""
        return self._random.choice((self._count, self._random.randint(1, 20)))

    def _moment(self) -> int:
        return self.now + self._random.choice(
            (0, 0, 0, -STEP, 3_600_000_000, -86_400_000_000, 7 * 86_400_000_000)
        )


def _wanted(processor: Processor[Any], topic: str, name: str) -> bool:
    if name not in ("OcppCallReceived", "OcppCallSent"):
        return processor.wants(topic, name, None)
    choices = _commands() if name == "OcppCallSent" else _calls(topic)
    return any(processor.wants(topic, name, action) for _, action in choices)


@cache
def _calls(topic: str) -> list[tuple[Version, str]]:
    assert topic in (OCPP_LIFECYCLE, OCPP_TRANSACTIONS)
    return [
        (version, action)
        for version in Version
        for action, route in ROUTES[version].items()
        if route.to_csms and route.topic == topic
    ]


@cache
def _commands() -> list[tuple[Version, str]]:
    return [(v, action) for v in Version for action, route in ROUTES[v].items() if route.to_station]
