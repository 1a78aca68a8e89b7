"""The websocket of one station."""

import asyncio
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, Final

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosedError
from websockets.frames import DATA_OPCODES, CloseCode, Frame, Opcode
from websockets.protocol import Event, State
from websockets.streams import StreamReader

from libs.runtime.addresses import network_of
from libs.runtime.waiting import WaitingRoom
from services.edge.domain.admission import Admission

try:
    from websockets.speedups import apply_mask
except ImportError:
    from websockets.utils import apply_mask

_MESSAGES_AHEAD: Final = 4
_FRAMES_AT_ONCE: Final = 32
# Each of these may be a megabyte once it is inflated.
_INFLATED_AT_ONCE: Final = 4
UNREAD_S: Final = 30.0
_CLOSE_S: Final = 10.0


class _RestingReader(StreamReader):
    """Has the library's parser rest before a frame once it has read `left` others."""

    left = _FRAMES_AT_ONCE
    rests = False

    def at_eof(self) -> Generator[None, None, bool]:
        if self.left == 0:
            self.rests = True
            yield
        ended = yield from super().at_eof()
        self.left -= 1
        return ended


class StationSocket(ServerConnection):
    """A websocket that hands messages to `on_message` as they come, without a task in between.

    One read may hold thousands of tiny frames: after 32 all others have their turn.

    `on_message` says whether it takes a message; what it does not take is kept for `next_message`, and with 4 of
    them kept nothing more is read. `on_lost` is called when the socket is gone. `last_seen` and `last_ping` are
    loop times; `ponged`: the peer has answered a ping; `admission` is whom the socket was admitted as; `room` is
    where it waits until it has asked.
    """

    on_message: Callable[[bytes], bool] | None = None
    on_lost: Callable[[], None] | None = None
    admission: Admission | None = None
    room: "WaitingRoom[StationSocket] | None" = None
    last_seen = 0.0
    last_ping = 0.0
    ponged = False
    peer = ""
    """The peer's address, without its port."""
    told: str | None = None
    """That address as a trusted proxy told it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # The library makes its reader itself, and its parser has hold of it by now.
        reader: Any = self.protocol.reader
        reader.__class__ = _RestingReader
        self._reader: _RestingReader = reader
        self._kept: deque[bytes] = deque()
        self._fragments: bytearray | None = None
        self._between_frames = False
        self._parsing_later = False
        self._unread_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take note that there is a peer, and who: a transport that is lost cannot tell any more."""
        address = transport.get_extra_info("peername")
        self.peer = self.told or (str(address[0]) if address else "")
        super().connection_made(transport)
        if self.room is not None:
            self.room.enter(self, network_of(self.peer))

    def abort(self) -> None:
        """Drop the connection."""
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take bytes from the peer; whatever they are, they show that it lives."""
        self.last_seen = self.loop.time()
        # Nearly always it is one whole message, which needs no general parser: that costs three times as much.
        if (
            self._between_frames
            and (message := whole_text(data)) is not None
            and self.protocol.state is State.OPEN
            and self._fragments is None
        ):
            self._on_message(message)
        else:
            self._parse(data)

    def _parse(self, data: bytes) -> None:
        """Leave bytes to the library, until it has read all frames or may read no more of them for now."""
        reader = self._reader
        reader.left = _INFLATED_AT_ONCE if self.protocol.extensions else _FRAMES_AT_ONCE
        reader.rests = False
        super().data_received(data)
        self._between_frames = not reader.rests and _waits_for_frame(self.protocol.parser)
        if reader.rests:
            self.transport.pause_reading()
            self._parse_later()

    def _parse_later(self) -> None:
        if not self._parsing_later:
            self._parsing_later = True
            self.loop.call_soon(self._parse_on)

    def _parse_on(self) -> None:
        self._parsing_later = False
        reader = self._reader
        # While there is no room nothing is parsed, either; `_resume` says when there is.
        if not reader.rests or reader.eof or self.paused or len(self._kept) >= _MESSAGES_AHEAD:
            return
        self._parse(b"")
        if len(self._kept) < _MESSAGES_AHEAD:
            self._resume()

    def process_event(self, event: Event) -> None:
        """Take a frame of the peer; those that belong to messages stay here."""
        if type(event) is not Frame or event.opcode not in DATA_OPCODES:
            self.ponged = self.ponged or (type(event) is Frame and event.opcode is Opcode.PONG)
            super().process_event(event)
            return
        if event.fin and self._fragments is None:
            message = bytes(event.data)
        else:
            if self._fragments is None:
                self._fragments = bytearray()
            self._fragments += event.data
            if not event.fin:
                return
            message = bytes(self._fragments)
            self._fragments = None
        self._on_message(message)

    def _on_message(self, message: bytes) -> None:
        if self._kept or self.on_message is None or not self.on_message(message):
            self._kept.append(message)
            if len(self._kept) >= _MESSAGES_AHEAD:
                self.transport.pause_reading()

    def next_message(self) -> bytes | None:
        """The oldest message that was not taken when it came, if any."""
        if not self._kept:
            return None
        message = self._kept.popleft()
        if len(self._kept) < _MESSAGES_AHEAD:
            self._resume()
        return message

    def discard(self) -> None:
        """Throw away the messages that are kept and all that still come; the answer to a close frame is read."""
        self._kept.clear()
        self.on_message = _throw_away
        self._resume()

    def _resume(self) -> None:
        if self.paused or self.transport.is_closing():
            return
        if self._reader.rests:
            self._parse_later()
        else:
            self.transport.resume_reading()

    def pause_writing(self) -> None:
        """Read nothing from a peer that does not read: what it sends may have to be answered, pings for one."""
        self._unread_since = self.loop.time()
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on: the peer has read."""
        super().resume_writing()
        if len(self._kept) < _MESSAGES_AHEAD:
            self._resume()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that the socket is gone; what was not parsed of it is thrown away."""
        self._reader.discard()
        super().connection_lost(exc)
        if self.room is not None:
            self.room.leave(self)
        if self.on_lost is not None:
            self.on_lost()

    async def deliver(self, text: str) -> None:
        """Send a text frame; a peer that does not read it for half a minute is dropped.

        Raises ConnectionClosed if the connection is over, or is now.
        """
        try:
            async with asyncio.timeout(UNREAD_S):
                await self.send(text)
        except TimeoutError:
            self.transport.abort()
            raise ConnectionClosedError(None, None) from None

    async def end(self, code: CloseCode, reason: str) -> None:
        """Close the connection; a peer that does not read is dropped."""
        try:
            async with asyncio.timeout(_CLOSE_S):
                if not self.paused:
                    await self.close(code, reason)
                    return
        except TimeoutError:
            pass
        self.transport.abort()

    def ask(self, now: float) -> None:
        """Ping the peer, unless there is no room for it; whatever it sends then shows that it lives."""
        self.last_ping = now
        if self.paused or self.protocol.state is not State.OPEN:
            return
        try:
            self.protocol.send_ping(b"")
            self.send_data()
        # The transport may be closed already though nobody has been told: reading will tell.
        except (OSError, RuntimeError):
            self.transport.abort()

    def try_answer(self, text: str) -> bool:
        """Send a text frame if that needs no waiting; False if it does, or if the socket is gone: `send` tells.

        As `send`, without its generality: a small part of its cost.
        """
        if self.paused or self.send_in_progress is not None or self.protocol.state is not State.OPEN:
            return False
        try:
            if self.protocol.extensions:
                self.protocol.send_text(text.encode())
                self.send_data()
            else:
                self.transport.write(text_frame(text.encode()))
        # The transport may be closed already though nobody has been told: reading will tell.
        except (OSError, RuntimeError):
            self.transport.abort()
        return True

    def does_not_read(self, now: float) -> bool:
        """Whether the peer has not read for half a minute what it is sent; `now` is a loop time."""
        return self.paused and now - self._unread_since > UNREAD_S

    @property
    def gone(self) -> bool:
        """Whether the connection has ended, or is ending."""
        return self.transport.is_closing()


def _throw_away(_: bytes) -> bool:
    return True


def _waits_for_frame(parser: Generator[None]) -> bool:
    """Whether the library's parser has finished one frame and seen nothing of the next."""
    waiting: Any = parser
    while (inner := getattr(waiting, "gi_yieldfrom", None)) is not None:
        waiting = inner
    return getattr(waiting, "__name__", "") == "at_eof"


