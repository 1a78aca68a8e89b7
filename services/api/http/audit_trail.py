"""Writes the audit trail: one chain of events, in the order in which they are asked for."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from typing import Final

from msgspec.structs import replace

from libs.bus.errors import BusError, BusUnavailableError
from libs.bus.message import Message
from libs.bus.producer import Acknowledgement, Producer
from libs.events.audit import AuditKind, AuditOutcome, AuditPrincipalKind, AuditRecorded, ChainHead
from libs.events.audit_chain import chained, head_of
from libs.events.codec import CodecError
from libs.events.ids import new_id
from libs.events.topics import AUDIT_EVENTS
from libs.runtime.addresses import network_of
from libs.runtime.allowance import Allowance
from libs.runtime.clock import SECOND, now_us
from libs.runtime.logging import get_logger
from services.api.http import metrics

log = get_logger(__name__)

EACH: Final = 20
"""Refused requests a minute that are recorded singly: of one who asks, or one address of those who are not known."""
STRANGERS: Final = 60
"""The same, of all together who are not known."""
_MINUTE: Final = 60 * SECOND
_ASKERS: Final = 1_000
_READS: Final = 10_000
_WAITING: Final = 10_000
_HEADS: Final = 50
_ANCHOR_S: Final = 60.0


class AuditTrail:
    """The trail of one process. `producer`: for it alone; `service`: api or console; `detail`: which process.

    `record` returns once Kafka has acknowledged the event; `later` and `refused` are for what need not be waited for:
    `run` writes it. After a failed write nobody knows what is in the log: a new chain begins. The first event of
    a chain, and one a minute while there is news (`anchor_s`), names the ends of other chains that `take` was handed.
    """

    def __init__(
        self,
        producer: Producer,
        service: str,
        detail: str,
        *,
        timeout_s: float,
        anchor_s: float = _ANCHOR_S,
        clock: Callable[[], int] = now_us,
    ) -> None:
        self._producer = producer
        self._service = service
        self._detail = detail
        self._timeout_s = timeout_s
        self._anchor_s = anchor_s
        self._clock = clock
        self._writer_id = new_id()
        self._last: AuditRecorded | None = None
        self._confirmed: AuditRecorded | None = None
        self._one_at_a_time = asyncio.Lock()
        self._waiting: asyncio.Queue[AuditRecorded] = asyncio.Queue(_WAITING)
        self._refusals = Refusals(clock)
        self._reads: Allowance[tuple[str, str, bytes]] = Allowance(1, _MINUTE, _READS)
        self._heads: OrderedDict[str, ChainHead] = OrderedDict()
        self._anchored: dict[str, ChainHead] = {}

    @property
    def healthy(self) -> bool:
        """Whether the last write went well."""
        return not self._producer.failed

    async def record(self, event: AuditRecorded) -> None:
        """Write an event, and wait for Kafka. Raises BusUnavailableError if it was not acknowledged in time."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await (await self._append(event))
        except TimeoutError as error:
            raise BusUnavailableError(f"{AUDIT_EVENTS}: not acknowledged in {self._timeout_s} s") from error
        metrics.AUDIT_EVENTS.labels(event.outcome.value).inc()

    def later(self, event: AuditRecorded) -> None:
        """Write an event soon. If ten thousand wait, it is given up, and counted."""
        try:
            self._waiting.put_nowait(event)
        except asyncio.QueueFull:
            self._lose(event, "too many wait")

    def repeats(self, event: AuditRecorded, target: str) -> bool:
        """Whether it is recorded that the same one has read the same (path and query) within a minute: pages ask
        again by themselves.
        """
        return bool(self._reads.wait(_reading(event, target), self._clock()))

    def note_read(self, event: AuditRecorded, target: str) -> None:
        """Take note that the reading is recorded."""
        self._reads.spend(_reading(event, target), self._clock())

    def refused(self, event: AuditRecorded) -> None:
        """Write the event of a refused request soon; too many are counted, and told of by the minute."""
        if self._refusals.admits(event):
            self.later(event)

    def take(self, message: Message) -> None:
        """Take note of an event of any writer, as the newest of its chain unless a newer one is known."""
        event = message.record
        if not isinstance(event, AuditRecorded) or event.writer_id == self._writer_id:
            return
        known = self._heads.get(event.writer_id)
        if known is not None and event.sequence <= known.sequence:
            return
        # Anchors alone are no news: two processes would answer each other for ever.
        if event.kind is not AuditKind.ANCHOR:
            self._heads[event.writer_id] = head_of(event)
            self._heads.move_to_end(event.writer_id)
            if len(self._heads) > _HEADS:
                self._anchored.pop(self._heads.popitem(last=False)[0], None)

    async def run(self) -> None:
        """Write what waits, anchors, and counted refusals, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write_waiting())
            tasks.create_task(self._anchor())
            tasks.create_task(self._tell_of_refusals())

    async def stop(self) -> None:
        """Write what still waits, once nobody asks any more. What cannot be written in time is given up."""
        for event in self._refusals.told(everything=True):
            self.later(event)
        try:
            async with asyncio.timeout(self._timeout_s):
                while not self._waiting.empty():
                    await self._write_one(self._waiting.get_nowait())
        except TimeoutError:
            log.warning("audit_stopped_unwritten", events=self._waiting.qsize())

    async def _append(self, event: AuditRecorded) -> Acknowledgement:
        async with self._one_at_a_time:
            if self._producer.failed:
                await self._producer.restart()
                await self._begin("after a failed write")
            elif self._last is None:
                await self._begin("at the start of the process")
            return await self._send(event)

    async def _begin(self, why: str) -> None:
        if self._confirmed is not None:
            # What came after it in the chain that ends may be in the log or not.
            self._heads[self._confirmed.writer_id] = head_of(self._confirmed)
        self._writer_id, self._last, self._confirmed = new_id(), None, None
        heads = tuple(self._heads.values())
        await self._send(self._own(AuditKind.CHAIN_STARTED, f"{self._detail}, {why}", heads))
        self._anchored = {each.writer_id: each for each in heads}
        metrics.AUDIT_CHAINS.inc()
        log.info("audit_chain_started", writer_id=self._writer_id, why=why)

    async def _send(self, event: AuditRecorded) -> Acknowledgement:
        """Hand the next event of the chain to the producer, which keeps the order."""
        linked = chained(replace(event, writer_id=self._writer_id), self._last)
        acknowledged = await self._producer.send(AUDIT_EVENTS, self._writer_id, linked)
        self._last = linked
        acknowledged.add_done_callback(partial(self._confirm, linked))
        return acknowledged

    def _confirm(self, event: AuditRecorded, done: Acknowledgement) -> None:
        if not done.cancelled() and done.exception() is None and event.writer_id == self._writer_id:
            self._confirmed = event

    def _own(self, kind: AuditKind, detail: str, heads: tuple[ChainHead, ...]) -> AuditRecorded:
        now, event_id = self._clock(), new_id()
        return AuditRecorded(
            event_id=event_id,
            occurred_at=now,
            recorded_at=now,
            cause_id=event_id,
            writer_id=self._writer_id,
            sequence=0,
            kind=kind,
            service=self._service,
            outcome=AuditOutcome.DONE,
            principal_kind=AuditPrincipalKind.NOBODY,
            detail=detail,
            heads=heads,
        )

    async def _write_waiting(self) -> None:
        while True:
            event = await self._waiting.get()
            try:
                await self._write_one(event)
            except asyncio.CancelledError:
                self.later(event)
                raise

    async def _write_one(self, event: AuditRecorded) -> None:
        try:
            acknowledged = await self._append(event)
        except (BusError, CodecError) as error:
            self._lose(event, repr(error))
            return
        acknowledged.add_done_callback(lambda done: self._settle(event, done))

    def _settle(self, event: AuditRecorded, done: Acknowledgement) -> None:
        if done.cancelled() or (error := done.exception()) is not None:
            self._lose(event, "cancelled" if done.cancelled() else repr(error))
        else:
            metrics.AUDIT_EVENTS.labels(event.outcome.value).inc()

    def _lose(self, event: AuditRecorded, why: str) -> None:
        metrics.AUDIT_LOST.inc(event.count)
        log.error("audit_event_lost", request_id=event.request_id, outcome=event.outcome.value, why=why)

    async def _anchor(self) -> None:
        while True:
            await asyncio.sleep(self._anchor_s)
            news = tuple(each for name, each in self._heads.items() if self._anchored.get(name) != each)
            if news:
                self.later(self._own(AuditKind.ANCHOR, "", news))
                self._anchored |= {each.writer_id: each for each in news}

    async def _tell_of_refusals(self) -> None:
        while True:
            await asyncio.sleep(1)
            for event in self._refusals.told():
                self.later(event)


def _reading(event: AuditRecorded, target: str) -> tuple[str, str, bytes]:
    digest = sha256(target.encode("utf-8", "surrogatepass")).digest()
    return event.principal_kind.value, event.key_id or event.principal, digest


class Refusals:
    """Bounds what refused requests write: beyond EACH and STRANGERS they are counted by who asks."""

    def __init__(self, clock: Callable[[], int] = now_us) -> None:
        self._clock = clock
        self._each: Allowance[tuple[str, str]] = Allowance(EACH, _MINUTE, _ASKERS)
        self._strangers: Allowance[None] = Allowance(STRANGERS, _MINUTE, 1)
        self._counted: dict[tuple[str, str], AuditRecorded] = {}

    def admits(self, event: AuditRecorded) -> bool:
        """Whether the event is to be written; otherwise it is counted."""
        now = self._clock()
        stranger = event.principal_kind is AuditPrincipalKind.NOBODY
        who = ("", network_of(event.address)) if stranger else (event.principal_kind.value, event.principal)
        wait = self._each.wait(who, now) or (stranger and self._strangers.wait(None, now))
        if not wait:
            self._each.spend(who, now)
            if stranger:
                self._strangers.spend(None, now)
            return True
        self._count(who, event)
        return False

    def told(self, *, everything: bool = False) -> list[AuditRecorded]:
        """The counts whose minute is over."""
        now = self._clock()
        done = [
            who for who, event in self._counted.items() if everything or now - event.occurred_at >= _MINUTE
        ]
        return [replace(self._counted.pop(who), recorded_at=now) for who in done]

    def _count(self, who: tuple[str, str], event: AuditRecorded) -> None:
        if who not in self._counted and len(self._counted) >= _ASKERS:
            who = ("", "")
            event = replace(
                event, address="", principal="", principal_kind=AuditPrincipalKind.NOBODY, key_id=""
            )
        known = self._counted.get(who)
        if known is None:
            # Of what differs from one to the next nothing is said.
            self._counted[who] = replace(
                event,
                request_id=event.event_id,
                action="",
                permission="",
                subject_kind="",
                subject_id="",
                organisation_id="",
                command="",
                command_id="",
                reason="",
                query="",
                trace="",
                detail="counted for a minute",
            )
        else:
            self._counted[who] = replace(known, count=known.count + event.count)
