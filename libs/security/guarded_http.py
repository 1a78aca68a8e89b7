"""Requests to servers that others named: to addresses that may be asked only, never for long, never for much."""

import asyncio
import socket
import ssl
from collections.abc import Collection, Mapping, Sequence
from ipaddress import ip_address
from typing import Final

import httpx
import msgspec

from libs.security.url_guard import (
    WEB,
    Address,
    GuardedUrl,
    Network,
    UrlRefusedError,
    check_address,
    guarded_url,
)

_CONNECTIONS: Final = 100


class NotFetchedError(Exception):
    """There is no answer, or none that may be read; the message names the host and why."""


class Fetched(msgspec.Struct, frozen=True):
    """An answer, whatever its status."""

    host: str
    status: int
    content: bytes


class GuardedHttp:
    """`allowed`: networks that may be asked though not public. `timeout_s`: for all of one request. `largest`: bytes of
    an answer. `tls`: whom to trust; None: the usual authorities. Redirects are not followed.
    """

    def __init__(
        self,
        *,
        allowed: Sequence[Network] = (),
        timeout_s: float,
        largest: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._allowed = tuple(allowed)
        self._timeout_s = timeout_s
        self._largest = largest
        # No connection outlives its request: it was made for one name and one address.
        self._http = httpx.AsyncClient(
            verify=True if tls is None else tls,
            trust_env=False,
            follow_redirects=False,
            timeout=timeout_s,
            limits=httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=0),
        )

    async def close(self) -> None:
        """Give up what is under way."""
        await self._http.aclose()

    async def send(
        self,
        method: str,
        url: str,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        schemes: Collection[str] = WEB,
    ) -> Fetched:
        """The answer to one request. Raises UrlRefusedError for a URL that must not be asked, NotFetchedError."""
        guarded = guarded_url(url, schemes, self._allowed, hosts=None)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._send(method, guarded, content, headers or {})
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
            raise NotFetchedError(f"{guarded.host}: {type(error).__name__}") from error

    async def _send(
        self, method: str, guarded: GuardedUrl, content: bytes | None, headers: Mapping[str, str]
    ) -> Fetched:
        address = await self._address(guarded)
        asked = httpx.URL(guarded.url)
        # To the address that was checked, not to whatever the name stands for a moment later.
        request = self._http.build_request(
            method,
            asked.copy_with(host=str(address)),
            content=content,
            headers={"Host": asked.netloc.decode(), "Accept-Encoding": "identity", **headers},
            extensions={"sni_hostname": guarded.host},
        )
        response = await self._http.send(request, stream=True)
        try:
            if "content-encoding" in response.headers:
                raise NotFetchedError(f"{guarded.host}: the answer is packed, which was not asked for")
            found = bytearray()
            async for chunk in response.aiter_raw():
                found += chunk
                if len(found) > self._largest:
                    raise NotFetchedError(f"{guarded.host}: the answer is too large")
            return Fetched(guarded.host, response.status_code, bytes(found))
        finally:
            await response.aclose()

    async def _address(self, guarded: GuardedUrl) -> Address:
        """Where the connection goes. Raises UrlRefusedError if any of the name's addresses is not to be asked."""
        if guarded.address is not None:
            return guarded.address
        found = await asyncio.get_running_loop().getaddrinfo(
            guarded.host, guarded.port, type=socket.SOCK_STREAM
        )
        addresses = [ip_address(str(each[4][0]).partition("%")[0]) for each in found]
        if not addresses:
            raise UrlRefusedError("the URL's host has no address")
        for address in addresses:
            check_address(address, self._allowed)
        return addresses[0]
