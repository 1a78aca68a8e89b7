"""ID tokens, right ones and forged ones."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from functools import cache
from hashlib import sha256
from typing import Any, Final

import orjson
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwt
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

CLIENT: Final = "console"


@cache
def rsa(name: str = "right", bits: int = 2048) -> RSAKey:
    """The same key each time for the same name."""
    return RSAKey.generate_key(bits, {"kid": name, "use": "sig"})


@cache
def ec(curve: str = "P-256") -> ECKey:
    return ECKey.generate_key(curve, {"kid": curve})


@cache
def ed() -> OKPKey:
    return OKPKey.generate_key("Ed25519", {"kid": "ed"})


def said(issuer: str, now_s: int, **changes: Any) -> dict[str, Any]:
    """What a right token says; what is None is left out."""
    claims = {
        "iss": issuer,
        "sub": "subject-1",
        "aud": CLIENT,
        "exp": now_s + 300,
        "iat": now_s,
        "auth_time": now_s - 5,
        "nonce": "the nonce",
        "email": "anna@example.org",
        "email_verified": True,
        "name": "Anna Example",
    }
    return {name: value for name, value in (claims | changes).items() if value is not None}


def signed(claims: dict[str, Any], key: Key | None = None, alg: str = "RS256", **header: Any) -> str:
    key = rsa() if key is None else key
    head = {"alg": alg, "kid": key.kid} | header
    named = {name: value for name, value in head.items() if value is not None}
    return jwt.encode(named, claims, key, algorithms=[alg], default_type=None)


def by_hand(claims: dict[str, Any], header: dict[str, Any], secret: bytes = b"") -> str:
    """As whoever writes tokens without a library: signed with HMAC if there is a secret."""
    text = f"{packed(header)}.{packed(claims)}"
    signature = hmac.digest(secret, text.encode(), sha256) if secret else b""
    return f"{text}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def packed(value: Any) -> str:
    return urlsafe_b64encode(orjson.dumps(value)).rstrip(b"=").decode()


def public_secrets(key: RSAKey) -> list[bytes]:
    """What of a public key somebody could take for the secret of HS256."""
    public = key.public_key
    return [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        orjson.dumps(key.as_dict(private=False)),
    ]
