"""Signing in at a real OpenID provider, oidc-provider of npm, in a browser and at the command line."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Error, Page, async_playwright, expect

from libs.devstack.endpoints import free_ports
from libs.runtime.service import Health
from services.api.app import serving as serving_api
from services.api.domain.errors import IdentityRefused
from services.api.oidc.provider import Provider
from services.console.app import serving
from services.console.settings import ConsoleSettings
from services.console.web.visitors import COOKIE
from tests.browser.chromium import launch_options, needs_chromium
from tests.integration.api_platform import Json, Platform, api, ok
from tests.integration.test_console import faults_for_all
from tests.integration.visitor import Visitor
from tests.patience import WAIT_S, until

__all__ = ["api"]

MISSING: Final = [tool for tool in ("node", "npm") if shutil.which(tool) is None]

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)} is not on the PATH"),
]

SOURCE: Final = Path(__file__).parent / "openid"
ROOT: Final = Path(__file__).parents[2]
SECRET: Final = "a secret: 100% / safe"
DEVICE: Final = "urn:ietf:params:oauth:grant-type:device_code"
VERIFIER: Final = "the-verifier-of-somebody-else-0123456789-0123456789"


class Rig(SimpleNamespace):
    api: Platform
    settings: ConsoleSettings
    console: str
    issuer: str
    api_url: str


def installed() -> Path:
    """The provider with what it needs, fetched once for each state of the lock."""
    files = [SOURCE / name for name in ("package.json", "package-lock.json", "provider.js")]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
    folder = ROOT / ".voltbus" / f"openid-{digest}"
    folder.parent.mkdir(exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for path in files:
                shutil.copy(path, folder)
            made = subprocess.run(
                ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=600,
                check=False,
            )
            assert made.returncode == 0, f"npm ci failed:\n{made.stdout}"
            (folder / "complete").touch()
    return folder


@asynccontextmanager
async def provider(port: int, clients: list[Json]) -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        "node",
        str(installed() / "provider.js"),
        str(port),
        json.dumps(clients),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), WAIT_S)
        assert line == b"listening\n", line
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(api: Platform) -> AsyncIterator[Rig]:
    port, console_port = free_ports(2)
    console = f"http://localhost:{console_port}"
    clients: list[Json] = [
        {
            "client_id": "console",
            "client_secret": SECRET,
            "redirect_uris": [f"{console}/sign-in/callback"],
        },
        {
            "client_id": "cli",
            "token_endpoint_auth_method": "none",
            "grant_types": [DEVICE],
            "redirect_uris": [],
            "response_types": [],
        },
    ]
    async with provider(port, clients) as issuer:
        common = {
            "oidc_issuer": issuer,
            "oidc_name": "Example Ltd",
            "oidc_client_id": "console",
            "oidc_client_secret": SECRET,
            "oidc_cli_client_id": "cli",
            "oidc_scopes": "openid profile email groups",
            "oidc_grants": "ops=platform-admin",
            "oidc_networks": "127.0.0.0/8",
            "oidc_timeout_s": 30,
        }
        shared = api.settings.model_dump(include=set(ConsoleSettings.model_fields))
        settings = ConsoleSettings.model_validate({**shared, **common, "console_port": console_port})
        for_api = type(api.settings).model_validate({**api.settings.model_dump(), **common, "api_port": 0})
        async with serving(settings, Health()), serving_api(for_api, Health()) as running:
            url = f"http://127.0.0.1:{running.port}"
            yield Rig(api=api, settings=settings, console=console, issuer=issuer, api_url=url)


class Forms(HTMLParser):
    """The first form of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "form" and not self.action:
            self.action = found.get("action") or ""
        elif tag == "input" and found.get("name"):
            self.fields[str(found["name"])] = found.get("value") or ""


