"""What nobody expected is a page like the others: with all headers, and without what went wrong."""

from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import Request

from libs.runtime.service import Health
from services.api.context import Context
from services.console.application import create_application
from services.console.settings import ConsoleSettings
from tests.unit.api.kept_trail import KeptTrail


class Nobody:
    def principal_of_sign_in(self, token: str) -> None:
        return None


class Parts:
    """As much of the context as pages for nobody need."""

    settings = ConsoleSettings.model_validate({})
    access = Nobody()
    hub = SimpleNamespace(position="0-0")
    trail = KeptTrail()


@pytest.fixture
def app() -> FastAPI:
    context: Context = Parts()  # type: ignore[assignment]
    return create_application(context, Health())


async def got(app: FastAPI, path: str, **options: object) -> httpx.Response:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="https://console.example") as client:
        method = str(options.pop("method", "GET"))
        return await client.request(method, path, **options)  # type: ignore[arg-type]


async def test_an_error_is_a_page_with_all_headers_and_without_its_cause(app: FastAPI) -> None:
    async def broken(request: Request) -> None:
        raise ZeroDivisionError("a secret")

    app.add_route("/sign-in/broken", broken)  # type: ignore[arg-type]
    answer = await got(app, "/sign-in/broken")
    assert answer.status_code == 500
    assert "a secret" not in answer.text
    assert "nonce-" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("data", [{}, {"name": "x"}, {"name": "x", "password": "hunter2" * 1000}])
async def test_a_form_that_is_wrong_is_a_page_and_tells_no_password(
    app: FastAPI, data: dict[str, object]
) -> None:
    here = {"sec-fetch-site": "same-origin"}
    answer = await got(app, "/sign-in", method="POST", data=data, headers=here)
    assert answer.status_code == 422
    assert "hunter2" not in answer.text
    assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    "path",
    ["/sign-in?back=//evil.example", "//evil.example/x", "/sign-in/%00", "/sign-in?back=" + "x" * 10_000],
)
async def test_no_page_leads_to_another_host(app: FastAPI, path: str) -> None:
    answer = await got(app, path)
    assert answer.status_code in (200, 303, 404)
    assert 'href="//' not in answer.text
    assert not answer.headers.get("location", "/").startswith("//")


async def test_files_are_kept_for_good_and_pages_are_not(app: FastAPI) -> None:
    page = await got(app, "/sign-in")
    (script,) = {
        part.split('"')[0]
        for part in page.text.split('src="')
        if part.startswith("/assets") and "console.js" in part
    }
    file = await got(app, script)
    assert (file.status_code, file.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
    assert "immutable" in file.headers["cache-control"]
    assert (await got(app, script.replace("/assets/", "/assets/0"))).status_code == 404
    assert page.headers["cache-control"] == "no-store"
