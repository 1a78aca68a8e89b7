"""Who gets in, and which requests are taken for a visitor's own."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from libs.access.principal import Principal, principal
from libs.access.roles import Role
from services.console.web.headers import PageHeaders
from services.console.web.visitors import COOKIE, Visitors, form_token, way_back

ANNA = principal("anna", [Role.OPERATOR])
TOKEN = "annas-token"
HERE = {"sec-fetch-site": "same-origin"}


def principal_of(token: str) -> Principal | None:
    return ANNA if token == TOKEN else None


async def who(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.state.principal.name)


@pytest_asyncio.fixture
async def site() -> AsyncIterator[httpx.AsyncClient]:
    app = Starlette(routes=[Route("/{path:path}", who, methods=["GET", "POST"])])
    app.add_middleware(Visitors, principal_of=principal_of, public=("/sign-in",))
    app.add_middleware(PageHeaders)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="https://console.example") as client:
        yield client


async def test_who_is_signed_in_is_known(site: httpx.AsyncClient) -> None:
    site.cookies.set(COOKIE, TOKEN)
    assert (await site.get("/stations")).text == "anna"


@pytest.mark.parametrize("cookie", ["", "another", TOKEN + "x", "x" * 100_000])
async def test_who_is_not_is_sent_to_sign_in_and_back(site: httpx.AsyncClient, cookie: str) -> None:
    site.cookies.set(COOKIE, cookie)
    answer = await site.get("/stations?q=a%26b")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?back=%2Fstations%3Fq%3Da%2526b"
    assert (await site.get("/sign-in")).status_code == 200


async def test_a_part_of_a_page_leads_to_a_whole_one(site: httpx.AsyncClient) -> None:
    answer = await site.get("/stations", headers={"hx-request": "true"})
    assert (answer.status_code, answer.headers["hx-redirect"]) == (401, "/sign-in")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "https://console.example.evil.example"},
        {"sec-fetch-site": "cross-site", "origin": "https://console.example"},
    ],
)
async def test_another_site_s_page_changes_nothing(site: httpx.AsyncClient, headers: dict[str, str]) -> None:
    site.cookies.set(COOKIE, TOKEN)
    assert (await site.post("/stations", headers=headers)).status_code == 403


@pytest.mark.parametrize("headers", [HERE, {"origin": "https://console.example"}])
async def test_this_site_s_page_does(site: httpx.AsyncClient, headers: dict[str, str]) -> None:
    site.cookies.set(COOKIE, TOKEN)
    assert (await site.post("/stations", headers=headers)).text == "anna"


async def test_a_change_of_nobody_s_is_sent_to_sign_in(site: httpx.AsyncClient) -> None:
    answer = await site.post("/stations", headers=HERE)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")


def test_a_form_is_of_one_sign_in() -> None:
    assert form_token(TOKEN) != form_token("another")
    assert TOKEN not in form_token(TOKEN)


@pytest.mark.parametrize(
    ("asked", "taken"),
    [
        ("/stations?q=a", "/stations?q=a"),
        ("", "/"),
        ("https://evil.example", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/a\\b", "/"),
        ("/a\r\nset-cookie: x", "/"),
        ("javascript:alert(1)", "/"),
    ],
)
def test_the_way_back_stays_here(asked: str, taken: str) -> None:
    assert way_back(asked) == taken


def test_a_way_back_that_no_form_takes_is_the_first_page() -> None:
    assert way_back("/stations?q=" + "a" * 1_900) != "/"
    assert way_back("/stations?q=" + "a" * 2_000) == "/"


async def test_every_answer_says_what_a_page_may_load(site: httpx.AsyncClient) -> None:
    first, second = [(await site.get("/sign-in")).headers for _ in range(2)]
    policy = first["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'" in policy
    (nonce,) = re.findall(r"'nonce-([^']+)'", policy)
    assert nonce not in second["content-security-policy"]
    assert first["cache-control"] == "no-store"
    assert first["x-content-type-options"] == "nosniff"
