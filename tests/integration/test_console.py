"""The console in a browser, on a real platform: an operator's ways through it, and what nobody may do there."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any, Final

import httpx
import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Page,
    async_playwright,
    expect,
)

from libs.events.registry import SiteRegistered
from libs.events.telemetry import ConnectorState, StationStateChanged
from libs.runtime.clock import SECOND, now_us
from libs.runtime.service import Health
from services.console.app import serving
from services.console.settings import ConsoleSettings
from services.console.web.visitors import COOKIE
from tests.browser.chromium import launch_options, needs_chromium
from tests.integration.api_platform import (
    Json,
    Platform,
    api,
    create,
    located,
    ok,
    session_ended,
    session_started,
    stamp,
)
from tests.integration.device import device
from tests.integration.edge_process import edge
from tests.integration.test_api_round_trip import ledger, online
from tests.patience import WAIT_S, until

__all__ = ["api"]

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    needs_chromium,
]

# Every page of the tests of the console is waited for as long as anything else.
expect.set_options(timeout=WAIT_S * 1000)

PASSWORD: Final = "correct horse battery"
SCRIPT: Final = "<script>alert(1)</script><img src=x onerror=alert(1)>"
TURNED: Final = "Vendor\N{RIGHT-TO-LEFT OVERRIDE}gnp.exe"
SESSION: Final = "0b6c0a3e-6f3a-5d0e-9d5e-6a1d3a5f0c01"
PAGES: Final = (
    "/",
    "/?period=30d",
    "/stations",
    "/stations?q=hostile",
    "/stations?connected=maybe",
    "/stations/hostile",
    "/stations/hostile/timeline",
    "/stations/hostile/messages",
    "/stations/hostile/commands",
    "/stations/hostile/papers",
    "/stations/hostile/command",
    "/stations/hostile/command/ocpp/SetChargingProfile",
    "/stations/hostile/command/any/SetLimit",
    "/sites",
    "/sites/north",
    "/sessions",
    f"/sessions/{SESSION}",
    "/reconciliation?period=30d",
    "/tokens",
    "/tariffs",
    "/tariffs/flat",
    "/bulk",
    "/bulk/new",
    "/bulk/new/any/SetVariables?q=hostile",
    "/bulk/new/ocpp/Reset?station=hostile",
    "/campaigns",
    "/dead-letters",
    "/confirm",
    "/nothing",
)


class Console(SimpleNamespace):
    """A running console and a browser. `said`: what the browser's console complained of."""

    api: Platform
    url: str
    browser: Browser
    said: list[str]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console(api: Platform) -> AsyncIterator[Console]:
    settings = ConsoleSettings.model_validate(
        {**api.settings.model_dump(include=set(ConsoleSettings.model_fields)), "console_port": 0}
    )
    for name, role in (("olga", "platform-admin"), ("vera", "viewer")):
        body = {"account_id": name, "password": PASSWORD, "grants": [{"role": role}]}
        await create(api.http, "/accounts", body)
    await seeded(api)
    async with (
        serving(settings, Health()) as running,
        async_playwright() as playwright,
        await playwright.chromium.launch(**launch_options()) as browser,
    ):
        yield Console(api=api, url=f"http://localhost:{running.port}", browser=browser, said=[])


async def seeded(api: Platform) -> None:
    """A site, and a station that is offline, whose maker means no good, with a session."""
    site = SiteRegistered(**stamp(), site_id="north", name="North " + SCRIPT, timezone="UTC", limit_ma=63_000)
    await api.emit("registry.sites", "north", site)
    await located(api, "hostile")
    state = StationStateChanged(
        **stamp(),
        station_id="hostile",
        connected=False,
        version="ocpp1.6",
        vendor=SCRIPT,
        model=TURNED,
        serial="'\"><b>",
        firmware_version="{{ 7 * 7 }}",
        connectors=(
            ConnectorState(evse_id=1, connector_id=1, status="Faulted", error_code=SCRIPT, since=now_us()),
        ),
    )
    await api.emit("telemetry.health", "hostile", state)
    tariff = {"tariff_id": "flat", "currency": "EUR", "price_per_kwh_milli": 45_670}
    await ok(await api.http.post("/tariffs", json=tariff), 201)
    await create(api.http, "/tokens", {"id_token": "CARD-1", "driver": "Dora"})
    begun = now_us() - 3600 * SECOND
    started = session_started("hostile", SESSION, begun, SCRIPT)
    await api.emit("sessions.events", "hostile", started)
    await api.emit("sessions.events", "hostile", session_ended(started, begun + 600 * SECOND))

    async def stored() -> bool:
        found = await api.http.get(f"/sessions/{SESSION}")
        return found.status_code == 200 and found.json()["status"] == "ended"

    async def state_known() -> bool:
        return bool((await ok(await api.http.get("/stations/hostile/state")))["vendor"] == SCRIPT)

    await until(stored)
    await until(state_known)


