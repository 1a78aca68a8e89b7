"""The websocket server: handshakes, the watch over open sockets, and the orderly end."""

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import CloseCode
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from libs.events.ids import new_id
from libs.events.ocpp_log import ConnectionRefused
from libs.runtime.clock import SECOND, now_us
from libs.runtime.logging import get_logger
from services.edge import metrics
from services.edge.context import REJECTED_TOPIC, Context
from services.edge.directory import Directory
from services.edge.domain.admission import Refusal, RefusalReason, admit
from services.edge.domain.limits import RefusalCount, RefusalLog
from services.edge.domain.liveness import Liveness, Patience, liveness
from services.edge.socket import StationSocket

log = get_logger(__name__)

_WATCH_S: Final = 0.5
_DRAIN_STEP_S: Final = 0.05
_DRAIN_RATE: Final = 200
_CLOSE_S: Final = 5.0
_OPEN_S: Final = 10.0
_BACKLOG: Final = 4096
# 2 KiB windows: about 20 KiB a socket instead of 300. The frame limit holds for the inflated size, too.
_DEFLATE: Final = ServerPerMessageDeflateFactory(
    server_no_context_takeover=True,
    client_no_context_takeover=True,
    server_max_window_bits=11,
    client_max_window_bits=11,
    compress_settings={"memLevel": 3},
)


