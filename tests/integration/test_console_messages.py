"""Messages of a station in the console: found, read beside what was understood, kept as a test case, sent again."""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import urlencode

import pytest
from playwright.async_api import Page, expect

from libs.runtime.service import Health
from services.console.app import serving
from services.console.settings import ConsoleSettings
from tests.browser.chromium import needs_chromium
from tests.integration.api_platform import api
from tests.integration.device import device
from tests.integration.edge_process import edge
from tests.integration.test_api_round_trip import ledger, online
from tests.integration.test_console import Console, console, faults_for_all, signed_in, visit
from tests.patience import until

__all__ = ["api", "console"]

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    needs_chromium,
]

TURNED: Final = "gnp\N{RIGHT-TO-LEFT OVERRIDE}<script>alert(1)</script>"
"""A text that means no good."""


async def found(page: Page, station_id: str, count: int, **wanted: str) -> None:
    """Show the messages that fit, once there are so many."""

    async def stored() -> bool:
        await page.goto(f"/stations/{station_id}/messages?{urlencode(wanted)}")
        return await page.locator(".messages > li").count() == count

    await until(stored)


async def opened(page: Page) -> None:
    """The page of the first message of the list."""
    await page.locator(".messages summary").first.click()
    await page.get_by_role("link", name="What was understood").first.click()
    await expect(page.get_by_role("heading", name="As it was sent")).to_be_visible()


async def told(page: Page, section: str) -> str:
    return await page.locator(f"section[aria-labelledby={section}]").inner_text()


async def test_a_message_is_found_and_read_beside_what_was_understood(console: Console) -> None:
    async with (
        ledger(console.api),
        edge(console.api.settings) as process,
        device(
            process, "said-16", {"ChangeConfiguration": lambda _: {"status": "Accepted"}}, "ocpp1.6"
        ) as charger,
        visit(console) as page,
    ):
        await online(console.api, "said-16")
        await charger.call(
            "StatusNotification",
            {"connectorId": 1, "status": "available", "errorCode": "NoError", "info": TURNED},
        )
        broken = await charger.call("StatusNotification", {"connectorId": "one", "errorCode": TURNED})
        assert broken[0] == 4
        await charger.call("Authorize", {"idTag": "CARD-99"})
        await signed_in(page)

        # What a charger misspelt is repaired, and the page says where.
        await found(
            page,
            "said-16",
            1,
            q="gnp",
            error="",
            action="StatusNotification",
            outcome="ANSWERED",
            period="10y",
        )
        await opened(page)
        assert await faults_for_all(page) == []
        assert '"status":"available"' in await told(page, "raw")
        assert "\\u202e" in await told(page, "raw")
        assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in await page.locator("body").inner_text()
        assert "ConnectorStatusReported" in await told(page, "understood")
        assert "/status" in await told(page, "faults")
        repairs = await told(page, "repairs")
        assert "enum_spelling" in repairs
        assert '"available"' in repairs
        assert '"Available"' in repairs

        # What could not be repaired says why, by its place.
        await found(page, "said-16", 1, direction="from station", outcome="REJECTED")
        await opened(page)
        faults = await told(page, "faults")
        assert "/connectorId" in faults
        assert "ConstraintViolation" in faults

        await found(page, "said-16", 1, action="Authorize")
        await opened(page)
        async with page.expect_download() as started:
            await page.get_by_role("link", name="Copy as test case").click()
        kept = json.loads((await (await started.value).path()).read_text())
        assert kept["payload"] == {"idTag": "CARD-99"}
        assert kept["answer"]["idTagInfo"]["status"]
        await found(page, "said-16", 0, action="Authorize", direction="to station", period="1y")
    assert console.said == []


async def test_a_command_is_edited_and_sent_again(console: Console) -> None:
    async with (
        ledger(console.api),
        edge(console.api.settings) as process,
        device(
            process, "twice-16", {"ChangeConfiguration": lambda _: {"status": "Accepted"}}, "ocpp1.6"
        ) as charger,
        visit(console) as page,
    ):
        await online(console.api, "twice-16")
        await signed_in(page)

        async def here() -> bool:
            answer = await page.goto("/stations/twice-16/command/ocpp/ChangeConfiguration")
            return answer is not None and answer.status == 200

        await until(here)
        await page.locator("[name=key]").fill("HeartbeatInterval")
        await page.locator("[name=value]").fill("300")
        await page.get_by_role("button", name="Send").click()
        await expect(page.locator("#fate")).to_contain_text("ACCEPTED")
        await found(page, "twice-16", 1, action="ChangeConfiguration", direction="to station", q="300")
        await expect(page.locator(".messages summary")).to_contain_text("ms")
        await opened(page)
        effects = await told(page, "causes")
        assert "DispatchCommand" in effects
        assert "RequestCommand" in effects
        await page.get_by_role("link", name="Edit and send again").click()
        assert await page.locator("[name=key]").input_value() == "HeartbeatInterval"
        await page.locator("[name=value]").fill("600")
        await page.get_by_role("button", name="Send").click()
        await expect(page.locator("#fate")).to_contain_text("ACCEPTED")
        assert [each["value"] for each in charger.of("ChangeConfiguration")][-2:] == ["300", "600"]


async def test_who_may_not_read_frames_sees_none_and_no_way_around(console: Console) -> None:
    async with visit(console) as page:
        await signed_in(page, "vera")
        for path in (
            "/stations/hostile/messages/0",
            "/stations/hostile/messages/0/test-case.json",
            "/stations/hostile/command/ocpp/Reset?like=0",
        ):
            answer = await page.goto(path)
            assert answer is not None
            assert answer.status == 403, path
        for path in (
            "/stations/hostile/events/0",
            "/stations/nobody/events/0",
            f"/stations/hostile/events/{TURNED}",
        ):
            answer = await page.goto(path)
            assert answer is not None
            assert answer.status == 404, path


async def test_without_clickhouse_no_message_is_shown_and_that_is_said(console: Console) -> None:
    settings: Any = ConsoleSettings.model_validate(
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
        past = ("?at=2026-05-01T00:00:00Z", "/why/connector?name=1.1")
        for path in ("/messages", "/messages/0", "/events/0", *past):
            answer = await page.goto(f"/stations/hostile{path}")
            assert answer is not None
            assert answer.status == 503, path
