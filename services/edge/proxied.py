"""Sockets that trusted proxies hand on, with the header of the PROXY protocol before anything else, TLS included."""

import asyncio
import ssl
from typing import Any, Final, cast

from libs.security.url_guard import Network
from services.edge import metrics
from services.edge.domain.proxies import is_trusted, read_header
from services.edge.socket import StationSocket

_SHUTDOWN_S: Final = 5.0


class ProxiedSocket(StationSocket):
    """A websocket whose peer, if it is one of `proxies`, first says where the connection comes from.

    Whoever else connects begins at once, and is who the socket says. `tls`: what the rest is encrypted with.
    `deadline_s`: for the header, and then for the handshake of TLS.
    """

    proxies: tuple[Network, ...] = ()
    tls: ssl.SSLContext | None = None
    deadline_s = 10.0

    _head: bytearray | None = None
    _begun = False
    _deadline: asyncio.TimerHandle | None = None
    _securing: asyncio.Task[None] | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._rest = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the header if the peer is a proxy."""
        # uvloop's are of no class of asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        address = transport.get_extra_info("peername")
        if not is_trusted(str(address[0]) if address else "", self.proxies):
            self._go_on()
            return
        self._head = bytearray()
        self._deadline = self.loop.call_later(self.deadline_s, self._cut)
        if self.room is not None:
            # By itself: all that come through a proxy have its address so far.
            self.room.enter(self, str(id(self)))

    def data_received(self, data: bytes) -> None:
        """Take bytes of the header, then of the websocket."""
        if self._begun:
            super().data_received(data)
            return
        if self._head is None:
            # TLS is about to take over.
            self._rest += data
            return
        self._head += data
        try:
            header = read_header(bytes(self._head))
        except ValueError:
            self._cut()
            return
        if header is None:
            return
        self._rest, self._head, self.told = self._head[header.size :], None, header.address
        self._stop_waiting()
        self._go_on()

    def eof_received(self) -> None:
        """Take note that the peer sends nothing more."""
        if self._begun:
            super().eof_received()
        else:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that the socket is gone."""
        self._stop_waiting()
        if self._begun:
            super().connection_lost(exc)

    def _go_on(self) -> None:
        if self.tls is None:
            self._begin(self.transport, bytes(self._rest))
        else:
            self._securing = self.loop.create_task(self._secure(self.transport, self.tls))

    def _begin(self, transport: asyncio.BaseTransport, rest: bytes) -> None:
        self._begun = True
        super().connection_made(transport)
        if rest:
            super().data_received(rest)

    async def _secure(self, transport: asyncio.Transport, tls: ssl.SSLContext) -> None:
        early = _Early()
        starting = asyncio.ensure_future(
            self.loop.start_tls(
                transport,
                early,
                tls,
                server_side=True,
                ssl_handshake_timeout=self.deadline_s,
                ssl_shutdown_timeout=_SHUTDOWN_S,
            )
        )
        # The transport has its new protocol after the first step, which is connected by the second.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        _feed(transport.get_protocol(), bytes(self._rest))
        try:
            secured = await starting
        # Why is counted where it happened.
        except (OSError, TimeoutError):
            transport.abort()
            return
        if early.lost or secured is None:
            transport.abort()
            return
        secured.set_protocol(self)
        self._begin(secured, bytes(early.data))

    def _cut(self) -> None:
        metrics.HANDSHAKES_CUT.inc()
        self._stop_waiting()
        self.transport.abort()

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self.room is not None and not self._begun:
            self.room.leave(self)


class _Early(asyncio.Protocol):
    """Keeps what comes between the end of TLS's handshake and the websocket's beginning."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.lost = False

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


def _feed(protocol: Any, data: bytes) -> None:
    """Hand bytes to a protocol that takes them in its own buffer, as TLS does."""
    while data:
        buffer = memoryview(protocol.get_buffer(len(data))).cast("B")
        size = min(len(buffer), len(data))
        buffer[:size] = data[:size]
        protocol.buffer_updated(size)
        data = data[size:]
