"""Ports for servers that are started later."""

import socket

import pytest

from libs.devstack.endpoints import HOST, SHARE, free_ports

SEVERAL = range(14_000, 14_040)


@pytest.fixture(autouse=True)
def few_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SHARE, f"{SEVERAL[0]}-{SEVERAL[-1]}")


def test_no_port_is_given_twice_while_there_are_others() -> None:
    with socket.socket() as listening:
        listening.bind((HOST, SEVERAL[7]))
        given = [port for _ in range(19) for port in free_ports(2)]
    assert len(given) == len(set(given)) == 38
    assert set(given) <= set(SEVERAL) - {SEVERAL[7]}
    assert len(set(free_ports(39, taken=[SEVERAL[0]]))) == 39
