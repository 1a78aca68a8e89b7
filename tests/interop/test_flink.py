"""Latest states as a table of Flink SQL, with the statements of docs/consumers.md."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from tests.interop.documented import statements
from tests.interop.programs import built, skip_unless_possible
from tests.interop.test_consumers import Log, log

__all__ = ["log"]

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.interop, skip_unless_possible("flink")]

DEADLINE_S = 120


async def test_the_statements_of_the_guide_make_a_table_of_the_latest_sessions(
    log: Log, tmp_path: Path
) -> None:
    script = tmp_path / "sessions.sql"
    script.write_text(";\n".join(statements("Flink SQL", log.rig.bus.settings)))
    program = await asyncio.to_thread(built, "flink", "consumer")
    made = await asyncio.to_thread(
        subprocess.run,
        [*program, str(script), "3"],
        stdout=subprocess.PIPE,
        timeout=DEADLINE_S,
        check=True,
        text=True,
    )
    first, grown = [written.event_id for written in log.written["sessions.latest"]]
    told = [line.split(", ")[:2] for line in made.stdout.splitlines()]
    session_id = told[0][0].removeprefix("+I[")
    assert told == [
        [f"{kind}[{session_id}", at] for kind, at in (("+I", first), ("-U", first), ("+U", grown))
    ]
