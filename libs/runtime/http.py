"""An HTTP server that nobody shuts for others: requests that are not finished end, and descriptors are left over."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import h11
import msgspec
import uvicorn
from prometheus_client import Counter
from uvicorn.protocols.http.h11_impl import H11Protocol

from libs.runtime.waiting import WaitingRoom

CUT = Counter(
    "voltbus_http_requests_cut",
    "Connections dropped before a request was complete: late, or too many of them.",
)

ASGIApplication = Callable[[Any, Any, Any], Awaitable[None]]


class HttpBounds(msgspec.Struct, frozen=True):
    """`request_s`: from the connection, or a request's first byte, to its last. `half_open`: connections whose request
    is not complete, an eighth of them from one address; beyond it the oldest is dropped. `connections`: in all.
    """

    request_s: float = 10
    half_open: int = 64
    connections: int = 256


FOR_HEALTH: Final = HttpBounds()
"""Enough for probes and metrics."""


KEPT_ALIVE_S: Final = 65
"""Longer than clients and proxies keep a connection: one that is closed as a request comes costs the client that."""


class _EmbeddedServer(uvicorn.Server):
    """uvicorn without its signal handlers: the process's own decide when to stop."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _BoundedProtocol(H11Protocol):
    """A connection that is dropped if its request takes too long to come, or if there are too many like it.

    `idle`: those that have had their answer and have not asked again, the oldest first.
    """

    bounds: HttpBounds
    room: "WaitingRoom[_BoundedProtocol]"
    idle: "dict[_BoundedProtocol, None]"
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take note of a newcomer; if there are too many, who has not asked for anything makes room."""
        super().connection_made(transport)
        if len(self.connections) > self.bounds.connections and not self._make_room():
            CUT.inc()
            transport.abort()
            return
        self._look()

    def data_received(self, data: bytes) -> None:
        """Take bytes, and note whether they completed a request, or began one."""
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """Take note that a request is answered."""
        super().on_response_complete()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that the connection is gone."""
        self._is_complete()
        self.idle.pop(self, None)
        super().connection_lost(exc)

    def abort(self) -> None:
        """Drop the connection."""
        self.transport.abort()

    def _make_room(self) -> bool:
        if self.room.cut():
            return True
        oldest = next(iter(self.idle), None)
        if oldest is not None:
            oldest.transport.abort()
            del self.idle[oldest]
        return oldest is not None

    def _look(self) -> None:
        between = self.conn.their_state is h11.IDLE
        self.idle.pop(self, None)
        if between and self.cycle is not None and not self.conn.trailing_data[0]:
            # The library ends it in some seconds.
            self._is_complete()
            self.idle[self] = None
        elif not between and self.conn.their_state is not h11.SEND_BODY:
            self._is_complete()
        elif self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self.bounds.request_s, self._is_late)
            self.room.enter(self, self.client[0] if self.client else "")

    def _is_complete(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
            self.room.leave(self)

    def _is_late(self) -> None:
        CUT.inc()
        self.transport.abort()


def _protocol(bounds: HttpBounds) -> type[_BoundedProtocol]:
    waiting: WaitingRoom[_BoundedProtocol] = WaitingRoom(bounds.half_open, CUT.inc)
    return type("Protocol", (_BoundedProtocol,), {"bounds": bounds, "room": waiting, "idle": {}})


@asynccontextmanager
async def serve_http(
    app: ASGIApplication, host: str, port: int, bounds: HttpBounds = FOR_HEALTH, *, proxies: str = ""
) -> AsyncIterator[int]:
    """Serve `app` over HTTP in this loop while the context is open; gives the bound port.

    `proxies`: networks whose X-Forwarded-For is believed, separated by commas. Raises OSError if the port is taken.
    """
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    # Clients that know the port before the server has started wait instead of being refused.
    sock.listen(2048)
    config = uvicorn.Config(
        app,
        http=_protocol(bounds),
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=5,
        timeout_keep_alive=KEPT_ALIVE_S,
        # Else anybody on this machine could come from anywhere.
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies,
    )
    server = _EmbeddedServer(config)
    task = asyncio.create_task(server.serve(sockets=[sock]), name="http")
    try:
        yield sock.getsockname()[1]
    finally:
        server.should_exit = True
        await task