@asynccontextmanager
async def visit(console: Console, **options: Any) -> AsyncIterator[Page]:
    """A browser of its own, as a visitor in Berlin has it."""
    console.said.clear()
    chosen = {"base_url": console.url, "locale": "en-GB", "timezone_id": "Europe/Berlin", **options}
    async with await console.browser.new_context(**chosen) as context:
        context.set_default_timeout(WAIT_S * 1000)
        page = await context.new_page()
        page.on("console", lambda message: note(console, message))
        page.on("pageerror", lambda error: console.said.append(str(error)))
        page.on("dialog", lambda dialog: console.said.append(f"dialog {dialog.message}"))
        yield page


def note(console: Console, message: ConsoleMessage) -> None:
    # What a page of an error is answered with is noted too.
    if message.type == "error" and "the server responded with a status of" not in message.text:
        console.said.append(message.text)


async def signed_in(page: Page, name: str = "olga") -> None:
    await page.goto("/sign-in")
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Worklist")


async def faults_for_all(page: Page) -> list[str]:
    """What keeps people out, as axe finds it: serious or critical."""
    found = (await Axe().run(page)).response["violations"]
    return [
        f"{each['id']}: {each['nodes'][0]['html'][:200]}"
        for each in found
        if each["impact"] in ("serious", "critical")
    ]


async def test_everybody_can_read_every_page_and_nothing_of_a_vendor_s_runs(console: Console) -> None:
    wide: Json = {"viewport": {"width": 1280, "height": 900}}
    narrow: Json = {"viewport": {"width": 320, "height": 700}, "color_scheme": "dark", "locale": "de-DE"}
    for options in (wide, narrow):
        async with visit(console, **options) as page:
            await page.goto("/sign-in")
            assert await faults_for_all(page) == []
            await page.locator("#name").fill("olga")
            await page.locator("#password").fill(PASSWORD)
            await page.locator("main button").click()
            await page.wait_for_url("**/")

            async def hostile_here() -> bool:
                await page.goto("/stations?q=hostile")
                return SCRIPT in await page.locator("body").inner_text()

            await until(hostile_here)
            for path in PAGES:
                await page.goto(path)
                assert await faults_for_all(page) == [], path
                across = await page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
                assert across <= 0, f"{path} is wider than the screen by {across} px"
                text = await page.locator("body").inner_text()
                assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in text
            await page.goto("/stations?q=hostile")
            await expect(page.locator("table")).to_contain_text(SCRIPT)
            await expect(page.locator("table")).to_contain_text("Vendor\\u202egnp.exe")
    assert console.said == []


async def test_a_day_at_the_desk_from_a_search_to_a_command_and_its_frames(console: Console) -> None:
    async with (
        ledger(console.api),
        edge(console.api.settings) as process,
        device(process, "desk-16", {"Reset": lambda _: {"status": "Accepted"}}, "ocpp1.6") as charger,
        visit(console) as page,
    ):
        await online(console.api, "desk-16")
        await signed_in(page)

        async def online_here() -> bool:
            await page.goto("/stations?q=desk-16&connected=true")
            return await page.locator("#results tbody tr").count() == 1

        await until(online_here)
        await page.get_by_role("link", name="Stations").click()
        await page.get_by_label("Search").press_sequentially("desk-")
        await expect(page).to_have_url(re.compile("q=desk-$|q=desk-&"))
        rows = page.locator("#results tbody tr")
        await expect(rows).to_have_count(1)
        assert await faults_for_all(page) == []
        await rows.get_by_role("link", name="desk-16").click()
        await expect(page.get_by_text("online")).to_be_visible()
        await page.get_by_role("link", name="Commands", exact=True).click()
        await page.get_by_role("link", name="Send a command").click()
        await page.locator("a[href$='/command/ocpp/Reset']").click()

        # What is refused keeps what was typed.
        await page.get_by_role("button", name="Send").click()
        await expect(page.locator(".wrong").first).to_be_visible()
        await page.locator("[name=type]").select_option("Soft")
        await page.get_by_role("button", name="Send").click()
        await expect(page.locator("#fate")).to_contain_text("ACCEPTED")
        assert charger.of("Reset") == [{"type": "Soft"}]
        assert await faults_for_all(page) == []

        async def in_the_log() -> bool:
            await page.goto("/stations/desk-16/messages?action=Reset")
            return await page.locator(".messages li").count() == 1

        await until(in_the_log)
        await page.locator(".messages summary").click()
        await expect(page.locator(".messages pre").first).to_contain_text('"type":"Soft"')
        await page.goto("/stations/desk-16/commands")
        await expect(page.locator(".messages")).to_contain_text("olga")
    assert console.said == []


async def test_a_keyboard_is_enough(console: Console) -> None:
    async with visit(console) as page:
        await page.goto("/sign-in?back=/stations/hostile")
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.locator("#main")).to_be_focused()
        await page.keyboard.press("Tab")
        await page.keyboard.type("olga")
        await page.keyboard.press("Tab")
        await page.keyboard.type(PASSWORD)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", level=1)).to_contain_text("hostile")
        timeline = page.get_by_role("link", name="Timeline")
        for _ in range(40):
            await page.keyboard.press("Tab")
            if await timeline.evaluate("each => each === document.activeElement"):
                break
        await expect(timeline).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.locator(".timeline")).to_contain_text("SessionEnded")


