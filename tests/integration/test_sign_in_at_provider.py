"""Signing in at an OpenID provider, at the console and for the command line; the provider lies where it can."""

from __future__ import annotations

import asyncio
import re
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx
import msgspec
import pytest
import pytest_asyncio
from starlette.responses import JSONResponse, Response

from libs.devstack.endpoints import free_ports
from libs.runtime.clock import SECOND, now_us
from libs.runtime.service import Health
from libs.security.sealing import Sealer
from services.api.app import serving as serving_api
from services.api.http import metrics
from services.api.oidc.service import LASTING_S, Begun
from services.console.app import serving
from services.console.pages.provider import COOKIE as KEPT
from services.console.settings import ConsoleSettings
from services.console.web.visitors import COOKIE
from tests.integration.api_platform import Json, Platform, api, client, create, ok, problem
from tests.integration.issuer import Issuer
from tests.integration.visitor import Visitor
from tests.metrics import value_of
from tests.patience import WAIT_S, until
from tests.unit.api.id_tokens import by_hand, public_secrets, rsa, said, signed

__all__ = ["api"]

pytestmark = pytest.mark.asyncio(loop_scope="module")

PASSWORD: Final = "correct horse battery"
VIEWER: Final = [{"role": "viewer"}]
ADMIN: Final = [{"role": "platform-admin"}]
SEAL: Final = "only for these tests"
CLI: Final = "command line"


class Rig(SimpleNamespace):
    """A console, and an API for the command line, that believe `issuer`."""

    api: Platform
    issuer: Issuer
    console: str
    settings: ConsoleSettings
    web: httpx.AsyncClient
    http: httpx.AsyncClient

    def visitor(self, console: str = "") -> Visitor:
        return Visitor(self.web, console or self.console)

    async def account(self, name: str, grants: Any = VIEWER, **fields: Any) -> None:
        body = {"account_id": name, "grants": grants} | fields
        await create(self.api.http, "/accounts", body)

        async def known() -> bool:
            # The console's process follows the log, too.
            return (await self.http.get(f"/accounts/{name}")).status_code == 200

        await until(known)

    async def sign_ins(self, name: str) -> int:
        return int((await ok(await self.api.http.get(f"/accounts/{name}")))["sign_ins"])

    def changed(self, **changes: Any) -> ConsoleSettings:
        port = free_ports(1)[0]
        return ConsoleSettings.model_validate({**self.settings.model_dump(), "console_port": port, **changes})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(api: Platform) -> AsyncIterator[Rig]:
    issuer = Issuer()
    async with issuer.serving():
        common = {
            "oidc_issuer": issuer.url,
            "oidc_name": "the company",
            "oidc_client_id": "console",
            "oidc_client_secret": "a secret: 100% / safe",
            "oidc_cli_client_id": CLI,
            "oidc_networks": "127.0.0.0/8",
            "oidc_timeout_s": 1,
        }
        port = free_ports(1)[0]
        own = api.settings.model_dump(include=set(ConsoleSettings.model_fields)) | common
        settings = ConsoleSettings.model_validate({**own, "console_port": port})
        for_cli = type(api.settings).model_validate(
            {**api.settings.model_dump(), **common, "api_port": 0, "wrong_keys": 20}
        )
        async with (
            serving(settings, Health()),
            serving_api(for_cli, Health()) as found,
            client(found.port) as http,
            httpx.AsyncClient(timeout=WAIT_S) as web,
        ):
            yield Rig(
                api=api,
                issuer=issuer,
                console=f"http://localhost:{port}",
                settings=settings,
                web=web,
                http=http,
            )


@pytest.fixture
def rig(running: Rig) -> Rig:
    running.issuer.reset()
    return running


async def back_at(visitor: Visitor, start: str = "/sign-in/provider") -> str:
    """The way to the provider and back: the address that it sends the browser to."""
    return await visitor.sent_on(await visitor.sent_on(start))


async def signed_in(visitor: Visitor, start: str = "/sign-in/provider") -> str:
    """Where one is after signing in."""
    where = await visitor.sent_on(await back_at(visitor, start))
    assert COOKIE in visitor.cookies
    return where


