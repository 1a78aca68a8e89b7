"""Handshakes that are never finished do not keep others out."""

from services.edge.waiting import WaitingRoom


class Socket:
    aborted = False

    def abort(self) -> None:
        self.aborted = True


def test_the_one_that_waits_longest_goes_when_the_room_is_full() -> None:
    room: WaitingRoom[Socket] = WaitingRoom(3)
    sockets = [Socket() for _ in range(5)]
    for socket in sockets[:3]:
        room.enter(socket)
    room.leave(sockets[0])
    room.leave(sockets[0])
    for socket in sockets[3:]:
        room.enter(socket)
    assert [socket.aborted for socket in sockets] == [False, True, False, False, False]
    assert len(room) == 3
