"""Signing in at the provider: with a browser by authorization code and PKCE, at the command line by ID token."""

import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from hashlib import sha256
from hmac import compare_digest
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from libs.events.access import SignedIn
from libs.runtime.addresses import network_of
from libs.runtime.allowance import Allowance
from libs.runtime.clock import SECOND, now_us
from libs.runtime.logging import get_logger
from libs.security.sealing import Sealer
from services.api.access.sign_ins import SignIns
from services.api.domain.errors import IdentityRefused, TooMany
from services.api.http import metrics
from services.api.oidc.people import People, joined, missing, person_of
from services.api.oidc.provider import Provider
from services.api.oidc.refusals import Reason
from services.api.oidc.settings import OidcSettings
from services.api.oidc.tokens import LEEWAY_S, Claims, Expected, checked, header_of

log = get_logger(__name__)

LASTING_S: Final = 600
"""How long a person may take at the provider."""
_TOKEN_AGE_S: Final = 300
"""How long after its issue the command line may bring an ID token."""
_PURPOSE: Final = "sign-in at the provider"
_USED: Final = 100_000
_NETWORKS: Final = 10_000
_LINES: Final = 60
_MINUTE: Final = 60 * SECOND
_LONGEST: Final = 4096


class Begun(msgspec.Struct, frozen=True):
    """A sign-in that a browser began; it alone has this, sealed. `back`: where it came from. `token`: of the sign-in to
    be. `fresh`: the sign-in to be renewed, "" for a new one. `at`: microseconds.
    """

    state: str
    nonce: str
    verifier: str
    token: str
    back: str
    fresh: str
    at: int


class Answer(msgspec.Struct, frozen=True):
    """What the provider sends the browser back with, "" for what is not there."""

    state: str = ""
    code: str = ""
    iss: str = ""
    error: str = ""


