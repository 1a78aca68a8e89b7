"""Tariffs and decisions in the console, in a browser, on a real platform."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.chromium import needs_chromium
from tests.integration.api_platform import Platform, api, ok, told
from tests.integration.test_console import SCRIPT, Console, console, signed_in, visit
from tests.integration.test_console_forms import as_all_can
from tests.integration.test_decisions import cdr_of, in_review, platform
from tests.patience import until

__all__ = ["api", "console", "platform"]

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    needs_chromium,
]


async def test_a_tariff_is_tried_on_a_past_session_before_it_is_published(
    console: Console, platform: Platform
) -> None:
    record = await in_review(platform, "try-1")
    async with visit(console) as page:
        await signed_in(page)

        async def known_here() -> bool:
            answer = await page.goto("/tariffs/day")
            return answer is not None and answer.ok

        await until(known_here)
        await page.get_by_role("link", name="New version, or try one").click()
        await as_all_can(page)
        assert await page.locator("#energy").input_value() == "0.5"
        await page.locator("#energy").fill("cheap")
        await page.locator("#session").fill(record["session_id"])
        await page.get_by_role("button", name="Try it").click()
        await expect(page.locator("#energy-wrong")).to_be_visible()
        assert await page.locator("#session").input_value() == record["session_id"]
        await as_all_can(page)
        # 10 kWh at 0.50 before; at 0.40 and 1.00 for the session now.
        await page.locator("#energy").fill("0,40")
        await page.locator("#flat").fill("1")
        await page.get_by_role("button", name="Try it").click()
        await expect(page.locator("#difference")).to_have_text("\u20ac0.00")
        await expect(page.get_by_role("region", name="As it was billed")).to_contain_text("\u20ac5.00")
        await expect(page.get_by_role("region", name="As it would be")).to_contain_text("\u20ac4.00")
        await as_all_can(page)
        assert '"0.4"' in await page.locator("#terms").input_value()
        # The text counts once it is chosen; everything of OCPI can be said in it.
        await page.get_by_label("This text counts").check()
        terms = (
            '{"elements": [{"price_components": [{"type": "ENERGY", "price": "0.6"}]}], "max_price": "5.5"}'
        )
        await page.locator("#terms").fill(terms)
        await page.get_by_role("button", name="Try it").click()
        await expect(page.locator("#difference")).to_have_text("\u20ac0.50")
        assert len((await ok(await platform.http.get("/tariffs/day")))["versions"]) == 1
        await page.get_by_role("button", name="Publish it").click()
        await expect(page.get_by_role("alert")).to_contain_text("say that you are sure")
        await page.get_by_label("I am sure").check()
        await page.get_by_role("button", name="Publish it").click()
        await expect(page.get_by_role("heading", name="version 2")).to_be_visible()
        await told(
            platform.http,
            "/tariffs/day",
            lambda tariff: (
                [each["terms"].get("max_price") for each in tariff["versions"][1:]] == ["5.5"]
                and tariff["changed_by"] == "olga"
            ),
        )
        # What the fields cannot say is offered as text.
        await page.goto("/edit/tariff/day")
        await page.locator("#terms").fill(SCRIPT)
        await page.get_by_label("This text counts").check()
        await page.get_by_role("button", name="Try it").click()
        await expect(page.locator("#terms-wrong")).to_contain_text("This is no JSON.")
        assert await page.locator("#terms").input_value() == SCRIPT
    assert console.said == []


async def test_a_session_in_review_is_decided_where_it_is_shown(console: Console, platform: Platform) -> None:
    record = await in_review(platform, "decide-1")
    async with visit(console) as page:
        await signed_in(page)
        await page.goto(f"/sessions/{record['session_id']}")
        await as_all_can(page)
        await page.locator("#decision").select_option("adjust")
        await page.locator("#billed_wh").fill("12000")
        await page.get_by_role("button", name="Preview").click()
        await expect(page.locator("#reason-wrong")).to_be_visible()
        await page.locator("#reason").fill(SCRIPT)
        await page.locator("#billed_wh").fill("99000000")
        await page.get_by_role("button", name="Preview").click()
        await expect(page.locator("#billed_wh-wrong")).to_contain_text("More than was delivered")
        await page.locator("#billed_wh").fill("12000")
        await page.get_by_role("button", name="Preview").click()
        await expect(page.get_by_role("region", name="As it is")).to_contain_text("\u20ac5.00")
        then = page.get_by_role("region", name="As it would be")
        await expect(then).to_contain_text("\u20ac6.00")
        await as_all_can(page)
        await page.get_by_role("button", name="Decide it").click()
        await expect(page.locator("#decided")).to_contain_text("applied")
        await expect(page.locator("#decided")).to_contain_text(SCRIPT)
        await as_all_can(page)
        cdr = await cdr_of(platform, "decide-1", 2)
        assert (cdr["billed_wh"], cdr["amount_minor"], cdr["decided_by"]) == (12_000, 600, "olga")
    assert console.said == []
