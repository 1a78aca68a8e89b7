"""`voltbus audit`: whether an export of the audit trail is whole. Needs no server."""

from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from libs.events.audit_chain import Check, event_of
from services.cli.client import CliError, as_json
from services.cli.moments import iso
from services.cli.output import AsJson, console, printable

app = typer.Typer(help="The audit trail: who did what.", no_args_is_help=True)

_SHOWN: Final = 20


def _told(at: int) -> str:
    """A moment, whatever somebody wrote there."""
    try:
        return iso(at)
    except (OverflowError, ValueError, OSError):
        return str(at)


@app.command("verify")
def verify(
    files: Annotated[
        list[Path],
        typer.Argument(help="Exports: an event as JSON in each line.", exists=True, dir_okay=False),
    ],
    json: AsJson = False,
) -> None:
    """Check the chains of an export, in one file or several. Status 1 if anything is changed or missing.

    Events that are there twice do no harm. What was before the first event of a chain, and after the last one that
    another chain names, an export cannot show: compare the period that is told with the one that you asked for.
    """
    check = Check()
    for file in files:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    check.take(event_of(line))
                except ValueError as error:
                    raise CliError(f"{file}, line {number}: no event of the audit trail: {error}") from error
    verdict = check.verdict()
    if json:
        typer.echo(as_json(msgspec.to_builtins(verdict)))
    else:
        out = console()
        for each in verdict.chains:
            before = "" if each.first == 0 else ", what was before is not in the export"
            out.print(
                f"chain {printable(each.writer_id)}: events {each.first} to {each.last}, "
                f"{_told(each.since)} to {_told(each.until)}{before}",
                markup=False,
            )
        out.print(
            f"{verdict.events} events, {verdict.duplicates} of them once more, {len(verdict.chains)} chains, "
            f"{verdict.anchored} ends named by others",
            markup=False,
        )
        for found in verdict.findings[:_SHOWN]:
            out.print(
                f"{_told(found.at)} chain {printable(found.writer_id)} event {found.sequence}: {printable(found.what)}",
                markup=False,
            )
        if len(verdict.findings) > _SHOWN:
            out.print(f"and {len(verdict.findings) - _SHOWN} more", markup=False)
        out.print("sound" if verdict.sound else "NOT SOUND", markup=False)
    if not verdict.sound:
        raise typer.Exit(1)
