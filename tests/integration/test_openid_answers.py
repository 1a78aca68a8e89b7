"""What is asked of an OpenID provider, and taken from it: bounded, guarded, and no more often than needed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse

from libs.devstack.endpoints import free_ports
from services.api.domain.errors import IdentityRefused
from services.api.oidc.provider import LARGEST, Provider
from services.api.oidc.refusals import ProviderUnavailable
from services.api.oidc.settings import OidcSettings
from tests.integration.issuer import Issuer
from tests.patience import WAIT_S
from tests.unit.api.id_tokens import rsa

DISCOVERY = "/.well-known/openid-configuration"


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    found = Issuer()
    async with found.serving():
        yield found


def settings(url: str, **changes: Any) -> OidcSettings:
    common = {"oidc_issuer": url, "oidc_client_id": "console", "oidc_timeout_s": 1} | changes
    return OidcSettings.model_validate({"oidc_networks": "127.0.0.0/8", **common})


@pytest.fixture
async def clock() -> Clock:
    return Clock()


@pytest.fixture
async def provider(issuer: Issuer, clock: Clock) -> AsyncIterator[Provider]:
    found = Provider(settings(issuer.url), clock)
    yield found
    await found.close()


def head(name: str = "right") -> dict[str, str]:
    return {"alg": "RS256", "kid": name}


def count(issuer: Issuer, path: str) -> int:
    return len(issuer.forms(path))


async def test_what_a_provider_says_of_itself_is_asked_once_an_hour(
    issuer: Issuer, provider: Provider, clock: Clock
) -> None:
    await asyncio.gather(*(provider.key(head()) for _ in range(20)))
    assert (count(issuer, DISCOVERY), count(issuer, "/keys")) == (1, 1)
    clock.now_s = 3599
    await provider.key(head())
    assert (count(issuer, DISCOVERY), count(issuer, "/keys")) == (1, 1)
    clock.now_s = 3601
    await provider.key(head())
    assert (count(issuer, DISCOVERY), count(issuer, "/keys")) == (2, 2)


async def test_a_new_key_is_found_and_unknown_ones_do_not_make_us_ask_all_the_time(
    issuer: Issuer, provider: Provider, clock: Clock
) -> None:
    await provider.key(head())
    issuer.keys = [rsa("next")]
    for _ in range(10):
        with pytest.raises(IdentityRefused, match="key"):
            await provider.key(head("next"))
    assert count(issuer, "/keys") == 1
    clock.now_s = 31
    await provider.key(head("next"))
    with pytest.raises(IdentityRefused, match="key"):
        await provider.key(head())
    assert count(issuer, "/keys") == 2
    for number in range(10):
        clock.now_s += 10
        with pytest.raises(IdentityRefused, match="key"):
            await provider.key(head(f"unknown-{number}"))
    assert count(issuer, "/keys") <= 6


async def drip() -> AsyncIterator[bytes]:
    while True:
        yield b" "
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "answer",
    [
        Response(b'{"keys": []' + b" " * LARGEST + b"}"),
        JSONResponse({"keys": [rsa().as_dict(private=False)] * 101}),
        JSONResponse({"keys": "none"}),
        JSONResponse([]),
        Response("<html>"),
        Response(b"\xff"),
        Response(b"[" * 100_000),
        Response(status_code=500),
        RedirectResponse("/elsewhere"),
        Response(b"{}", headers={"content-encoding": "gzip"}),
        StreamingResponse(drip()),
    ],
    ids=[
        "huge",
        "many keys",
        "no list",
        "array",
        "html",
        "no text",
        "deep",
        "error",
        "elsewhere",
        "packed",
        "slow",
    ],
)
async def test_keys_that_are_none_are_refused_soon(
    issuer: Issuer, provider: Provider, answer: Response
) -> None:
    issuer.answers["/keys"] = answer
    begun = time.monotonic()
    with pytest.raises(ProviderUnavailable):
        await provider.key(head())
    assert time.monotonic() - begun < WAIT_S
    assert count(issuer, "/elsewhere") == 0
    # And when they are right again, they count.
    issuer.answers.clear()
    await provider.key(head())


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://login.example.org"},
        {"issuer": None},
        {"token_endpoint": 7},
        {"jwks_uri": None},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "http://login.example.org/authorize"},
        {"authorization_endpoint": "https://user:secret@login.example.org/"},
        {"authorization_endpoint": "https://10.0.0.1/"},
    ],
)
async def test_a_provider_has_to_be_the_one_of_the_settings(
    issuer: Issuer, provider: Provider, metadata: dict[str, Any]
) -> None:
    issuer.metadata = metadata
    with pytest.raises(ProviderUnavailable):
        await provider.metadata()


@pytest.mark.parametrize(
    "inside",
    [
        "http://169.254.169.254/latest/meta-data",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/",
        "https://[::1]:1/",
        "https://[fd00::1]/",
        "http://login.example.org/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "http://localhost.example.org/",
    ],
)
async def test_a_provider_cannot_make_us_ask_inside(issuer: Issuer, provider: Provider, inside: str) -> None:
    issuer.metadata = {"jwks_uri": inside, "token_endpoint": inside, "userinfo_endpoint": inside}
    with pytest.raises(ProviderUnavailable):
        await provider.key(head())
    with pytest.raises(ProviderUnavailable):
        await provider.redeem("code", "verifier", "https://console.example.org/sign-in/callback")
    with pytest.raises(ProviderUnavailable):
        await provider.user_info("token")


async def test_this_machine_is_inside_unless_the_settings_say_otherwise(issuer: Issuer) -> None:
    strict = Provider(settings(issuer.url, oidc_networks=""))
    with pytest.raises(ProviderUnavailable):
        await strict.metadata()
    await strict.close()
    assert not issuer.asked


async def test_a_provider_that_is_away_is_told_at_once_and_found_again(issuer: Issuer) -> None:
    (port,) = free_ports(1)
    away = Issuer()
    provider = Provider(settings(f"http://127.0.0.1:{port}"))
    with pytest.raises(ProviderUnavailable):
        await provider.metadata()
    async with away.serving(port):
        assert (await provider.metadata()).issuer == away.url
    await provider.close()


async def test_a_client_proves_itself_as_the_provider_wants(issuer: Issuer) -> None:
    issuer.metadata = {"token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"]}
    secret = Provider(settings(issuer.url, oidc_client_secret="a secret"))
    public = Provider(settings(issuer.url))
    issuer.nonce = "n"
    for each in (secret, public):
        await each.redeem("code", "verifier", "https://console.example.org/sign-in/callback")
        await each.close()
    by_post, by_name = issuer.forms("/token")
    assert (by_post["client_id"], by_post["client_secret"], by_post["_authorization"]) == (
        "console",
        "a secret",
        "",
    )
    assert (by_name["client_id"], by_name.get("client_secret")) == ("console", None)
