"""The live event stream: every client gets what it asked for, and nobody waits for the slowest."""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from contextlib import aclosing
from typing import Any, Final, Protocol

import msgspec

from libs.bus.message import Message
from libs.events.contract import Contract, Schema
from libs.events.firmware import CampaignProgressed
from libs.events.load import LoadPlanMade
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
from libs.runtime.clock import iso
from services.api.domain.errors import TooMany
from services.api.http import metrics
from services.api.http.problems import Unavailable
from services.api.live.parts import parts_of
from services.api.recent import ENTRY_BYTES, packed

TOPICS: Final = (
    SESSIONS_EVENTS,
    TELEMETRY_HEALTH,
    COMMANDS_OUTCOMES,
    LOAD_PLANS,
    FIRMWARE_CAMPAIGNS,
    BILLING_CDRS,
    BILLING_DECIDED,
    SECURITY_ALERTS,
)

_AT_ONCE: Final = 100
"""Events that are looked at for one client before others have their turn."""

_WATCH_S: Final = 0.5

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
    """One event of the stream, in few bytes. It is put into words when the first client asks: often there is none."""

    def __init__(self, number: int, topic: str, record: Record) -> None:
        self.number = number
        self.topic = topic
        self.kind = type(record)
        self.stations = _stations(record)
        """The stations that it concerns."""
        self.parts = parts_of(topic, record, self.stations)
        """What it changes: see `parts_of`."""
        self.site: str | None = record.site_id if isinstance(record, LoadPlanMade) else None
        """The site that it concerns as a whole."""
        self.campaign: str | None = record.campaign_id if isinstance(record, CampaignProgressed) else None
        """The campaign that it tells of, if it names no stations."""
        self._packed = packed(record)
        self._wire: bytes | None = None

    @property
    def size(self) -> int:
        """What it takes in memory."""
        of_stations = 2 * sum(map(len, self.stations)) + 200 * len(self.stations)
        return ENTRY_BYTES + of_stations + len(self._packed if self._wire is None else self._wire)

    def wire(self, put: Callable[["Event", Record], bytes]) -> bytes:
        """The bytes of server-sent events; `put` makes them, the first time."""
        if self._wire is None:
            self._wire = put(self, msgspec.msgpack.decode(self._packed, type=self.kind))
            self._packed = b""
        return self._wire


class Wanted(Protocol):
    """What a client wants."""

    def wants(self, event: Event) -> bool:
        """Whether the event is to be sent."""


class Filter(msgspec.Struct, frozen=True):
    """What a client wants: kinds are names of topics or records; empty sets want everything."""

    kinds: frozenset[str] = frozenset()
    stations: frozenset[str] = frozenset()

    def wants(self, event: Event) -> bool:
        """Whether the event is to be sent."""
        if self.kinds and event.kind.__name__ not in self.kinds and event.topic not in self.kinds:
            return False
        return not self.stations or not self.stations.isdisjoint(event.stations)


class Parts(msgspec.Struct, frozen=True):
    """A client that wants to know of changes of these parts: see `parts_of`."""

    names: frozenset[str]

    def wants(self, event: Event) -> bool:
        """Whether one of them changes."""
        return not self.names.isdisjoint(event.parts)


class Notice(msgspec.Struct, frozen=True):
    """What a client is told besides events: `gap`, `revoked`, `dropped` or `closing`, with what that means."""

    kind: str
    detail: str


class Whose(msgspec.Struct, frozen=True):
    """Under which key a client came, by its name, and from where."""

    key: str
    address: str


Sees = Callable[[Event], bool]
"""Whether an event may be shown."""


class Subscription:
    """One client: what it wants, the number of the event that it is shown next, and what it may be shown now."""

    def __init__(
        self, wanted: Wanted, number: int, whose: Whose, *, gap: bool, reach: Callable[[], Sees | None]
    ) -> None:
        self.filter = wanted
        self.reach = reach
        self.next = number
        self.whose = whose
        self.gap = gap
        self.news = asyncio.Event()


def wire(kind: str, data: Any, event_id: str | None = None) -> bytes:
    """An event in the format of server-sent events. JSON text holds no line breaks."""
    head = b"" if event_id is None else b"id: " + event_id.encode() + b"\n"
    return head + b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"


