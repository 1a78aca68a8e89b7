"""Asking OCSP responders that chargers name: never anybody else, never for long, never for more than they need say."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from libs.runtime.clock import SECOND, now_us
from libs.security.guarded_http import GuardedHttp, NotFetchedError
from libs.security.url_guard import Network
from services.provisioning.domain.certificates.ocsp import CertificateId, Finding, read_response, request_for

LARGEST: Final = 64 << 10
"""Bytes of a response."""

LONGEST_KEPT: Final = 18_000 // 4 * 3
"""Bytes of one that is kept: a charger takes 18,000 characters of base64 at most."""

_KEPT_FOR_US: Final = 86_400 * SECOND
_ENTRY_BYTES: Final = 1_024
_ASKED: Final = "application/ocsp-request"
_ANSWERED: Final = "application/ocsp-response"


class OcspUnavailableError(Exception):
    """The responder gave nothing that could be an answer."""


Question = tuple[str, CertificateId, bytes]
"""URL, certificate, and the fingerprint of an issuer who is trusted for it."""
Found = tuple[bytes, Finding]


class _Kept(msgspec.Struct, frozen=True):
    found: Found
    until: int
    size: int


class OcspClient:
    """Responses by URL and certificate; those that prove something are kept until their nextUpdate, at most a day.

    `allowed`: networks that responders may be in besides the public internet. `timeout_s`: for all of one request.
    `kept_bytes`: of responses, and roughly of what else each of them takes; the least used go first.
    """

    def __init__(
        self,
        *,
        authorities: Sequence[x509.Certificate] = (),
        allowed: Sequence[Network] = (),
        timeout_s: float = 4.0,
        kept_bytes: int = 16 << 20,
    ) -> None:
        self._authorities = authorities
        self._kept_bytes = kept_bytes
        self._cache: OrderedDict[Question, _Kept] = OrderedDict()
        self._cached_bytes = 0
        self._asking: dict[Question, asyncio.Task[Found]] = {}
        self._http = GuardedHttp(allowed=allowed, timeout_s=timeout_s, largest=LARGEST)

    async def close(self) -> None:
        """Give up what is under way."""
        for task in list(self._asking.values()):
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        await self._http.close()

    async def ask(self, url: str, wanted: CertificateId, issuer: x509.Certificate | None = None) -> Found:
        """The DER of the responder's answer about a certificate, and what it says.

        `issuer`: who was found to have issued it on behalf of an authority, and is trusted for this. Raises
        UrlRefusedError for a URL that must not be asked, OcspUnavailableError for a responder that does not answer,
        OcspUnusableError for an answer that proves nothing.
        """
        key = (url, wanted, b"" if issuer is None else issuer.fingerprint(SHA256()))
        known = self._cache.get(key)
        if known is not None:
            if now_us() < known.until:
                self._cache.move_to_end(key)
                return known.found
            self._forget(key)
        # Chargers that ask for the same thing at the same time wait for one answer.
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.create_task(self._ask(key, issuer))
            asking.add_done_callback(lambda done: self._asked(key, done))
        return await asyncio.shield(asking)

    def _asked(self, key: Question, done: asyncio.Task[Found]) -> None:
        self._asking.pop(key, None)
        if not done.cancelled():
            # Whoever asked may have gone: asyncio would complain of an exception that nobody looked at.
            done.exception()

    async def _ask(self, key: Question, issuer: x509.Certificate | None) -> Found:
        url, wanted, _ = key
        asked = {"Content-Type": _ASKED, "Accept": _ANSWERED}
        try:
            answer = await self._http.send("POST", url, content=request_for(wanted), headers=asked)
        except NotFetchedError as error:
            raise OcspUnavailableError(str(error)) from error
        if answer.status != HTTPStatus.OK:
            raise OcspUnavailableError(f"{answer.host}: HTTP {answer.status}")
        der = answer.content
        trusted = self._authorities if issuer is None else [*self._authorities, issuer]
        found = der, read_response(der, wanted, trusted, now_us())
        self._keep(key, found)
        return found

    def _keep(self, key: Question, found: Found) -> None:
        der, finding = found
        # What proves nothing anybody could have made up: it is asked for again.
        if finding.next_update is None or finding.proof is None or len(der) > LONGEST_KEPT:
            return
        if key in self._cache:
            self._forget(key)
        size = len(der) + len(key[0]) + _ENTRY_BYTES
        self._cache[key] = _Kept(found, min(finding.next_update, now_us() + _KEPT_FOR_US), size)
        self._cached_bytes += size
        while self._cached_bytes > self._kept_bytes:
            self._forget(next(iter(self._cache)))

    def _forget(self, key: Question) -> None:
        self._cached_bytes -= self._cache.pop(key).size
