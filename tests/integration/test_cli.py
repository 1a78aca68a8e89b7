"""The command line and the operators' guide, against the API on the real bus."""

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from libs.bus.dead_letters import list_dead_letters
from libs.events.commands import RequestCommand
from libs.events.dead_letters import RecordDeadLettered
from libs.events.sessions import CdrIssued
from libs.runtime.clock import now_us
from libs.testing.tail import Tail
from tests.integration.api_platform import (
    KEY,
    Platform,
    api,
    concluded,
    located,
    ok,
    session_ended,
    session_started,
    stamp,
)
from tests.patience import WAIT_S, until
from tests.unit.cli.test_cdrs import sealed

__all__ = ["api"]

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "api.md"


def blocks() -> Iterator[str]:
    yield from re.findall(r"^```sh\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)


async def shell(api: Platform, script: str, **extra: str) -> tuple[int, str, str]:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "VOLTBUS_API_URL": f"http://127.0.0.1:{api.port}",
        "VOLTBUS_API_KEY": KEY,
        "VOLTBUS_KAFKA": api.settings.kafka,
        "VOLTBUS_REGISTRY_URL": api.settings.registry_url,
        "VOLTBUS_NAMESPACE": api.settings.namespace,
        "VOLTBUS_PARTITIONS": str(api.settings.partitions),
        "VOLTBUS_SLOTS": str(api.settings.slots),
        "PYTHONPATH": str(ROOT),
    }
    process = await asyncio.create_subprocess_exec(
        "sh",
        "-ec",
        script,
        env=environment | extra,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 4 * WAIT_S)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@contextlib.asynccontextmanager
async def ledger(api: Platform) -> AsyncIterator[None]:
    """Concludes every command as accepted."""

    async def conclude(tail: Tail) -> None:
        async for message in tail:
            if isinstance(message.record, RequestCommand):
                outcome = concluded(message.record)
                await api.emit("commands.outcomes", outcome.station_id, outcome)

    async with Tail(api.bus, "commands.requested") as tail:
        task = asyncio.create_task(conclude(tail))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def charged(api: Platform, station_id: str) -> None:
    """Has a charge record of the station, the first of its chain, in ClickHouse."""
    end = session_ended(session_started(station_id, "s-guide", now_us()), now_us())
    fields = {name: getattr(end, name) for name in end.__struct_fields__}
    cdr = CdrIssued(**fields, cdr_id="cdr-guide", version=1, amount_minor=0)
    await api.emit("billing.cdrs", station_id, sealed(cdr))

    async def stored() -> bool:
        response = await api.http.get("/cdrs", params={"station_id": station_id})
        # Until the sink has made the tables.
        return response.status_code != 503 and bool((await ok(response))["items"])

    await until(stored)


async def test_every_command_of_the_guide_works(api: Platform) -> None:
    await located(api, "cp-001")
    await charged(api, "cp-001")
    async with ledger(api):
        said = ""
        for block in blocks():
            code, out, err = await shell(api, block)
            assert (code, err) == (0, ""), f"{block}\n{out}\n{err}"
            said += out
    for fact in ("By the gate", "0.4567 EUR", "ACCEPTED", "no dead letters", "Spring 2.4"):
        assert fact in said


async def test_exit_status_and_errors(api: Platform) -> None:
    for script, extra, status, words in (
        ("voltbus stations show nobody", {}, 1, "there is no station 'nobody'"),
        ("voltbus stations show nobody", {"VOLTBUS_API_KEY": "wrong"}, 1, "VOLTBUS_API_KEY"),
        ("voltbus stations show nobody", {"VOLTBUS_API_URL": "http://127.0.0.1:1"}, 1, "Is it running?"),
        ("python -m services.cli stations show nobody", {}, 1, "there is no station 'nobody'"),
        ("voltbus stations", {}, 2, ""),
        ("voltbus run cli", {}, 2, "no service 'cli'"),
        ("voltbus dlq list", {"VOLTBUS_NAMESPACE": "elsewhere"}, 1, "voltbus contract apply"),
    ):
        code, out, err = await shell(api, script, **extra)
        assert code == status, (script, out, err)
        assert words in err
        assert "Traceback" not in err


async def test_watch_shows_what_happens(api: Platform) -> None:
    watching = asyncio.create_task(shell(api, "voltbus watch --type commands.outcomes --count 1 --json"))
    while not watching.done():
        request = RequestCommand(
            **stamp(),
            station_id="w",
            action="Reset",
            payload="{}",
            dialect="OCPP",  # type: ignore[arg-type]
            requested_by="t",
            expires_at=1,
        )
        await api.emit("commands.outcomes", "w", concluded(request))
        await asyncio.wait({watching}, timeout=0.2)
    code, out, _ = watching.result()
    assert code == 0
    assert '"fate": "ACCEPTED"' in out


async def test_dead_letters_are_listed_and_replayed(api: Platform) -> None:
    letter = RecordDeadLettered(
        **stamp(),
        record_key="cp",
        processor="sessions",
        source_topic="sessions.events",
        source_partition=1,
        source_offset=7,
        error_type="ValueError",
        error="bad\x1b[2J",
        key=b"cp",
        value=b"\x00not avro",
    )
    await api.emit("sessions.events.dead", "cp", letter)
    code, out, err = await shell(api, "voltbus dlq list sessions.events")
    assert (code, err) == (0, "")
    assert "1/7" in out
    assert "\x1b" not in out
    (dead,) = [each async for each in list_dead_letters(api.bus, "sessions.events")]
    code, out, err = await shell(api, "voltbus dlq replay sessions.events --offset 999")
    assert code == 1, err
    code, out, err = await shell(api, f"voltbus dlq replay sessions.events --offset {dead.offset} --json")
    assert (code, err) == (0, "")
    assert '"replayed": 1' in out
