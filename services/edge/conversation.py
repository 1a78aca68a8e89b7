"""What one station says and is answered, message by message, once its connection is open."""

import asyncio
import math
from collections.abc import Callable, Coroutine
from time import perf_counter
from typing import Any

import msgspec
import orjson
from prometheus_client import Histogram
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
from libs.ocpp.rpc import RpcMachine
from libs.ocpp.schemas import Violation
from libs.runtime.clock import now_us
from libs.runtime.logging import get_logger
from services.edge import metrics
from services.edge.commands import CommandLane
from services.edge.context import RECORD_OVERHEAD, Context
from services.edge.deferred import DeferredCall, answered, answers_us, drop, pending, wait_for
from services.edge.domain.acceptance import may_call
from services.edge.domain.answers import Asked, answer, is_refused
from services.edge.domain.equipment import another_serial, booted
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


class Conversation:
    """Takes a station's messages one by one; each is answered before the next is looked at.

    A CALL is checked, its answer decided, call and answer published, and only when Kafka has acknowledged that
    is the answer sent. All of that happens in callbacks, of the socket and of the producer; what has to wait for
    anything else is handed over to `run`, and the next message waits until that is done. So it does while the station
    has taken more than its share.

    `end` closes the connection; it leads to `stop`. `certificate_name`: the CN that a boot's serial number must be.
    `announced`: the acknowledgement of what announced the connection, which the first answer waits for; None once it is
    there. `busy_since`: loop time since when a message is under way; 0 if none is, infinite while it waits for
    something else than Kafka.
    """

    def __init__(
        self,
        context: Context,
        socket: StationSocket,
        *,
        machine: RpcMachine,
        lane: CommandLane,
        holding: Holding,
        scribe: Scribe,
        end: Callable[[CloseCode, str], None],
        certificate_name: str | None = None,
    ) -> None:
        self._context = context
        self._socket = socket
        self._machine = machine
        self._version = machine.version
        self._routes = ROUTES[machine.version]
        self._lane = lane
        self._holding = holding
        self._scribe = scribe
        self._end = end
        self._certificate_name = certificate_name
        self._latencies: dict[str, Histogram] = {}
        self._deferrals = context.settings.deferred
        self._deferred: DeferredCall | None = None
        self._wake = asyncio.Event()
        self._errand: Coroutine[Any, Any, None] | None = None
        self._stopped = False
        self._account = context.quota.account(holding.station_id)
        self._rest: asyncio.TimerHandle | None = None
        self._told_of_rest = False
        self.rejects = Rejects(context, scribe, machine.version, self._publish, self._account.garbage)
        self.announced: asyncio.Future[tuple[object, object]] | None = None
        self.busy_since = 0.0

    async def run(self) -> None:
        """Do what the callbacks hand over, until it is stopped. Raises ConnectionClosed if the socket is lost."""
        socket = self._socket
        socket.on_lost = self._wake.set
        socket.on_message = self._take
        self._go_on()
        while not self._stopped:
            self._wake.clear()
            errand, self._errand = self._errand, None
            if errand is not None:
                await errand
                # An errand may wait for nothing at all, and there may be thousands of them: others have their turn.
                await asyncio.sleep(0)
                self.busy_since = 0.0
                self._go_on()
            elif socket.state is State.CLOSED:
                raise socket.protocol.close_exc
            else:
                await self._wake.wait()

    def stop(self) -> None:
        """Throw away what comes from now on; a call that is not answered yet stays unanswered."""
        self._stopped = True

    def wake(self) -> None:
        """Let `run` look whether it is stopped."""
        self._wake.set()

    @property
    def resting(self) -> bool:
        """Whether nothing is under way but the station's messages wait, since it has taken more than its share."""
        return self._rest is not None

    def close(self) -> None:
        """Stop for good, when `run` is over: what was handed over to it is not done any more."""
        self._stopped = True
        if self._rest is not None:
            self._rest.cancel()
        if self._errand is not None:
            self._errand.close()

    def take_answer(self, answer: AnswerCall) -> None:
        """Take a processor's answer to a call of this connection."""
        if self._deferred is None:
            drop(answer, "late")
        else:
            self._deferred.offer(answer)

    def _go_on(self) -> None:
        """Look at the messages that came meanwhile, until one has to wait for something."""
        while self._may_go_on() and (frame := self._socket.next_message()) is not None:
            self._take(frame)

    def _may_go_on(self) -> bool:
        """Whether the next message may be looked at; has it wait if the station has taken more than its share."""
        if self.busy_since:
            return False
        loop = self._context.loop
        wait_s = self._account.wait(loop.time())
        if wait_s <= 0:
            return True
        # It waits, but not for Kafka.
        self.busy_since = math.inf
        self._rest = loop.call_later(wait_s, self._rested)
        metrics.RESTS.inc()
        metrics.REST_SECONDS.inc(wait_s)
        if not self._told_of_rest:
            self._told_of_rest = True
            log.warning("station_over_its_share", seconds=round(wait_s, 3), **self._holding.ids)
        return False

    def _rested(self) -> None:
        self._rest = None
        self.busy_since = 0.0
        self._go_on()

    def _take(self, frame: bytes) -> bool:
        """Look at a message; False if one before it is not done with. After the end it is thrown away."""
        if self._stopped:
            return True
        if not self._may_go_on():
            return self._deferred is not None and self._take_meanwhile(self._deferred, frame)
        # Not the thread's own clock: where that is a system call, two of them cost as much as the message.
        started = perf_counter()
        now = self.busy_since = self._context.loop.time()
        try:
            received = self._machine.receive(frame)
            if type(received) is CallReceived:
                self._on_call(received, frame, started)
            elif type(received) is ResultReceived or type(received) is ErrorReceived:
                self._lane.settle(received)
                self.busy_since = 0.0
            else:
                self._hand_over(self._on_other(received, frame))
        except Exception:
            self._fail_internally()
        self._account.spend(now, len(frame), perf_counter() - started)
        return True

    def _hand_over(self, errand: Coroutine[Any, Any, None]) -> None:
        """Leave something to the task; until it is done no other message is looked at."""
        self._errand = errand
        self._wake.set()

    def _fail_internally(self) -> None:
        log.exception("connection_failed", **self._holding.ids)
        metrics.INTERNAL_ERRORS.inc()
        self._end(CloseCode.INTERNAL_ERROR, "internal error")

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
        if not may_call(route, standing.boot_status) and not self._lane.asked_for.take(route.action, now):
            reason = "the station is not accepted yet"
            self._hand_over(self._fail(call, frame, ErrorCode.SECURITY_ERROR, reason))
            return
        if route.policy is Policy.BOOT:
            if another_serial(self._version, checked.payload, self._certificate_name):
                self._hand_over(self._put_out(call, frame))
                return
            self._scribe.equipment = booted(self._version, checked.payload)
        drawn = self._draw_up(call, checked, standing, started, now)
        if drawn is None:
            self._hand_over(self._fail_to_handle(call, frame))
            return
        record, owed = drawn
        if is_refused(route, owed.payload):
            self._hand_over(self._look_again(call, checked, frame, started))
        elif (wait_s := self._deferral(call, checked)) is not None:
            self._hand_over(self._defer(route.topic, record, len(frame), owed, wait_s))
        else:
            self._publish_and_answer(route.topic, record, len(frame), owed)

    def _draw_up(
        self, call: CallReceived, checked: CheckedCall, standing: Standing, started: float, now: int
    ) -> tuple[OcppCallReceived, _Owed] | None:
        """The record of a call, and the answer; None, counted and logged, if that cannot be had."""
        try:
            payload = self._decide(self._routes[call.action], checked, standing, now)
            text = orjson.dumps(payload).decode()
            record = self._scribe.call(call, checked, standing, text, now)
            if call.action == "SignCertificate":
                self._note_csr(payload, record.event_id)
            return record, _Owed(call, payload, started)
        except Exception:
            log.exception("call_failed", action=call.action, **self._holding.ids)
            metrics.INTERNAL_ERRORS.inc()
            return None

    async def _fail_to_handle(self, call: CallReceived, frame: bytes) -> None:
        await self._fail(call, frame, ErrorCode.INTERNAL_ERROR, "the call could not be handled")

    async def _look_again(
        self, call: CallReceived, checked: CheckedCall, frame: bytes, started: float
    ) -> None:
        """Answer a call that would be refused, by a registry that has been read up to this moment."""
        # It waits, but not for Kafka's acknowledgement.
        self.busy_since = math.inf
        await self._context.freshness.reached()
        self.busy_since = self._context.loop.time()
        standing = self._standing()
        if standing is None or self._stopped:
            return
        drawn = self._draw_up(call, checked, standing, started, now_us())
        if drawn is None:
            await self._fail_to_handle(call, frame)
            return
        (record, owed), topic = drawn, self._routes[call.action].topic
        if (wait_s := self._deferral(call, checked)) is not None:
            await self._defer(topic, record, len(frame), owed, wait_s)
        else:
            await self._publish_waiting(topic, record, len(frame) + RECORD_OVERHEAD, owed)

    def _deferral(self, call: CallReceived, checked: CheckedCall) -> float | None:
        """For how many seconds the answer is left to a processor; None if it is ours alone."""
        if not self._routes[call.action].deferred:
            return None
        return wait_for(self._deferrals, call.action, checked.payload)

    def _publish_and_answer(self, topic: str, record: Record, size: int, owed: _Owed) -> None:
        context, size = self._context, size + RECORD_OVERHEAD
        if self.announced is None and context.gate.try_enter(size):

            def on_acknowledged(error: BusUnavailableError | None) -> None:
                context.gate.leave(size)
                if self._stopped:
                    return
                if error is not None:
                    self._end(CloseCode.TRY_AGAIN_LATER, "bus")
                    return
                try:
                    self._answer(owed)
                except Exception:
                    self._fail_internally()

            queued = False
            try:
                queued = context.publisher.try_send(topic, self._holding.station_id, record, on_acknowledged)
            except BusUnavailableError:
                self._end(CloseCode.TRY_AGAIN_LATER, "bus")
                return
            finally:
                if not queued:
                    context.gate.leave(size)
            if queued:
                return
        self._hand_over(self._publish_waiting(topic, record, size, owed))

    async def _publish_waiting(self, topic: str, record: Record, size: int, owed: _Owed) -> None:
        await self._publish(topic, record, size)
        await self._send_answer(self._frame_of(owed.call, owed.payload), owed)

    async def _defer(
        self, topic: str, record: OcppCallReceived, size: int, owed: _Owed, wait_s: float
    ) -> None:
        """Publish a call as pending, then what a processor answers, or we alone if none does in time; send that.

        Meanwhile the station's answers to commands are taken, and nothing else of it.
        """
        message_id, loop = owed.call.message_id, self._context.loop
        record = pending(record, self._context.slot)
        # Before the call is published: the answer may be here before the acknowledgement.
        deferred = self._deferred = DeferredCall(record, owed.payload)
        try:
            await self._publish(topic, record, size + RECORD_OVERHEAD)
            # It waits, but not for Kafka.
            self.busy_since = math.inf
            if self._socket.state is State.CLOSED:
                self._wake.set()
            decision = await deferred.decision(wait_s - (perf_counter() - owed.started), self._wake)
        finally:
            self._deferred = None
            self.busy_since = loop.time()
        if decision is None:
            return
        await self._publish(topic, answered(record, decision, now_us()), size + RECORD_OVERHEAD)
        if (error := decision.error) is not None:
            code, details = ErrorCode(canonical(error.code)), orjson.loads(error.details)
            text = self._machine.fail(message_id, code, error.description, details)
        else:
            text = self._frame_of(owed.call, decision.payload)
        await self._send_answer(text, owed)
        for received, frame in deferred.meanwhile:
            await self._on_other(received, frame)

    def _take_meanwhile(self, deferred: DeferredCall, frame: bytes) -> bool:
        """Take the station's answer to a command while its own call waits; False for anything else."""
        if deferred.crowded or not answers_us(frame):
            return False
        self._account.spend(self._context.loop.time(), len(frame), 0.0)
        received = self._machine.receive(frame)
        if isinstance(received, ResultReceived | ErrorReceived):
            self._lane.settle(received)
        else:
            if isinstance(received, Refused) and received.call is not None:
                self._lane.settle(received)
            deferred.meanwhile.append((received, frame))
        return True

    async def _send(self, text: str) -> None:
        # It waits, but not for Kafka.
        self.busy_since = math.inf
        await self._socket.deliver(text)

    async def _send_answer(self, text: str, owed: _Owed) -> None:
        await self._send(text)
        self._note_answered(owed)

    def _answer(self, owed: _Owed) -> None:
        text = self._frame_of(owed.call, owed.payload)
        if not self._socket.try_answer(text):
            self._hand_over(self._send_answer(text, owed))
            return
        self._note_answered(owed)
        self.busy_since = 0.0
        self._go_on()

    def _frame_of(self, call: CallReceived, payload: Payload) -> str:
        return self._machine.answer(call.message_id, payload, lasting=self._routes[call.action].lasting)

    def _note_answered(self, owed: _Owed) -> None:
        action = owed.call.action
        latency = self._latencies.get(action) or self._latency(action)
        latency.observe(perf_counter() - owed.started)

    def _note_csr(self, answer: Payload, event_id: str) -> None:
        metrics.CSRS.labels(answer["status"]).inc()
        if answer["status"] != "Accepted":
            info = answer.get("statusInfo", {}).get("additionalInfo", "")
            log.warning("csr_refused", reason=info, event_id=event_id, **self._holding.ids)

    def _decide(self, route: Route, checked: CheckedCall, standing: Standing, now: int) -> Payload:
        station_id, models = self._holding.station_id, self._context.models
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
                    self._lane.settle(received)
                await self.rejects.record(
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
                await self.rejects.record(frame, received.code, reason, received.message_id)
            case Ignored():
                action = received.call.action if received.call is not None else None
                await self.rejects.record(frame, IGNORED, received.reason, received.message_id, action)

    async def _on_send(self, sent: SendReceived, frame: bytes) -> None:
        """Record a SEND; nothing may be answered (2.1 part 4 §4.2.5)."""
        now = now_us()
        route, standing = self._routes[sent.action], self._standing()
        if standing is None:
            return
        checked = check_call(self._version, sent.action, sent.payload)
        if isinstance(checked, Violation):
            await self.rejects.record(frame, checked.code, describe(checked), sent.message_id, sent.action)
        elif not may_call(route, standing.boot_status) and not self._lane.asked_for.take(route.action, now):
            reason = "the station is not accepted yet"
            await self.rejects.record(frame, ErrorCode.SECURITY_ERROR, reason, sent.message_id, sent.action)
        else:
            record = self._scribe.call(sent, checked, standing, None, now)
            await self._publish(route.topic, record, len(frame) + RECORD_OVERHEAD)

    def _standing(self) -> Standing | None:
        """How the station stands; None, and the end of the connection, if it is not registered any more."""
        standing = self._context.models.standing(self._holding.station_id)
        if standing is None:
            self._end(CloseCode.POLICY_VIOLATION, "not registered")
        return standing

    async def _publish(self, topic: str, record: Record, size: int) -> None:
        """Publish and wait for the acknowledgement, also of what announced the connection.

        `size`: bytes that it holds meanwhile. Raises BusUnavailableError if there is no acknowledgement.
        """
        gate = self._context.gate
        await gate.enter(size)
        try:
            await (await self._context.publisher.send(topic, self._holding.station_id, record))
            if self.announced is not None:
                await self.announced
        # An acknowledgement fails with the Kafka client's own errors, which only libs/bus knows by name.
        except Exception as error:
            raise BusUnavailableError(repr(error)) from error
        finally:
            gate.leave(size)

    async def _fail(self, call: CallReceived, frame: bytes, code: ErrorCode, reason: str) -> None:
        """Answer a CALL with a CALLERROR, recorded first."""
        spelt = spell(self._version, code)
        await self.rejects.record(frame, spelt, reason, call.message_id, call.action, answered=True)
        await self._send(self._machine.fail(call.message_id, code, reason))

    async def _put_out(self, call: CallReceived, frame: bytes) -> None:
        """End the connection of a station whose certificate is another's by what its boot says (B01.FR.12)."""
        reason = "the serial number is not the certificate's common name"
        code = spell(self._version, ErrorCode.SECURITY_ERROR)
        log.warning("serial_not_certified", **self._holding.ids)
        await self.rejects.record(frame, code, reason, call.message_id, call.action)
        self._end(CloseCode.POLICY_VIOLATION, "wrong serial number")

    def _latency(self, action: str) -> Histogram:
        self._latencies[action] = metrics.ANSWER_SECONDS.labels(self._version, action)
        return self._latencies[action]
