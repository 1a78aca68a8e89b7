"""Requests that are never finished do not keep others out."""

from libs.runtime.waiting import WaitingRoom
from tests.memory import growth


class Socket:
    aborted = False

    def abort(self) -> None:
        self.aborted = True


def test_the_one_that_waits_longest_goes_when_the_room_is_full() -> None:
    cut: list[int] = []
    room: WaitingRoom[Socket] = WaitingRoom(3, lambda: cut.append(1))
    sockets = [Socket() for _ in range(5)]
    for number, socket in enumerate(sockets[:3]):
        room.enter(socket, f"10.0.0.{number}")
    room.leave(sockets[0])
    room.leave(sockets[0])
    for number, socket in enumerate(sockets[3:], 3):
        room.enter(socket, f"10.0.0.{number}")
    assert [socket.aborted for socket in sockets] == [False, True, False, False, False]
    assert (len(room), len(cut)) == (3, 1)


def test_of_one_address_an_eighth_may_wait_and_the_others_are_not_touched() -> None:
    room: WaitingRoom[Socket] = WaitingRoom(80, lambda: None)
    other, many = Socket(), [Socket() for _ in range(1_000)]
    room.enter(other, "10.0.0.1")
    for socket in many:
        room.enter(socket, "10.0.0.2")
    assert not other.aborted
    assert [socket.aborted for socket in many] == [True] * 990 + [False] * 10
    assert len(room) == 11
    for socket in (other, *many):
        room.leave(socket)
    assert len(room) == 0
    assert not room.cut()


def test_who_was_there_once_takes_no_room() -> None:
    room: WaitingRoom[Socket] = WaitingRoom(80, lambda: None)
    socket = Socket()
    with growth() as taken:
        for number in range(10_000):
            room.enter(socket, f"10.0.{number // 256}.{number % 256}")
            room.leave(socket)
    assert taken.kept < 20_000
