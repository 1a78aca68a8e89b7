"""One station's connection, from the accepted handshake to the recorded end."""

import asyncio
import math
from collections.abc import Coroutine
from time import perf_counter
from typing import Any

import msgspec
import orjson
from prometheus_client import Histogram
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.protocol import State

from libs.bus.errors import BusUnavailableError
from libs.events.commands import AnswerCall
from libs.events.ocpp_log import OcppCallReceived
from libs.events.record import Record
from libs.ocpp.errors import ErrorCode, canonical, spell
from libs.ocpp.frames import (
    CallReceived,
    ErrorReceived,
    Ignored,
    Payload,
    Received,
    Refused,
    Replay,
    ResultErrorReceived,
    ResultReceived,
    SendReceived,
)
from libs.ocpp.inbound import CheckedCall, check_call
from libs.ocpp.routing import ROUTES, Policy, Route
from libs.ocpp.rpc import Role, RpcMachine
from libs.ocpp.schemas import Violation
from libs.runtime.clock import now_us
from libs.runtime.logging import get_logger
from services.edge import metrics
from services.edge.commands import CommandLane
from services.edge.context import LIFECYCLE_TOPIC, LOCATIONS_TOPIC, RECORD_OVERHEAD, Context
from services.edge.deferred import DeferredCall, answered, answers_us, drop, pending, wait_for
from services.edge.domain.acceptance import may_call
from services.edge.domain.admission import Admission
from services.edge.domain.answers import Asked, answer
from services.edge.domain.authentication import Proof
from services.edge.domain.equipment import booted, remembered
from services.edge.domain.location import Holding
from services.edge.domain.rules import Standing
from services.edge.records import Scribe
from services.edge.rejects import IGNORED, Rejects, describe
from services.edge.socket import StationSocket

log = get_logger(__name__)


class _Owed(msgspec.Struct, frozen=True, gc=False):
    """An answer that is sent as soon as Kafka has the call. `started`: when the call was read."""

    call: CallReceived
    payload: Payload
    started: float


