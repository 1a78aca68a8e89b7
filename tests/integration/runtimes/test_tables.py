"""A processor's tables follow their topics, or it is known that they do not."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack

import pytest

from libs.bus import follower
from libs.bus.bus import connect
from libs.bus.settings import BusSettings
from tests.integration.children import python
from tests.integration.follower_faults import newer_record, registry_before, write_raw
from tests.integration.runtimes.bench import kafka_bench
from tests.integration.runtimes.tally import CONTRACT, STATIONS, call
from tests.patience import until

SERVICE = """
import asyncio, sys
from libs.bus.bus import connect
from libs.bus.settings import BusSettings
from libs.runtime.service import run_service
from libs.runtime.settings import ServiceSettings
from tests.integration.runtimes.bench import runtime_class
from tests.integration.runtimes.tally import CONTRACT, Tally
from tests.integration.follower_faults import end_follower

async def main(health, stop):
    async with connect(BusSettings.model_validate_json(sys.argv[2]), CONTRACT) as bus:
        runtime = runtime_class(sys.argv[1])(bus, Tally())
        asyncio.create_task(die(runtime))
        await runtime.run(stop)

async def die(runtime):
    while not runtime.ready:
        await asyncio.sleep(0.02)
    end_follower("tally")
    await asyncio.Event().wait()

run_service("tally", ServiceSettings(), main)
"""


@pytest.mark.guarantee("tables-follow")
async def test_the_death_of_a_table_ends_the_process_with_an_error(settings: BusSettings, kind: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *python("-c", SERVICE, kind, settings.model_dump_json()),
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
    )
    async with asyncio.timeout(120):
        _, errors = await process.communicate()
    assert process.returncode == 1, errors.decode()
    assert b"FollowerEndedError" in errors
    assert b"service_failed" in errors


@pytest.mark.guarantee("tables-follow")
async def test_a_processor_with_stale_tables_is_not_ready(
    settings: BusSettings, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "STALE_S", 1.0)
    async with AsyncExitStack() as stack:
        registry, behind = await stack.enter_async_context(registry_before(settings))
        bench = await stack.enter_async_context(kafka_bench(kind, behind))
        member = await bench.start()
        registry.status = 403
        async with connect(settings, CONTRACT) as plain:
            await write_raw(settings, STATIONS, (b"newer", await newer_record(plain, "newer")))
        await until(lambda: not member.runtime.ready, "a member that is not ready")
        await bench.send(call("s", "LookUp", "newer"))
        assert [out.charging_state for out in await bench.outputs("s", 1)] == ["unknown"]
        registry.status = None
        await until(lambda: member.runtime.ready, "ready again")
        await bench.send(call("s", "LookUp", "newer"))
        assert [out.charging_state for out in await bench.outputs("s", 2)] == ["unknown", "known"]
