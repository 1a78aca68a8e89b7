"""An ID token counts only if the provider signed it for this client, just now, and for this browser."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

from services.api.domain.errors import IdentityRefused
from services.api.oidc.refusals import Reason
from services.api.oidc.tokens import (
    ALGORITHMS,
    LARGEST,
    Claims,
    Expected,
    checked,
    header_of,
    key_for,
    published,
)
from tests.unit.api.id_tokens import CLIENT, by_hand, ec, ed, packed, public_secrets, rsa, said, signed

ISSUER = "https://login.example.org"
NOW = 1_790_000_000
EXPECTED = Expected(ISSUER, CLIENT, "the nonce", NOW - 30)
KEYS = published(
    {"keys": [each.as_dict(private=False) for each in (rsa(), ec(), ec("P-384"), ec("P-521"), ed())]}
)


def read(token: str, expected: Expected = EXPECTED) -> Claims:
    header = header_of(token)
    key = key_for(header, KEYS)
    if key is None:
        raise IdentityRefused(Reason.KEY)
    return checked(token, key, expected, NOW)


def refused(token: str, expected: Expected = EXPECTED) -> str:
    with pytest.raises(IdentityRefused) as found:
        read(token, expected)
    return found.value.reason


def claims(**changes: Any) -> dict[str, Any]:
    return said(ISSUER, NOW, **changes)


SIGNED_BY: Mapping[str, Callable[[], Key]] = {
    **dict.fromkeys([each for each in ALGORITHMS if each[0] in "RP"], rsa),
    "ES256": ec,
    "ES384": lambda: ec("P-384"),
    "ES512": lambda: ec("P-521"),
    "EdDSA": ed,
    "Ed25519": ed,
}


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_a_right_token_is_read_with_every_algorithm(alg: str) -> None:
    assert read(signed(claims(), SIGNED_BY[alg](), alg))["sub"] == "subject-1"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "https://other.example.org"}, Reason.ISSUER),
        ({"iss": ISSUER + "/"}, Reason.ISSUER),
        ({"iss": None}, Reason.ISSUER),
        ({"iss": [ISSUER]}, Reason.ISSUER),
        ({"aud": "another client"}, Reason.AUDIENCE),
        ({"aud": None}, Reason.AUDIENCE),
        ({"aud": []}, Reason.AUDIENCE),
        ({"aud": {CLIENT: 1}}, Reason.AUDIENCE),
        ({"aud": [CLIENT, "another client"]}, Reason.AUDIENCE),
        ({"aud": [CLIENT, "another client"], "azp": "another client"}, Reason.AUDIENCE),
        ({"azp": "another client"}, Reason.AUDIENCE),
        ({"azp": ""}, Reason.AUDIENCE),
        ({"exp": NOW - 60}, Reason.EXPIRED),
        ({"exp": None}, Reason.TOKEN),
        ({"exp": "soon"}, Reason.TOKEN),
        ({"exp": True}, Reason.TOKEN),
        ({"exp": 1e308}, Reason.TOKEN),
        ({"iat": NOW + 61}, Reason.FUTURE),
        ({"iat": None}, Reason.TOKEN),
        ({"nbf": NOW + 61}, Reason.FUTURE),
        ({"auth_time": NOW + 61}, Reason.FUTURE),
        ({"auth_time": -1}, Reason.TOKEN),
        ({"iat": NOW - 91}, Reason.OLD),
        ({"nonce": "another nonce"}, Reason.NONCE),
        ({"nonce": "the nonc\N{LATIN SMALL LETTER E WITH ACUTE}"}, Reason.NONCE),
        ({"nonce": None}, Reason.NONCE),
        ({"nonce": ["the nonce"]}, Reason.NONCE),
        ({"sub": None}, Reason.TOKEN),
        ({"sub": ""}, Reason.TOKEN),
        ({"sub": 7}, Reason.TOKEN),
        ({"sub": "x" * 256}, Reason.TOKEN),
    ],
)
def test_what_a_token_must_say(changes: dict[str, Any], reason: Reason) -> None:
    assert refused(signed(claims(**changes))) is reason


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": [CLIENT]},
        {"aud": [CLIENT, "another client"], "azp": CLIENT},
        {"azp": CLIENT},
        {"exp": NOW - 59},
        {"iat": NOW + 60, "nbf": NOW + 60, "auth_time": NOW + 60},
        {"iat": NOW - 90},
        {"auth_time": None},
    ],
)
def test_what_a_token_may_say(changes: dict[str, Any]) -> None:
    assert read(signed(claims(**changes)))


def test_a_fresh_sign_in_has_to_be_one() -> None:
    fresh = Expected(ISSUER, CLIENT, "the nonce", NOW - 30, authenticated_after=NOW - 30)
    assert refused(signed(claims(auth_time=NOW - 91)), fresh) is Reason.NOT_FRESH
    assert refused(signed(claims(auth_time=None)), fresh) is Reason.NOT_FRESH
    assert read(signed(claims(auth_time=NOW - 90)), fresh)


def test_nobody_but_the_provider_can_sign() -> None:
    forged = signed(claims(), rsa("strangers"), kid="right")
    assert refused(forged) is Reason.SIGNATURE
    assert refused(signed(claims(), rsa("strangers"))) is Reason.KEY
    head, _, signature = signed(claims()).split(".")
    assert refused(f"{head}.{packed(claims(sub='admin'))}.{signature}") is Reason.SIGNATURE
    assert refused(f"{head}.{packed(claims())}.") is Reason.SIGNATURE


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "", None, "HS256", "HS512", "dir", "RS1", 7])
def test_an_algorithm_without_the_providers_own_key_is_none(alg: Any) -> None:
    head = {"alg": alg, "kid": "right"} if alg is not None else {"kid": "right"}
    assert refused(by_hand(claims(), head)) is Reason.ALGORITHM
    for secret in public_secrets(rsa()):
        assert refused(by_hand(claims(), head, secret)) is Reason.ALGORITHM


def test_the_public_key_is_no_secret_under_an_allowed_algorithm_either() -> None:
    for secret in public_secrets(rsa()):
        assert refused(by_hand(claims(), {"alg": "RS256", "kid": "right"}, secret)) is Reason.SIGNATURE


def test_a_key_is_for_algorithms_of_its_kind() -> None:
    assert refused(signed(claims(), rsa(), kid="P-256")) in (Reason.TOKEN, Reason.SIGNATURE)
    assert refused(signed(claims(), ec(), "ES256", kid="P-384")) in (Reason.TOKEN, Reason.SIGNATURE)
    only = published({"keys": [{**rsa().as_dict(private=False), "alg": "PS256"}]})
    assert key_for({"alg": "RS256", "kid": "right"}, only) is None
    assert key_for({"alg": "PS256", "kid": "right"}, only) is not None


def test_a_token_that_names_no_key_has_the_only_one() -> None:
    one = published({"keys": [rsa().as_dict(private=False)]})
    assert key_for({"alg": "RS256"}, one) is not None
    assert key_for({"alg": "RS256"}, KEYS) is None
    assert key_for({"alg": "RS256"}, ()) is None


@pytest.mark.parametrize(
    "head",
    [
        {"typ": "at+jwt"},
        {"typ": "logout+jwt"},
        {"crit": ["exp"], "exp": 1},
        {"b64": False, "crit": ["b64"]},
        {"kid": 7},
    ],
)
def test_a_token_for_something_else_is_none(head: dict[str, Any]) -> None:
    right = signed(claims()).split(".")
    forged = f"{packed({'alg': 'RS256', 'kid': 'right'} | head)}.{right[1]}.{right[2]}"
    assert refused(forged) in (Reason.TOKEN, Reason.KEY, Reason.SIGNATURE)


def test_the_key_is_never_taken_from_the_token() -> None:
    stranger = rsa("strangers")
    for head in (
        {"jwk": stranger.as_dict(private=False)},
        {"jku": "https://evil.example/keys"},
        {"x5c": ["AA=="]},
    ):
        assert refused(signed(claims(), stranger, kid="right", **head)) in (Reason.TOKEN, Reason.SIGNATURE)


NESTED = urlsafe_b64encode(b'{"a":' + b"[" * 12_000 + b"]" * 12_000 + b"}").decode() + ".e30.x"
assert len(NESTED) < LARGEST


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "a.b",
        "\N{SNOWMAN}.b.c",
        "e30.e30.e30",
        packed([]) + ".e30.e30",
        packed({"alg": "RS256"}) + ".e30",
        packed({"alg": "RS256"}) + ".e30.e30.e30",
        "x" * (LARGEST + 1),
        NESTED,
        packed({"alg": "RS256", "kid": "right"}) + ".!.!",
        packed({"alg": ["RS256"]}) + ".e30.e30",
    ],
)
def test_rubbish_is_no_token(text: str) -> None:
    assert refused(text) in (Reason.TOKEN, Reason.ALGORITHM, Reason.SIGNATURE)


def test_a_huge_token_is_not_read() -> None:
    assert refused(signed(claims(name="x" * LARGEST))) is Reason.TOKEN


def test_a_payload_that_is_no_object_is_none() -> None:
    from joserfc import jws

    token = jws.serialize_compact({"alg": "RS256", "kid": "right"}, b"[1]", rsa(), algorithms=["RS256"])
    assert refused(token) is Reason.TOKEN


def test_of_the_published_keys_only_public_ones_for_signatures_count() -> None:
    strange = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "right"},
        OctKey.generate_key(256).as_dict(),
        {**rsa().as_dict(private=False), "use": "enc"},
        rsa().as_dict(private=True),
        rsa("weak", 1024).as_dict(private=False),
        {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"},
        {"kty": "RSA"},
        {"kty": "RSA", "n": 7, "e": "AQAB"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": ["RSA"]},
        {**rsa().as_dict(private=False), "kid": 7},
        {**rsa().as_dict(private=False), "alg": 7},
        {},
        7,
        None,
    ]
    assert published({"keys": strange}) == ()
    (good,) = published({"keys": [*strange, ed().as_dict(private=False)]})
    assert isinstance(good.key, RSAKey | ECKey | OKPKey)
    assert good.kid == "ed"


@pytest.mark.parametrize("document", [None, [], {}, {"keys": None}, {"keys": {}}, {"keys": [{}] * 101}])
def test_what_is_no_set_of_keys_is_refused(document: object) -> None:
    with pytest.raises(ValueError, match="100 keys"):
        published(document)
