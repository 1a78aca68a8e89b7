"""The port of the embedded ClickHouse that nobody but its forwarder may reach, on a listener of the test's own."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from libs.devstack import launch
from libs.devstack.launch import HOST, InnerPort

ONLY_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has filters on sockets")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server((HOST, 0), backlog=8) as server:
        server.settimeout(10)
        yield server


def port_of(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


def connected(inner: InnerPort) -> socket.socket:
    """A connection, as soon as the port is guarded."""
    until = time.monotonic() + 10
    while True:
        try:
            return inner.connect()
        except ConnectionRefusedError:
            assert time.monotonic() < until
            time.sleep(0.01)


@ONLY_LINUX
def test_who_came_before_the_guard_is_cut_off_also_if_nobody_has_accepted_it_yet(
    listener: socket.socket,
) -> None:
    with socket.create_connection((HOST, port_of(listener)), timeout=10) as early:
        inner = InnerPort(port_of(listener), guarded=True)
        time.sleep(0.1)
        accepted, _ = listener.accept()
        with accepted, connected(inner):
            assert early.recv(1) == b""


@pytest.mark.parametrize("guarded", [pytest.param(True, marks=ONLY_LINUX), False])
def test_a_library_that_accepts_nobody_holds_no_one_up_for_ever(
    listener: socket.socket, guarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "CONNECT_S", 0.2)
    inner = InnerPort(port_of(listener), guarded)
    with ExitStack() as held:
        held.enter_context(connected(inner))
        with pytest.raises(TimeoutError):  # noqa: PT012
            for _ in range(20):
                held.enter_context(inner.connect())


@pytest.mark.parametrize("guarded", [pytest.param(True, marks=ONLY_LINUX), False])
def test_a_connection_may_be_silent_for_as_long_as_it_likes(
    listener: socket.socket, guarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "CONNECT_S", 1.0)
    with connected(InnerPort(port_of(listener), guarded)) as client:
        assert client.gettimeout() is None
