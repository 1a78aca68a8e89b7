"""What analysts see of plans: the view `plan_months` over records that the processors made."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from libs.bus.bus import connect
from libs.bus.producer import Producer
from libs.devstack import Endpoints
from libs.events.decisions import Decision
from libs.events.topics import BILLING_PREPAID_ASKED
from libs.tariffs.months import month_number, month_start
from services.plans.domain.processor import SETTLE
from services.sink.settings import SinkSettings
from tests.integration.bus import drop_topics
from tests.integration.sink_process import Database, new_platform, sink_task
from tests.patience import until
from tests.unit.plans.given import World
from tests.unit.sessions.exchanges import DAY, HOUR, start16, stop16

BEGIN = 1_750_000_000_000_000  # 15 June 2025; brokers take no times of the future
MONTH_END = month_start(month_number("2025-07"), "Europe/Berlin")


@pytest.fixture
async def settings(stack: Endpoints, namespace: str) -> AsyncIterator[SinkSettings]:
    made = await new_platform(stack, namespace, sink_interval_ms=100)
    yield made
    await Database(made).drop()
    await drop_topics(made)


async def test_a_month_shows_what_sessions_have_now_and_its_fee(settings: SinkSettings) -> None:
    world = World()
    for n, wh in enumerate((8_000, 15_000)):
        begin = BEGIN + n * DAY
        world.tell(start16(n + 1, begin, 0), stop16(n + 1, begin + HOUR, wh))
        world.answer()
    # The first is written off, after the second had to pay for what the first had.
    world.decide(world.cdrs[0], Decision.WRITE_OFF)
    world.answer()
    world.tell(start16(3, MONTH_END + DAY, 0), stop16(3, MONTH_END + DAY + HOUR, 1_000))
    world.answer()
    world.plans.tick(MONTH_END + SETTLE)
    assert [cdr.prepaid_wh for cdr in world.cdrs] == [8_000, 12_000, 0, 1_000]

    records = [*world.sessions.emitted, *world.plans.emitted]
    wanted = {BILLING_PREPAID_ASKED, *world.plans.processor.outputs}
    database = Database(settings)
    async with connect(settings) as bus, sink_task(settings):
        producer = Producer(bus, "test")
        await producer.start()
        for emit in records:
            if emit.topic in wanted and emit.record is not None:
                await producer.send_and_wait(emit.topic, emit.key, emit.record)
        await producer.stop()

        async def complete() -> bool:
            return bool(
                await database.value("SELECT count() FROM billing_prepaid FINAL") == 4
                and await database.value("SELECT count() FROM billing_prepaid_asked FINAL") == 4
                and await database.value("SELECT count() FROM billing_plan_months FINAL") == 1
            )

        await until(complete, "stored")
        found = await database.rows(
            "SELECT month, bundle_wh, used_wh, left_wh, sessions, currency, net_minor, amount_minor"
            " FROM plan_months WHERE group_id = 'fleet' ORDER BY month"
        )
    assert [tuple(row.values()) for row in found] == [
        ("2025-06", 20_000, 12_000, 8_000, 2, "EUR", 4_900, 5_831),
        ("2025-07", 20_000, 1_000, 19_000, 1, None, None, None),
    ]
