"""Which URLs that outsiders name may be fetched, or handed on. Pure: nothing here resolves or connects."""

import re
from collections.abc import Collection, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

import msgspec

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

WEB: Final = frozenset({"http", "https"})
FILES: Final = WEB | {"ftp", "ftps", "sftp"}
"""What chargers fetch firmware from and send logs to."""

_LONGEST: Final = 2000
_FORM: Final = re.compile(
    r"[a-z][a-z0-9+.-]*://(?:[^/?#\[\]@]*@)?(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?(?:[/?#].*)?",
    re.IGNORECASE,
)
"""What every reader of URLs takes apart in the same way; others, percent signs in a host for one, they do not."""
_CONTROL: Final = re.compile(r"%(?:[01][0-9a-f]|7f)", re.IGNORECASE)
"""Line breaks and the like, which an FTP client would send on as commands of its own."""
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME: Final = re.compile(rf"(?:{_LABEL}\.)+(?:xn--[a-z0-9-]{{1,58}}[a-z0-9]|[a-z]{{2,63}})")
_LONGEST_NAME: Final = 253
_NOT_PUBLIC: Final = (
    # RFC 6761, 6762, 7686, 8375, 9476, ICANN's .internal, and what routers and directories are often set up with.
    *("alt", "arpa", "example", "internal", "invalid", "local", "localhost", "onion", "test"),
    *("corp", "domain", "home", "intranet", "lan", "localdomain", "private", "workgroup"),
    # They answer with an address that the name spells, or with 127.0.0.1.
    *("nip.io", "sslip.io", "xip.io", "traefik.me", "backname.io", "ip6.name", "rbndr.us"),
    *("localtest.me", "lvh.me", "vcap.me", "lacolhost.com", "local.gd", "localhost.direct", "fuf.me"),
)
"""Domains under which no name is a public host, or any name may be anybody's."""
_SPELT: Final = re.compile(r"(?<![0-9a-z])(\d{1,3})[.-](\d{1,3})[.-](\d{1,3})[.-](\d{1,3})(?![0-9a-z])")
"""An IPv4 address in a name, as wildcard domains take them."""
_PORTS: Final = {"http": 80, "https": 443, "ftp": 21, "ftps": 990, "sftp": 22}
_NAT64: Final = IPv6Network("64:ff9b::/96")
_UNICAST: Final = IPv6Network("2000::/3")
"""All that has been given out as public addresses (RFC 4291 §2.4); site-local ones, for one, are elsewhere."""

_SPECIAL: Final = (
    # IANA's registries of special-purpose addresses, as far as ipaddress takes these for public.
    IPv6Network("2002::/16"),  # 6to4, which is out of use: whoever relays it decides where it leads
    IPv6Network("3fff::/20"),  # documentation
    IPv4Network("192.0.0.0/24"),  # protocols' own
    IPv4Network("192.88.99.0/24"),  # relays of 6to4
)


class UrlRefusedError(ValueError):
    """The URL must not be used; the message says why and does not repeat it."""


class GuardedUrl(msgspec.Struct, frozen=True):
    """A URL whose form is in order.

    `host`: lower case, without brackets or a dot at its end. `address`: set if the host is an address and no name.
    What a name resolves to is for whoever connects: each address has to pass `check_address`, and the connection must
    go to the address that passed.
    """

    url: str
    scheme: str
    host: str
    port: int
    address: Address | None


def guarded_url(
    url: str,
    schemes: Collection[str] = WEB,
    allowed: Iterable[Network] = (),
    hosts: Collection[str] | None = (),
) -> GuardedUrl:
    """The parts of a URL with one of `schemes`.

    `allowed`: networks that are let through though not public; `hosts`: names, likewise, None for all names: whoever
    connects looks at the addresses. Raises UrlRefusedError for
    one that is malformed, holds credentials (it would stand in the log), or leads to what cannot be a public host.
    """
    if (
        not 0 < len(url) <= _LONGEST
        or not url.isascii()
        or not url.isprintable()
        or set(url) & set(' \\"<>^`{|}')
        or _FORM.fullmatch(url) is None
        or _CONTROL.search(url)
    ):
        raise UrlRefusedError("the URL is malformed")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UrlRefusedError("the URL is malformed") from None
    scheme = parts.scheme.lower()
    if scheme not in schemes:
        raise UrlRefusedError(f"the URL's scheme is none of {', '.join(sorted(schemes))}")
    if parts.username is not None or parts.password is not None:
        raise UrlRefusedError("the URL holds credentials")
    if not host or port == 0:
        raise UrlRefusedError("the URL names no host")
    host = host.removesuffix(".")
    address = None
    if hosts is None or host not in hosts:
        address = _address_of(host)
        if address is not None:
            check_address(address, allowed)
        elif hosts is not None:
            _check_name(host)
    return GuardedUrl(url, scheme, host, _PORTS[scheme] if port is None else port, address)


def check_address(address: Address, allowed: Iterable[Network] = ()) -> None:
    """Let a public unicast address pass, or one within `allowed`.

    Raises UrlRefusedError for others: private, loopback, link-local, site-local, multicast, shared and reserved ones,
    and IPv6 addresses that stand for IPv4 addresses. An address of that kind is within a network if the one that it
    stands for is.
    """
    inner = _embedded(address)
    if any(
        each in network for network in allowed for each in (address, inner) if each.version == network.version
    ):
        return
    if not _is_public(address) or not _is_public(inner):
        raise UrlRefusedError("the URL leads to an address that is not public")


def networks(text: object) -> tuple[Network, ...]:
    """Networks written as `10.0.0.0/8,127.0.0.1`, or given as such. Raises ValueError for what is none."""
    if isinstance(text, tuple):
        return text
    return tuple(ip_network(part.strip()) for part in str(text).split(",") if part.strip())


def _address_of(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        pass
    # 127.1, 0x7f000001 and 2130706433 are addresses to many resolvers (WHATWG URL §3.5, "ends in a number").
    last = host.rsplit(".", 1)[-1]
    if last.isdigit() or last.startswith("0x"):
        raise UrlRefusedError("the URL's host is a number")
    return None


def _check_name(host: str) -> None:
    """Raise UrlRefusedError for a name that no public host has."""
    if len(host) > _LONGEST_NAME or _NAME.fullmatch(host) is None:
        raise UrlRefusedError("the URL's host is no public host's name")
    if host.endswith(tuple(f".{domain}" for domain in _NOT_PUBLIC)) or host in _NOT_PUBLIC:
        raise UrlRefusedError("the URL's host is in a domain that is not public")
    for spelt in _SPELT.finditer(host):
        try:
            check_address(IPv4Address(".".join(str(int(part)) for part in spelt.groups())))
        except ValueError as error:
            raise UrlRefusedError("the URL's host spells an address that is not public") from error


def _is_public(address: Address) -> bool:
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if any(address.version == special.version and address in special for special in _SPECIAL):
        return False
    return isinstance(address, IPv4Address) or address in _UNICAST


def _embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for; the address itself if it stands for none."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None) or address
