"""The short cut for whole messages reads and writes what the websocket library does."""

from __future__ import annotations

import asyncio
from unittest.mock import AsyncMock, Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from services.edge.socket import StationSocket, text_frame, whole_text

SIZES = [0, 1, 125, 126, 127, 65_535, 65_536]


def sent(text: bytes, *, mask: bool = True, fin: bool = True, opcode: Opcode = Opcode.TEXT) -> bytes:
    return Frame(opcode, text, fin=fin).serialize(mask=mask)


@pytest.mark.parametrize("size", SIZES)
def test_answers_are_framed_as_the_library_frames_them(size: int) -> None:
    assert text_frame(b"x" * size) == sent(b"x" * size, mask=False)


@pytest.mark.parametrize("size", SIZES)
def test_a_whole_message_is_unmasked_up_to_64_kib(size: int) -> None:
    text = bytes(index % 251 for index in range(size))
    assert whole_text(sent(text)) == (text if size < 65_536 else None)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x81",
        sent(b"abc", mask=False),
        sent(b"abc", fin=False),
        sent(b"abc", opcode=Opcode.BINARY),
        sent(b"abc", opcode=Opcode.CONT),
        sent(b"abc", opcode=Opcode.PING),
        sent(b"abc")[:-1],
        sent(b"abc") + sent(b"d"),
        sent(b"x" * 300)[:-1],
        sent(b"x" * 300)[:7],
        b"\xc1" + sent(b"abc")[1:],
        # The long form of a short length.
        b"\x81\xfe\x00\x03" + b"\0\0\0\0" + b"abc",
    ],
)
def test_everything_else_is_left_to_the_library(data: bytes) -> None:
    assert whole_text(data) is None


@given(
    st.binary(max_size=200) | st.binary(max_size=60).map(lambda rest: b"\x81" + rest) | st.binary().map(sent)
)
def test_what_is_taken_is_what_the_library_would_have_given(data: bytes) -> None:
    message = whole_text(data)
    if message is None:
        return
    library = ServerProtocol(state=State.OPEN)
    library.receive_data(data)
    (frame,) = library.events_received()
    assert isinstance(frame, Frame)
    assert (frame.opcode, frame.fin, bytes(frame.data)) == (Opcode.TEXT, True, message)


class LostTransport(asyncio.Transport):
    """Knows its peer as long as it is connected."""

    lost = False

    def get_extra_info(self, name: str, default: object = None) -> object:
        if self.lost:
            raise AttributeError("getpeername")
        return ("192.0.2.7", 4_711) if name == "peername" else default

    def is_closing(self) -> bool:
        return self.lost

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


async def test_the_peer_of_a_lost_connection_is_still_known() -> None:
    transport = LostTransport()
    socket = StationSocket(ServerProtocol(), Mock(handler=AsyncMock()))
    socket.connection_made(transport)
    assert not socket.gone
    transport.lost = True
    assert socket.gone
    assert socket.peer == "192.0.2.7"
