"""The short cut for whole messages reads and writes what the websocket library does; and no read takes too long."""

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


# With names, because the masks are random: every process of a run has to find the same tests.
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x81", id="half a header"),
        pytest.param(sent(b"abc", mask=False), id="unmasked"),
        pytest.param(sent(b"abc", fin=False), id="first fragment"),
        pytest.param(sent(b"abc", opcode=Opcode.BINARY), id="binary"),
        pytest.param(sent(b"abc", opcode=Opcode.CONT), id="later fragment"),
        pytest.param(sent(b"abc", opcode=Opcode.PING), id="ping"),
        pytest.param(sent(b"abc")[:-1], id="cut off"),
        pytest.param(sent(b"abc") + sent(b"d"), id="two"),
        pytest.param(sent(b"x" * 300)[:-1], id="longer, cut off"),
        pytest.param(sent(b"x" * 300)[:7], id="longer, half a header"),
        pytest.param(b"\xc1" + sent(b"abc")[1:], id="reserved bit"),
        pytest.param(b"\x81\xfe\x00\x03" + b"\0\0\0\0" + b"abc", id="long form of a short length"),
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
    reading = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

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


AT_ONCE = 32


def connected() -> tuple[StationSocket, LostTransport]:
    transport = LostTransport()
    socket = StationSocket(ServerProtocol(state=State.OPEN), Mock(handler=AsyncMock()))
    socket.connection_made(transport)
    # It has asked, and has sent something since.
    socket.request = Mock()
    socket.data_received(sent(b"", opcode=Opcode.PONG))
    return socket, transport


def taking(socket: StationSocket) -> list[bytes]:
    """What the socket hands on from now."""
    seen: list[bytes] = []

    def take(message: bytes) -> bool:
        seen.append(message)
        return True

    socket.on_message = take
    return seen


async def test_of_many_frames_in_one_read_others_have_their_turn_after_some() -> None:
    socket, transport = connected()
    seen = taking(socket)
    texts = [b"%d" % number for number in range(10 * AT_ONCE + 5)]
    cut_off = sent(b"cut off")
    socket.data_received(b"".join(map(sent, texts)) + cut_off[:-2])
    turns = 0
    while len(seen) < len(texts):
        assert len(seen) == (turns + 1) * AT_ONCE
        # Nothing more is read while there is something to look at.
        assert not transport.reading
        turns += 1
        await asyncio.sleep(0)
    assert turns == 10
    assert transport.reading
    assert seen == texts
    socket.data_received(cut_off[-2:])
    # The short cut is open again.
    socket.data_received(sent(b"whole"))
    assert seen[len(texts) :] == [b"cut off", b"whole"]


async def test_pings_are_frames_too() -> None:
    socket, transport = connected()
    pongs = 0

    def write(data: bytes | bytearray | memoryview) -> None:
        nonlocal pongs
        pongs += bytes(data).count(b"\x8a\x00")

    transport.write = write  # type: ignore[method-assign]
    socket.data_received(sent(b"", opcode=Opcode.PING) * (3 * AT_ONCE))
    assert pongs == AT_ONCE
    await asyncio.sleep(0)
    assert pongs == 2 * AT_ONCE


async def test_what_is_not_taken_is_not_even_parsed() -> None:
    socket, transport = connected()
    socket.on_message = lambda _: False
    texts = [b"%d" % number for number in range(3 * AT_ONCE)]
    socket.data_received(b"".join(map(sent, texts)))
    for _ in range(10):
        await asyncio.sleep(0)
    found = []
    for _ in range(AT_ONCE):
        found.append(socket.next_message())
        assert not transport.reading
    # There was room before the last was gone: some more have been parsed since.
    await asyncio.sleep(0)
    while len(found) < len(texts):
        found.append(socket.next_message())
        await asyncio.sleep(0)
    assert found == texts
    assert socket.next_message() is None
    assert transport.reading


async def test_a_connection_that_is_lost_is_not_parsed_any_more() -> None:
    socket, _ = connected()
    seen = taking(socket)
    socket.data_received(sent(b"x") * (3 * AT_ONCE))
    socket.connection_lost(None)
    await asyncio.sleep(0)
    assert socket.protocol.state is State.CLOSED
    assert len(seen) == AT_ONCE


async def test_a_close_frame_behind_many_others_is_read() -> None:
    socket, _ = connected()
    seen = taking(socket)
    socket.data_received(sent(b"x") * (2 * AT_ONCE) + sent(b"\x03\xe8", opcode=Opcode.CLOSE))
    for _ in range(3):
        await asyncio.sleep(0)
    closed = socket.protocol.close_rcvd
    assert closed is not None
    assert (len(seen), closed.code) == (2 * AT_ONCE, 1000)


async def test_a_peer_that_does_not_read_is_known_after_half_a_minute() -> None:
    socket, transport = connected()
    now = asyncio.get_running_loop().time()
    assert not socket.does_not_read(now + 60)
    socket.pause_writing()
    assert not transport.reading
    assert not socket.does_not_read(now + 29)
    assert socket.does_not_read(now + 31)
    socket.resume_writing()
    assert not socket.does_not_read(now + 60)