class Hub:
    """Remembers the last events of the followed topics, `ring` of them or `ring_bytes`, and shows them to the clients.

    There are at most `clients` at a time, of which `per_key` and `per_address` are anybody's.
    Each client reads them at its own pace; none has a queue of its own, so that many or slow ones take no memory. One
    that falls behind what is remembered is told so and dropped.
    """

    def __init__(
        self, wording: Wording, *, clients: int, per_key: int, per_address: int, ring: int, ring_bytes: int
    ) -> None:
        self._wording = wording
        self._most_clients = clients
        self._most_per_key = per_key
        self._most_per_address = per_address
        self._most = ring
        self._most_bytes = ring_bytes
        # Ids of another process, or of this one before a restart, must not be taken for ours.
        self._epoch = secrets.token_hex(4)
        self._number = 0
        self._ring: deque[Event] = deque()
        self.bytes = 0
        """What the remembered events take."""
        self._subscriptions: set[Subscription] = set()
        self._closed = False

    def publish(self, message: Message) -> None:
        """Have a message shown to everyone who wants it."""
        if message.record is None or message.topic not in TOPICS:
            return
        self._number += 1
        event = Event(self._number, message.topic, message.record)
        self._ring.append(event)
        self.bytes += event.size
        self._forget()
        for subscription in self._subscriptions:
            if subscription.next == event.number and not subscription.filter.wants(event):
                # Nobody is woken for what he passes over.
                subscription.next += 1
            else:
                subscription.news.set()

    def subscribe(
        self,
        wanted: Wanted,
        whose: Whose,
        last_event_id: str | None = None,
        reach: Callable[[], Sees | None] = lambda: lambda _: True,
    ) -> Subscription:
        """A client that is shown what comes, after what it missed since `last_event_id` as far as that is remembered.

        `reach`: which events its key, or sign-in, permits now; None: none at all. Within a second after that the stream
        ends.

        Where it is not, a `gap` event comes first. Raises TooMany if there are too many of this key or address,
        Unavailable if there are too many of all.
        """
        others = [each.whose for each in self._subscriptions]
        if sum(other.key == whose.key for other in others) >= self._most_per_key:
            raise TooMany(f"this key has {self._most_per_key} event streams open already")
        if sum(other.address == whose.address for other in others) >= self._most_per_address:
            raise TooMany(f"{self._most_per_address} event streams from this address are open already")
        if self._closed or len(self._subscriptions) >= self._most_clients:
            raise Unavailable("too many event streams are open")
        number, gap = self._number + 1, False
        if last_event_id is not None:
            number, gap = self._resumed(last_event_id)
        subscription = Subscription(wanted, number, whose, gap=gap, reach=reach)
        self._subscriptions.add(subscription)
        metrics.STREAM_CLIENTS.set(len(self._subscriptions))
        return subscription

    @property
    def position(self) -> str:
        """The id of the newest event: who gives it to `subscribe` is shown what came after."""
        return self._id(self._number)

    def place_of(self, subscription: Subscription) -> str:
        """The id of the last event that was looked at for it."""
        return self._id(subscription.next - 1)

    async def events(self, subscription: Subscription) -> AsyncIterator[bytes]:
        """What the subscription wants, as bytes, until it ends or is given up."""
        try:
            # So that the client sees an answer before the first event.
            yield b": connected\n\n"
            async with aclosing(self.told(subscription)) as told:
                async for each in told:
                    if isinstance(each, Event):
                        yield self._wire(each)
                    elif each is not None:
                        yield wire(each.kind, {"detail": each.detail})
        finally:
            self.end(subscription)

    async def told(self, subscription: Subscription) -> AsyncGenerator[Event | Notice | None]:
        """What the subscription wants, and notices; None whenever there is nothing more now. Ends with the last notice.

        Whoever reads it closes it, and gives the subscription to `end`.
        """
        if subscription.gap:
            yield Notice("gap", "some events are not remembered any more")
        while True:
            subscription.news.clear()
            sees = subscription.reach()
            if sees is None:
                yield Notice("revoked", "the key or sign-in does not count any more")
                return
            for _ in range(min(self._number + 1 - subscription.next, _AT_ONCE)):
                if subscription.next < self._first:
                    metrics.STREAM_DROPPED.inc()
                    yield Notice("dropped", "you read too slowly; connect again with Last-Event-ID")
                    return
                event = self._ring[subscription.next - self._first]
                subscription.next += 1
                if subscription.filter.wants(event) and sees(event):
                    yield event
            if subscription.next <= self._number:
                await asyncio.sleep(0)
            elif self._closed:
                yield Notice("closing", "the server stops; connect again with Last-Event-ID")
                return
            else:
                yield None
                # While it was read something may have come.
                if subscription.next > self._number:
                    await subscription.news.wait()

    def end(self, subscription: Subscription) -> None:
        """Show it nothing more."""
        self._subscriptions.discard(subscription)
        metrics.STREAM_CLIENTS.set(len(self._subscriptions))

    async def watch(self) -> None:
        """Twice a second end the streams of those who may not listen any more, until cancelled."""
        while True:
            for subscription in self._subscriptions:
                if subscription.reach() is None:
                    subscription.news.set()
            await asyncio.sleep(_WATCH_S)

    def close(self) -> None:
        """End every stream; further clients are refused."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.news.set()

    @property
    def _first(self) -> int:
        """The number of the first event that is remembered, or will be."""
        return self._number + 1 - len(self._ring)

    def _resumed(self, last_event_id: str) -> tuple[int, bool]:
        """The number of the next event for who saw this last, and whether it misses some."""
        epoch, _, number = last_event_id.partition("-")
        known = epoch == self._epoch and number.isascii() and number.isdigit() and int(number) <= self._number
        if not known:
            return self._number + 1, True
        after = int(number) + 1
        return max(after, self._first), after < self._first

    def _wire(self, event: Event) -> bytes:
        before = event.size
        found = event.wire(self._put)
        self.bytes += event.size - before
        self._forget()
        return found

    def _put(self, event: Event, record: Record) -> bytes:
        kind = event.kind.__name__
        data = {"type": kind, "topic": event.topic, "data": self._wording.of(record)}
        return wire(kind, data, self._id(event.number))

    def _id(self, number: int) -> str:
        return f"{self._epoch}-{number}"

    def _forget(self) -> None:
        while len(self._ring) > self._most or self.bytes > self._most_bytes:
            self.bytes -= self._ring.popleft().size


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
