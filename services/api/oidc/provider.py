"""Asking the OpenID provider: what it is, which keys it has, and what a code stands for."""

import asyncio
import ssl
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote, urlencode

import httpx
import msgspec

from libs.runtime.logging import get_logger
from libs.security.guarded_http import Fetched, GuardedHttp, NotFetchedError
from libs.security.url_guard import WEB, guarded_url
from services.api.domain.errors import IdentityRefused
from services.api.http import metrics
from services.api.oidc.refusals import ProviderUnavailable, Reason
from services.api.oidc.settings import OidcSettings
from services.api.oidc.tokens import PublishedKey, key_for, published

log = get_logger(__name__)

T = TypeVar("T")

LARGEST: Final = 256 << 10
"""Bytes of an answer."""
_DISCOVERY: Final = "/.well-known/openid-configuration"
_KEPT_S: Final = 3600.0
_AGAIN_S: Final = 30.0
"""Between two looks for keys that are not known."""
_AT_ONCE: Final = 50
_TLS: Final = frozenset({"https"})
_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
_JSON: Final = {"Accept": "application/json"}


class Metadata(msgspec.Struct, frozen=True):
    """What a provider says of itself (OpenID Connect Discovery §3, RFC 8414, RFC 9207)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class Tokens(msgspec.Struct, frozen=True):
    """What a code stands for."""

    id_token: str
    access_token: str = ""


class _Kept(Generic[T]):
    """Something that is fetched once for all who ask at the same time, and kept for an hour."""

    def __init__(self, fetch: Callable[[], Awaitable[T]], clock: Callable[[], float]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._found: T | None = None
        self._at = 0.0
        self._task: asyncio.Task[T] | None = None

    async def get(self, no_older_than_s: float = _KEPT_S) -> T:
        """Raises ProviderUnavailable."""
        if self._found is not None and self._clock() - self._at < no_older_than_s:
            return self._found
        if self._task is None:
            self._task = asyncio.create_task(self._take(), name="provider")
            self._task.add_done_callback(self._done)
        return await asyncio.shield(self._task)

    def forget(self) -> None:
        """Fetch it anew next time."""
        self._found = None

    async def _take(self) -> T:
        found = await self._fetch()
        self._found, self._at = found, self._clock()
        return found

    def _done(self, task: asyncio.Task[T]) -> None:
        self._task = None
        if not task.cancelled():
            # Whoever asked may have gone.
            task.exception()


class Provider:
    """The provider of `settings`. `clock`: seconds that never go back.

    All methods raise ProviderUnavailable if it does not answer in time, or not as a provider does.
    """

    def __init__(self, settings: OidcSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        authority = settings.oidc_ssl_ca_file
        self._http = GuardedHttp(
            allowed=settings.oidc_inner,
            timeout_s=settings.oidc_timeout_s,
            largest=LARGEST,
            tls=None if authority is None else ssl.create_default_context(cafile=authority),
        )
        self._metadata = _Kept(self._discover, clock)
        self._keys = _Kept(self._fetch_keys, clock)
        self._inside = 0

    async def close(self) -> None:
        """Give up what is under way."""
        await self._http.close()

    async def metadata(self) -> Metadata:
        """What the provider says of itself, up to an hour ago."""
        return await self._metadata.get()

    async def key(self, header: Mapping[str, Any]) -> Any:
        """The key that the head of a token names. Raises IdentityRefused if the provider has none of that name.

        For one that is not known its keys are fetched again, at most twice a minute.
        """
        found = key_for(header, await self._keys.get())
        if found is None:
            found = key_for(header, await self._keys.get(_AGAIN_S))
        if found is None:
            raise IdentityRefused(Reason.KEY, str(header.get("kid"))[:100])
        return found

    async def redeem(self, code: str, verifier: str, redirect_uri: str) -> Tokens:
        """The tokens for a code. Raises IdentityRefused if the provider does not take it."""
        found = await self.metadata()
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        headers = self._as_client(fields, found.token_endpoint_auth_methods_supported)
        with self._failing():
            answer = await self._ask("POST", found.token_endpoint, urlencode(fields).encode(), headers)
            if answer.status == HTTPStatus.BAD_REQUEST and _error(answer.content) == "invalid_grant":
                raise IdentityRefused(Reason.CODE)
            return _read(answer, Tokens)

    async def user_info(self, access_token: str) -> Mapping[str, Any]:
        """What the provider says of a person beside the ID token; {} if it has no more to say."""
        endpoint = (await self.metadata()).userinfo_endpoint
        if endpoint is None:
            return {}
        with self._failing():
            answer = await self._ask(
                "GET", endpoint, None, {**_JSON, "Authorization": f"Bearer {access_token}"}
            )
            if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                raise IdentityRefused(Reason.USER_INFO)
            return _read(answer, dict[str, Any])

    async def _discover(self) -> Metadata:
        issuer = self._settings.oidc_issuer
        with self._failing():
            answer = await self._ask("GET", issuer.rstrip("/") + _DISCOVERY, None, _JSON)
            found = _read(answer, Metadata)
            if found.issuer != issuer:
                raise ProviderUnavailable("the provider says that it is another issuer")
            # The browser goes there; no other page of ours is asked for.
            start = found.authorization_endpoint
            guarded_url(start, _schemes(start), self._settings.oidc_inner, hosts=None)
        return found

    async def _fetch_keys(self) -> Sequence[PublishedKey]:
        address = (await self.metadata()).jwks_uri
        with self._failing():
            answer = await self._ask("GET", address, None, _JSON)
            return published(_read(answer, dict[str, Any]))

    async def _ask(self, method: str, url: str, content: bytes | None, headers: Mapping[str, str]) -> Fetched:
        if self._inside >= _AT_ONCE:
            raise ProviderUnavailable("too many sign-ins wait for the provider")
        self._inside += 1
        try:
            return await self._http.send(method, url, content=content, headers=headers, schemes=_schemes(url))
        finally:
            self._inside -= 1

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Whatever the provider does wrong, it is not available."""
        try:
            yield
        except (
            ProviderUnavailable,
            NotFetchedError,
            msgspec.MsgspecError,
            httpx.InvalidURL,
            ValueError,
        ) as error:
            self._metadata.forget()
            metrics.PROVIDER_FAILURES.inc()
            note = type(error).__name__ if isinstance(error, msgspec.MsgspecError) else str(error)
            log.warning("provider_unavailable", issuer=self._settings.oidc_issuer, error=note[:200])
            raise ProviderUnavailable(
                "the provider that signs people in does not answer as it should"
            ) from error

    def _as_client(self, fields: dict[str, str], methods: Collection[str]) -> Mapping[str, str]:
        """Headers by which the provider knows us, or `fields` (RFC 6749 §2.3.1)."""
        client_id, given = self._settings.oidc_client_id, self._settings.oidc_client_secret
        secret = "" if given is None else given.get_secret_value()
        if secret and "client_secret_basic" in methods:
            pair = f"{quote(client_id, safe='')}:{quote(secret, safe='')}"
            return {**_FORM, "Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
        fields["client_id"] = client_id
        if secret:
            fields["client_secret"] = secret
        return _FORM


def _schemes(url: str) -> Collection[str]:
    """Without TLS only within this machine, for trials."""
    return WEB if httpx.URL(url).host in _HERE else _TLS


def _read(answer: Fetched, kind: type[T]) -> T:
    if answer.status != HTTPStatus.OK:
        raise ProviderUnavailable(f"{answer.host}: HTTP {answer.status} {_error(answer.content)}".strip())
    return msgspec.json.decode(answer.content, type=kind)


def _error(content: bytes) -> str:
    """The error code of an OAuth 2.0 answer, "" if there is none."""
    try:
        code = msgspec.json.decode(content, type=dict[str, Any]).get("error")
    except msgspec.MsgspecError:
        return ""
    return code[:50] if isinstance(code, str) and code.isprintable() else ""