@asynccontextmanager
async def refusal(rig: Rig, reason: str) -> AsyncIterator[Visitor]:
    """Whoever signs in within is refused for this reason, and gets nothing."""
    counted = metrics.PROVIDER_REFUSALS.labels(reason)
    before, visitor = value_of(counted), rig.visitor()
    yield visitor
    assert value_of(counted) == before + 1, reason
    assert COOKIE not in visitor.cookies
    assert KEPT not in visitor.cookies


async def test_who_has_an_account_signs_in_and_is_known_by_his_subject_from_then_on(rig: Rig) -> None:
    await rig.account("anna@example.org")
    visitor = rig.visitor()
    page = await visitor.ask("/sign-in?back=/stations")
    (link,) = re.findall(r'href="(/sign-in/provider[^"]*)"', page.text)
    assert "Sign in with the company" in page.text
    assert await signed_in(visitor, link) == "/stations"
    assert (await visitor.ask("/stations")).status_code == 200
    account = await ok(await rig.api.http.get("/accounts/anna@example.org"))
    assert (account["issuer"], account["subject"]) == (rig.issuer.url, "subject-1")
    # The name does not count any more, nor whether it is verified.
    rig.issuer.says = {"email": "another@example.org", "email_verified": False}
    assert await signed_in(rig.visitor()) == "/"

    (sent, *_), (redeemed, *_) = rig.issuer.forms("/authorize"), rig.issuer.forms("/token")
    assert sent["code_challenge_method"] == "S256"
    digest = sha256(redeemed["code_verifier"].encode()).digest()
    assert urlsafe_b64encode(digest).rstrip(b"=").decode() == sent["code_challenge"]
    assert len({sent["state"], sent["nonce"], redeemed["code_verifier"]}) == 3
    assert redeemed["redirect_uri"] == sent["redirect_uri"] == f"{rig.console}/sign-in/callback"
    scheme, _, _pair = redeemed["_authorization"].partition(" ")
    assert (scheme, "client_secret" in redeemed) == ("Basic", False)
    kept = next(line for line in visitor.set if line.startswith(KEPT))
    assert all(
        part in kept for part in ("HttpOnly", "Secure", "Path=/", "SameSite=lax", f"Max-Age={LASTING_S}")
    )
    for secret in (redeemed["code_verifier"], sent["nonce"], sent["state"], visitor.cookies[COOKIE]):
        assert secret not in kept


FORGED: Final[dict[str, tuple[Callable[[Json], str], str]]] = {
    "another key of that name": (lambda claims: signed(claims, rsa("strangers"), kid="right"), "signature"),
    "none": (lambda claims: by_hand(claims, {"alg": "none"}), "algorithm"),
    "HS256 with the public key": (
        lambda claims: by_hand(claims, {"alg": "HS256", "kid": "right"}, public_secrets(rsa())[0]),
        "algorithm",
    ),
    "a key that is not published": (lambda claims: signed(claims, rsa("strangers")), "key"),
    "issuer": (lambda claims: signed(claims | {"iss": "https://evil.example"}), "issuer"),
    "audience": (lambda claims: signed(claims | {"aud": "another"}), "audience"),
    "audience of the command line": (lambda claims: signed(claims | {"aud": CLI}), "audience"),
    "authorised party": (lambda claims: signed(claims | {"azp": "another"}), "audience"),
    "expired": (lambda claims: signed(claims | {"exp": claims["iat"] - 120}), "expired"),
    "future": (lambda claims: signed(claims | {"iat": claims["iat"] + 120}), "future"),
    "old": (lambda claims: signed(claims | {"iat": claims["iat"] - 120}), "old"),
    "nonce": (lambda claims: signed(claims | {"nonce": "another"}), "nonce"),
    "no nonce": (lambda claims: signed({k: v for k, v in claims.items() if k != "nonce"}), "nonce"),
    "rubbish": (lambda _: "a.b.c", "token"),
}


