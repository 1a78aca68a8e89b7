"""`voltbus audit verify`: what it says of exports."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from msgspec.structs import replace
from typer.testing import CliRunner, Result

from libs.events.audit import AuditRecorded
from libs.events.audit_chain import line_of
from services.cli.app import app
from tests.unit.events.test_audit_chain import anchored, chain


def verified(folder: Path, *exports: Iterable[AuditRecorded], options: tuple[str, ...] = ()) -> Result:
    files = []
    for number, events in enumerate(exports):
        file = folder / f"{number}.jsonl"
        file.write_text("".join(f"{line_of(each)}\n" for each in events))
        files.append(str(file))
    return CliRunner().invoke(app, ["audit", "verify", *options, *files])


def test_a_whole_export_is_sound(tmp_path: Path) -> None:
    events = chain("w1", 5)
    told = verified(tmp_path, [*events, *anchored(events[-1])])
    assert told.exit_code == 0, told.output
    assert "7 events, 0 of them once more, 2 chains, 1 ends named by others" in told.output
    assert told.output.strip().endswith("sound")


def test_files_that_overlap_are_one_export(tmp_path: Path) -> None:
    events = chain("w1", 9)
    told = verified(tmp_path, events[:6], events[3:])
    assert told.exit_code == 0, told.output
    assert "9 events, 3 of them once more" in told.output


def test_a_tampered_export_is_not_and_says_where_first(tmp_path: Path) -> None:
    events = chain("w1", 9)
    told = verified(tmp_path, [*events[:3], *events[4:7], *events[8:]])
    assert told.exit_code == 1
    first, second = [line for line in told.output.splitlines() if "missing" in line]
    assert "event 4: missing before it: 3" in first
    assert "event 8: missing before it: 7" in second
    assert "NOT SOUND" in told.output
    assert '"findings"' in verified(tmp_path, events[1:3], events[4:], options=("--json",)).output


def test_a_moment_that_no_calendar_has_is_told_as_it_is(tmp_path: Path) -> None:
    (event,) = chain("w1", 1)
    told = verified(tmp_path, [replace(event, recorded_at=10**18)])
    assert told.exit_code == 1
    assert str(10**18) in told.output


def test_a_line_that_is_no_event_is_named(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text(f"{line_of(chain('w1', 1)[0])}\n\n{{\n")
    told = CliRunner().invoke(app, ["audit", "verify", str(file)])
    assert told.exit_code == 1
    assert "line 3" in f"{told.output}{told.exception}"
