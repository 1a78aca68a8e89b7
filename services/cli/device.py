"""An ID token from an OpenID provider, by a code that a person enters in a browser (RFC 8628)."""

import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import msgspec

from services.cli.client import CliError

_DISCOVERY: Final = "/.well-known/openid-configuration"
_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
_TIMEOUT_S: Final = 15.0
_LARGEST: Final = 256 << 10
_SLOWER_S: Final = 5
_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Metadata(msgspec.Struct, frozen=True):
    """What a provider says of itself."""

    issuer: str
    token_endpoint: str
    device_authorization_endpoint: str = ""


class Code(msgspec.Struct, frozen=True):
    """What a person is asked to enter, and where (RFC 8628 §3.2)."""

    device_code: str
    user_code: str
    verification_uri: str
    expires_in: float
    verification_uri_complete: str = ""
    interval: float = 5


class Tokens(msgspec.Struct, frozen=True):
    """What the provider gives for it."""

    id_token: str
    access_token: str = ""


class _Error(msgspec.Struct, frozen=True):
    error: str = ""


def tokens_of_person(
    issuer: str,
    client_id: str,
    scopes: str,
    ask: Callable[[Code], None],
    *,
    sleep: Callable[[float], None] = time.sleep,
    transport: httpx.BaseTransport | None = None,
) -> Tokens:
    """The tokens of who enters the code, which `ask` shows. Raises CliError if nobody does in time, or declines.

    `transport`: instead of the network.
    """
    headers = {"Accept": "application/json", "User-Agent": "voltbus-cli"}
    with httpx.Client(timeout=_TIMEOUT_S, headers=headers, transport=transport) as http:
        found = _read(_answer(http, "GET", issuer.rstrip("/") + _DISCOVERY), Metadata)
        if found.issuer != issuer:
            raise CliError(f"what answers at {issuer} says that it is {found.issuer[:200]}")
        if not found.device_authorization_endpoint:
            raise CliError(f"{issuer} has no sign-in by device code: use --account")
        # Some providers ask for PKCE here, too; others pass over it.
        verifier = secrets.token_urlsafe(48)
        challenge = urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "client_id": client_id,
            "scope": scopes,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        code = _read(_answer(http, "POST", found.device_authorization_endpoint, asked), Code)
        ask(code)
        form = {
            "grant_type": _GRANT,
            "device_code": code.device_code,
            "client_id": client_id,
            "code_verifier": verifier,
        }
        return _wait(http, found.token_endpoint, form, code, sleep)


def _wait(
    http: httpx.Client, endpoint: str, form: dict[str, str], code: Code, sleep: Callable[[float], None]
) -> Tokens:
    waited, interval = 0.0, max(1.0, code.interval)
    while waited < code.expires_in:
        sleep(interval)
        waited += interval
        answer = _answer(http, "POST", endpoint, form)
        if answer.is_success:
            tokens: Tokens = _read(answer, Tokens)
            return tokens
        match _error(answer):
            case "authorization_pending":
                continue
            case "slow_down":
                interval += _SLOWER_S
            case "access_denied":
                raise CliError("the sign-in was declined")
            case "expired_token":
                break
            case other:
                raise CliError(f"the provider refuses the sign-in: {other or answer.status_code}")
    raise CliError("nobody entered the code in time")


def _answer(http: httpx.Client, method: str, url: str, form: dict[str, str] | None = None) -> httpx.Response:
    """The answer of the provider, read to the end. Raises CliError."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _HERE):
        raise CliError(f"the provider's address is not https: {url[:200]}")
    try:
        with http.stream(method, url, data=form) as response:
            content = bytearray()
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > _LARGEST:
                    raise CliError(f"{parts.hostname} answers too much")
            return httpx.Response(response.status_code, content=bytes(content))
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise CliError(f"the provider at {parts.hostname} does not answer ({error})") from error


def _read(answer: httpx.Response, kind: Any) -> Any:
    if not answer.is_success:
        raise CliError(f"the provider answers {answer.status_code} {_error(answer)}".strip())
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except msgspec.MsgspecError as error:
        raise CliError(f"what answers is no OpenID provider ({error})") from error


def _error(answer: httpx.Response) -> str:
    try:
        return msgspec.json.decode(answer.content, type=_Error).error[:50]
    except msgspec.MsgspecError:
        return ""
