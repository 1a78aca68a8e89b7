"""The websocket server: handshakes, the watch over open sockets, and the orderly end."""

import asyncio
import logging
import ssl
from collections.abc import Callable, Sequence
from http import HTTPStatus
from secrets import randbelow
from typing import Final

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import CloseCode
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from libs.events.ids import new_id
from libs.events.ocpp_log import ConnectionRefused
from libs.events.topics import OCPP_REJECTED
from libs.runtime import descriptors
from libs.runtime.allowance import Allowance
from libs.runtime.clock import SECOND, now_us
from libs.runtime.logging import get_logger
from libs.runtime.waiting import WaitingRoom
from services.edge import metrics
from services.edge.context import Context
from services.edge.directory import Directory
from services.edge.domain.admission import Admission, Refusal, RefusalReason, admit, identify
from services.edge.domain.authentication import NOTHING_SHOWN, Shown, outdated
from services.edge.domain.limits import OVERFLOW_IDENTITY, RefusalCount, RefusalLog
from services.edge.domain.liveness import Liveness, Patience, liveness
from services.edge.domain.proxies import client_of, is_trusted, was_encrypted
from services.edge.domain.throttle import Throttle
from services.edge.proxied import ProxiedSocket
from services.edge.settings import EdgeSettings
from services.edge.socket import StationSocket
from services.edge.tls import Tls, TlsFiles, authorities_above

log = get_logger(__name__)