async def test_who_only_looks_sees_no_frames_no_tokens_and_sends_nothing(console: Console) -> None:
    async with visit(console) as page:
        await signed_in(page, "vera")
        await page.goto("/stations/hostile")
        await expect(page.get_by_role("link", name="Messages")).to_have_count(0)
        await expect(page.get_by_text("hidden").first).to_be_visible()
        for path, status in (
            ("/stations/hostile/messages", 403),
            ("/stations/hostile/command/ocpp/Reset", 200),
            ("/stations/nobody", 404),
            ("/sessions/nothing", 404),
            ("/commands/no-id", 422),
            ("/sessions?id_token=" + SCRIPT, 200),
            ("/dead-letters", 403),
            ("/tokens", 403),
        ):
            answer = await page.goto(path)
            assert answer is not None
            assert answer.status == status, path
        await page.goto("/sessions?id_token=nobody-s")
        await expect(page.locator("tbody tr")).not_to_have_count(0)
        await page.goto("/stations/hostile/timeline")
        await expect(page.locator(".timeline")).not_to_contain_text(SCRIPT)
        await page.goto("/stations/hostile/command/ocpp/Reset")
        await page.locator("[name=type]").select_option("Soft")
        await page.get_by_role("button", name="Send").click()
        await expect(page.locator(".wrong").first).to_contain_text("command_disruptive")
        assert await page.locator("[name=type]").input_value() == "Soft"


async def test_a_sign_in_is_new_each_time_and_ends_everywhere(console: Console) -> None:
    async with visit(console) as page, visit(console) as elsewhere:
        await page.goto("/stations")
        assert "/sign-in?back=" in page.url
        planted = {
            "name": COOKIE,
            "value": "planted",
            "url": console.url.replace("http:", "https:"),
            "secure": True,
        }
        await page.context.add_cookies([planted])  # type: ignore[list-item]
        await signed_in(page)
        first = await cookie(page.context)
        assert first not in ("", "planted")
        await signed_in(page)
        assert await cookie(page.context) not in ("", first)
        await signed_in(elsewhere)
        await elsewhere.get_by_role("button", name="Sign out everywhere").click()
        await elsewhere.wait_for_url("**/sign-in*")

        async def out() -> bool:
            with suppress(Error):  # The page may be on its own way to the sign-in: its stream has ended.
                await page.goto("/stations")
            return "/sign-in" in page.url

        await until(out)


async def cookie(context: BrowserContext) -> str:
    found = [each for each in await context.cookies() if each.get("name") == COOKIE]
    assert all(each.get("httpOnly") and each.get("secure") for each in found)
    return found[0].get("value", "") if found else ""


async def test_wrong_passwords_are_refused_alike_and_forms_of_others_are_not_taken(console: Console) -> None:
    here = {"sec-fetch-site": "same-origin"}
    async with httpx.AsyncClient(base_url=console.url, timeout=WAIT_S) as http:
        answers = [
            await http.post("/sign-in", data={"name": name, "password": "wrong"}, headers=here)
            for name in ("olga", "nobody-at-all")
        ]
        assert [each.status_code for each in answers] == [401, 401]
        assert "set-cookie" not in answers[0].headers
        right = {"name": "vera", "password": PASSWORD}
        foreign = await http.post("/sign-in", data=right, headers={"sec-fetch-site": "cross-site"})
        assert foreign.status_code == 403
        signed = await http.post("/sign-in", data={**right, "back": "//evil.example"}, headers=here)
        assert (signed.status_code, signed.headers["location"]) == (303, "/")
        token = signed.cookies[COOKIE]
        http.cookies.set(COOKIE, token)
        kept = {**here, "cookie": f"{COOKIE}={token}"}
        assert (await http.post("/sign-out", headers=kept)).status_code == 422
        assert (await http.get("/stations", headers=kept)).status_code == 200
        too_large = await http.post("/sign-in", content=b"x" * (2 << 20), headers=here)
        assert too_large.status_code == 413


async def test_without_clickhouse_a_page_shows_what_the_log_knows(console: Console) -> None:
    settings = ConsoleSettings.model_validate(
        {
            **console.api.settings.model_dump(include=set(ConsoleSettings.model_fields)),
            "console_port": 0,
            "clickhouse_port": 1,
        }
    )
    async with (
        serving(settings, Health()) as running,
        visit(console, base_url=f"http://localhost:{running.port}") as page,
    ):
        await signed_in(page)
        await expect(
            page.get_by_text("ClickHouse, which keeps the past, does not answer now")
        ).to_be_visible()
        await page.goto("/stations/hostile")
        await expect(
            page.get_by_text("ClickHouse, which keeps the past, does not answer now")
        ).to_be_visible()
        answer = await page.goto("/sessions")
        assert answer is not None
        assert answer.status == 503
        await expect(page.get_by_role("heading", level=1)).to_have_text("Not now")
