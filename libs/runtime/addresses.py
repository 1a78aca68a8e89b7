"""Addresses of peers."""

from ipaddress import IPv6Address, ip_address
from typing import Final

_SUBNET_BITS: Final = 64


def network_of(address: str) -> str:
    """What one outsider has at will: the address, or for IPv6 its /64."""
    if ":" not in address:
        return address
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(ip, IPv6Address):
        return address
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return f"{IPv6Address(int(ip) >> _SUBNET_BITS << _SUBNET_BITS)}/{_SUBNET_BITS}"