@pytest.mark.parametrize("what", FORGED)
async def test_a_forged_token_signs_nobody_in(rig: Rig, what: str) -> None:
    rig.issuer.sign, reason = FORGED[what]
    async with refusal(rig, reason) as visitor:
        answer = await visitor.ask(await back_at(visitor))
        assert answer.status_code == 401
        assert "did not succeed" in answer.text


async def test_an_answer_counts_only_in_the_browser_that_asked(rig: Rig) -> None:
    """Else somebody could sign others in as himself, and see what they do."""
    attacker = rig.visitor()
    link = await back_at(attacker)
    async with refusal(rig, "state") as victim:
        assert (await victim.ask(link)).status_code == 401
    async with refusal(rig, "state") as victim:
        await back_at(victim)
        assert (await victim.ask(link)).status_code == 401
    assert not rig.issuer.forms("/token"), "the code was sent on"
    async with refusal(rig, "state") as visitor:
        await visitor.ask(re.sub("state=[^&]*", "state=", await back_at(visitor)))
    async with refusal(rig, "state") as visitor:
        link = await back_at(visitor)
        sealed = visitor.cookies[KEPT]
        visitor.cookies[KEPT] = sealed[:-8] + ("A" * 8 if sealed[-8:] != "A" * 8 else "B" * 8)
        await visitor.ask(link)


def sealed(begun: Begun) -> str:
    return Sealer(SEAL).seal(msgspec.json.encode(begun).decode(), "sign-in at the provider")


async def test_a_sign_in_has_to_be_finished_soon(rig: Rig) -> None:
    begun = Begun("the-state", "n", "v", "t", "/", "", now_us() - (LASTING_S + 1) * SECOND)
    async with refusal(rig, "state") as visitor:
        visitor.cookies[KEPT] = sealed(begun)
        await visitor.ask(f"/sign-in/callback?state=the-state&code=c&iss={rig.issuer.url}")
    async with refusal(rig, "state") as visitor:
        visitor.cookies[KEPT] = Sealer(SEAL).seal('{"state":"the-state"}', "something else")
        await visitor.ask("/sign-in/callback?state=the-state&code=c")


async def test_an_answer_counts_once_in_all_processes(rig: Rig) -> None:
    settings = rig.changed(console_url=rig.console)
    async with serving(settings, Health()):
        visitor = rig.visitor()
        link = await back_at(visitor)
        kept = visitor.cookies[KEPT]
        await visitor.sent_on(link)
        async with refusal(rig, "replayed") as again:
            again.cookies[KEPT] = kept
            assert (await again.ask(link)).status_code == 401

        # This issuer takes a code twice.
        elsewhere = rig.visitor(f"http://localhost:{settings.console_port}")
        elsewhere.cookies[COOKIE] = visitor.cookies[COOKIE]

        async def known() -> bool:
            return (await elsewhere.ask("/stations")).status_code == 200

        await until(known)
        before = value_of(metrics.PROVIDER_REFUSALS.labels("replayed"))
        thief = rig.visitor(elsewhere.console)
        thief.cookies[KEPT] = kept
        assert (await thief.ask(link.replace(rig.console, thief.console))).status_code == 401
        assert value_of(metrics.PROVIDER_REFUSALS.labels("replayed")) == before + 1
        assert COOKIE not in thief.cookies


async def test_a_process_that_did_not_send_the_browser_off_takes_it_back(rig: Rig) -> None:
    settings = rig.changed(console_url=rig.console)
    async with serving(settings, Health()):
        visitor, elsewhere = rig.visitor(), rig.visitor(f"http://localhost:{settings.console_port}")
        link = await back_at(visitor)
        elsewhere.cookies = visitor.cookies
        assert await elsewhere.sent_on(link.replace(rig.console, elsewhere.console)) == "/"
        assert (await elsewhere.ask("/stations")).status_code == 200


@pytest.mark.parametrize("iss", ["https://another.example", ""])
async def test_an_answer_of_another_provider_is_refused(rig: Rig, iss: str) -> None:
    rig.issuer.back = {"iss": iss}
    async with refusal(rig, "issuer") as visitor:
        await visitor.ask(await back_at(visitor))
    assert not rig.issuer.forms("/token"), "the code was sent on"


