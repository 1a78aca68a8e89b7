"""The websocket of one station."""

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from websockets.asyncio.server import ServerConnection
from websockets.frames import DATA_OPCODES, Frame
from websockets.protocol import Event, State

from services.edge.domain.admission import Admission

_MESSAGES_AHEAD: Final = 4


class StationSocket(ServerConnection):
    """A websocket that hands messages to `on_message` as they come, without a task in between.

    `on_message` says whether it takes a message; what it does not take is kept for `next_message`, and with 4 of
    them kept nothing more is read. `on_lost` is called when the socket is gone. `last_seen` and `last_ping` are
    loop times; `admission` is whom the socket was admitted as.
    """

    on_message: Callable[[bytes], bool] | None = None
    on_lost: Callable[[], None] | None = None
    admission: Admission | None = None
    last_seen = 0.0
    last_ping = 0.0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._kept: deque[bytes] = deque()
        self._fragments: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        """Take bytes from the peer; whatever they are, they show that it lives."""
        self.last_seen = self.loop.time()
        super().data_received(data)

    def process_event(self, event: Event) -> None:
        """Take a frame of the peer; those that belong to messages stay here."""
        if type(event) is not Frame or event.opcode not in DATA_OPCODES:
            super().process_event(event)
            return
        if event.fin and not self._fragments:
            message = bytes(event.data)
        else:
            self._fragments.append(bytes(event.data))
            if not event.fin:
                return
            message = b"".join(self._fragments)
            self._fragments.clear()
        if self._kept or self.on_message is None or not self.on_message(message):
            self._kept.append(message)
            if len(self._kept) == _MESSAGES_AHEAD:
                self.transport.pause_reading()

    def next_message(self) -> bytes | None:
        """The oldest message that was not taken when it came, if any."""
        if not self._kept:
            return None
        message = self._kept.popleft()
        if len(self._kept) < _MESSAGES_AHEAD:
            self.resume()
        return message

    def resume(self) -> None:
        """Read on, for instance to see the answer to a close frame."""
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that the socket is gone."""
        super().connection_lost(exc)
        if self.on_lost is not None:
            self.on_lost()

    def try_answer(self, text: str) -> bool:
        """Send a text frame if that needs no waiting; False if it does, or if the socket is gone: `send` tells.

        As `send`, without its generality: a third of the cost of an answer.
        """
        if self.paused or self.send_in_progress is not None or self.protocol.state is not State.OPEN:
            return False
        self.protocol.send_text(text.encode())
        try:
            self.send_data()
        # The transport may be closed already though nobody has been told: reading will tell.
        except (OSError, RuntimeError):
            self.transport.abort()
        return True

    @property
    def peer(self) -> str:
        """The peer's address, without its port."""
        address = self.remote_address
        return str(address[0]) if address else ""