class EdgeServer:
    """Accepts stations while `ready()` says so, and looks after their sockets."""

    def __init__(self, context: Context, directory: Directory, ready: Callable[[], bool]) -> None:
        settings = context.settings
        self._context = context
        self._directory = directory
        self._ready = ready
        self._refusals = RefusalLog(int(settings.refusal_window_s * SECOND), settings.refusal_kinds)
        self._patience = Patience(settings.ping_after_s, settings.silence_timeout_s)
        self._server: Server | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._pings: set[asyncio.Task[None]] = set()

    @property
    def serving(self) -> bool:
        """Whether the port is open and the watch is kept."""
        return (
            self._server is not None
            and self._server.is_serving()
            and self._watcher is not None
            and not self._watcher.done()
        )

    async def start(self) -> int:
        """Open the port; returns its number. Raises OSError if it cannot be had."""
        settings = self._context.settings
        self._server = await serve(
            self._handle,
            settings.edge_host,
            settings.edge_port,
            create_connection=StationSocket,
            process_request=self._on_handshake,
            select_subprotocol=_select_subprotocol,
            server_header=None,
            compression=None,
            open_timeout=_OPEN_S,
            close_timeout=_CLOSE_S,
            ping_interval=None,
            max_size=4 * settings.max_frame_bytes,
            # Several processes accept on one port; the kernel spreads the connections.
            reuse_port=True,
            backlog=_BACKLOG,
        )
        self._watcher = asyncio.create_task(self._watch(), name="watch")
        port: int = next(iter(self._server.sockets)).getsockname()[1]
        log.info("edge_listens", host=settings.edge_host, port=port, edge_id=self._context.edge_id)
        return port

    async def drain(self) -> None:
        """Close the port, then every socket as soon as nothing is under way on it; bounded by `drain_s`.

        Sockets are closed one after the other, so that the stations do not all knock elsewhere at once.
        """
        assert self._server is not None
        assert self._watcher is not None
        loop, bound = self._context.loop, self._context.settings.drain_s
        self._directory.draining = True
        self._server.close(close_connections=False)
        begun = loop.time()
        total = len(self._directory)
        rate = max(_DRAIN_RATE, 2 * total / bound if bound else 0)
        ended = 0
        while self._directory and (left := begun + bound - loop.time()) > 0:
            for connection in self._directory:
                if ended < rate * (loop.time() - begun) and connection.idle:
                    connection.end(CloseCode.SERVICE_RESTART, "restart")
                    ended += 1
            await asyncio.sleep(min(_DRAIN_STEP_S, left))
        for connection in self._directory:
            connection.end(CloseCode.SERVICE_RESTART, "restart")
        try:
            await asyncio.wait_for(self._server.wait_closed(), _CLOSE_S + 1)
        except TimeoutError:
            log.warning("sockets_left_open", count=len(self._directory))
        self._watcher.cancel()
        for count in self._refusals.due(now_us() + int(self._context.settings.refusal_window_s * SECOND)):
            self._report(count)

    def _on_handshake(self, socket: ServerConnection, request: Request) -> Response | None:
        """Answer a handshake that is refused; note on the socket whom it is accepted as."""
        assert isinstance(socket, StationSocket)
        offered = [
            name.strip()
            for header in request.headers.get_all("Sec-WebSocket-Protocol")
            for name in header.split(",")
        ]
        judged = admit(request.path, offered, self._context.models, self._trouble())
        if isinstance(judged, Refusal):
            return self._refuse(socket, judged)
        socket.admission = judged
        if judged.version.is_v2 and self._context.settings.deflate:
            # 2.x part 4 §3.4 asks for compression; 1.6 stations do without.
            socket.protocol.available_extensions = [_DEFLATE]
        return None

    def _trouble(self) -> RefusalReason | None:
        if self._directory.draining or not self._ready():
            return RefusalReason.NOT_READY
        if len(self._directory) >= self._context.settings.max_connections:
            return RefusalReason.OVERLOAD
        return None

    def _refuse(self, socket: StationSocket, refusal: Refusal) -> Response:
        metrics.REFUSED.labels(refusal.reason).inc()
        now = now_us()
        count = self._refusals.note(refusal.identity, socket.peer, refusal.reason, refusal.status.value, now)
        if count is not None:
            self._report(count)
        response = socket.respond(refusal.status, f"{refusal.status.phrase}\n")
        _add_advice(response.headers, refusal.status, self._context.settings.retry_after_s)
        return response

    def _report(self, count: RefusalCount) -> None:
        if not self._context.publisher.healthy:
            # While Kafka is away the metric alone counts: nobody outside may fill our memory.
            return
        now, event_id = now_us(), new_id()
        record = ConnectionRefused(
            event_id=event_id,
            occurred_at=now,
            recorded_at=now,
            cause_id=event_id,
            station_id=count.identity,
            edge_id=self._context.edge_id,
            remote_address=count.address,
            reason=count.reason,
            http_status=count.status,
            count=count.count,
            first_at=count.first_at,
        )
        self._context.publisher.post(REJECTED_TOPIC, count.identity, record)

    async def _handle(self, socket: ServerConnection) -> None:
        assert isinstance(socket, StationSocket)
        assert socket.admission is not None
        connection = self._directory.open(socket, socket.admission)
        try:
            await connection.run()
        finally:
            self._directory.close(connection)

    async def _watch(self) -> None:
        """Close sockets that wait too long for Kafka, are silent, or leave commands unanswered."""
        while True:
            await asyncio.sleep(_WATCH_S)
            self._look_at_sockets(self._context.loop.time())
            metrics.UNACKNOWLEDGED.set(self._context.gate.used)
            for count in self._refusals.due(now_us()):
                self._report(count)

    def _look_at_sockets(self, now: float) -> None:
        settings = self._context.settings
        for connection in self._directory:
            waits_since = connection.waits_since()
            if waits_since is not None:
                if now - waits_since > settings.publish_timeout_s:
                    metrics.BUS_TIMEOUTS.inc()
                    self._context.publisher.stall()
                    connection.end(CloseCode.TRY_AGAIN_LATER, "bus")
                continue
            if connection.lane.timeouts >= settings.command_timeouts:
                connection.end(CloseCode.INTERNAL_ERROR, "no answers")
                continue
            socket = connection.socket
            match liveness(
                self._patience,
                now - socket.last_seen,
                now - socket.last_ping,
                socket.latency > 0,
                connection.interval_s,
            ):
                case Liveness.DEAD:
                    connection.end(CloseCode.INTERNAL_ERROR, "silent")
                case Liveness.PING:
                    socket.last_ping = now
                    self._ping(socket)
                case Liveness.FINE:
                    pass

    def _ping(self, socket: StationSocket) -> None:
        task = asyncio.create_task(_send_ping(socket))
        self._pings.add(task)
        task.add_done_callback(self._pings.discard)


async def _send_ping(socket: StationSocket) -> None:
    try:
        await socket.ping()
    # The socket went away meanwhile; its own task notices.
    except Exception as error:
        log.debug("ping_failed", error=repr(error))


def _select_subprotocol(socket: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    assert isinstance(socket, StationSocket)
    admission = socket.admission
    if admission is None or not admission.echo or not offered:
        return None
    return Subprotocol(admission.version.value)


def _add_advice(headers: Headers, status: HTTPStatus, retry_after_s: int) -> None:
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Basic realm="OCPP", charset="UTF-8"'
    elif status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(retry_after_s)
