"""Configuration of chargers, dead letters, accounts and keys in the console, in a browser, on a real platform."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from libs.bus.reading import read_to_end
from libs.events.dead_letters import RecordDeadLettered
from tests.browser.chromium import needs_chromium
from tests.integration.api_platform import Json, api, gone, ok, stamp, told
from tests.integration.device import device
from tests.integration.edge_process import edge
from tests.integration.test_api_round_trip import ledger, online
from tests.integration.test_console import PASSWORD, SCRIPT, TURNED, Console, console, signed_in, visit
from tests.integration.test_console_forms import as_all_can
from tests.patience import until

__all__ = ["api", "console"]

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    needs_chromium,
]


async def test_what_a_stubborn_charger_does_with_its_configuration_is_seen(console: Console) -> None:
    keys = {
        "HeartbeatInterval": "300",
        "MeterValueSampleInterval": "60",
        "ConnectionTimeOut": "30",
        "NumberOfConnectors": "2",
        SCRIPT: TURNED,
    }
    words = {"ConnectionTimeOut": "RebootRequired"}

    def configuration(payload: Json) -> Json:
        known = [
            {"key": key, "readonly": key == "NumberOfConnectors", "value": keys[key]}
            for key in payload.get("key", list(keys))
        ]
        return {"configurationKey": known}

    def change(payload: Json) -> Json:
        if payload["key"] == "HeartbeatInterval":
            keys[payload["key"]] = payload["value"]
        return {"status": words.get(payload["key"], "Accepted")}

    answers = {"GetConfiguration": configuration, "ChangeConfiguration": change}
    async with (
        ledger(console.api),
        edge(console.api.settings) as process,
        device(process, "stubborn", answers, "ocpp1.6") as charger,
        visit(console) as page,
    ):
        await online(console.api, "stubborn")
        await signed_in(page)

        async def known_here() -> bool:
            answer = await page.goto("/stations/stubborn/configuration")
            return answer is not None and answer.ok

        await until(known_here)
        await as_all_can(page)
        await page.get_by_role("button", name="Read it anew").click()
        await expect(page.get_by_text("It was asked.")).to_be_visible()

        async def listed() -> bool:
            await page.goto("/stations/stubborn/configuration")
            return await page.get_by_label("HeartbeatInterval").count() == 1

        await until(listed)
        await as_all_can(page)
        await expect(page.locator("table")).to_contain_text(SCRIPT)
        await expect(page.get_by_role("row", name="NumberOfConnectors")).to_contain_text("read only")
        # What is wrong is not sent, and what was typed stays.
        await page.get_by_label("HeartbeatInterval").fill("soon")
        await page.get_by_label("ConnectionTimeOut").fill("45")
        await page.get_by_role("button", name="Send what differs").click()
        await expect(page.get_by_role("alert")).to_contain_text("A whole number is needed.")
        await page.get_by_role("alert").get_by_role("link", name="HeartbeatInterval").click()
        await expect(page.get_by_label("HeartbeatInterval")).to_be_focused()
        assert await page.get_by_label("ConnectionTimeOut").input_value() == "45"
        assert charger.of("ChangeConfiguration") == []
        await as_all_can(page)
        await page.get_by_label("HeartbeatInterval").fill("120")
        await page.get_by_label("MeterValueSampleInterval").fill("15")
        await page.get_by_role("button", name="Send what differs").click()
        result = page.get_by_role("region", name="What became of it").or_(
            page.locator("section[role=status]")
        )
        await expect(result.get_by_role("row", name="HeartbeatInterval 120")).to_contain_text("taken")
        stubborn = result.get_by_role("row", name="MeterValueSampleInterval 15")
        await expect(stubborn).to_contain_text("not taken")
        await expect(stubborn).to_contain_text("60")
        await expect(result.get_by_role("row", name="ConnectionTimeOut")).to_contain_text("needs reboot")
        assert len(charger.of("ChangeConfiguration")) == 3
        await as_all_can(page)
        await page.goto("/stations/stubborn/configuration?q=heart")
        await expect(page.locator("tbody tr")).to_have_count(1)
        await signed_in(page, "vera")
        await page.goto("/stations/stubborn/configuration")
        await expect(page.get_by_text("needs the permission command_disruptive")).to_be_visible()
        await expect(page.get_by_role("button", name="Send what differs")).to_have_count(0)
    assert console.said == []


async def test_a_dead_letter_is_looked_at_and_written_back(console: Console) -> None:
    letter = RecordDeadLettered(
        **stamp(),
        record_key="cp",
        processor="telemetry",
        source_topic="telemetry.health",
        source_partition=1,
        source_offset=7,
        error_type="ValueError",
        error=SCRIPT,
        key=b"cp",
        value=b"\x00not avro\xff",
    )
    await console.api.emit("telemetry.health.dead", "cp", letter)
    async with visit(console) as page:
        await signed_in(page)

        async def stored() -> bool:
            answer = await page.goto(f"/dead-letters/{letter.event_id}")
            return answer is not None and answer.ok

        await until(stored)
        await expect(page.locator("main")).to_contain_text(SCRIPT)
        await expect(page.locator("pre")).to_contain_text("00 6e 6f 74 20 61 76 72 6f ff")
        await expect(page.locator("main")).to_contain_text("telemetry.health/1/7")
        await as_all_can(page)
        await page.get_by_role("link", name="Write it back").click()
        await expect(page.get_by_text("This cannot be undone.")).to_be_visible()
        await as_all_can(page)
        await page.get_by_role("button", name="Write it back now").click()
        await expect(page.get_by_role("status")).to_contain_text("It was written back to telemetry.health")
        await as_all_can(page)
        values = [
            record.value
            async for record in read_to_end(console.api.settings, "telemetry.health")
            if record.partition == 1
        ]
        assert values.count(letter.value) == 1
        await page.goto("/dead-letters")
        await page.locator(".messages summary").first.click()
        await page.get_by_role("link", name="Look at it, or write it back").first.click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("Dead letter")
        answer = await page.goto("/dead-letters/nothing")
        assert answer is not None
        assert answer.status == 404
        await signed_in(page, "vera")
        for path in (f"/dead-letters/{letter.event_id}", f"/dead-letters/{letter.event_id}/replay"):
            answer = await page.goto(path)
            assert answer is not None
            assert answer.status == 403
    assert console.said == []


async def test_accounts_and_keys_are_made_changed_and_ended(console: Console) -> None:
    async with visit(console, viewport={"width": 320, "height": 700}) as page, visit(console) as other:
        await signed_in(page)
        await page.goto("/accounts")
        await as_all_can(page)
        await page.locator("#account_id").fill("api")
        await page.locator("#display_name").fill(SCRIPT)
        await page.locator("#role0").select_option("support")
        await page.get_by_role("button", name="Make the account").click()
        await expect(page.locator("#account_id-wrong")).to_be_visible()
        assert await page.locator("#display_name").input_value() == SCRIPT
        assert await page.locator("#role0").input_value() == "support"
        await as_all_can(page)
        await page.locator("#account_id").fill("sam")
        await page.locator("#password").fill(PASSWORD)
        await page.get_by_role("button", name="Make the account").click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("sam")
        await as_all_can(page)
        await signed_in(other, "sam")
        await other.goto("/sign-ins")
        await expect(other.locator("tbody tr")).to_have_count(1)
        await as_all_can(other)
        # Whoever changed it meanwhile is not written over unseen.
        grants = [{"role": "viewer"}, {"role": "support"}]
        await ok(await console.api.http.patch("/accounts/sam", json={"grants": grants}))

        async def learnt() -> bool:
            answer = await page.context.request.get(f"{console.url}/accounts/sam")
            return (await answer.text()).count("selected>viewer") == 1

        await until(learnt)
        await page.locator("#disabled").select_option("true")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_text("Now it has these roles:")).to_be_visible()
        assert await page.locator("#disabled").input_value() == "true"
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("status")).to_contain_text("Done.")
        await told(
            console.api.http,
            "/accounts/sam",
            lambda found: (
                (found["disabled"], [each["role"] for each in found["grants"]]) == (True, ["support"])
            ),
        )

        async def out() -> bool:
            await other.goto("/stations")
            return "/sign-in" in other.url

        await until(out)
        await page.get_by_role("button", name="Remove the account").click()
        await expect(page.get_by_role("alert")).to_contain_text("say that you are sure")
        await page.get_by_label("I am sure").check()
        await page.get_by_role("button", name="Remove the account").click()
        await page.wait_for_url("**/accounts")
        await gone(console.api.http, "/accounts/sam")

        await page.goto("/keys")
        await page.locator("#name").fill("robot")
        await page.locator("#note").fill(SCRIPT)
        await page.get_by_role("button", name="Make the key").click()
        await expect(page.get_by_role("alert")).to_be_visible()
        assert await page.locator("#note").input_value() == SCRIPT
        await page.locator("#role0").select_option("viewer")
        await page.get_by_role("button", name="Make the key").click()
        key = await page.locator("#key-made").inner_text()
        await as_all_can(page)
        headers = {"Authorization": f"Bearer {key}"}

        async def taken() -> bool:
            return (await console.api.http.get("/stations", headers=headers)).status_code == 200

        async def refused() -> bool:
            return (await console.api.http.get("/stations", headers=headers)).status_code == 401

        await until(taken)
        await page.goto("/keys")
        await expect(page.locator("body")).not_to_contain_text(key)
        await page.get_by_role("link", name="Revoke the key of robot").click()
        await as_all_can(page)
        await page.get_by_role("button", name="Revoke it").click()
        await expect(page.locator("tbody")).to_contain_text("revoked")
        await until(refused)
        await signed_in(page, "vera")
        for path in ("/accounts", "/keys", "/accounts/olga"):
            answer = await page.goto(path)
            assert answer is not None
            assert answer.status == 403
    assert console.said == []
