"""A station as it was: what the live page said at each moment of a day is what its past says of that moment."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
import pytest
from playwright.async_api import Page, expect

from libs.bus.runtime_transactional import TransactionalRuntime
from libs.events.ids import derive_id
from libs.events.load import Allocation, LoadPlanMade
from libs.events.ocpp_log import OcppCallReceived, StationLocated
from libs.events.record import Record
from libs.events.registry import Assignment, SiteRegistered, StationRegistered
from libs.events.stations import CapabilitiesLearned, KnownVariable
from libs.events.topics import (
    EDGE_CONNECTIONS,
    LOAD_PLANS,
    OCPP_LIFECYCLE,
    OCPP_TRANSACTIONS,
    REGISTRY_SITES,
    REGISTRY_STATIONS,
    STATIONS_CAPABILITIES,
)
from libs.runtime.clock import micros, moment_of, now_us
from services.sessions.domain.processor import SessionsProcessor
from services.telemetry.domain.health.processor import HealthProcessor
from tests.browser.chromium import needs_chromium
from tests.integration.api_platform import Platform, api, ok
from tests.integration.test_console import SCRIPT, Console, console, faults_for_all, signed_in, visit
from tests.patience import until
from tests.unit.sessions.exchanges import DAY, HOUR, MINUTE, SECOND, exchange, meter16, start16, stop16
from tests.unit.sessions.signs import status16

__all__ = ["api", "console"]

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    needs_chromium,
]

STATION: Final = "past-1"
SITE: Final = "yard"
TURNED: Final = "ACME\N{RIGHT-TO-LEFT OVERRIDE}<b>"
MORNING: Final = now_us() // DAY * DAY - 3 * DAY
SECTIONS: Final = ("evses", "identity", "sessions")

Step = tuple[str, Record, str]
"""A topic, what is told there, and what the live page says only after that."""


def envelope(at: int, name: str) -> dict[str, Any]:
    event_id = derive_id(f"{at}", name)
    return {"event_id": event_id, "cause_id": event_id, "occurred_at": at, "recorded_at": at}


def located(at: int, *, connected: bool) -> StationLocated:
    return StationLocated(
        **envelope(at, "located"), station_id=STATION, edge_id="edge-7", slot=0, connection_epoch=1,
        version="ocpp1.6", connected=connected, remote_address="192.0.2.7",
    )  # fmt: skip


def boot(at: int, firmware: str) -> OcppCallReceived:
    payload = {"chargePointVendor": TURNED, "chargePointModel": "One", "firmwareVersion": firmware}
    return exchange("BootNotification", payload, at=at, answer={"status": "Accepted"})


def plan(at: int, number: int, current_ma: int) -> LoadPlanMade:
    share = Allocation(station_id=STATION, evse_id=1, transaction_id="1", current_ma=current_ma)
    return LoadPlanMade(
        **envelope(at, "plan"),
        site_id=SITE,
        plan_no=number,
        limit_ma=63_000,
        allocations=(share,),
        waiting=0,
    )


def learned(at: int, value: str) -> CapabilitiesLearned:
    known = (KnownVariable(name="MaxChargingProfiles", value=value),)
    return CapabilitiesLearned(
        **envelope(at, "learned"),
        station_id=STATION,
        version="ocpp1.6",
        lacking=("Reservation",),
        variables=known,
    )


def day() -> list[Step]:
    at = [MORNING + number * 30 * MINUTE for number in range(20)]
    return [
        (EDGE_CONNECTIONS, located(at[0], connected=True), "192.0.2.7"),
        (OCPP_LIFECYCLE, boot(at[1], "fw-1.0"), "fw-1.0"),
        (STATIONS_CAPABILITIES, learned(at[2], "4"), ""),
        (OCPP_LIFECYCLE, status16("Preparing", at[3]), "Preparing"),
        (OCPP_TRANSACTIONS, start16(1, at[4], 1_000), "running"),
        (OCPP_LIFECYCLE, status16("Charging", at[5]), "Charging"),
        (LOAD_PLANS, plan(at[6], 1, 16_000), "16 A"),
        (OCPP_TRANSACTIONS, meter16(1, at[7], 4_500), "3.500 kWh"),
        (LOAD_PLANS, plan(at[8], 2, 8_000), "8 A"),
        (OCPP_TRANSACTIONS, stop16(1, at[9], 9_000), "8.000 kWh"),
        (STATIONS_CAPABILITIES, learned(at[10], "9"), ""),
        (OCPP_LIFECYCLE, boot(at[11], "fw-2.0"), "fw-2.0"),
        (OCPP_LIFECYCLE, status16("Faulted", at[12]), "Faulted"),
        (EDGE_CONNECTIONS, located(at[13], connected=False), "offline"),
    ]


@asynccontextmanager
async def processing(api: Platform) -> AsyncIterator[None]:
    stop = asyncio.Event()
    running = [
        asyncio.create_task(TransactionalRuntime(api.bus, SessionsProcessor()).run(stop)),
        asyncio.create_task(TransactionalRuntime(api.bus, HealthProcessor()).run(stop)),
    ]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*running)


async def tell(api: Platform, topic: str, record: Record) -> int:
    """Write it as a record of the station; when it was recorded."""
    if isinstance(record, OcppCallReceived):
        event_id = derive_id(record.event_id, STATION)
        record = msgspec.structs.replace(record, station_id=STATION, event_id=event_id, cause_id=event_id)
    key = SITE if topic == LOAD_PLANS else STATION
    await api.emit(topic, key, record)
    return record.recorded_at


async def facts(page: Page) -> str:
    """What the page says of the station, as people read it."""
    head = await page.locator("h1 + p").inner_text()
    parts = [await page.locator(f"section[aria-labelledby={name}]").inner_text() for name in SECTIONS]
    return "\n".join([head, *parts])


async def looked_at(page: Page, at: int, **more: str) -> str:
    await page.goto(f"/stations/{STATION}?{urlencode({'at': moment_of(at).isoformat(), **more})}")
    await expect(page.locator("#past-moment")).to_contain_text("not live")
    return await facts(page)


async def test_the_past_of_every_moment_is_what_the_live_page_said_then(console: Console) -> None:
    api = console.api
    sites = (Assignment(id=SITE, valid_from=MORNING - DAY),)
    long_ago = {"valid_from": moment_of(MORNING - DAY).isoformat()}
    tariff = {"tariff_id": "day", "currency": "EUR", "price_per_kwh_milli": 50_000, **long_ago}
    await ok(await api.http.post("/tariffs", json=tariff), 201)
    tariffs = (Assignment(id="day", valid_from=MORNING - DAY),)
    site = SiteRegistered(**envelope(MORNING - HOUR, "site"), site_id=SITE, name="Yard", tariffs=tariffs)
    await api.emit(REGISTRY_SITES, SITE, site)
    registered = StationRegistered(**envelope(MORNING - HOUR, "registered"), station_id=STATION, sites=sites)
    await api.emit(REGISTRY_STATIONS, STATION, registered)
    said: list[tuple[int, str]] = []
    async with processing(api), visit(console) as page:
        await signed_in(page)
        for topic, record, news in day():
            recorded_at = await tell(api, topic, record)
            if not news:
                said.append((recorded_at, said[-1][1]))
                continue

            async def told(news: str = news) -> bool:
                answer = await page.goto(f"/stations/{STATION}")
                return answer is not None and answer.status == 200 and news in await facts(page)

            await until(told, news)
            said.append((recorded_at, await facts(page)))

        for number, (recorded_at, text) in enumerate(said):
            later = said[number + 1][0] if number + 1 < len(said) else recorded_at + HOUR
            for at in (recorded_at, (recorded_at + later) // 2, later - 1):
                assert await looked_at(page, at) == text, moment_of(at)
        assert "Nothing was known of it by then" in await before(page)
        await expect(page.locator("#past-moment nav a")).to_have_count(5)

        # From event to event, as far as there are any.
        await looked_at(page, said[0][0])
        moments = [said[0][0]]
        while await (after := page.get_by_role("link", name="Event after")).count():
            await after.click()
            shown = await page.locator("#past-moment code").inner_text()
            moments.append(micros(datetime.fromisoformat(shown)))
        assert sorted(moments) == moments
        changes = {at for (at, _), (topic, *_) in zip(said, day(), strict=True) if topic != LOAD_PLANS}
        assert changes <= set(moments)

        # What differs between two moments.
        await looked_at(page, said[1][0], **{"and": moment_of(said[-1][0]).isoformat()})
        assert await faults_for_all(page) == []
        compared = await page.locator("section[aria-labelledby=compare]").inner_text()
        for fact in (
            "/station/firmware_version",
            "fw-1.0",
            "fw-2.0",
            "/station/connected",
            "MaxChargingProfiles",
        ):
            assert fact in compared
        settings = page.locator("section[aria-labelledby=configuration]")
        await looked_at(page, said[2][0])
        await expect(settings).to_contain_text("4")
        await looked_at(page, said[10][0])
        await expect(settings).to_contain_text("9")
        assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in await page.locator("body").inner_text()
    assert console.said == []


async def asked_why(page: Page, path: str, about: str) -> None:
    """Follow the Why? beside a value."""
    await page.goto(path)
    await page.get_by_role("link", name=f"Why? {about}", exact=True).first.click()


async def test_a_wrong_bill_is_traced_from_the_session_to_what_the_charger_sent(console: Console) -> None:
    async with visit(console) as page:
        await signed_in(page)
        sessions = page.locator("section[aria-labelledby=sessions] tbody a")
        await page.goto(f"/stations/{STATION}")
        await sessions.first.click()

        async def billed() -> bool:
            await page.reload()
            return await page.get_by_role("link", name="Why? energy", exact=True).count() == 1

        await until(billed)
        await page.get_by_role("link", name="Why? energy", exact=True).click()
        await expect(page).to_have_url(re.compile("/why#line-1$"))
        assert await faults_for_all(page) == []
        await expect(page.locator("#line-1")).to_contain_text("8,000 Wh")
        await expect(page.get_by_role("link", name="day, version 1")).to_have_attribute(
            "href", "/tariffs/day#version-1"
        )
        checked = page.locator("section[aria-labelledby=checks] tbody")
        await expect(checked).to_contain_text("the hash is that of the content")
        await expect(checked.locator(".badge.bad")).to_have_count(0)
        await expect(page.locator("section[aria-labelledby=words] pre")).to_contain_text("verified")

        # The register at the end is what the charger sent.
        evidence = page.locator("section[aria-labelledby=evidence]")
        await evidence.get_by_role("link", name="StopTransaction").click()
        await expect(page.locator("section[aria-labelledby=raw]")).to_contain_text('"meterStop":9000')
        effects = page.locator("section[aria-labelledby=effects]")
        await expect(effects).to_contain_text("SessionEnded")
        await effects.get_by_role("link", name="SessionEnded").click()
        await expect(page.locator("section[aria-labelledby=said]")).to_contain_text("8000")
        causes = page.locator("section[aria-labelledby=causes]")
        await causes.get_by_role("link", name="OcppCallReceived").click()
        await expect(page.locator("section[aria-labelledby=raw]")).to_contain_text('"meterStop":9000')


async def test_each_value_says_why_now_and_then(console: Console) -> None:
    last = moment_of(MORNING + 12 * HOUR).isoformat()
    then = f"/stations/{STATION}?{urlencode({'at': last})}"
    async with visit(console) as page:
        await signed_in(page)
        for path in (f"/stations/{STATION}", then):
            await asked_why(page, path, "Faulted")
            await expect(page.locator("h2").first).to_have_text("StationStateChanged")
            await expect(page.locator("main .notice")).to_contain_text("the newest of its newest connection")
            await page.locator("section[aria-labelledby=causes] a").first.click()
            await expect(page.locator("section[aria-labelledby=raw]")).to_contain_text('"status":"Faulted"')
        await asked_why(page, then, "Firmware")
        await page.locator("section[aria-labelledby=causes] a").first.click()
        await expect(page.locator("section[aria-labelledby=raw]")).to_contain_text("fw-2.0")
        await asked_why(page, then, "8 A")
        await expect(page.locator("section[aria-labelledby=said]")).to_contain_text('"current_ma":8000')
        await asked_why(page, f"/stations/{STATION}/papers", "Reservation")
        await expect(page.locator("h2").first).to_have_text("CapabilitiesLearned")
        # The first record that said so, not the last.
        assert '"4"' in await page.locator("section[aria-labelledby=said]").inner_text()
        for path in ("/why/limit?name=9", "/why/nothing", "/why/connector?name=" + SCRIPT):
            answer = await page.goto(f"/stations/{STATION}{path}")
            assert answer is not None
            assert answer.status == 404, path
    assert console.said == []


async def before(page: Page) -> str:
    await looked_at(page, MORNING - 2 * DAY)
    return await page.locator("main").inner_text()


async def test_a_moment_is_reached_by_keyboard_and_without_scripts(console: Console) -> None:
    # A field of a browser leaves out seconds that are zero.
    at = moment_of(MORNING + 6 * HOUR + 7 * SECOND)
    async with visit(console, java_script_enabled=False) as page:
        await signed_in(page)
        await page.goto(f"/stations/{STATION}")
        await page.get_by_label("As of (UTC)").fill(at.strftime("%Y-%m-%dT%H:%M:%S"))
        await page.keyboard.press("Enter")
        await expect(page.locator("#past-moment code")).to_have_text(at.isoformat())
        await expect(page.locator("#minute")).to_be_hidden()
        for name, step in (("-1 h", -60), ("-5 min", -5), ("+5 min", 5), ("+1 h", 60)):
            await page.goto(f"/stations/{STATION}?{urlencode({'at': at.isoformat()})}")
            await page.get_by_role("link", name=name, exact=True).focus()
            await page.keyboard.press("Enter")
            moved = at + timedelta(minutes=step)
            await expect(page.locator("#past-moment code")).to_have_text(moved.isoformat())
    async with visit(console, viewport={"width": 320, "height": 700}) as page:
        await signed_in(page)
        await page.goto(f"/stations/{STATION}?{urlencode({'at': at.isoformat()})}")
        assert await faults_for_all(page) == []
        across = await page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert across <= 0
        shown = await page.locator("#past-moment code").inner_text()
        await page.locator("#minute").focus()
        await page.keyboard.press("ArrowRight")
        await expect(page.locator("#past-moment code")).not_to_have_text(shown)
        for odd in ("yesterday", "9999-12-31T00:00", "2026-13-01", "\N{RIGHT-TO-LEFT OVERRIDE}"):
            answer = await page.goto(f"/stations/{STATION}?{urlencode({'at': odd})}")
            assert answer is not None
            assert answer.status == 422
    assert console.said == []
