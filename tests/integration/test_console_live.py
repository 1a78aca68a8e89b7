"""Pages that keep up with the log, in a browser on a real platform."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Final

import httpx
import pytest
from playwright.async_api import Page, expect
from prometheus_client import REGISTRY

from libs.bus.settings import BusSettings
from libs.clickhouse.settings import ClickHouseSettings
from libs.devstack.endpoints import free_ports
from libs.events.telemetry import ConnectorState, StationStateChanged
from libs.runtime.clock import now_us
from services.console.web.visitors import COOKIE
from tests.browser.chromium import needs_chromium
from tests.integration.api_platform import Platform, api, session_ended, session_started, stamp
from tests.integration.service_process import ServiceProcess
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

expect.set_options(timeout=WAIT_S * 1000)

TABS: Final = 8
"""More than the six connections that browsers allow to a host."""


async def told(api: Platform, station_id: str, firmware: str, status: str = "Available") -> None:
    """A station says something new of itself."""
    connector = ConnectorState(evse_id=1, connector_id=1, status=status, error_code="NoError", since=now_us())
    state = StationStateChanged(
        **stamp(),
        station_id=station_id,
        connected=True,
        version="ocpp1.6",
        firmware_version=firmware,
        connectors=(connector,),
    )
    await api.emit("telemetry.health", station_id, state)

    async def known() -> bool:
        answer = await api.http.get(f"/stations/{station_id}/state")
        return answer.status_code == 200 and answer.json()["firmware_version"] == firmware

    await until(known)


async def is_live(page: Page) -> None:
    await expect(page.locator("#live-state")).to_have_attribute("data-state", "live")


async def opened(console: Console, page: Page, path: str) -> None:
    """The page, once this console's process knows what it is of, and it is live."""

    async def there() -> bool:
        answer = await page.goto(path)
        return answer is not None and answer.status == 200

    await until(there)
    await is_live(page)