async def through_its_pages(visitor: Visitor, url: str, until_at: str, **entered: str) -> str:
    """Where the provider leads to (something that begins with `until_at`), with every form filled in as `entered`."""
    for _ in range(20):
        if url.startswith(until_at):
            return url
        answer = await visitor.ask(url)
        while not answer.is_redirect:
            assert answer.status_code == 200, answer.text[:1000]
            form = Forms(answer.text)
            if not form.action:
                return answer.text
            filled = form.fields | {name: value for name, value in entered.items() if name in form.fields}
            answer = await visitor.ask(urljoin(url, form.action), "POST", data=filled)
        url = urljoin(url, answer.headers["location"])
    raise AssertionError(f"it leads nowhere: {url}")


@asynccontextmanager
async def visiting(rig: Rig) -> AsyncIterator[Visitor]:
    async with httpx.AsyncClient(timeout=WAIT_S) as http:
        yield Visitor(http, rig.console)


async def callback_for(visitor: Visitor, rig: Rig, name: str) -> str:
    url = await visitor.sent_on("/sign-in/provider?back=/stations")
    return await through_its_pages(visitor, url, rig.console, login=name, password="any")


async def test_who_has_a_role_is_signed_in_and_a_code_counts_once(rig: Rig) -> None:
    async with visiting(rig) as visitor:
        callback = await callback_for(visitor, rig, "anna")
        assert await visitor.sent_on(callback) == "/stations"
        assert (await visitor.ask("/stations")).status_code == 200
        account = await ok(await rig.api.http.get("/accounts/anna@example.org"))
        assert (account["subject"], account["display_name"]) == ("anna", "Anna Example")
        assert [each["role"] for each in account["grants"]] == ["platform-admin"]
        code = parse_qs(urlsplit(callback).query)["code"][0]
        asking = Provider(rig.settings)
        with pytest.raises(IdentityRefused, match="code"):
            await asking.redeem(code, VERIFIER, rig.settings.callback)
        await asking.close()


async def test_a_stolen_code_is_of_no_use_without_the_verifier(rig: Rig) -> None:
    async with visiting(rig) as visitor:
        callback = await callback_for(visitor, rig, "anna")
        thief = Provider(rig.settings)
        code = parse_qs(urlsplit(callback).query)["code"][0]
        with pytest.raises(IdentityRefused, match="code"):
            await thief.redeem(code, VERIFIER, rig.settings.callback)
        await thief.close()


async def test_who_has_none_of_the_groups_is_not(rig: Rig) -> None:
    async with visiting(rig) as visitor:
        answer = await visitor.ask(await callback_for(visitor, rig, "ben"))
        assert answer.status_code == 401
        assert "None of your groups" in answer.text
        assert COOKIE not in visitor.cookies


def complained(said: list[str], error: Error) -> None:
    said.append(str(error))


async def at_the_provider(page: Page) -> None:
    """Its pages for signing in, and for agreeing where it asks."""
    await page.locator("[name=login]").fill("anna")
    await page.locator("[name=password]").fill("any")
    await page.get_by_role("button", name="Sign-in").click()
    agree = page.get_by_role("button", name="Continue")
    there = page.get_by_role("link", name="Skip to content")
    await expect(agree.or_(there).first).to_be_visible()
    if await agree.is_visible():
        await agree.click()
    await expect(there).to_be_attached()