class StationConnection:
    """Takes a station's messages one by one; each is answered before the next is looked at.

    A CALL is checked, its answer decided, call and answer published, and only when Kafka has acknowledged that
    is the answer sent. All of that happens in callbacks, of the socket and of the producer; what has to wait for
    anything else is handed over to the connection's task, and the next message waits until that is done.

    `ours_seen`: our StationLocated has been read back. `replaced`: a newer connection of the station exists.
    """

    def __init__(
        self, context: Context, socket: StationSocket, admission: Admission, epoch: int, now: int
    ) -> None:
        settings = context.settings
        self._context = context
        self._admission = admission
        self._version = admission.version
        self._machine = RpcMachine(admission.version, Role.CSMS, max_frame=settings.max_frame_bytes)
        self._routes = ROUTES[admission.version]
        self._latencies: dict[str, Histogram] = {}
        self._deferrals = settings.deferred
        self._deferred: DeferredCall | None = None
        self._opened_at = now
        self._announced: asyncio.Future[tuple[object, object]] | None = None
        self._announcing_since = 0.0
        self._busy_since = 0.0
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._errand: Coroutine[Any, Any, None] | None = None
        self._verdict: tuple[CloseCode, str] | None = None
        self._over = False
        self.holding = Holding(admission.station_id, context.edge_id, epoch)
        known = context.models.capabilities.get(admission.station_id)
        self.scribe = Scribe(self.holding, context.slot, admission.version.value, remembered(known))
        self._rejects = Rejects(context, self.scribe, self._version, self._publish)
        self.socket = socket
        self.lane = CommandLane(context, socket, self._machine, self.holding)
        self.ours_seen = False
        self.replaced = False

    @property
    def interval_s(self) -> int:
        """The heartbeat interval that the station was admitted with."""
        return self._admission.standing.interval_s

    @property
    def proof(self) -> Proof:
        """What the station was believed for."""
        return self._admission.proof

    @property
    def idle(self) -> bool:
        """Whether nothing is under way in either direction."""
        return not self._busy_since and not self.lane.busy

    @property
    def ending(self) -> bool:
        """Whether it is told to end, or has ended."""
        return self._over or self._verdict is not None

    def waits_since(self) -> float | None:
        """Loop time since when something of this connection waits for Kafka; None if nothing does."""
        if self._verdict is not None:
            return None
        return self._announcing_since or self._busy_since or None

    def end(self, code: CloseCode, reason: str) -> None:
        """Close the socket; a call that is not answered yet stays unanswered. The first reason counts."""
        if self._verdict is None and not self._over and self._task is not None:
            self._verdict = (code, reason)
            if asyncio.current_task() is self._task:
                self._wake.set()
            else:
                self._task.cancel()

    def announce_again(self) -> None:
        """Say once more where the station is, because an older record came after ours."""
        self.ours_seen = False
        located = self.scribe.located(True, self._opened_at)
        self._context.publisher.post(LOCATIONS_TOPIC, self.holding.station_id, located)

    async def run(self) -> None:
        """Serve the station until the socket is gone and its end is posted."""
        self._task = asyncio.current_task()
        assert self._task is not None
        metrics.OPENED.labels(self._version).inc()
        metrics.CONNECTIONS.labels(self._version).inc()
        lost: ConnectionClosed | None = None
        try:
            await self._announce()
            await self._converse()
        except ConnectionClosed as error:
            lost = error
        except BusUnavailableError:
            self._verdict = self._verdict or (CloseCode.TRY_AGAIN_LATER, "bus")
        except asyncio.CancelledError:
            if self._verdict is None:
                raise
            self._task.uncancel()
        except Exception:
            log.exception("connection_failed", **self._ids())
            metrics.INTERNAL_ERRORS.inc()
            self._verdict = (CloseCode.INTERNAL_ERROR, "internal error")
        finally:
            self._over = True
            self.socket.discard()
            if self._errand is not None:
                self._errand.close()
            metrics.CONNECTIONS.labels(self._version).dec()
            self.lane.close()
        try:
            if self._verdict is not None:
                await self.socket.end(*self._verdict)
            await self.lane.finished()
        finally:
            self._conclude(lost)

    async def _announce(self) -> None:
        """Publish where the station is now; the first answer waits for the acknowledgement, reading does not."""
        now, station_id, send = self._opened_at, self.holding.station_id, self._context.publisher.send
        self._announcing_since = self._context.loop.time()
        admission = self._admission
        opened = self.scribe.opened(
            self.socket.peer, admission.standing.registered, admission.proof.profile, now
        )
        announced = asyncio.gather(
            await send(LIFECYCLE_TOPIC, station_id, opened),
            await send(LOCATIONS_TOPIC, station_id, self.scribe.located(True, now)),
        )
        announced.add_done_callback(self._on_announced)
        self._announced = announced
        log.info("station_connected", version=self._version.value, peer=self.socket.peer, **self._ids())

    def _on_announced(self, done: "asyncio.Future[tuple[object, object]]") -> None:
        self._announced = None
        self._announcing_since = 0.0
        if not done.cancelled() and done.exception() is not None:
            self.end(CloseCode.TRY_AGAIN_LATER, "bus")

    async def _converse(self) -> None:
        """Do what the callbacks hand over, until there is a verdict or the socket is lost."""
        socket = self.socket
        socket.on_lost = self._wake.set
        socket.on_message = self._take
        self._go_on()
        while self._verdict is None:
            self._wake.clear()
            errand, self._errand = self._errand, None
            if errand is not None:
                await errand
                # An errand may wait for nothing at all, and there may be thousands of them: others have their turn.
                await asyncio.sleep(0)
                self._busy_since = 0.0
                self._go_on()
            elif socket.state is State.CLOSED:
                raise socket.protocol.close_exc
            else:
                await self._wake.wait()

    def _go_on(self) -> None:
        """Look at the messages that came meanwhile, until one has to wait for something."""
        while not self._busy_since and (frame := self.socket.next_message()) is not None:
            self._take(frame)

    def _take(self, frame: bytes) -> bool:
        """Look at a message; False if one before it is not done with. After the end it is thrown away."""
        if self._over or self._verdict is not None:
            return True
        if self._busy_since:
            return self._deferred is not None and self._take_meanwhile(self._deferred, frame)
        started = perf_counter()
        self._busy_since = self._context.loop.time()
        try:
            received = self._machine.receive(frame)
            if type(received) is CallReceived:
                self._on_call(received, frame, started)
            elif type(received) is ResultReceived or type(received) is ErrorReceived:
                self.lane.settle(received)
                self._rejects.clear()
                self._busy_since = 0.0
            else:
                self._hand_over(self._on_other(received, frame))
        except Exception:
            self._fail_internally()
        return True

    def _hand_over(self, errand: Coroutine[Any, Any, None]) -> None:
        """Leave something to the task; until it is done no other message is looked at."""
        self._errand = errand
        self._wake.set()

    def _fail_internally(self) -> None:
        log.exception("connection_failed", **self._ids())
        metrics.INTERNAL_ERRORS.inc()
        self.end(CloseCode.INTERNAL_ERROR, "internal error")

    def _on_call(self, call: CallReceived, frame: bytes, started: float) -> None:
        now = now_us()
        route = self._routes[call.action]
        standing = self._standing()
        if standing is None:
            return
        checked = check_call(self._version, call.action, call.payload)
        if isinstance(checked, Violation):
            self._hand_over(self._fail(call, frame, checked.code, describe(checked)))
            return
        if not may_call(route, standing.boot_status) and not self.lane.asked_for.take(route.action, now):
            reason = "the station is not accepted yet"
            self._hand_over(self._fail(call, frame, ErrorCode.SECURITY_ERROR, reason))
            return
        if route.policy is Policy.BOOT:
            self.scribe.equipment = booted(self._version, checked.payload)
        try:
            payload = self._decide(route, checked, standing, now)
            text = orjson.dumps(payload).decode()
            record = self.scribe.call(call, checked, standing, text, now)
        except Exception:
            log.exception("call_failed", action=call.action, **self._ids())
            metrics.INTERNAL_ERRORS.inc()
            reason = "the call could not be handled"
            self._hand_over(self._fail(call, frame, ErrorCode.INTERNAL_ERROR, reason))
            return
        owed = _Owed(call, payload, started)
        if route.deferred and (wait_s := wait_for(self._deferrals, call.action, checked.payload)) is not None:
            waiting = pending(record, self._context.slot)
            self._hand_over(self._defer(route.topic, waiting, len(frame), owed, wait_s))
            return
        self._publish_and_answer(route.topic, record, len(frame), owed)

    def _publish_and_answer(self, topic: str, record: Record, size: int, owed: _Owed) -> None:
        context, size = self._context, size + RECORD_OVERHEAD
        if self._announced is None and context.gate.try_enter(size):

            def on_acknowledged(error: BusUnavailableError | None) -> None:
                context.gate.leave(size)
                if self._over or self._verdict is not None:
                    return
                if error is not None:
                    self.end(CloseCode.TRY_AGAIN_LATER, "bus")
                    return
                try:
                    self._answer(owed)
                except Exception:
                    self._fail_internally()

            queued = False
            try:
                queued = context.publisher.try_send(topic, self.holding.station_id, record, on_acknowledged)
            except BusUnavailableError:
                self.end(CloseCode.TRY_AGAIN_LATER, "bus")
                return
            finally:
                if not queued:
                    context.gate.leave(size)
            if queued:
                return
        self._hand_over(self._publish_waiting(topic, record, size, owed))

    async def _publish_waiting(self, topic: str, record: Record, size: int, owed: _Owed) -> None:
        await self._publish(topic, record, size)
        await self._send_answer(self._machine.answer(owed.call.message_id, owed.payload), owed)

    async def _defer(
        self, topic: str, record: OcppCallReceived, size: int, owed: _Owed, wait_s: float
    ) -> None:
        """Publish a call as pending, then what a processor answers, or we alone if none does in time; send that.

        Meanwhile the station's answers to commands are taken, and nothing else of it.
        """
        message_id, loop = owed.call.message_id, self._context.loop
        # Before the call is published: the answer may be here before the acknowledgement.
        deferred = self._deferred = DeferredCall(record, owed.payload)
        try:
            await self._publish(topic, record, size + RECORD_OVERHEAD)
            # It waits, but not for Kafka.
            self._busy_since = math.inf
            if self.socket.state is State.CLOSED:
                self._wake.set()
            decision = await deferred.decision(wait_s - (perf_counter() - owed.started), self._wake)
        finally:
            self._deferred = None
            self._busy_since = loop.time()
        if decision is None:
            return
        await self._publish(topic, answered(record, decision, now_us()), size + RECORD_OVERHEAD)
        if (error := decision.error) is not None:
            code, details = ErrorCode(canonical(error.code)), orjson.loads(error.details)
            text = self._machine.fail(message_id, code, error.description, details)
        else:
            text = self._machine.answer(message_id, decision.payload)
        await self._send_answer(text, owed)
        for received, frame in deferred.meanwhile:
            await self._on_other(received, frame)

    def take_answer(self, answer: AnswerCall) -> None:
        """Take a processor's answer to a call of this connection."""
        if self._deferred is None:
            drop(answer, "late")
        else:
            self._deferred.offer(answer)

    def _take_meanwhile(self, deferred: DeferredCall, frame: bytes) -> bool:
        """Take the station's answer to a command while its own call waits; False for anything else."""
        if deferred.crowded or not answers_us(frame):
            return False
        received = self._machine.receive(frame)
        if isinstance(received, ResultReceived | ErrorReceived):
            self.lane.settle(received)
        else:
            if isinstance(received, Refused) and received.call is not None:
                self.lane.settle(received)
            deferred.meanwhile.append((received, frame))
        return True

    async def _send(self, text: str) -> None:
        # It waits, but not for Kafka.
        self._busy_since = math.inf
        await self.socket.deliver(text)

    async def _send_answer(self, text: str, owed: _Owed) -> None:
        await self._send(text)
        self._note_answered(owed)

    def _answer(self, owed: _Owed) -> None:
        text = self._machine.answer(owed.call.message_id, owed.payload)
        if not self.socket.try_answer(text):
            self._hand_over(self._send_answer(text, owed))
            return
        self._note_answered(owed)
        self._busy_since = 0.0
        self._go_on()

    def _note_answered(self, owed: _Owed) -> None:
        self._rejects.clear()
        action = owed.call.action
        latency = self._latencies.get(action) or self._latency(action)
        latency.observe(perf_counter() - owed.started)

    def _decide(self, route: Route, checked: CheckedCall, standing: Standing, now: int) -> dict[str, object]:
        station_id, models = self.holding.station_id, self._context.models
        asked = Asked(self._version, station_id, route.action, checked.payload, standing, models, now)
        return answer(route, asked)

    async def _on_other(self, received: Received, frame: bytes) -> None:
        match received:
            case Replay():
                # The stored answer is in the log already.
                await self._send(received.answer_text)
            case SendReceived():
                await self._on_send(received, frame)
            case Refused():
                if received.call is not None:
                    self.lane.settle(received)
                await self._rejects.record(
                    frame,
                    spell(self._version, received.code),
                    received.reason,
                    received.message_id,
                    received.action,
                    answered=received.reply_text is not None,
                )
                if received.reply_text is not None:
                    await self._send(received.reply_text)
            case ResultErrorReceived():
                reason = f"the station refused our answer: {received.description}"
                await self._rejects.record(frame, received.code, reason, received.message_id)
            case Ignored():
                action = received.call.action if received.call is not None else None
                await self._rejects.record(frame, IGNORED, received.reason, received.message_id, action)

    async def _on_send(self, sent: SendReceived, frame: bytes) -> None:
        """Record a SEND; nothing may be answered (2.1 part 4 §4.2.5)."""
        now = now_us()
        route, standing = self._routes[sent.action], self._standing()
        if standing is None:
            return
        checked = check_call(self._version, sent.action, sent.payload)
        if isinstance(checked, Violation):
            await self._rejects.record(frame, checked.code, describe(checked), sent.message_id, sent.action)
        elif not may_call(route, standing.boot_status) and not self.lane.asked_for.take(route.action, now):
            reason = "the station is not accepted yet"
            await self._rejects.record(frame, ErrorCode.SECURITY_ERROR, reason, sent.message_id, sent.action)
        else:
            record = self.scribe.call(sent, checked, standing, None, now)
            await self._publish(route.topic, record, len(frame) + RECORD_OVERHEAD)
            self._rejects.clear()

    def _standing(self) -> Standing | None:
        """How the station stands; None, and the end of the connection, if it is not registered any more."""
        standing = self._context.models.standing(self.holding.station_id)
        if standing is None:
            self.end(CloseCode.POLICY_VIOLATION, "not registered")
        return standing

    async def _publish(self, topic: str, record: Record, size: int) -> None:
        """Publish and wait for the acknowledgement, also of what announced the connection.

        `size`: bytes that it holds meanwhile. Raises BusUnavailableError if there is no acknowledgement.
        """
        gate = self._context.gate
        await gate.enter(size)
        try:
            await (await self._context.publisher.send(topic, self.holding.station_id, record))
            if self._announced is not None:
                await self._announced
        # An acknowledgement fails with the Kafka client's own errors, which only libs/bus knows by name.
        except Exception as error:
            raise BusUnavailableError(repr(error)) from error
        finally:
            gate.leave(size)

    async def _fail(self, call: CallReceived, frame: bytes, code: ErrorCode, reason: str) -> None:
        """Answer a CALL with a CALLERROR, recorded first."""
        spelt = spell(self._version, code)
        await self._rejects.record(frame, spelt, reason, call.message_id, call.action, answered=True)
        await self._send(self._machine.fail(call.message_id, code, reason))

    def _conclude(self, lost: ConnectionClosed | None) -> None:
        """Post the end; where the station is now is another's to say if we were replaced."""
        now = max(now_us(), self._opened_at)
        post, station_id, socket = self._context.publisher.post, self.holding.station_id, self.socket
        too_large = lost is not None and lost.sent is not None and lost.sent.code == CloseCode.MESSAGE_TOO_BIG
        self._rejects.conclude(too_large, now)
        ended, why = self._verdict or (socket.close_code or CloseCode.ABNORMAL_CLOSURE, socket.close_reason)
        closed = self.scribe.closed(int(ended), why or "", self._opened_at, now)
        post(LIFECYCLE_TOPIC, station_id, closed)
        if not self.replaced:
            post(LOCATIONS_TOPIC, station_id, self.scribe.located(False, now))
        metrics.CLOSED.labels("station" if self._verdict is None else self._verdict[1]).inc()
        log.info("station_disconnected", code=int(ended), reason=why, **self._ids())

    def _latency(self, action: str) -> Histogram:
        self._latencies[action] = metrics.ANSWER_SECONDS.labels(self._version, action)
        return self._latencies[action]

    def _ids(self) -> dict[str, object]:
        holding = self.holding
        return {
            "station_id": holding.station_id,
            "connection_id": holding.connection_id,
            "epoch": holding.epoch,
        }