async def test_who_declines_is_not_signed_in(rig: Rig) -> None:
    rig.issuer.back = {"code": "", "error": "access_denied", "error_description": "<script>"}
    async with refusal(rig, "declined") as visitor:
        answer = await visitor.ask(await back_at(visitor))
        assert "<script>" not in answer.text.replace("<script src", "")


async def test_a_code_that_the_provider_does_not_take_signs_nobody_in(rig: Rig) -> None:
    rig.issuer.answers["/token"] = JSONResponse({"error": "invalid_grant"}, 400)
    async with refusal(rig, "code") as visitor:
        await visitor.ask(await back_at(visitor))


@pytest.mark.parametrize("back", ["//evil.example", "/\\evil.example", "https://evil.example", "/x" * 2000])
async def test_the_way_back_leads_to_this_host_only(rig: Rig, back: str) -> None:
    visitor = rig.visitor()
    start = str(httpx.URL("/sign-in/provider", params={"back": back}))
    assert await signed_in(visitor, start) == "/"
    # Nor can anybody change it on the way.
    visitor = rig.visitor()
    link = await back_at(visitor, "/sign-in/provider?back=/stations")
    assert await visitor.sent_on(f"{link}&back=https://evil.example") == "/stations"


async def test_a_sign_in_is_new_each_time(rig: Rig) -> None:
    visitor = rig.visitor()
    visitor.cookies[COOKIE] = "planted"
    await signed_in(visitor)
    first = visitor.cookies[COOKIE]
    assert first != "planted"
    await signed_in(visitor)
    assert visitor.cookies[COOKIE] != first
    old = rig.visitor()
    old.cookies[COOKIE] = first
    assert "/sign-in" in await old.sent_on("/stations")


async def test_what_counts_of_a_person(rig: Rig) -> None:
    await rig.account("ben@example.org")
    await rig.account("local@example.org", password=PASSWORD)
    await rig.account("off@example.org", disabled=True)
    stranger = {"sub": "stranger"}
    for says in (
        {"email": "nobody@example.org"},
        {"email": "ben@example.org", "email_verified": False},
        {"email": "ben@example.org", "email_verified": "true"},
        {"email": "ben@example.org", "email_verified": None},
        {"email": "off@example.org"},
        # Linked with the first one who came with that name.
        {"email": "anna@example.org"},
        # One with a password is linked by who administers access.
        {"email": "local@example.org"},
        {"email": None},
        {"email": ["ben@example.org"]},
        {"email": "console"},
        {"email": "x" * 500},
    ):
        rig.issuer.says = stranger | says
        async with refusal(rig, "account") as visitor:
            answer = await visitor.ask(await back_at(visitor))
            assert "There is no account for you" in answer.text
    rig.issuer.says = stranger
    link = {"issuer": rig.issuer.url, "subject": "stranger"}
    await ok(await rig.http.patch("/accounts/local@example.org", json=link))
    problem(await rig.http.patch("/accounts/ben@example.org", json=link), 409)

    async def let_in() -> bool:
        visitor = rig.visitor()
        return (await visitor.ask(await back_at(visitor))).is_redirect

    await until(let_in)


async def test_what_the_token_does_not_say_the_provider_is_asked(rig: Rig) -> None:
    await rig.account("carl@example.org")
    rig.issuer.says = {"sub": "carl", "email": None, "email_verified": None}
    rig.issuer.user_info = {"sub": "carl", "email": "Carl@Example.org", "email_verified": True}
    assert await signed_in(rig.visitor()) == "/"
    assert rig.issuer.forms("/me")[0]["_authorization"] == "Bearer for-user-info"
    for other in ({"sub": "somebody else"}, {"sub": None}):
        rig.issuer.user_info |= other
        async with refusal(rig, "user_info") as visitor:
            await visitor.ask(await back_at(visitor))


