"""One station's connection, from the accepted handshake to the recorded end."""

import asyncio

from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from libs.bus.errors import BusUnavailableError
from libs.events.ocpp_log import StationLocated
from libs.events.topics import EDGE_CONNECTIONS, OCPP_LIFECYCLE
from libs.ocpp.rpc import Role, RpcMachine
from libs.runtime.clock import now_us
from libs.runtime.logging import get_logger
from services.edge import metrics
from services.edge.commands import CommandLane
from services.edge.context import Context
from services.edge.conversation import Conversation
from services.edge.domain.admission import Admission
from services.edge.domain.authentication import Proof
from services.edge.domain.equipment import remembered
from services.edge.domain.location import Holding
from services.edge.records import Scribe
from services.edge.socket import StationSocket

log = get_logger(__name__)


class StationConnection:
    """Announces where the station is, serves it through `conversation` and `lane`, and records its end.

    `ours_seen`: our StationLocated has been read back. `replaced`: a newer connection of the station exists.
    """

    def __init__(
        self, context: Context, socket: StationSocket, admission: Admission, epoch: int, now: int
    ) -> None:
        self._context = context
        self._admission = admission
        self._version = admission.version
        self._opened_at = now
        self._announcing_since = 0.0
        self._task: asyncio.Task[None] | None = None
        self._verdict: tuple[CloseCode, str] | None = None
        self._over = False
        self.holding = Holding(admission.station_id, context.edge_id, epoch)
        known = context.models.capabilities.get(admission.station_id)
        self._scribe = Scribe(self.holding, context.slot, admission.version.value, remembered(known))
        self.socket = socket
        machine = RpcMachine(admission.version, Role.CSMS, max_frame=context.settings.max_frame_bytes)
        self.lane = CommandLane(context, socket, machine, self.holding)
        self.conversation = Conversation(
            context,
            socket,
            machine=machine,
            lane=self.lane,
            holding=self.holding,
            scribe=self._scribe,
            end=self.end,
            certificate_name=admission.proof.certificate.names[0]
            if admission.proof.certificate is not None and context.settings.tls_boot_serial
            else None,
        )
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
        conversation = self.conversation
        return (not conversation.busy_since or conversation.resting) and not self.lane.busy

    @property
    def ending(self) -> bool:
        """Whether it is told to end, or has ended."""
        return self._over or self._verdict is not None

    def waits_since(self) -> float | None:
        """Loop time since when something of this connection waits for Kafka; None if nothing does."""
        if self._verdict is not None:
            return None
        return self._announcing_since or self.conversation.busy_since or None

    def end(self, code: CloseCode, reason: str) -> None:
        """Close the socket; a call that is not answered yet stays unanswered. The first reason counts."""
        if self._verdict is None and not self._over and self._task is not None:
            self._verdict = (code, reason)
            self.conversation.stop()
            if asyncio.current_task() is self._task:
                self.conversation.wake()
            else:
                self._task.cancel()

    def announce_again(self) -> None:
        """Say once more where the station is, because an older record came after ours."""
        self.ours_seen = False
        self._context.publisher.post(
            EDGE_CONNECTIONS, self.holding.station_id, self._located(True, self._opened_at)
        )

    def _located(self, connected: bool, now: int) -> StationLocated:
        return self._scribe.located(connected, now, self.proof.profile, self.socket.peer)

    async def run(self) -> None:
        """Serve the station until the socket is gone and its end is posted."""
        self._task = asyncio.current_task()
        assert self._task is not None
        metrics.OPENED.labels(self._version).inc()
        metrics.CONNECTIONS.labels(self._version).inc()
        lost: ConnectionClosed | None = None
        try:
            await self._announce()
            await self.conversation.run()
        except ConnectionClosed as error:
            lost = error
        except BusUnavailableError:
            self._verdict = self._verdict or (CloseCode.TRY_AGAIN_LATER, "bus")
        except asyncio.CancelledError:
            if self._verdict is None:
                raise
            self._task.uncancel()
        except Exception:
            log.exception("connection_failed", **self.holding.ids)
            metrics.INTERNAL_ERRORS.inc()
            self._verdict = (CloseCode.INTERNAL_ERROR, "internal error")
        finally:
            self._over = True
            self.socket.discard()
            self.conversation.close()
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
        opened = self._scribe.opened(
            self.socket.peer, admission.standing.registered, admission.proof.profile, now
        )
        announced = asyncio.gather(
            await send(OCPP_LIFECYCLE, station_id, opened),
            await send(EDGE_CONNECTIONS, station_id, self._located(True, now)),
        )
        announced.add_done_callback(self._on_announced)
        self.conversation.announced = announced
        log.info("station_connected", version=self._version.value, peer=self.socket.peer, **self.holding.ids)

    def _on_announced(self, done: "asyncio.Future[tuple[object, object]]") -> None:
        self.conversation.announced = None
        self._announcing_since = 0.0
        if not done.cancelled() and done.exception() is not None:
            self.end(CloseCode.TRY_AGAIN_LATER, "bus")

    def _conclude(self, lost: ConnectionClosed | None) -> None:
        """Post the end; where the station is now is another's to say if we were replaced."""
        now = max(now_us(), self._opened_at)
        post, station_id, socket = self._context.publisher.post, self.holding.station_id, self.socket
        too_large = lost is not None and lost.sent is not None and lost.sent.code == CloseCode.MESSAGE_TOO_BIG
        self.conversation.rejects.conclude(too_large, now)
        ended, why = self._verdict or (socket.close_code or CloseCode.ABNORMAL_CLOSURE, socket.close_reason)
        closed = self._scribe.closed(int(ended), why or "", self._opened_at, now)
        post(OCPP_LIFECYCLE, station_id, closed)
        if not self.replaced:
            post(EDGE_CONNECTIONS, station_id, self._located(False, now))
        metrics.CLOSED.labels("station" if self._verdict is None else self._verdict[1]).inc()
        log.info("station_disconnected", code=int(ended), reason=why, **self.holding.ids)
