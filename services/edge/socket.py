"""The websocket of one station."""

from websockets.asyncio.server import ServerConnection

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

    @property
    def peer(self) -> str:
        """The peer's address, without its port."""
        address = self.remote_address
        return str(address[0]) if address else ""