async def test_who_is_disabled_or_signed_out_everywhere_is_out_at_once(rig: Rig) -> None:
    await rig.account("dora@example.org")
    rig.issuer.says = {"sub": "dora", "email": "dora@example.org"}
    visitor = rig.visitor()
    await signed_in(visitor)
    key = (await exchanged(rig, sub="dora", email="dora@example.org"))["key"]
    assert (await rig.http.get("/me", headers=bearer(key))).status_code == 200

    async def out() -> bool:
        gone = (await rig.http.get("/me", headers=bearer(key))).status_code == 401
        return gone and (await visitor.ask("/stations")).is_redirect

    await ok(await rig.api.http.post("/accounts/dora@example.org/sign-out"), 204)
    await until(out)
    await signed_in(visitor)
    key = (await exchanged(rig, sub="dora", email="dora@example.org"))["key"]
    await ok(await rig.api.http.patch("/accounts/dora@example.org", json={"disabled": True}))
    await until(out)
    async with refusal(rig, "account") as refused:
        await refused.ask(await back_at(refused))


async def test_a_fresh_sign_in_asks_for_the_password_and_checks_that_it_was_given(rig: Rig) -> None:
    await rig.account("eva@example.org", ADMIN)
    await rig.account("fred@example.org")
    rig.issuer.says = {"sub": "eva", "email": "eva@example.org", "auth_time": int(time.time()) - 3600}
    visitor = rig.visitor()
    await signed_in(visitor)
    first = visitor.cookies[COOKIE]
    page = (await visitor.ask("/confirm?back=/stations")).text
    assert 'name="password"' not in page, "the account has none"
    (link,) = re.findall(r'href="(/sign-in/provider[^"]*)"', page)
    link = link.replace("&amp;", "&")
    for says, reason in (
        ({}, "not_fresh"),
        ({"auth_time": None}, "not_fresh"),
        ({"sub": "fred", "email": "fred@example.org", "auth_time": int(time.time())}, "other_person"),
    ):
        rig.issuer.says = {"sub": "eva", "auth_time": int(time.time()) - 3600} | says
        before = value_of(metrics.PROVIDER_REFUSALS.labels(reason))
        assert (await visitor.ask(await back_at(visitor, link))).status_code == 401
        assert value_of(metrics.PROVIDER_REFUSALS.labels(reason)) == before + 1
        assert visitor.cookies[COOKIE] == first
    # Begun with one sign-in, it is not finished with another one.
    rig.issuer.says = {"sub": "eva", "auth_time": int(time.time())}
    answer = await back_at(visitor, link)
    async with refusal(rig, "state") as thief:
        thief.cookies = {KEPT: visitor.cookies[KEPT]}
        await thief.ask(answer)
    assert await signed_in(visitor, link) == "/stations"
    assert visitor.cookies[COOKIE] != first
    asked = rig.issuer.forms("/authorize")[-1]
    assert (asked["prompt"], asked["max_age"]) == ("login", "0")
    old = rig.visitor()
    old.cookies[COOKIE] = first
    assert (await old.ask("/stations")).is_redirect


async def test_groups_give_roles_and_take_them(rig: Rig) -> None:
    settings = rig.changed(oidc_grants="ops=operator,ops=engineer,leads=tenant-admin@org-1")
    visitor = rig.visitor(f"http://localhost:{settings.console_port}")
    async with serving(settings, Health()):

        async def grants() -> Any:
            found = await ok(await rig.api.http.get("/accounts/finn@example.org"))
            return [each["role"] for each in found["grants"]], found["changed_by"]

        rig.issuer.says = {"sub": "finn", "email": "finn@example.org", "groups": ["staff", "ops"]}
        await signed_in(visitor)
        assert await grants() == (["operator", "engineer"], "oidc")
        before = value_of(metrics.PROVIDER_REFUSALS.labels("groups"))
        wrong: tuple[Json, ...] = (
            {"groups": []},
            {"groups": None},
            {"groups": {"ops": 1}},
            {"groups": [["ops"]]},
        )
        for says in wrong:
            rig.issuer.says |= says
            assert (await rig.visitor(visitor.console).ask(await back_at(rig.visitor()))).status_code == 401
            refused = rig.visitor(visitor.console)
            answer = await refused.ask(await back_at(refused))
            assert "None of your groups" in answer.text
        assert value_of(metrics.PROVIDER_REFUSALS.labels("groups")) == before + 4
        # What he is signed in with already may nothing now.
        assert await grants() == ([], "oidc")
        rig.issuer.says = {"sub": "nobody", "email": "new@example.org"}
        await rig.visitor(visitor.console).ask("/sign-in")
        refused = rig.visitor(visitor.console)
        await refused.ask(await back_at(refused))
        problem(await rig.api.http.get("/accounts/new@example.org"), 404)