def whole_text(data: bytes) -> bytes | None:
    """The message in `data` if it is exactly one frame: final, text, without extensions, masked, below 64 KiB."""
    size = len(data)
    if size < _SHORT_HEAD or data[0] != _FINAL_TEXT:
        return None
    length, start = data[1] - _MASKED, _SHORT_HEAD
    if length == _LENGTH_16 and size >= _LONG_HEAD:
        length, start = data[2] << 8 | data[3], _LONG_HEAD
        # A length that fits into the short form must use it (RFC 6455 §5.2).
        if length < _LENGTH_16:
            return None
    elif not 0 <= length < _LENGTH_16:
        return None
    return apply_mask(data[start:], data[start - 4 : start]) if size == start + length else None


def text_frame(text: bytes) -> bytes:
    """A message of the server as one frame."""
    length = len(text)
    if length < _LENGTH_16:
        return bytes((_FINAL_TEXT, length)) + text
    if length < 1 << 16:
        return bytes((_FINAL_TEXT, _LENGTH_16, length >> 8, length & 255)) + text
    return bytes((_FINAL_TEXT, _LENGTH_64)) + length.to_bytes(8, "big") + text


_FINAL_TEXT: Final = 0x81
_MASKED: Final = 0x80
_LENGTH_16: Final = 126
_LENGTH_64: Final = 127
_SHORT_HEAD: Final = 6
_LONG_HEAD: Final = 8
