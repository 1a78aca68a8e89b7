"""What operators change in the console, in a browser, on a real platform."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from playwright.async_api import Page, expect

from services.console.web.visitors import COOKIE
from tests.browser.chromium import needs_chromium
from tests.integration.api_platform import api, gone, ok, told
from tests.integration.device import device
from tests.integration.edge_process import edge
from tests.integration.test_api_round_trip import ledger, online
from tests.integration.test_console import (
    PASSWORD,
    SCRIPT,
    Console,
    console,
    faults_for_all,
    signed_in,
    visit,
)
from tests.patience import WAIT_S, until

__all__ = ["api", "console"]

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    needs_chromium,
]


async def as_all_can(page: Page) -> None:
    """Nothing on the page keeps people out, nor is it wider than the screen."""
    assert await faults_for_all(page) == [], page.url
    across = await page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert across <= 0, f"{page.url} is wider than the screen by {across} px"


async def saved(page: Page) -> None:
    await page.get_by_role("button", name="Save").click()


async def test_a_station_is_registered_connects_and_is_decommissioned(console: Console) -> None:
    async with ledger(console.api), visit(console, viewport={"width": 320, "height": 700}) as page:
        await signed_in(page)
        await page.goto("/stations")
        await page.get_by_role("link", name="Register a station").click()
        await as_all_can(page)
        # What is wrong is told beside the field and above, with a link, and nothing typed is lost.
        await page.locator("#station_id").fill("form-16")
        await page.locator("#name").fill(SCRIPT)
        await page.locator("#evses").fill("many")
        await page.locator("#site_id").fill("nowhere")
        await saved(page)
        await expect(page.locator("#evses-wrong")).to_be_visible()
        await as_all_can(page)
        await page.locator("#evses").fill("-1")
        await saved(page)
        await expect(page.locator("#evses-wrong")).to_contain_text("greater than or equal to 0")
        await page.locator("#evses").fill("2")
        await saved(page)
        await expect(page.locator("#site_id-wrong")).to_contain_text("nowhere")
        await page.get_by_role("alert").get_by_role("link", name="Site").click()
        await expect(page.locator("#site_id")).to_be_focused()
        assert await page.locator("#name").input_value() == SCRIPT
        await page.locator("#site_id").fill("north")
        await saved(page)
        await expect(page.get_by_role("heading", name="Registration")).to_be_visible()
        await expect(page.locator("h1")).to_contain_text(SCRIPT)
        await as_all_can(page)
        made = (2, SCRIPT, ["north"], "olga")

        def is_made(entry: Any) -> bool:
            sites = [each["id"] for each in entry["sites"]]
            return (entry["evses"], entry["name"], sites, entry["changed_by"]) == made

        await told(console.api.http, "/stations/form-16", is_made)

        async with (
            edge(console.api.settings, unknown_stations="reject") as process,
            device(process, "form-16", {}, "ocpp1.6"),
        ):
            await online(console.api, "form-16")

            async def online_here() -> bool:
                await page.goto("/stations/form-16")
                return await page.locator("h1 + p").get_by_text("online").count() == 1

            await until(online_here)

        await page.goto("/stations/form-16/papers")
        await page.get_by_role("link", name="Decommission").click()
        await expect(page.get_by_text("This cannot be undone.")).to_be_visible()
        await as_all_can(page)
        await page.get_by_role("button", name="Remove it for good").click()
        await page.wait_for_url("**/stations")
        await gone(console.api.http, "/stations/form-16")
    assert console.said == []


async def test_two_who_edit_at_once_lose_nothing(console: Console) -> None:
    await ok(await console.api.http.put("/stations/shared", json={"name": "Old", "evses": 1}), 201)
    async with visit(console) as page:
        await signed_in(page)

        async def known_here() -> bool:
            answer = await page.goto("/edit/station/shared")
            return answer is not None and answer.ok

        await until(known_here)
        await page.locator("#name").fill("Mine")
        changed = {"name": "Theirs", "heartbeat_interval_s": 77}
        await ok(await console.api.http.patch("/stations/shared", json=changed))

        async def learnt() -> bool:
            answer = await page.context.request.get(f"{console.url}/edit/station/shared")
            return "Theirs" in await answer.text()

        await until(learnt)
        await saved(page)
        await expect(page.get_by_role("heading", name="What changed meanwhile")).to_be_visible()
        row = page.get_by_role("row", name="Name")
        await expect(row).to_contain_text("Old")
        await expect(row).to_contain_text("Theirs")
        await expect(row).to_contain_text("Mine")
        await as_all_can(page)
        assert await page.locator("#name").input_value() == "Mine"
        assert await page.locator("#heartbeat_interval_s").input_value() == "77"
        await saved(page)
        await expect(page.get_by_role("heading", name="Registration")).to_be_visible()
        await told(
            console.api.http,
            "/stations/shared",
            lambda entry: (entry["name"], entry["heartbeat_interval_s"], entry["evses"]) == ("Mine", 77, 1),
        )


async def test_sites_and_tokens_are_made_changed_and_removed_by_keyboard_alone(console: Console) -> None:
    async with visit(console) as page:
        await signed_in(page)
        await page.goto("/new/site")
        await page.locator("#site_id").focus()
        # Each Tab leads to the next field; Enter sends the form.
        for text in ("keys", "By keyboard", "", "40000", "flat", "", "52.5", "13.4"):
            if text:
                await page.keyboard.press("ControlOrMeta+a")
                await page.keyboard.type(text)
            await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await expect(page.locator("h1")).to_contain_text("keys")
        made = (40_000, 52.5, 13.4, ["flat"])

        def is_made(site: Any) -> bool:
            tariffs = [each["id"] for each in site["tariffs"]]
            return (site["limit_ma"], site["latitude"], site["longitude"], tariffs) == made

        await told(console.api.http, "/sites/keys", is_made)
        await as_all_can(page)
        await page.get_by_role("link", name="Edit").click()
        await page.locator("#limit_ma").fill("")
        await page.locator("#tariff_id").fill("")
        await page.locator("#name").fill("")
        await saved(page)
        await expect(page.locator("#tariff_id-wrong")).to_contain_text("not be taken away")
        await as_all_can(page)
        await page.locator("#tariff_id").fill("flat")
        await saved(page)
        await expect(page.get_by_role("heading", name="Settings")).to_be_visible()
        await told(
            console.api.http,
            "/sites/keys",
            lambda site: (site["limit_ma"], site["name"], len(site["tariffs"])) == (None, "", 1),
        )

        await page.goto("/new/token")
        odd = "A/B?c#d"
        await page.locator("#id_token").fill(odd)
        await page.locator("#driver").fill(SCRIPT)
        await saved(page)
        await expect(page.locator("tbody")).to_contain_text(SCRIPT)
        await page.get_by_role("link", name=f"Edit {odd}").click()
        await page.locator("#status").select_option("Blocked")
        await saved(page)
        await expect(page.locator("tbody")).to_contain_text("Blocked")
        await page.get_by_role("link", name=f"Remove {odd}").click()
        await as_all_can(page)
        await page.get_by_role("button", name="Remove it for good").click()
        await page.wait_for_url("**/tokens")
        await expect(page.locator("body")).not_to_contain_text(odd)


async def test_a_password_is_set_and_shown_once(console: Console) -> None:
    await ok(await console.api.http.put("/stations/secret", json={}), 201)
    async with visit(console) as page:
        await signed_in(page)

        async def known_here() -> bool:
            await page.goto("/stations/secret/password")
            return await page.get_by_role("button", name="Set the password").count() == 1

        await until(known_here)
        await as_all_can(page)
        await page.locator("#set_password").fill("short")
        await page.get_by_role("button", name="Set the password").click()
        await expect(page.get_by_role("alert")).to_contain_text("16 to 40")
        await page.get_by_role("button", name="Set the password").click()
        made = await page.locator("#password-made").inner_text()
        assert len(made) >= 16
        await as_all_can(page)
        await page.goto("/stations/secret/password")
        await expect(page.get_by_text("One password is accepted.")).to_be_visible()
        await expect(page.locator("body")).not_to_contain_text(made)


async def test_forms_of_others_are_not_taken_and_who_may_not_is_told_why(console: Console) -> None:
    async with visit(console) as page:
        await signed_in(page, "vera")
        await page.goto("/stations")
        await expect(page.get_by_text("needs the permission edit_stations")).to_be_visible()
        for path in ("/new/station", "/edit/station/hostile", "/remove/site/north", "/new/token"):
            shown = await page.goto(path)
            assert shown is not None
            assert shown.status == 403, path
    here = {"sec-fetch-site": "same-origin"}
    async with httpx.AsyncClient(base_url=console.url, timeout=WAIT_S) as http:
        signed = await http.post("/sign-in", data={"name": "olga", "password": PASSWORD}, headers=here)
        kept = {**here, "cookie": f"{COOKIE}={signed.cookies[COOKIE]}"}
        for token in ("", "0" * 64):
            data = {"_form": token, "station_id": "forged"}
            answer = await http.post("/new/station", data=data, headers=kept)
            assert answer.status_code == 409
            assert 'value="forged"' in answer.text
        foreign = {**kept, "sec-fetch-site": "cross-site"}
        assert (await http.post("/new/station", data={}, headers=foreign)).status_code == 403
        many = {f"x{number}": "1" for number in range(3_000)}
        assert (await http.post("/new/station", data=many, headers=kept)).status_code == 400
    assert (await console.api.http.get("/stations/forged")).status_code == 404


async def test_a_site_has_a_place_on_the_map_and_in_the_tree(console: Console) -> None:
    place = {"latitude": 52.5, "longitude": 13.4}
    await ok(await console.api.http.put("/sites/berlin", json=place), 201)
    await ok(await console.api.http.put("/stations/berlin-1", json={"site_id": "berlin"}), 201)
    async with visit(console, viewport={"width": 320, "height": 700}) as page:
        await signed_in(page)

        async def placed() -> bool:
            await page.goto("/map")
            return await page.locator("svg.map a[href='/sites/berlin']").count() == 1

        await until(placed)
        await as_all_can(page)

        async def in_the_tree() -> bool:
            await page.goto("/map")
            return await page.locator(".tree a[href='/stations/berlin-1']").count() == 1

        await until(in_the_tree)
        await page.locator(".tree a[href='/sites/berlin']").click()
        await expect(page.get_by_role("heading", name="Power in the last six hours")).to_be_visible()
        await as_all_can(page)
    assert console.said == []
