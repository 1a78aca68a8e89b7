"""The websocket of one station."""

from websockets.asyncio.server import ServerConnection
from websockets.protocol import State

from services.edge.domain.admission import Admission


class StationSocket(ServerConnection):
    """A websocket that remembers when it was last heard of (loop time), and whom it was admitted as."""

    admission: Admission | None = None
    last_seen = 0.0
    last_ping = 0.0

    def data_received(self, data: bytes) -> None:
        """Take bytes from the peer; whatever they are, they show that it lives."""
        self.last_seen = self.loop.time()
        super().data_received(data)

    async def answer(self, text: str) -> None:
        """Send a text frame; waits only if the peer does not read. Raises ConnectionClosed if the socket is gone.

        As `send`, without its generality: a third of the cost of an answer.
        """
        if self.paused or self.send_in_progress is not None or self.protocol.state is not State.OPEN:
            await self.send(text)
            return
        self.protocol.send_text(text.encode())
        try:
            self.send_data()
        # The transport may be closed already though nobody has been told: reading will tell.
        except (OSError, RuntimeError):
            self.transport.abort()

    @property
    def peer(self) -> str:
        """The peer's address, without its port."""
        address = self.remote_address
        return str(address[0]) if address else ""
