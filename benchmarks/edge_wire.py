"""Raw OCPP-J clients, as cheap as Python allows, for load on a central system."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
import zlib
from typing import cast

HANDSHAKE = (
    "GET /ocpp/{name} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: {version}\r\n{extensions}\r\n"
)
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
TEXT, PING, PONG = 0x1, 0x9, 0xA
BOOT_16 = '{"chargePointVendor":"Bench","chargePointModel":"Raw"}'
BOOT_2 = '{"reason":"PowerUp","chargingStation":{"vendorName":"Bench","model":"Raw"}}'


def frame(body: bytes, opcode: int = TEXT) -> bytes:
    """A masked frame; the mask is zero, which is legal and costs no XOR here."""
    size = len(body)
    head = (
        bytes([0x80 | opcode, 0x80 | size])
        if size < 126
        else bytes([0x80 | opcode, 0x80 | 126]) + size.to_bytes(2, "big")
    )
    return head + b"\0\0\0\0" + body


def stamp() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Wire(asyncio.Protocol):
    """One websocket. `deflate`: offer compression; our own frames are never compressed."""

    def __init__(self, name: str, version: str, deflate: bool = False) -> None:
        self.name = name
        self.version = version
        self._deflate = deflate
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._upgraded = False
        self._refused = False

    def on_open(self) -> None:
        """The handshake is done."""

    def on_text(self, body: bytes) -> None:
        """A text frame came."""

    def on_refused(self, status: int, retry_after_s: float) -> None:
        """The handshake was refused; `on_lost` is not called any more."""

    def on_lost(self) -> None:
        """The connection has ended, whoever ended it."""

    def send(self, body: bytes) -> None:
        assert self._transport is not None
        self._transport.write(frame(body))

    def cut(self) -> None:
        """End the connection with a reset, as a network does that forgets it; leaves no TIME_WAIT behind."""
        if self._transport is None:
            return
        found = self._transport.get_extra_info("socket")
        if found is not None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        extensions = DEFLATE if self._deflate else ""
        text = HANDSHAKE.format(name=self.name, version=self.version, extensions=extensions)
        self._transport.write(text.encode())

    def connection_lost(self, _: Exception | None) -> None:
        if not self._refused:
            self.on_lost()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._upgraded:
            if b"\r\n\r\n" not in self._buffer:
                return
            head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
            if not head.startswith(b"HTTP/1.1 101"):
                self._refuse(head.decode())
                return
            self._upgraded = True
            self.on_open()
        while len(self._buffer) > 2:
            size, start = self._buffer[1], 2
            if size == 126:
                size, start = int.from_bytes(self._buffer[2:4], "big"), 4
            if len(self._buffer) < start + size:
                return
            first, body = self._buffer[0], self._buffer[start : start + size]
            self._buffer = self._buffer[start + size :]
            if first & 15 == TEXT:
                if first & 0x40:
                    body = zlib.decompressobj(-15).decompress(body + b"\0\0\xff\xff")
                self.on_text(body)
            elif first & 15 == PING and self._transport is not None:
                self._transport.write(frame(body, PONG))

    def _refuse(self, head: str) -> None:
        self._refused = True
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:])
        self.cut()
        self.on_refused(int(head.split(" ", 2)[1]), float(headers.get("retry-after", 0)))
