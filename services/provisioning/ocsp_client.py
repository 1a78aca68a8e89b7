"""Asking OCSP responders that chargers name: never anybody else, never for long, never for more than they need say."""

from __future__ import annotations

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

import httpx
from cryptography import x509

from libs.runtime.clock import now_us
from libs.runtime.urls import Address, GuardedUrl, Network, UrlRefusedError, check_address, guarded_url
from services.provisioning.ocsp import CertificateId, Finding, read_response, request_for

LARGEST: Final = 64 << 10
"""Bytes of a response; a charger takes 18,000 characters of base64 at most."""

_ASKED: Final = "application/ocsp-request"
_ANSWERED: Final = "application/ocsp-response"


class OcspUnavailableError(Exception):
    """The responder gave nothing that could be an answer."""


class OcspClient:
    """Responses by URL and certificate, each kept until its nextUpdate (`kept` of them).

    `allowed`: networks that responders may be in besides the public internet. `timeout_s`: for all of one request.
    """

    def __init__(
        self,
        *,
        authorities: Sequence[x509.Certificate] = (),
        allowed: Sequence[Network] = (),
        timeout_s: float = 4.0,
        kept: int = 10_000,
    ) -> None:
        self._authorities = authorities
        self._allowed = tuple(allowed)
        self._timeout_s = timeout_s
        self._kept = kept
        self._cache: OrderedDict[tuple[str, CertificateId], tuple[bytes, Finding]] = OrderedDict()
        self._asking: dict[tuple[str, CertificateId], asyncio.Task[tuple[bytes, Finding]]] = {}
        # No connection outlives its request: it was made for one name and one address.
        self._http = httpx.AsyncClient(
            trust_env=False,
            follow_redirects=False,
            timeout=timeout_s,
            limits=httpx.Limits(max_connections=100, max_keepalive_connections=0),
        )

    async def close(self) -> None:
        """Give up what is under way."""
        for task in list(self._asking.values()):
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        await self._http.aclose()

    async def ask(self, url: str, wanted: CertificateId) -> tuple[bytes, Finding]:
        """The DER of the responder's answer about a certificate, and what it says.

        Raises UrlRefusedError for a URL that must not be asked, OcspUnavailableError for a responder that does not
        answer, OcspUnusableError for an answer that proves nothing.
        """
        key = (url, wanted)
        now = now_us()
        known = self._cache.get(key)
        if known is not None:
            next_update = known[1].next_update
            if next_update is not None and now < next_update:
                self._cache.move_to_end(key)
                return known
            del self._cache[key]
        # Chargers that ask for the same thing at the same time wait for one answer.
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.create_task(self._ask(url, wanted))
            asking.add_done_callback(lambda done: self._asked(key, done))
        return await asyncio.shield(asking)

    def _asked(
        self,
        key: tuple[str, CertificateId],
        done: asyncio.Task[tuple[bytes, Finding]],
    ) -> None:
        self._asking.pop(key, None)
        if not done.cancelled():
            # Whoever asked may have gone: asyncio would complain of an exception that nobody looked at.
            done.exception()

    async def _ask(self, url: str, wanted: CertificateId) -> tuple[bytes, Finding]:
        guarded = guarded_url(url, allowed=self._allowed)
        try:
            async with asyncio.timeout(self._timeout_s):
                der = await self._fetch(guarded, request_for(wanted))
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
            raise OcspUnavailableError(f"{guarded.host}: {type(error).__name__}") from error
        found = der, read_response(der, wanted, self._authorities, now_us())
        if found[1].next_update is not None:
            self._cache[url, wanted] = found
            if len(self._cache) > self._kept:
                self._cache.popitem(last=False)
        return found

    async def _fetch(self, guarded: GuardedUrl, body: bytes) -> bytes:
        address = await self._address(guarded)
        asked = httpx.URL(guarded.url)
        # To the address that was checked, not to whatever the name stands for a moment later.
        request = self._http.build_request(
            "POST",
            asked.copy_with(host=str(address)),
            content=body,
            headers={
                "Host": asked.netloc.decode(),
                "Content-Type": _ASKED,
                "Accept": _ANSWERED,
                "Accept-Encoding": "identity",
            },
            extensions={"sni_hostname": guarded.host},
        )
        response = await self._http.send(request, stream=True)
        try:
            if response.status_code != httpx.codes.OK or "content-encoding" in response.headers:
                raise OcspUnavailableError(f"{guarded.host}: HTTP {response.status_code}")
            content = bytearray()
            async for chunk in response.aiter_raw():
                content += chunk
                if len(content) > LARGEST:
                    raise OcspUnavailableError(f"{guarded.host}: the response is too large")
            return bytes(content)
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