async def test_a_provider_that_is_slow_or_wrong_is_a_page_and_disturbs_nobody(rig: Rig) -> None:
    for answer in (
        Response("no", 500),
        Response("<html>", 200),
        JSONResponse({"id_token": 7}),
        JSONResponse({}, 200),
        JSONResponse({"error": "invalid_client"}, 401),
        Response("x" * 300_000),
        Response(status_code=302, headers={"location": f"{rig.issuer.url}/keys"}),
    ):
        rig.issuer.answers["/token"] = answer
        visitor = rig.visitor()
        found = await visitor.ask(await back_at(visitor))
        assert found.status_code == 503
        assert "does not answer" in found.text
        assert COOKIE not in visitor.cookies
    rig.issuer.reset()
    await rig.account("klaus", password=PASSWORD)
    rig.issuer.pauses["/token"] = 3
    visitors = [rig.visitor() for _ in range(5)]
    links = [await back_at(each) for each in visitors]
    begun = time.monotonic()
    waiting = asyncio.gather(*(each.ask(link) for each, link in zip(visitors, links, strict=True)))
    others = rig.visitor()
    body = {"name": "klaus", "password": PASSWORD}
    page = await others.ask("/sign-in", "POST", data=body)
    assert page.is_redirect, page.text
    assert not waiting.done()
    assert [each.status_code for each in await waiting] == [503] * 5
    assert time.monotonic() - begun < WAIT_S


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def cli_token(rig: Rig, **changes: Any) -> str:
    return rig.issuer.token(**{"aud": CLI, "jti": str(time.monotonic_ns()), **changes})


async def exchanged(rig: Rig, **changes: Any) -> Json:
    answer = await rig.http.post(
        "/sign-in", json={"id_token": cli_token(rig, **changes)}, headers=bearer("none")
    )
    found: Json = await ok(answer, 201)
    return found


async def test_the_command_line_gets_a_key_that_ends(rig: Rig) -> None:
    await rig.account("gina@example.org")
    ways = await ok(await rig.http.get("/sign-in", headers=bearer("none")))
    assert ways["provider"]["issuer"] == rig.issuer.url
    assert ways["provider"]["client_id"] == CLI
    made = await exchanged(rig, sub="gina", email="gina@example.org")
    key = made["key"]
    assert re.fullmatch(r"vbs_[0-9a-f]{64}", key)
    assert made["account_id"] == "gina@example.org"
    assert (await ok(await rig.http.get("/me", headers=bearer(key))))["name"] == "gina@example.org"

    # What else knows the account knows the key.
    async def elsewhere() -> bool:
        return (await rig.api.http.get("/me", headers=bearer(key))).status_code == 200

    await until(elsewhere)
    assert await rig.sign_ins("gina@example.org") == 1
    async with rig.http.stream("GET", "/stream", headers=bearer(key)) as stream:
        lines = stream.aiter_lines()
        assert await anext(lines) == ": connected"
        await ok(await rig.http.post("/sign-out", headers=bearer(key)), 204)
        assert "event: revoked" in [line async for line in lines]
    problem(await rig.http.get("/me", headers=bearer(key)), 401)
    for none in (key, "rubbish"):
        problem(await rig.http.post("/sign-out", headers=bearer(none)), 401)
    assert (await rig.http.get("/me")).status_code == 200, "the platform's key is none that signs out"


