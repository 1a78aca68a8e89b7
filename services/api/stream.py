"""The live event stream: every client gets what it asked for, and nobody waits for the slowest."""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection
from functools import cached_property
from typing import Any, Final

import msgspec

from libs.bus.message import Message
from libs.events.contract import Contract, Schema
from libs.events.load import LoadPlanMade
from libs.events.record import Record
from libs.runtime.clock import iso
from services.api import metrics
from services.api.problems import Unavailable

TOPICS: Final = (
    "sessions.events",
    "telemetry.health",
    "commands.outcomes",
    "load.plans",
    "firmware.campaigns",
    "billing.cdrs",
    "billing.decided",
)

Plan = dict[str, Any]


class Wording:
    """Records as JSON objects: their own fields, moments as RFC 3339 text."""

    def __init__(self, contract: Contract) -> None:
        self._plans = {name: _plan(schema) for name, schema in contract.schemas.items()}

    def of(self, record: Record) -> dict[str, Any]:
        """The fields of `record`."""
        fields: dict[str, Any] = msgspec.to_builtins(record)
        _reword(fields, self._plans[type(record).__name__])
        return fields


def _plan(schema: Schema) -> Plan:
    found: Plan = {}
    for field in schema["fields"]:
        kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
        for kind in kinds:
            if not isinstance(kind, dict):
                continue
            if kind.get("logicalType") == "timestamp-micros":
                found[field["name"]] = None
            elif kind["type"] == "array" and isinstance(kind["items"], dict):
                found[field["name"]] = _plan(kind["items"])
    return found


def _reword(fields: dict[str, Any], plan: Plan) -> None:
    for name, inner in plan.items():
        value = fields[name]
        if inner is not None:
            for part in value:
                _reword(part, inner)
        elif value is not None:
            fields[name] = _moment(value)


def _moment(micros: int) -> str:
    try:
        return iso(micros).replace("+00:00", "Z")
    except (OverflowError, ValueError):
        return str(micros)


class Event:
    """One event of the stream. It is put into words when the first client asks: most of the time there is none."""

    def __init__(self, number: int, topic: str, record: Record, put: Callable[["Event"], bytes]) -> None:
        self.number = number
        self.topic = topic
        self.record = record
        self._put = put

    @property
    def kind(self) -> str:
        """The record's name."""
        return type(self.record).__name__

    @property
    def stations(self) -> frozenset[str]:
        """The stations that it concerns."""
        return _stations(self.record)

    @cached_property
    def wire(self) -> bytes:
        """The bytes of server-sent events."""
        return self._put(self)


class Filter(msgspec.Struct, frozen=True):
    """What a client wants: kinds are names of topics or records; empty sets want everything."""

    kinds: frozenset[str] = frozenset()
    stations: frozenset[str] = frozenset()

    def wants(self, event: Event) -> bool:
        """Whether the event is to be sent."""
        if self.kinds and event.kind not in self.kinds and event.topic not in self.kinds:
            return False
        return not self.stations or not self.stations.isdisjoint(event.stations)


class Subscription:
    """One client's queue of wire bytes; None ends it."""

    def __init__(self, wanted: Filter, most: int) -> None:
        self.filter = wanted
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._most = most

    def offer(self, event: Event) -> bool:
        """Queue the event; False if the client has fallen behind too far."""
        if not self.filter.wants(event):
            return True
        if self.queue.qsize() >= self._most:
            return False
        self.queue.put_nowait(event.wire)
        return True

    def end(self, kind: str, detail: str, discard: bool = False) -> None:
        """Send a last event; `discard` what waits before it."""
        while discard and not self.queue.empty():
            self.queue.get_nowait()
        self.queue.put_nowait(wire(kind, {"detail": detail}))
        self.queue.put_nowait(None)


def wire(kind: str, data: Any, event_id: str | None = None) -> bytes:
    """An event in the format of server-sent events. JSON text holds no line breaks."""
    head = b"" if event_id is None else b"id: " + event_id.encode() + b"\n"
    return head + b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"


class Hub:
    """Hands messages of the followed topics to the clients, and remembers the last `ring` of them."""

    def __init__(self, wording: Wording, *, clients: int, queue: int, ring: int) -> None:
        self._wording = wording
        self._most_clients = clients
        self._queue = queue
        # Ids of another process, or of this one before a restart, must not be taken for ours.
        self._epoch = secrets.token_hex(4)
        self._number = 0
        self._ring: deque[Event] = deque(maxlen=ring)
        self._subscriptions: set[Subscription] = set()
        self._closed = False

    def publish(self, message: Message) -> None:
        """Queue a message for everyone who wants it; who has fallen behind is told so and dropped."""
        record = message.record
        if record is None:
            return
        self._number += 1
        event = Event(self._number, message.topic, record, self._put)
        self._ring.append(event)
        for subscription in [each for each in self._subscriptions if not each.offer(event)]:
            metrics.STREAM_DROPPED.inc()
            subscription.end("dropped", "you read too slowly; connect again with Last-Event-ID", discard=True)
            self._subscriptions.discard(subscription)

    def _put(self, event: Event) -> bytes:
        data = {"type": event.kind, "topic": event.topic, "data": self._wording.of(event.record)}
        return wire(event.kind, data, f"{self._epoch}-{event.number}")

    def subscribe(self, wanted: Filter, last_event_id: str | None = None) -> Subscription:
        """A client's queue, begun with what it missed since `last_event_id` as far as it is still remembered.

        Where it is not, a `gap` event comes first. Raises Unavailable if there are too many clients.
        """
        if self._closed or len(self._subscriptions) >= self._most_clients:
            raise Unavailable("too many event streams are open")
        subscription = Subscription(wanted, self._queue)
        if last_event_id is not None:
            self._resume(subscription, last_event_id)
        self._subscriptions.add(subscription)
        metrics.STREAM_CLIENTS.set(len(self._subscriptions))
        return subscription

    async def events(self, subscription: Subscription) -> AsyncIterator[bytes]:
        """The subscription's bytes, until it ends or is given up."""
        try:
            # So that the client sees an answer before the first event.
            yield b": connected\n\n"
            while (chunk := await subscription.queue.get()) is not None:
                yield chunk
        finally:
            self._subscriptions.discard(subscription)
            metrics.STREAM_CLIENTS.set(len(self._subscriptions))

    def close(self) -> None:
        """End every stream; further clients are refused."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.end("closing", "the server stops; connect again with Last-Event-ID")
        self._subscriptions.clear()

    def _resume(self, subscription: Subscription, last_event_id: str) -> None:
        epoch, _, number = last_event_id.partition("-")
        known = epoch == self._epoch and number.isascii() and number.isdigit() and int(number) <= self._number
        first = self._ring[0].number if self._ring else self._number + 1
        if not known or int(number) + 1 < first:
            subscription.queue.put_nowait(wire("gap", {"detail": "some events are not remembered any more"}))
        after = int(number) if known else self._number
        for event in self._ring:
            if event.number > after and subscription.filter.wants(event):
                subscription.queue.put_nowait(event.wire)


def known_kinds(contract: Contract) -> frozenset[str]:
    """What a filter may name: the followed topics and the records in them."""
    return frozenset(TOPICS).union(*(contract.record_names(topic) for topic in TOPICS))


def _stations(record: Record) -> frozenset[str]:
    if isinstance(record, LoadPlanMade):
        return frozenset(share.station_id for share in record.allocations)
    station: str | None = getattr(record, "station_id", None)
    if station is not None:
        return frozenset((station,))
    stations: Collection[str] = getattr(record, "stations", ())
    return frozenset(stations)