_WATCH_S: Final = 0.5
DRAIN_STEP_S: Final = 0.05
_DRAIN_RATE: Final = 200
_CLOSE_S: Final = 5.0
_BACKLOG: Final = 4096
_EVERYBODY: Final = ""
_SPREAD_S: Final = 10
_OTHER_DESCRIPTORS: Final = 256
"""For Kafka, the registry, and whoever asks for health and metrics."""
# 2 KiB windows: about 20 KiB a socket instead of 300. The frame limit holds for the inflated size, too.
DEFLATE: Final = ServerPerMessageDeflateFactory(
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
        self._proxies = settings.proxies
        self._refusals = RefusalLog(int(settings.refusal_window_s * SECOND), settings.refusal_kinds)
        self._patience = Patience(settings.ping_after_s, settings.silence_timeout_s)
        self._throttle = Throttle(
            settings.auth_failures,
            settings.auth_failures_per_address,
            settings.reconnects,
            int(settings.auth_window_s * SECOND),
            settings.auth_peers,
        )
        # One bucket for all: in a storm those who are in go on being served.
        self._entries: Allowance[str] = Allowance(settings.entries_per_s, SECOND, 1)
        waiting, self._most_connections = _room(settings, descriptors.limit())
        self._room: WaitingRoom[StationSocket] = WaitingRoom(waiting, metrics.HANDSHAKES_CUT.inc)
        self._tls: Tls | None = None
        self._servers: list[Server] = []
        self._watcher: asyncio.Task[None] | None = None

    @property
    def serving(self) -> bool:
        """Whether the ports are open and the watch is kept."""
        return (
            bool(self._servers)
            and all(server.is_serving() for server in self._servers)
            and self._watcher is not None
            and not self._watcher.done()
        )

    async def start(self) -> int:
        """Open the port, and that for TLS if there is a certificate; returns the number of the first.

        Raises OSError if one cannot be had or a TLS file not be read, ValueError if one is of no use.
        """
        settings = self._context.settings
        files = _tls_files(settings)
        if files is not None:
            self._tls = Tls(files, self._on_tls_failure, rsa_key_exchange=settings.tls_rsa_key_exchange)
        port = await self._listen(settings.edge_port)
        if self._tls is not None:
            await self._listen(settings.edge_tls_port, self._tls.context)
        self._watcher = asyncio.create_task(self._watch(), name="watch")
        return port

    async def _listen(self, port: int, context: ssl.SSLContext | None = None) -> int:
        settings = self._context.settings

        class NewSocket(StationSocket):
            room = self._room

        class NewProxiedSocket(NewSocket, ProxiedSocket):
            proxies = settings.proxies
            tls = context
            deadline_s = settings.handshake_timeout_s

        proxied = settings.proxy_protocol
        server = await serve(
            self._handle,
            settings.edge_host,
            port,
            # The header of the PROXY protocol comes before TLS.
            ssl=None if proxied else context,
            create_connection=NewProxiedSocket if proxied else NewSocket,
            process_request=self._on_handshake,
            select_subprotocol=_select_subprotocol,
            server_header=None,
            compression=None,
            open_timeout=settings.handshake_timeout_s,
            close_timeout=_CLOSE_S,
            ping_interval=None,
            max_size=4 * settings.max_frame_bytes,
            # Several processes accept on one port; the kernel spreads the connections.
            reuse_port=True,
            backlog=_BACKLOG,
            logger=_quiet_logger(),
        )
        self._servers.append(server)
        opened: int = next(iter(server.sockets)).getsockname()[1]
        log.info(
            "edge_listens",
            host=settings.edge_host,
            port=opened,
            tls=context is not None,
            edge_id=self._context.edge_id,
        )
        return opened

    async def drain(self) -> None:
        """Close the ports, then every socket as soon as nothing is under way on it; bounded by `drain_s`.

        Sockets are closed one after the other, so that the stations do not all knock elsewhere at once.
        """
        loop, bound = self._context.loop, self._context.settings.drain_s
        self._directory.draining = True
        for server in self._servers:
            server.close(close_connections=False)
        begun = loop.time()
        total = len(self._directory)
        rate = max(_DRAIN_RATE, 2 * total / bound if bound else 0)
        ended = 0
        while self._directory and (left := begun + bound - loop.time()) > 0:
            for connection in self._directory:
                # One that is on its way out already took its turn then.
                if ended < rate * (loop.time() - begun) and connection.idle and not connection.ending:
                    connection.end(CloseCode.SERVICE_RESTART, "restart")
                    ended += 1
            await asyncio.sleep(min(DRAIN_STEP_S, left))
        for connection in self._directory:
            connection.end(CloseCode.SERVICE_RESTART, "restart")
        try:
            async with asyncio.timeout(_CLOSE_S + 1):
                for server in self._servers:
                    await server.wait_closed()
        except TimeoutError:
            log.warning("sockets_left_open", count=len(self._directory))
        if self._watcher is not None:
            self._watcher.cancel()
        for count in self._refusals.due(now_us() + int(self._context.settings.refusal_window_s * SECOND)):
            self._report(count)

    async def _on_handshake(self, socket: ServerConnection, request: Request) -> Response | None:
        """Answer a handshake that is refused; note on the socket whom it is accepted as."""
        assert isinstance(socket, StationSocket)
        if socket.gone:
            # In a storm a station may have lost its patience; it must not count as one that came.
            return socket.respond(HTTPStatus.SERVICE_UNAVAILABLE, "")
        behind_tls = self._believe_proxy(socket, request)
        now, identity = now_us(), identify(request.path)
        wait = 0 if isinstance(identity, Refusal) else self._throttle.after_visits(socket.peer, identity, now)
        trouble = RefusalReason.THROTTLED if wait else self._trouble(now)
        judged = self._judge(socket, request, trouble, now, behind_tls)
        if isinstance(judged, Refusal) and not judged.believed:
            # Whoever is wrong is told so, and from then on to wait; what is right is let in whoever else is wrong.
            wait = self._throttle.after_failures(socket.peer, judged.identity, now)
            if wait:
                judged = Refusal(judged.identity, RefusalReason.THROTTLED)
            else:
                # Before anything is waited for: guesses that come together count one by one.
                self._throttle.failed(socket.peer, judged.identity, now)
                # It may have been registered a moment ago.
                fresh = await self._context.freshness.reached()
                now = now_us()
                trouble = self._trouble(now) if fresh else RefusalReason.NOT_READY
                judged = self._judge(socket, request, trouble, now, behind_tls)
                if socket.gone:
                    return socket.respond(HTTPStatus.SERVICE_UNAVAILABLE, "")
        self._room.leave(socket)
        if isinstance(judged, Refusal):
            return self._refuse(socket, judged, wait)
        self._throttle.admitted(socket.peer, judged.station_id, now)
        self._entries.spend(_EVERYBODY, now)
        socket.admission = judged
        if judged.version.is_v2 and self._context.settings.deflate:
            # 2.x part 4 §3.4 asks for compression; 1.6 stations do without.
            socket.protocol.available_extensions = [DEFLATE]
        return None

    def _judge(
        self,
        socket: StationSocket,
        request: Request,
        trouble: RefusalReason | None,
        now: int,
        behind_tls: bool,
    ) -> Admission | Refusal:
        """What becomes of a handshake by what the registry says now."""
        offered = [
            name.strip()
            for header in request.headers.get_all("Sec-WebSocket-Protocol")
            for name in header.split(",")
        ]
        shown = self._shown(socket, request, now, behind_tls) if trouble is None else NOTHING_SHOWN
        return admit(request.path, offered, self._context.models, trouble, shown)

    def _believe_proxy(self, socket: StationSocket, request: Request) -> bool:
        """Take from a trusted proxy whom the request comes from; whether it reached that over TLS."""
        settings = self._context.settings
        if not settings.forwarded or not is_trusted(socket.peer, self._proxies):
            return False
        said = request.headers.get_all
        socket.peer = client_of(said("X-Forwarded-For"), socket.peer, self._proxies)
        return was_encrypted(said("X-Forwarded-Proto"))

    def _shown(self, socket: StationSocket, request: Request, now: int, behind_tls: bool) -> Shown:
        authorization = tuple(request.headers.get_all("Authorization"))
        encrypted = socket.transport.get_extra_info("ssl_object")
        if encrypted is None or self._tls is None:
            return Shown(behind_tls, authorization)
        peer = encrypted.getpeercert(True)
        certificate, flaw = self._tls.certificate_of(peer, now, authorities_above(encrypted) if peer else ())
        return Shown(True, authorization, certificate, flaw)

    def _on_tls_failure(self, cause: str) -> None:
        """Count a TLS handshake that failed; that a certificate was refused is an event for the log."""
        metrics.TLS_FAILURES.labels(cause).inc()
        if cause == "certificate":
            reason = "bad_certificate"
            count = self._refusals.note(OVERFLOW_IDENTITY, OVERFLOW_IDENTITY, reason, 0, now_us())
            if count is not None:
                self._report(count)

    def _trouble(self, now: int) -> RefusalReason | None:
        """Why nobody is let in now, whoever it is."""
        if self._directory.draining or not self._ready():
            return RefusalReason.NOT_READY
        crowded = len(self._directory) >= self._most_connections
        if crowded or self._entries.wait(_EVERYBODY, now):
            return RefusalReason.OVERLOAD
        return None

    def _refuse(self, socket: StationSocket, refusal: Refusal, wait: int) -> Response:
        metrics.REFUSED.labels(refusal.reason).inc()
        now = now_us()
        count = self._refusals.note(refusal.identity, socket.peer, refusal.reason, refusal.status.value, now)
        if count is not None:
            self._report(count)
        response = socket.respond(refusal.status, f"{refusal.status.phrase}\n")
        # Those who are refused for the moment shall not all come back at the same moment.
        retry_after_s = -(-wait // SECOND) or self._context.settings.retry_after_s + randbelow(_SPREAD_S)
        _add_advice(response.headers, refusal.status, retry_after_s)
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
        self._context.publisher.post(OCPP_REJECTED, count.identity, record)

    async def _handle(self, socket: ServerConnection) -> None:
        assert isinstance(socket, StationSocket)
        admission, models = socket.admission, self._context.models
        assert admission is not None
        station_id = admission.station_id
        standing, credentials = models.standing(station_id), models.credentials.get(station_id)
        # The registry may have changed since the handshake was judged.
        why = outdated(station_id, standing, credentials, admission.proof, models.rules.operator)
        if why is not None:
            await socket.close(CloseCode.POLICY_VIOLATION, why)
            return
        connection = self._directory.open(socket, admission)
        try:
            await connection.run()
        finally:
            self._directory.close(connection)

    async def _watch(self) -> None:
        """Close sockets that wait too long for Kafka, are silent, do not read, or leave commands unanswered."""
        while True:
            await asyncio.sleep(_WATCH_S)
            self._look_at_sockets(self._context.loop.time())
            if self._tls is not None and await asyncio.to_thread(self._tls.refresh):
                self._directory.on_revoked(self._tls.is_revoked)
            metrics.UNACKNOWLEDGED.set(self._context.gate.used)
            for count in self._refusals.due(now_us()):
                self._report(count)

    def _look_at_sockets(self, now: float) -> None:
        settings = self._context.settings
        for connection in self._directory:
            if connection.socket.does_not_read(now):
                # Nor would it read why it is closed.
                connection.socket.abort()
                continue
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
            silent_s, since_ping_s = now - socket.last_seen, now - socket.last_ping
            match liveness(self._patience, silent_s, since_ping_s, socket.ponged, connection.interval_s):
                case Liveness.DEAD:
                    connection.end(CloseCode.INTERNAL_ERROR, "silent")
                case Liveness.PING:
                    socket.ask(now)
                case Liveness.FINE:
                    pass


def _select_subprotocol(socket: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    assert isinstance(socket, StationSocket)
    admission = socket.admission
    if admission is None or not admission.echo or not offered:
        return None
    return Subprotocol(admission.version.value)


def _room(settings: EdgeSettings, limit: int) -> tuple[int, int]:
    """How many handshakes and how many websockets there is room for with so many descriptors."""
    left = max(16, limit - _OTHER_DESCRIPTORS)
    waiting = min(settings.max_handshakes, left // 8)
    connections = min(settings.max_connections, left - waiting)
    if connections < settings.max_connections:
        log.warning("too_few_descriptors", limit=limit, connections=connections, handshakes=waiting)
    return waiting, connections


def _tls_files(settings: EdgeSettings) -> TlsFiles | None:
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return TlsFiles(
        settings.tls_certificate,
        settings.tls_key,
        settings.tls_client_ca,
        settings.tls_crl,
        settings.tls_second_certificate,
        settings.tls_second_key,
    )


def _quiet_logger() -> logging.Logger:
    """The websocket library's errors, but for one that any outsider can cause as often as he likes."""
    # Below "websockets", whose level keeps request headers out of every log.
    logger = logging.getLogger("websockets.edge")
    if not logger.filters:
        logger.addFilter(_is_ours)
    return logger


def _is_ours(record: logging.LogRecord) -> bool:
    if record.msg != "opening handshake failed":
        return True
    metrics.HANDSHAKES_CUT.inc()
    return False


def _add_advice(headers: Headers, status: HTTPStatus, retry_after_s: int) -> None:
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Basic realm="OCPP", charset="UTF-8"'
    elif status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
        headers["Retry-After"] = str(retry_after_s)