@needs_chromium
async def test_a_browser_goes_there_and_back_and_again_for_what_needs_a_fresh_sign_in(rig: Rig) -> None:
    async with (
        async_playwright() as playwright,
        await playwright.chromium.launch(**launch_options()) as browser,
    ):
        for options in ({"locale": "en-GB"}, {"locale": "en-GB", "viewport": {"width": 320, "height": 700}}):
            context = await browser.new_context(base_url=rig.console, **options)
            context.set_default_timeout(WAIT_S * 1000)
            await context.route("**/*googleapis*/**", lambda route: route.abort())
            page = await context.new_page()
            said: list[str] = []
            page.on("pageerror", partial(complained, said))
            await page.goto("/stations")
            assert await faults_for_all(page) == []
            across = await page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert across <= 0
            await page.get_by_role("link", name="Sign in with Example Ltd").click()
            await at_the_provider(page)
            await expect(page.get_by_role("heading", level=1)).to_have_text("Stations")
            assert page.url == f"{rig.console}/stations"
            cookies = {
                each["name"]: each for each in await context.cookies(rig.console.replace("http:", "https:"))
            }
            assert cookies[COOKIE]["httpOnly"]
            assert cookies[COOKIE]["secure"]
            assert len([name for name in cookies if name.startswith("__Host-")]) == 1

            # Although the provider knows her, it asks again.
            await page.goto("/confirm?back=/sites")
            assert await faults_for_all(page) == []
            await expect(page.locator("[name=password]")).to_have_count(0)
            await page.get_by_role("link", name="Sign in again with Example Ltd").click()
            await at_the_provider(page)
            await expect(page.get_by_role("heading", level=1)).to_have_text("Sites")
            again = {
                each["name"]: each for each in await context.cookies(rig.console.replace("http:", "https:"))
            }
            assert again[COOKIE]["value"] != cookies[COOKIE]["value"]
            assert said == []
            await context.close()


class Shell:
    """`voltbus` with a home of its own, and no key in its environment."""

    def __init__(self, rig: Rig, home: Path) -> None:
        self.home = home
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("VOLTBUS_")
        } | {"VOLTBUS_API_URL": rig.api_url, "XDG_CONFIG_HOME": str(home), "PYTHONPATH": str(ROOT)}

    async def start(self, *words: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.cli",
            *words,
            env=self.environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *words: str, typed: str = "") -> tuple[int, str, str]:
        process = await self.start(*words)
        out, err = await asyncio.wait_for(process.communicate(typed.encode()), WAIT_S)
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()


async def test_the_command_line_signs_in_by_device_code(rig: Rig, tmp_path: Path) -> None:
    shell = Shell(rig, tmp_path)
    code, _, err = await shell.run("stations", "list")
    assert code == 1
    assert "voltbus login" in err
    process = await shell.start("login")
    assert process.stderr is not None
    told = ""
    while "user_code=" not in told:
        line = await asyncio.wait_for(process.stderr.readline(), WAIT_S)
        assert line, told
        told += line.decode()
    async with visiting(rig) as visitor:
        (url,) = re.findall(r"or open (\S+)", told)
        confirm = "yes"
        text = await through_its_pages(
            visitor, url, rig.console, login="anna", password="any", confirm=confirm
        )
        assert "Sign-in Success" in text, text[:1000]
    out, err_rest = await asyncio.wait_for(process.communicate(), WAIT_S)
    assert process.returncode == 0, err_rest
    assert "signed in as anna@example.org until" in out.decode()

    kept = tmp_path / "voltbus" / "sign-in.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    key = json.loads(kept.read_text())[rig.api_url]["key"]
    assert key not in told + out.decode() + err_rest.decode()
    code, out_text, err = await shell.run("accounts", "list", "--json")
    assert code == 0, err
    assert "anna@example.org" in [each["account_id"] for each in json.loads(out_text)]
    # It is just signed in, so it may do what needs a fresh sign-in.
    code, _, err = await shell.run("keys", "add", "robot", "--role", "viewer")
    assert code == 0, err

    code, out_text, err = await shell.run("logout")
    assert (code, out_text) == (0, "anna@example.org signed out\n"), err
    assert json.loads(kept.read_text()) == {}
    async with httpx.AsyncClient(timeout=WAIT_S) as http:

        async def refused() -> Any:
            asked = await http.get(f"{rig.api_url}/api/v1/me", headers={"Authorization": f"Bearer {key}"})
            return asked.status_code == 401

        await until(refused)
    code, _, err = await shell.run("logout")
    assert code == 1
    assert "nobody is signed in" in err