class SignInsAtProvider:
    """`key`: seals what browsers keep. `failures`: refused ID tokens of the command line a minute from one address,
    then none is looked at; 0: any number.

    All methods raise ProviderUnavailable, IdentityRefused, and what People and SignIns raise.
    """

    def __init__(
        self,
        settings: OidcSettings,
        provider: Provider,
        people: People,
        sign_ins: SignIns,
        *,
        key: str,
        failures: int,
        clock: Callable[[], int] = now_us,
    ) -> None:
        self.settings = settings
        self._provider = provider
        self._people = people
        self._sign_ins = sign_ins
        self._sealer = Sealer(key)
        self._key = sha256(b"voltbus sign-in\0" + key.encode()).digest()
        self._clock = clock
        self._used: Allowance[str] = Allowance(1, 2 * LASTING_S * SECOND, _USED)
        self._failures: Allowance[str] = Allowance(failures, _MINUTE, _NETWORKS)
        self._lines: Allowance[None] = Allowance(_LINES, _MINUTE, 1)

    async def close(self) -> None:
        """Give up what is under way."""
        await self._provider.close()

    async def begin(self, callback: str, back: str, former: SignedIn | None = None) -> tuple[str, str]:
        """Where the browser is sent, and what it has to keep until it is back at `callback`.

        `former`: a sign-in to be made fresh; the provider is to ask for the password then.
        """
        found = await self._provider.metadata()
        begun = Begun(
            state=secrets.token_urlsafe(32),
            nonce=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48),
            token=secrets.token_urlsafe(32),
            back=back,
            fresh="" if former is None else former.sign_in_id,
            at=self._clock(),
        )
        asked = {
            "response_type": "code",
            "client_id": self.settings.oidc_client_id,
            "redirect_uri": callback,
            "scope": self.settings.oidc_scopes,
            "state": begun.state,
            "nonce": begun.nonce,
            "code_challenge": _digest(begun.verifier),
            "code_challenge_method": "S256",
        }
        if former is not None:
            asked |= {"prompt": "login", "max_age": "0"}
        start = found.authorization_endpoint
        sealed = self._sealer.seal(msgspec.json.encode(begun).decode(), _PURPOSE)
        return f"{start}{'&' if '?' in start else '?'}{urlencode(asked)}", sealed

    async def finish(
        self, sealed: str, answer: Answer, callback: str, *, former: SignedIn | None, address: str, agent: str
    ) -> tuple[str, str]:
        """The token of the new sign-in, and where the browser came from.

        `sealed`: what the browser kept; `former`: its sign-in.
        """
        try:
            return await self._finish(sealed, answer, callback, former, address=address, agent=agent)
        except IdentityRefused as refused:
            self._note(refused, address)
            raise

    async def exchange(
        self, id_token: str, access_token: str, address: str, agent: str
    ) -> tuple[str, SignedIn]:
        """The key of a command line for an ID token that was issued to it just now. Raises TooMany."""
        network, now = network_of(address), self._clock()
        if self._failures.wait(network, now):
            raise TooMany("too many refused sign-ins from this address")
        try:
            return await self._exchange(id_token, access_token, address, agent)
        except IdentityRefused as refused:
            self._failures.spend(network, now)
            self._note(refused, address)
            raise

    async def _finish(
        self, sealed: str, answer: Answer, callback: str, former: SignedIn | None, *, address: str, agent: str
    ) -> tuple[str, str]:
        begun = self._opened(sealed)
        if not compare_digest(begun.state.encode(), answer.state.encode()):
            raise IdentityRefused(Reason.STATE)
        now = self._clock()
        if self._used.wait(begun.state, now):
            raise IdentityRefused(Reason.REPLAYED)
        self._used.spend(begun.state, now)
        found = await self._provider.metadata()
        named = answer.iss or found.authorization_response_iss_parameter_supported
        if named and answer.iss != self.settings.oidc_issuer:
            raise IdentityRefused(Reason.ISSUER, "of the answer")
        if answer.error or not 0 < len(answer.code) <= _LONGEST:
            note = answer.error[:50]
            raise IdentityRefused(Reason.DECLINED, note if note.isprintable() else "")
        renewed = None
        if begun.fresh:
            if former is None or former.sign_in_id != begun.fresh:
                raise IdentityRefused(Reason.STATE, "another sign-in")
            renewed = former
        tokens = await self._provider.redeem(answer.code, begun.verifier, callback)
        asked_at = begun.at // SECOND
        expected = Expected(
            issuer=self.settings.oidc_issuer,
            client_id=self.settings.oidc_client_id,
            nonce=begun.nonce,
            issued_after=asked_at,
            authenticated_after=asked_at if begun.fresh else None,
        )
        claims = await self._claims(tokens.id_token, tokens.access_token, expected)
        account_id = await self._people.account_of(person_of(claims, self.settings))
        if renewed is not None:
            if account_id != renewed.account_id:
                raise IdentityRefused(Reason.OTHER_PERSON)
            await self._sign_ins.renew(renewed, begun.token, _authenticated_at(claims))
        else:
            await self._admit(account_id, begun.token, claims, address, agent)
        return begun.token, begun.back

    async def _exchange(
        self, id_token: str, access_token: str, address: str, agent: str
    ) -> tuple[str, SignedIn]:
        now = self._clock()
        # The same token never makes two keys, whichever process it is brought to.
        token = self._sign_ins.key_of(sha256(self._key + id_token.encode("utf-8", "replace")).hexdigest())
        if self._used.wait(token, now):
            raise IdentityRefused(Reason.REPLAYED)
        expected = Expected(
            issuer=self.settings.oidc_issuer,
            client_id=self.settings.oidc_cli_client_id,
            nonce=None,
            issued_after=now // SECOND - _TOKEN_AGE_S + LEEWAY_S,
        )
        claims = await self._claims(id_token, access_token, expected)
        self._used.spend(token, now)
        account_id = await self._people.account_of(person_of(claims, self.settings))
        return token, await self._admit(account_id, token, claims, address, agent)

    async def _admit(self, account_id: str, token: str, claims: Claims, address: str, agent: str) -> SignedIn:
        if self._sign_ins.is_used(token):
            raise IdentityRefused(Reason.REPLAYED)
        return await self._sign_ins.admit(account_id, token, _authenticated_at(claims), address, agent)

    async def _claims(self, id_token: str, access_token: str, expected: Expected) -> Claims:
        header = header_of(id_token)
        claims = checked(id_token, await self._provider.key(header), expected, self._clock() // SECOND)
        if not missing(claims, self.settings) or not access_token:
            return claims
        more: Mapping[str, Any] = await self._provider.user_info(access_token)
        if more and more.get("sub") != claims["sub"]:
            raise IdentityRefused(Reason.USER_INFO)
        return joined(claims, more)

    def _opened(self, sealed: str) -> Begun:
        """Raises IdentityRefused for what was not begun here, or too long ago."""
        try:
            begun = msgspec.json.decode(self._sealer.open(sealed, _PURPOSE), type=Begun)
        except (ValueError, msgspec.MsgspecError) as error:
            raise IdentityRefused(Reason.STATE) from error
        if self._clock() - begun.at > LASTING_S * SECOND:
            raise IdentityRefused(Reason.STATE, "too late")
        return begun

    def _note(self, refused: IdentityRefused, address: str) -> None:
        metrics.PROVIDER_REFUSALS.labels(refused.reason).inc()
        now = self._clock()
        if not self._lines.wait(None, now):
            self._lines.spend(None, now)
            log.warning("provider_sign_in_refused", reason=refused.reason, note=refused.note, address=address)


def _digest(verifier: str) -> str:
    """The challenge of a verifier (RFC 7636, S256)."""
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _authenticated_at(claims: Claims) -> int:
    """When the person gave the password; 0 if the provider does not say: then nothing is fresh."""
    return int(claims.get("auth_time") or 0) * SECOND