async def test_eight_tabs_of_a_browser_share_one_stream_and_are_all_live(console: Console) -> None:
    await told(console.api, "tabs-1", "v1")
    async with visit(console) as page:
        await signed_in(page)
        pages = [page, *[await page.context.new_page() for _ in range(TABS - 1)]]
        paths = ["/stations?q=tabs-1", "/stations/tabs-1"] * (TABS // 2)
        for each, path in zip(pages, paths, strict=True):
            await opened(console, each, path)
        for each in pages:
            await is_live(each)

        async def one() -> bool:
            return REGISTRY.get_sample_value("voltbus_api_stream_clients") == 1

        await until(one)
        await told(console.api, "tabs-1", "v2")
        # A tab that nobody looks at fetches nothing until somebody does.
        for each in pages:
            await each.bring_to_front()
            await expect(each.locator("main")).to_contain_text("v2")
            await is_live(each)
        assert await faults_for_all(page) == []
    assert console.said == []


async def test_a_swap_keeps_focus_place_what_is_open_and_what_was_typed(console: Console) -> None:
    for number in range(40):
        await told(console.api, f"keep-{number:02}", "v1")
    async with visit(console, viewport={"width": 900, "height": 500}) as page:
        await signed_in(page)
        await opened(console, page, "/stations?q=keep-")
        link = page.get_by_role("link", name="keep-30")
        await link.focus()
        await page.get_by_label("Search").evaluate("each => { each.value = 'half a wo'; }")
        assert await page.evaluate("window.scrollY") > 0
        await expect(link).to_be_in_viewport()
        await told(console.api, "keep-30", "<b>v2</b>", "Faulted")
        await expect(page.locator("#station-keep-30")).to_contain_text("<b>v2</b>")
        await expect(page.locator("#station-keep-30")).to_contain_text("Faulted")
        await expect(link).to_be_focused()
        # Rows above it may have grown.
        await expect(link).to_be_in_viewport()
        assert await page.get_by_label("Search").input_value() == "half a wo"
        assert await faults_for_all(page) == []
    assert console.said == []


async def test_the_timeline_and_the_sessions_show_what_happens(console: Console) -> None:
    await told(console.api, "line-1", "v1")
    begun = now_us()
    started = session_started("line-1", "3f0c5a3e-6f3a-5d0e-9d5e-6a1d3a5f0c11", begun, SCRIPT)
    async with visit(console) as page:
        await signed_in(page)
        sessions = await page.context.new_page()
        await opened(console, page, "/stations/line-1/timeline")
        await opened(console, sessions, "/sessions?station_id=line-1")
        await console.api.emit("sessions.events", "line-1", started)
        await expect(sessions.locator("tbody tr")).to_have_count(1)
        await expect(sessions.locator("tbody")).to_contain_text("running")
        await page.bring_to_front()
        await expect(page.locator(".timeline")).to_contain_text("SessionStarted")
        await page.goto(f"/sessions/{started.session_id}")
        await is_live(page)
        await expect(page.locator("main")).to_contain_text("running")
        await console.api.emit("sessions.events", "line-1", session_ended(started, now_us()))
        await expect(page.locator("main")).to_contain_text("ended")
        assert await faults_for_all(page) == []
    assert console.said == []


async def test_pause_holds_still_is_remembered_and_needs_no_mouse(console: Console) -> None:
    await told(console.api, "still-1", "v1")
    async with visit(console) as page:
        await signed_in(page)
        await opened(console, page, "/stations/still-1")
        fetched: list[str] = []
        page.on("request", lambda request: fetched.append(request.url))
        await page.get_by_role("button", name="Pause").focus()
        await page.keyboard.press("Space")
        await expect(page.locator("#live-state")).to_have_attribute("data-state", "paused")
        await expect(page.locator("#live-said")).to_contain_text("Paused")
        other = await page.context.new_page()
        await other.goto("/stations?q=still-1")
        await expect(other.locator("#live-state")).to_have_attribute("data-state", "paused")
        await told(console.api, "still-1", "v2")
        await other.close()
        await page.reload()
        await expect(page.locator("#live-state")).to_have_attribute("data-state", "paused")
        await expect(page.locator("main")).to_contain_text("v2")
        fetched.clear()
        await told(console.api, "still-1", "v3")
        await page.keyboard.press("Tab")
        await expect(page.locator("main")).not_to_contain_text("v3")
        assert fetched == []
        await page.get_by_role("button", name="Pause").press("Enter")
        await expect(page.locator("main")).to_contain_text("v3")
        await is_live(page)
    assert console.said == []


async def test_a_busy_station_costs_a_fetch_a_second_at_most(console: Console) -> None:
    await told(console.api, "busy-1", "v0")
    async with visit(console) as page:
        await signed_in(page)
        await opened(console, page, "/stations?q=busy-1")
        for number in range(1, 60):
            await told(console.api, "busy-1", f"v{number}")
        await expect(page.locator("#station-busy-1")).to_contain_text("v59")
        fetched: list[list[float]] = await page.evaluate(
            "performance.getEntriesByType('resource').filter(each => each.initiatorType === 'fetch')"
            ".map(each => [each.startTime, each.responseEnd])"
        )
        assert fetched
        # Never two at once. Browsers round their clocks.
        assert all(after[0] >= before[1] - 1 for before, after in pairwise(fetched)), fetched
        seconds = (fetched[-1][0] - fetched[0][0]) / 1000
        assert len(fetched) <= 1.25 * seconds + 2, fetched


async def test_a_console_that_is_killed_is_missed_and_when_it_is_back_nothing_is(console: Console) -> None:
    await told(console.api, "kill-1", "v1")
    settings = console.api.settings
    (port,) = free_ports(1)
    process = ServiceProcess(
        "console",
        settings.model_copy(),
        **settings.model_dump(
            include=set(ClickHouseSettings.model_fields) - set(BusSettings.model_fields)
            | {"settle_s", "state_refresh_s", "least_security_profile"}
        ),
        console_port=port,
    )
    process.start()
    try:
        await until(lambda: asyncio.to_thread(process.is_ready))
        async with visit(console, base_url=f"http://localhost:{port}") as page:
            await signed_in(page)
            tabs = [page, *[await page.context.new_page() for _ in range(2)]]
            for tab in tabs:
                await opened(console, tab, "/stations/kill-1")
            process.kill()
            badge = page.locator("#live-state")
            await page.bring_to_front()
            await expect(badge).to_have_attribute("data-state", "down")
            await expect(badge).to_contain_text("Not live, as of")
            await expect(page.locator("#live-said")).to_contain_text("Not live")
            await told(console.api, "kill-1", "v2")
            process.start()
            await until(lambda: asyncio.to_thread(process.is_ready))
            for tab in tabs:
                await tab.bring_to_front()
                await expect(tab.locator("main")).to_contain_text("v2")
                await is_live(tab)
            await told(console.api, "kill-1", "v3")
            for tab in tabs:
                await tab.bring_to_front()
                await expect(tab.locator("main")).to_contain_text("v3")
    finally:
        process.kill()


async def test_signing_out_elsewhere_ends_the_stream_and_the_page_leaves(console: Console) -> None:
    await told(console.api, "out-1", "v1")
    async with visit(console) as page, visit(console) as elsewhere:
        await signed_in(page)
        await opened(console, page, "/stations/out-1")
        await signed_in(elsewhere)
        await elsewhere.get_by_role("button", name="Sign out everywhere").click()
        await page.wait_for_url("**/sign-in*")


async def frames_of(lines: AsyncIterator[str], many: int) -> list[tuple[str, str]]:
    """The first so many events, as kind and data; comments and heartbeats are left out."""
    found: list[tuple[str, str]] = []
    kind = ""
    async for line in lines:
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
        elif line.startswith("data: ") and kind != "alive":
            found.append((kind, line.removeprefix("data: ")))
            if len(found) == many:
                break
    return found


@asynccontextmanager
async def signed_in_client(console: Console, name: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the cookie of a sign-in."""
    async with httpx.AsyncClient(base_url=console.url, timeout=WAIT_S) as client:
        answer = await client.post(
            "/sign-in", data={"name": name, "password": PASSWORD}, headers={"sec-fetch-site": "same-origin"}
        )
        token = re.search(rf"{COOKIE}=([^;]+)", answer.headers["set-cookie"])
        assert token is not None
        # The cookie is Secure: this client would keep it to itself.
        client.headers["Cookie"] = f"{COOKIE}={token[1]}"

        async def taken() -> bool:
            return (await client.get("/stations")).status_code == 200

        await until(taken)
        yield client


async def test_the_stream_tells_what_was_asked_for_only_and_goes_on_where_it_broke(console: Console) -> None:
    await told(console.api, "wire-1", "v1")
    await told(console.api, "wire-2", "v1")
    async with signed_in_client(console, "vera") as http:
        for query in ("", "part=", "part=%00", "part=Station/x", "&".join(["part=a"] * 100)):
            assert (await http.get(f"/live?{query}")).status_code == 422, query
        async with http.stream("GET", "/live?part=station/wire-1") as response:
            assert response.status_code == 200
            assert response.headers["content-type"].startswith("text/event-stream")
            assert response.headers["x-accel-buffering"] == "no"
            place = ""
            lines = response.aiter_lines()
            async for line in lines:
                if line.startswith("id: "):
                    place = line.removeprefix("id: ")
                if line.startswith("data: "):
                    break  # All of the first event, `hello`, is read.
            assert place
            await told(console.api, "wire-2", SCRIPT)
            await told(console.api, "wire-1", "v2")
            assert await frames_of(lines, 1) == [("changed", '["station/wire-1"]')]
        again = {"Last-Event-ID": place}
        async with http.stream("GET", "/live?part=station/wire-1", headers=again) as response:
            assert (await frames_of(response.aiter_lines(), 2))[1] == ("changed", '["station/wire-1"]')
        for unknown in ("0-0", "another-process-1", "\u0661"):
            path = f"/live?part=stations&after={unknown}"
            async with http.stream("GET", path) as response:
                assert (await frames_of(response.aiter_lines(), 2))[1][0] == "reload", unknown


async def test_nobody_listens_without_a_sign_in_and_one_account_has_so_many_streams(console: Console) -> None:
    async with httpx.AsyncClient(base_url=console.url, timeout=WAIT_S) as http:
        assert (await http.get("/live?part=stations")).status_code == 303
    async with signed_in_client(console, "vera") as http:
        most = console.api.settings.stream_clients_per_key
        streams = []
        for _ in range(most):
            request = http.build_request("GET", "/live?part=stations")
            streams.append(await http.send(request, stream=True))
        assert {each.status_code for each in streams} == {200}
        assert (await http.get("/live?part=stations")).status_code == 429
        for each in streams:
            await each.aclose()

        async def free() -> bool:
            async with http.stream("GET", "/live?part=stations") as response:
                return response.status_code == 200

        await until(free)
