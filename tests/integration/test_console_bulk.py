"""Bulk commands and the list of stations in a browser, on a real platform."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Page, expect

from libs.events.telemetry import StationStateChanged
from tests.browser.chromium import needs_chromium
from tests.integration.api_platform import api, ok, stamp
from tests.integration.device import device
from tests.integration.edge_process import edge
from tests.integration.test_api_round_trip import ledger, online
from tests.integration.test_console import SCRIPT, Console, console, faults_for_all, signed_in, visit
from tests.patience import WAIT_S, until

__all__ = ["api", "console"]

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    needs_chromium,
]

expect.set_options(timeout=WAIT_S * 1000)

ACCEPTS: Any = {"ChangeConfiguration": lambda _: {"status": "Accepted"}}
REJECTS: Any = {"ChangeConfiguration": lambda _: {"status": "Rejected"}}
INTERVAL = '[{"name": "MeterValueSampleInterval", "value": "30"}]'


async def as_all_can(page: Page) -> None:
    """Nothing on the page keeps people out, nor is it wider than the screen."""
    assert await faults_for_all(page) == [], page.url
    across = await page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert across <= 0, f"{page.url} is wider than the screen by {across} px"


async def test_a_configuration_goes_to_many_and_the_stubborn_one_is_asked_again(console: Console) -> None:
    async with (
        ledger(console.api),
        edge(console.api.settings, unknown_stations="accept") as process,
        device(process, "many-1", ACCEPTS, "ocpp1.6") as first,
        device(process, "many-2", ACCEPTS, "ocpp1.6") as second,
        device(process, "many-3", REJECTS, "ocpp1.6") as stubborn,
        visit(console, viewport={"width": 320, "height": 700}) as page,
    ):
        for each in ("many-1", "many-2", "many-3"):
            await online(console.api, each)
        await signed_in(page)

        async def all_here() -> bool:
            await page.goto("/stations?q=many-")
            return await page.get_by_role("checkbox", name="Choose many-").count() == 3

        await until(all_here)
        await as_all_can(page)
        # Nothing ticked is nobody, not everybody.
        await page.get_by_role("button", name="Bulk command to the ticked stations").click()
        await expect(page.get_by_role("alert")).to_have_text("No station is ticked. Tick some in the list.")
        await as_all_can(page)
        await page.go_back()
        for each in ("many-1", "many-2", "many-3"):
            await page.get_by_role("checkbox", name=f"Choose {each}").check()
        await page.get_by_role("button", name="Bulk command to the ticked stations").click()
        await expect(page.get_by_text("Stations: 3")).to_be_visible()
        await as_all_can(page)
        await page.get_by_role("link", name="SetVariables").first.click()
        await as_all_can(page)

        # What is wrong is told beside the field, and nothing typed is lost.
        await page.locator('[name="payload.values"]').fill(INTERVAL)
        await page.get_by_role("button", name="Preview").click()
        await expect(page.locator("#reason-wrong")).to_be_visible()
        assert await page.locator('[name="payload.values"]').input_value() == INTERVAL
        await as_all_can(page)
        await page.locator("#reason").fill("Shorter interval " + SCRIPT)
        await page.locator('[name="payload.values"]').fill('[{"name": 5}]')
        await page.get_by_role("button", name="Preview").click()
        await expect(page.get_by_role("alert")).to_contain_text("SetVariables")
        await page.locator('[name="payload.values"]').fill(INTERVAL)
        await page.get_by_role("button", name="Preview").click()
        await expect(page.get_by_text("It asks 3 of 3 stations and skips 0; 0 are offline.")).to_be_visible()
        await page.get_by_text("Station by station").click()
        await as_all_can(page)
        assert not first.of("ChangeConfiguration")
        await page.get_by_role("button", name="Send SetVariables to 3 stations").click()

        await page.wait_for_url("**/bulk/*")
        await expect(page.locator("#progress").get_by_text("FINISHED")).to_be_visible()
        await expect(page.get_by_text("3 of 3 stations are through")).to_be_visible()
        await expect(page.get_by_role("link", name="REJECTED 1")).to_be_visible()
        await expect(page.get_by_text(SCRIPT)).to_be_visible()

        async def told() -> bool:
            await page.reload()
            return await page.locator("#progress tbody").get_by_text("REJECTED", exact=True).count() == 1

        await until(told)
        await as_all_can(page)
        await page.get_by_role("link", name="REJECTED 1").click()
        await expect(page.locator("#progress tbody tr")).to_have_count(1)
        await expect(page.locator("#progress tbody")).to_contain_text("many-3")
        sent = [{"key": "MeterValueSampleInterval", "value": "30"}]
        assert [each.of("ChangeConfiguration") for each in (first, second, stubborn)] == [sent] * 3

        stubborn.answers.update(ACCEPTS)
        await page.get_by_role("button", name="Ask those again that did not accept").click()
        await expect(page.locator("#reason-wrong")).to_be_visible()
        await page.locator("#reason").fill("It was repaired")
        await page.get_by_role("button", name="Ask those again that did not accept").click()
        await expect(page.get_by_text("round 2")).to_be_visible()
        await expect(page.get_by_role("link", name="ACCEPTED 3")).to_be_visible(timeout=WAIT_S * 1000)
        assert stubborn.of("ChangeConfiguration") == sent * 2
        assert first.of("ChangeConfiguration") == sent
        await page.goto("/bulk")
        await expect(page.get_by_role("link", name="SetVariables")).to_be_visible()
        await as_all_can(page)
    assert console.said == []


async def test_an_action_is_given_for_each_version_and_a_filter_chooses(console: Console) -> None:
    await ok(await console.api.http.put("/stations/filter-1", json={}), 201)
    async with visit(console) as page:
        await signed_in(page)

        async def here() -> bool:
            await page.goto("/stations?q=filter-1")
            return await page.get_by_role("checkbox", name="Choose filter-1").count() == 1

        await until(here)
        await page.get_by_role("link", name="Bulk command to all that fit").click()
        await expect(page.get_by_text("q = filter-1")).to_be_visible()
        await (
            page.locator("section[aria-labelledby=ocpp]")
            .get_by_role("link", name="Reset", exact=True)
            .click()
        )
        await as_all_can(page)
        for part in ("v16", "v201", "v21"):
            await page.locator(f'[name="send.{part}"]').uncheck()
        await page.locator("#reason").fill("test")
        await page.get_by_role("button", name="Preview").click()
        await expect(page.get_by_role("alert")).to_contain_text("Choose at least one OCPP version.")
        await page.locator('[name="send.v16"]').check()
        await page.get_by_role("button", name="Preview").click()
        await expect(page.get_by_role("alert")).to_contain_text("type")
        await page.locator('[name="v16.type"]').select_option("Soft")
        await page.get_by_role("button", name="Preview").click()
        never = page.get_by_text("never connected: its OCPP version is not known")
        await expect(never.first).to_be_visible()
        await expect(page.get_by_role("button", name="Send Reset to")).to_have_count(0)
        await as_all_can(page)

        await page.context.clear_cookies()
        await signed_in(page, "vera")
        await page.goto("/stations?q=filter-1")
        await expect(page.get_by_role("button", name="Bulk command")).to_have_count(0)
        answer = await page.goto("/bulk/new/any/ClearCache?q=filter-1")
        assert answer is not None
        assert answer.status == 200
        await page.get_by_role("button", name="Preview").click()
        await expect(page.get_by_role("alert")).to_contain_text("this needs the permission command_bulk")
        await page.goto("/bulk")
        await expect(page.get_by_role("heading", name="Bulk commands")).to_be_visible()
    assert console.said == []


async def test_ticks_stay_while_the_list_is_redrawn(console: Console) -> None:
    await ok(await console.api.http.put("/stations/tick-2", json={}), 201)
    async with visit(console) as page:
        await signed_in(page)

        async def here() -> bool:
            await page.goto("/stations?q=tick-")
            return await page.get_by_role("checkbox", name="Choose tick-2").count() == 1

        await until(here)
        await page.get_by_role("checkbox", name="Choose tick-2").check()
        for name in ("tick-1", "tick-3"):
            state = StationStateChanged(**stamp(), station_id=name, connected=False, model=f"new {name}")
            await console.api.emit("telemetry.health", name, state)
            await expect(page.locator("tbody")).to_contain_text(f"new {name}")
        for name, is_ticked in (("tick-1", False), ("tick-2", True), ("tick-3", False)):
            box = page.get_by_role("checkbox", name=f"Choose {name}")
            await expect(box).to_be_checked(checked=is_ticked)
        await page.get_by_role("button", name="Bulk command to the ticked stations").click()
        await expect(page.get_by_text("Stations: 1")).to_contain_text("tick-2")
    assert console.said == []


async def test_a_list_has_the_columns_order_and_name_that_somebody_gave_it(console: Console) -> None:
    for name in ("alpha", "zeta"):
        await ok(await console.api.http.put(f"/stations/sorted-{name}", json={"name": name}), 201)
    for options in ({}, {"java_script_enabled": False}):
        async with visit(console, **options) as page:
            await signed_in(page)

            async def both_here(page: Page = page) -> bool:
                await page.goto("/stations?q=sorted-")
                return await page.locator("tbody tr").count() == 2

            await until(both_here)
            await page.get_by_text("Columns", exact=True).click()
            for column in ("Connectors", "Firmware", "OCPP", "Last change"):
                await page.locator("details").get_by_label(column, exact=True).uncheck()
            await page.get_by_role("button", name="Show").click()
            await expect(page.get_by_role("columnheader", name="Firmware")).to_have_count(0)
            await expect(page.get_by_role("columnheader", name="Model")).to_be_visible()
            heading = page.get_by_role("columnheader", name="Station")
            await expect(heading).to_have_attribute("aria-sort", "ascending")
            for order, first in (("descending", "zeta"), ("ascending", "alpha"), ("descending", "zeta")):
                await heading.get_by_role("link").click()
                await expect(heading).to_have_attribute("aria-sort", order)
                await expect(page.locator("tbody tr").first).to_contain_text(f"sorted-{first}")
            if not options:
                assert await faults_for_all(page) == []
            if not await page.get_by_label("Save this list as").is_visible():
                await page.get_by_text("Saved views").click()
            name = f"Mine {SCRIPT}" if options else "Mine"
            await page.get_by_label("Save this list as").fill(name)
            await page.get_by_role("button", name="Save").click()
            await expect(page.get_by_role("link", name=name, exact=True)).to_be_visible()
            await page.goto("/stations")
            await page.get_by_role("link", name=name, exact=True).click()
            await expect(page.locator("tbody tr").first).to_contain_text("sorted-zeta")
            await expect(page.get_by_role("columnheader", name="Firmware")).to_have_count(0)
            if not options:
                assert await faults_for_all(page) == []
            await page.get_by_role("button", name=f"Remove the view {name}", exact=True).click()
            await expect(page.get_by_role("link", name=name, exact=True)).to_have_count(0)
    # A view is its owner's alone.
    async with visit(console) as page:
        await signed_in(page)
        await page.goto("/stations")
        await page.get_by_text("Saved views").click()
        await page.get_by_label("Save this list as").fill("Olga's")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("link", name="Olga's")).to_be_visible()
        view = await page.locator('[name="view"]').input_value()
        await page.context.clear_cookies()
        await signed_in(page, "vera")
        await page.goto("/stations")
        await expect(page.get_by_role("link", name="Olga's")).to_have_count(0)
        token = await page.locator('form[action="/sign-out"] [name="_form"]').input_value()
        answer = await page.context.request.post(
            f"{console.url}/views/remove",
            form={"_form": token, "view": view},
            headers={"origin": console.url},
        )
        assert answer.status == 404
        answer = await page.context.request.post(
            f"{console.url}/views/remove", form={"_form": "x", "view": view}, headers={"origin": console.url}
        )
        assert answer.status == 422
    assert console.said == []
