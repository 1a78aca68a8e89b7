"""Where a connection comes from is told by trusted proxies, and by nobody else."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_network
from socket import AF_INET, AF_INET6, inet_pton

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge.domain.proxies import LONGEST, Header, client_of, is_trusted, read_header, was_encrypted

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
OURS = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def v2(family: int, addresses: bytes, command: int = 0x21, more: bytes = b"") -> bytes:
    body = addresses + more
    return SIGNATURE + bytes((command, family)) + len(body).to_bytes(2, "big") + body


FOUR = inet_pton(AF_INET, "203.0.113.9") + inet_pton(AF_INET, "10.0.0.1") + b"\x11\x11\x22\x22"
SIX = inet_pton(AF_INET6, "2001:db8::9") + inet_pton(AF_INET6, "fd00::1") + b"\x11\x11\x22\x22"
MAPPED = inet_pton(AF_INET6, "::ffff:203.0.113.9") + SIX[16:]
HEADERS = [
    (b"PROXY TCP4 203.0.113.9 10.0.0.1 4369 9080\r\n", "203.0.113.9"),
    (b"PROXY TCP6 2001:db8::9 fd00::1 4369 9080\r\n", "2001:db8::9"),
    (b"PROXY TCP6 ::ffff:203.0.113.9 fd00::1 4369 9080\r\n", "203.0.113.9"),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
    (v2(0x11, FOUR), "203.0.113.9"),
    (v2(0x11, FOUR, more=b"\x04\x00\x03abc"), "203.0.113.9"),
    (v2(0x21, SIX), "2001:db8::9"),
    (v2(0x21, MAPPED), "203.0.113.9"),
    (v2(0x00, b"", command=0x20), None),
]


@pytest.mark.parametrize(("header", "address"), HEADERS)
def test_a_header_names_the_client_however_it_comes_in_pieces(header: bytes, address: str | None) -> None:
    rest = b"GET /ocpp/cp1 HTTP/1.1\r\n"
    assert read_header(header + rest) == Header(address, len(header))
    for size in range(len(header)):
        assert read_header(header[:size]) is None, size


@pytest.mark.parametrize(
    "data",
    [
        b"GET /ocpp/cp1 HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"PROXY TCP4 999.0.0.1 10.0.0.1 1 2\r\n",
        b"PROXY TCP4 203.0.113.9\r\n",
        b"PROXY UDP4 203.0.113.9 10.0.0.1 1 2\r\n",
        b"PROXY " + b"x" * 200,
        b"PROXY TCP4 \xff 10.0.0.1 1 2\r\n",
        v2(0x11, FOUR[:11]),
        v2(0x31, b"\0" * 216),
        v2(0x11, FOUR, command=0x22),
        v2(0x11, FOUR, command=0x31),
        v2(0x11, FOUR, more=b"\0" * LONGEST),
    ],
)
def test_anything_else_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"version|header|Octet|address|TCP|ascii"):
        read_header(data)


@given(st.sampled_from([b"", b"PROXY ", SIGNATURE, SIGNATURE + b"\x21\x11"]), st.binary(max_size=200))
def test_no_bytes_do_anything_but_name_an_address_or_be_refused(begin: bytes, rest: bytes) -> None:
    with suppress(ValueError):
        header = read_header(begin + rest)
        assert header is None or 0 < header.size <= LONGEST


@pytest.mark.parametrize(
    ("headers", "client"),
    [
        (["203.0.113.9"], "203.0.113.9"),
        # What a client makes up stands before what our proxy saw.
        (["1.2.3.4, 203.0.113.9"], "203.0.113.9"),
        (["1.2.3.4", "203.0.113.9"], "203.0.113.9"),
        (["203.0.113.9, 10.0.0.7"], "203.0.113.9"),
        (["203.0.113.9:4369, 10.0.0.7:80"], "203.0.113.9"),
        (["[2001:db8::9]:4369"], "2001:db8::9"),
        (["2001:db8::9"], "2001:db8::9"),
        (["::ffff:203.0.113.9"], "203.0.113.9"),
        # Nobody else: then it is the proxy itself.
        ([], "10.0.0.2"),
        (["10.0.0.7"], "10.0.0.2"),
        (["203.0.113.9, unknown"], "10.0.0.2"),
        (["203.0.113.9, "], "10.0.0.2"),
        (["1.2.3.4\x00"], "10.0.0.2"),
        (["999.999.999.999"], "10.0.0.2"),
    ],
)
def test_the_client_is_the_last_address_that_is_no_proxy_of_ours(headers: list[str], client: str) -> None:
    assert client_of(headers, "10.0.0.2", OURS) == client


def test_trusted_is_who_is_in_a_network_of_ours() -> None:
    assert is_trusted("10.9.9.9", OURS)
    assert is_trusted("::ffff:10.9.9.9", OURS)
    assert is_trusted("fd00::5%eth0", OURS)
    for other in ("203.0.113.9", "2001:db8::1", "", "unix", "10.0.0.1, 10.0.0.2"):
        assert not is_trusted(other, OURS)
    assert not is_trusted("10.9.9.9", ())


def test_encrypted_is_what_the_last_proxy_says() -> None:
    assert was_encrypted(["https"])
    assert was_encrypted(["http, WSS"])
    assert not was_encrypted(["https, http"])
    assert not was_encrypted([])