async def test_the_command_line_s_token_is_checked_as_the_console_s(rig: Rig) -> None:
    await rig.account("hugo@example.org")
    hugo = {"sub": "hugo", "email": "hugo@example.org", "aud": CLI}
    now = int(time.time())
    token = signed(said(rig.issuer.url, now, **hugo))
    key = (await ok(await rig.http.post("/sign-in", json={"id_token": token}), 201))["key"]
    for forged, reason in (
        (token, "replayed"),
        (signed(said(rig.issuer.url, now, **hugo | {"aud": "console"})), "audience"),
        (signed(said(rig.issuer.url, now - 600, **hugo | {"exp": now + 600})), "old"),
        (signed(said("https://evil.example", now, **hugo)), "issuer"),
        (signed(said(rig.issuer.url, now, **hugo), rsa("strangers")), "key"),
        (signed(said(rig.issuer.url, now, **hugo), rsa("strangers"), kid="right"), "signature"),
        (by_hand(said(rig.issuer.url, now, **hugo), {"alg": "none"}), "algorithm"),
        ("\N{SNOWMAN}", "token"),
    ):
        refused = problem(await rig.http.post("/sign-in", json={"id_token": forged}), 401)
        assert refused["detail"] == f"the sign-in at the provider is refused: {reason}"
    await ok(await rig.http.post("/sign-out", headers=bearer(key)), 204)
    problem(await rig.http.post("/sign-in", json={"id_token": token}), 401)
    for body in (
        {},
        {"id_token": token, "password": "x"},
        {"account_id": "hugo@example.org"},
        {"id_token": 7},
    ):
        problem(await rig.http.post("/sign-in", json=body), 422)
    problem(await rig.http.post("/sign-in", json={"id_token": "x" * 40_000}), 422)
    # Without a provider there is no such way in.
    problem(await rig.api.http.post("/sign-in", json={"id_token": token}), 422)
    assert await ok(await rig.api.http.get("/sign-in")) == {"provider": None}


async def test_local_accounts_sign_in_at_the_command_line_too(rig: Rig) -> None:
    await rig.account("ida", ADMIN, password=PASSWORD)
    problem(await rig.http.post("/sign-in", json={"account_id": "ida", "password": "wrong"}), 401)
    body = {"account_id": "Ida", "password": PASSWORD}
    made = await ok(await rig.http.post("/sign-in", json=body, headers=bearer("none")), 201)
    key = bearer(made["key"])
    assert (await ok(await rig.http.get("/me", headers=key)))["name"] == "ida"
    # What a browser has is no key.
    visitor = rig.visitor()
    await visitor.ask("/sign-in", "POST", data={"name": "ida", "password": PASSWORD})
    problem(await rig.http.get("/me", headers=bearer(visitor.cookies[COOKIE])), 401)
    await ok(await rig.http.patch("/accounts/ida", json={"grants": VIEWER}))
    problem(await rig.http.get("/accounts", headers=key), 403)


async def test_an_admin_at_the_command_line_needs_a_fresh_sign_in_as_at_the_console(rig: Rig) -> None:
    await rig.account("jo@example.org", ADMIN)
    old = {"sub": "jo", "email": "jo@example.org", "auth_time": int(time.time()) - 3600}
    stale = bearer((await exchanged(rig, **old))["key"])
    fresh = bearer((await exchanged(rig, **old | {"auth_time": int(time.time())}))["key"])
    await ok(await rig.http.get("/accounts", headers=stale))
    body = {"name": "robot", "grants": VIEWER}
    refused = problem(await rig.http.post("/keys", json=body, headers=stale), 403)
    assert "fresh sign-in" in refused["detail"]
    await ok(await rig.http.post("/keys", json=body, headers=fresh), 201)


async def test_who_guesses_tokens_waits(rig: Rig) -> None:
    for _ in range(rig.api.settings.wrong_keys + 1):
        answer = await rig.http.post("/sign-in", json={"id_token": "a.b.c"})
        if answer.status_code == 429:
            break
    assert answer.status_code == 429


async def test_where_the_code_goes_is_no_business_of_a_link() -> None:
    """The address of the console is a setting, not the Host header of whoever asks."""
    settings = ConsoleSettings.model_validate({"console_url": "https://voltbus.example.org"})
    assert urlsplit(settings.callback).netloc == "voltbus.example.org"
    assert parse_qs(urlsplit(settings.callback).query) == {}
