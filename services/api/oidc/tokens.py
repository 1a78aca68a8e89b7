"""Checks of ID tokens (OpenID Connect Core §3.1.3.7). Nothing here asks anybody."""

import binascii
from collections.abc import Iterable, Mapping, Sequence
from hmac import compare_digest
from typing import Any, Final

import msgspec
from joserfc import jwt
from joserfc.errors import BadSignatureError, JoseError
from joserfc.jwk import ECKey, JWKRegistry, Key, OKPKey, RSAKey
from joserfc.util import urlsafe_b64decode

from services.api.domain.errors import IdentityRefused
from services.api.oidc.refusals import Reason

ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA", "Ed25519"),
)
"""Those with a public key. With HS256 whoever knows that key could sign, with none everybody."""
LEEWAY_S: Final = 60
LARGEST: Final = 32 << 10
"""Characters of a token."""
LONGEST_ID: Final = 255
_MOST_KEYS: Final = 100
_SHORTEST_RSA: Final = 2048

Claims = Mapping[str, Any]


class Expected(msgspec.Struct, frozen=True):
    """What a token has to say, times in seconds.

    `nonce`: None if none was sent. `issued_after`: it was asked for then. `authenticated_after`: the person signed in
    at the provider after that; None: at any time.
    """

    issuer: str
    client_id: str
    nonce: str | None
    issued_after: int
    authenticated_after: int | None = None


class PublishedKey(msgspec.Struct, frozen=True):
    """A key of the provider's. `algorithm`: the only one that it is for, "" for all of its kind."""

    kid: str | None
    algorithm: str
    key: Key


def published(document: object) -> tuple[PublishedKey, ...]:
    """The keys for signatures in a JWK set; what is not understood, too short or secret is left out.

    Raises ValueError for what is no JWK set, or one of very many keys.
    """
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list) or len(listed) > _MOST_KEYS:
        raise ValueError("no set of up to 100 keys")
    return tuple(_usable(each for each in listed if isinstance(each, dict)))


def _usable(listed: Iterable[dict[str, Any]]) -> Iterable[PublishedKey]:
    for each in listed:
        kid, algorithm = each.get("kid"), each.get("alg", "")
        if (
            each.get("use", "sig") != "sig"
            or not isinstance(kid, str | None)
            or not isinstance(algorithm, str)
        ):
            continue
        try:
            key = JWKRegistry.import_key(each)
            fits = isinstance(key, RSAKey | ECKey | OKPKey) and not key.is_private
            if isinstance(key, RSAKey):
                fits = fits and key.public_key.key_size >= _SHORTEST_RSA
        except (JoseError, ValueError, TypeError, KeyError, AttributeError):
            continue
        if fits:
            yield PublishedKey(kid, algorithm, key)


def header_of(token: str) -> Mapping[str, Any]:
    """The head of a token that is not checked yet. Raises IdentityRefused for what is none."""
    if len(token) > LARGEST:
        raise IdentityRefused(Reason.TOKEN)
    head, dot, rest = token.partition(".")
    try:
        header = msgspec.json.decode(urlsafe_b64decode(head.encode("ascii")), type=dict[str, Any])
    except (ValueError, RecursionError, binascii.Error, msgspec.MsgspecError) as error:
        raise IdentityRefused(Reason.TOKEN) from error
    if not dot or rest.count(".") != 1:
        raise IdentityRefused(Reason.TOKEN)
    if header.get("alg") not in ALGORITHMS:
        raise IdentityRefused(Reason.ALGORITHM, str(header.get("alg"))[:20])
    if str(header.get("typ", "JWT")).upper() not in {"JWT", "ID_TOKEN+JWT"}:
        # An access token or one for signing out, which the same keys sign.
        raise IdentityRefused(Reason.TOKEN, str(header["typ"])[:20])
    return header


def key_for(header: Mapping[str, Any], keys: Sequence[PublishedKey]) -> Key | None:
    """The key that a token names; if it names none, the only one. None if there is no such key."""
    kid, algorithm = header.get("kid"), header["alg"]
    fit = [each for each in keys if each.algorithm in ("", algorithm) and (kid is None or each.kid == kid)]
    return fit[0].key if fit and (kid is not None or len(fit) == 1) else None


def checked(token: str, key: Key, expected: Expected, now_s: int) -> Claims:
    """What an ID token says. Raises IdentityRefused unless `key` signed it, and it says what is expected."""
    try:
        claims = jwt.decode(token, key, algorithms=list(ALGORITHMS)).claims
    except BadSignatureError as error:
        raise IdentityRefused(Reason.SIGNATURE) from error
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise IdentityRefused(Reason.TOKEN, type(error).__name__) from error
    _check_parties(claims, expected)
    _check_times(claims, expected, now_s)
    nonce = claims.get("nonce")
    if expected.nonce is not None and not (
        isinstance(nonce, str) and compare_digest(nonce.encode(), expected.nonce.encode())
    ):
        raise IdentityRefused(Reason.NONCE)
    return claims


def _check_parties(claims: Claims, expected: Expected) -> None:
    if claims.get("iss") != expected.issuer:
        raise IdentityRefused(Reason.ISSUER, str(claims.get("iss"))[:100])
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_ID:
        raise IdentityRefused(Reason.TOKEN, "sub")
    named = claims.get("aud")
    audience = [named] if isinstance(named, str) else named
    if not isinstance(audience, list) or expected.client_id not in audience:
        raise IdentityRefused(Reason.AUDIENCE)
    party = claims.get("azp")
    if party != expected.client_id and (party is not None or len(audience) > 1):
        raise IdentityRefused(Reason.AUDIENCE, "azp")


def _check_times(claims: Claims, expected: Expected, now_s: int) -> None:
    ends, issued = _moment(claims, "exp"), _moment(claims, "iat")
    if ends is None or issued is None:
        raise IdentityRefused(Reason.TOKEN, "exp or iat")
    if ends <= now_s - LEEWAY_S:
        raise IdentityRefused(Reason.EXPIRED)
    signed_in = _moment(claims, "auth_time")
    for begins in (issued, _moment(claims, "nbf"), signed_in):
        if begins is not None and begins > now_s + LEEWAY_S:
            raise IdentityRefused(Reason.FUTURE)
    if issued < expected.issued_after - LEEWAY_S:
        raise IdentityRefused(Reason.OLD)
    after = expected.authenticated_after
    if after is not None and (signed_in is None or signed_in < after - LEEWAY_S):
        raise IdentityRefused(Reason.NOT_FRESH)


def _moment(claims: Claims, name: str) -> float | None:
    """Seconds since 1970; None if it is not said. Raises IdentityRefused for what is no moment."""
    found = claims.get(name)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < 1 << 40:
        raise IdentityRefused(Reason.TOKEN, name)
    return found
