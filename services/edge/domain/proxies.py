"""Where a connection comes from when a proxy hands it on: the PROXY protocol, and forwarding headers.

Both are believed of trusted proxies alone: whoever else could say anything.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

import msgspec

from libs.security.url_guard import Network

LONGEST: Final = 4096
"""Bytes of a header of the PROXY protocol, with all that may follow the addresses."""

_V1_LONGEST: Final = 107
_V1: Final = b"PROXY "
_V2: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_HEAD: Final = 16
_V2_LOCAL: Final = 0x20
_V2_PROXY: Final = 0x21
_TCP4: Final = 0x11
_TCP6: Final = 0x21
_WITH_PORT: Final = re.compile(
    r"\[(?P<six>[^\]]+)\](:\d+)?|(?P<four>\d+\.\d+\.\d+\.\d+)(:\d+)?|(?P<bare>[0-9A-Fa-f:.]+)"
)
_SECURE: Final = frozenset({"https", "wss"})


class Header(msgspec.Struct, frozen=True):
    """A header of the PROXY protocol. `address`: of the client; None: it speaks of the proxy's own connection."""

    address: str | None
    size: int


def read_header(data: bytes) -> Header | None:
    """The header (version 1 or 2) that `data` begins with; None if that needs more bytes. Raises ValueError."""
    if data.startswith(_V2[: len(data)]):
        return _version_2(data) if len(data) >= _V2_HEAD else None
    if data.startswith(_V1[: len(data)]):
        return _version_1(data)
    raise ValueError("no header of the PROXY protocol")


def is_trusted(peer: str, proxies: Iterable[Network]) -> bool:
    """Whether the peer is one of the proxies."""
    try:
        address = _plain(peer)
    except ValueError:
        return False
    return any(address in network for network in proxies)


def client_of(forwarded_for: Iterable[str], peer: str, proxies: tuple[Network, ...]) -> str:
    """The client in X-Forwarded-For headers that a trusted `peer` sent: the last one that is no proxy of ours.

    Everything before it may have been made up by the client. Where that cannot be read, it is the peer.
    """
    hops = [hop.strip() for header in forwarded_for for hop in header.split(",")]
    for hop in reversed(hops):
        try:
            found = str(_plain(_without_port(hop)))
        except ValueError:
            return peer
        if not is_trusted(found, proxies):
            return found
    return peer


def was_encrypted(forwarded_proto: Iterable[str]) -> bool:
    """Whether a trusted proxy says by X-Forwarded-Proto that it was reached by TLS."""
    said = [each.strip().lower() for header in forwarded_proto for each in header.split(",")]
    return bool(said) and said[-1] in _SECURE


def _version_1(data: bytes) -> Header | None:
    line, end, _ = data[:_V1_LONGEST].partition(b"\r\n")
    if not end:
        if len(data) >= _V1_LONGEST:
            raise ValueError("a header of version 1 without an end")
        return None
    size = len(line) + len(end)
    match line.decode("ascii").split(" "):
        case ["PROXY", "UNKNOWN", *_]:
            return Header(None, size)
        case ["PROXY", "TCP4", source, _, _, _]:
            return Header(str(IPv4Address(source)), size)
        case ["PROXY", "TCP6", source, _, _, _]:
            return Header(str(_plain(str(IPv6Address(source)))), size)
    raise ValueError("not a header of version 1")


def _version_2(data: bytes) -> Header | None:
    size = _V2_HEAD + int.from_bytes(data[14:16], "big")
    if size > LONGEST:
        raise ValueError("a header of version 2 that is too long")
    if data[12] not in (_V2_LOCAL, _V2_PROXY):
        raise ValueError("neither LOCAL nor PROXY of version 2")
    if len(data) < size:
        return None
    if data[12] == _V2_LOCAL:
        return Header(None, size)
    addresses = data[_V2_HEAD:size]
    if data[13] == _TCP4 and len(addresses) >= 12:
        return Header(str(IPv4Address(addresses[:4])), size)
    if data[13] == _TCP6 and len(addresses) >= 36:
        return Header(str(_plain(str(IPv6Address(addresses[:16])))), size)
    raise ValueError("neither TCP over IPv4 nor over IPv6")


def _without_port(hop: str) -> str:
    found = _WITH_PORT.fullmatch(hop)
    if found is None:
        raise ValueError("no address")
    return next(part for part in found.group("six", "four", "bare") if part is not None)


def _plain(text: str) -> IPv4Address | IPv6Address:
    """An address; one of IPv4 that is written as one of IPv6 is that of IPv4."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
