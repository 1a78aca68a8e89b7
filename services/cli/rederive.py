"""`voltbus sessions rederive` and `recall`: sessions of the past brought back, so that their records are corrected.

These read Kafka themselves, and write to billing.decisions and sessions.evidence. What takes long to load is imported
when it is needed.
"""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from libs.bus.settings import BusSettings
from libs.runtime.clock import now_us
from libs.runtime.settings import read_settings
from services.cli.backtest import (
    From,
    Lead,
    Span,
    Station,
    To,
    as_builtins,
    ids,
    print_report,
    progress,
)
from services.cli.bus import run_on_bus
from services.cli.cdrs import documents_of
from services.cli.client import CliError, as_json
from services.cli.context import api
from services.cli.moments import iso
from services.cli.output import AsJson, console, done, printable

if TYPE_CHECKING:
    from libs.events.decisions import SessionRecalled
    from libs.events.sessions import CdrIssued
    from services.sessions.replay.compare import Report
    from services.sessions.replay.rederive import Sorted

_SHOWN: Final = 20

Reason = Annotated[str, typer.Option(help="Why, for whoever reads the corrections.")]


def rederive(
    context: typer.Context,
    *,
    since: From,
    until: To = None,
    reason: Reason,
    station: Station = None,
    lead_days: Lead = 7,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be corrected.")] = False,
    json: AsJson = False,
) -> None:
    """Correct the records of sessions that this version of the fold makes something else of.

    Deploy the corrected sessions processor first. It issues a credit note and a new version for each session that is
    charged otherwise; a repeat finds nothing to correct.
    """
    span = Span(since, until, lead_days)
    told = None if dry_run else (reason, _name(context))
    report, found = run_on_bus(_rederive(span, station, told, json))
    if json:
        sorted_out = {name: ids(getattr(found, name)) for name in found.__struct_fields__}
        typer.echo(as_json({"dry_run": dry_run, "report": as_builtins(report)} | sorted_out))
        return
    print_report(report, span)
    corrected = "would be corrected" if dry_run else "are being corrected"
    for entries, words in (
        (found.recalled, corrected),
        (found.decided, "differ, but operators decided about them: decide again"),
        (found.regrouped, "differ, but their drivers belong to another group now: not corrected"),
        (
            found.orphaned,
            "differ, but the registry has no site or no tariff for them any more: not corrected",
        ),
        (found.unissued, "have no charge record yet"),
        (found.unknown, "have a charge record, and no such session is in the log"),
    ):
        if entries or entries is found.recalled:
            console().print(f"{len(entries)} {words}")
            for entry in entries[:_SHOWN]:
                line = f"  {entry.any.station_id} {entry.any.session_id}"
                console().print(printable(line), markup=False)
            if len(entries) > _SHOWN:
                console().print("  ...")


def recall(
    context: typer.Context,
    *,
    session: Annotated[str, typer.Argument(help="Session id.")],
    reason: Reason,
    json: AsJson = False,
) -> None:
    """Bring back a session that the processor has forgotten, so that it can be decided about."""
    from libs.events.sessions import CdrIssued  # noqa: PLC0415

    issued = [each for each in documents_of(api(context), session_id=session) if isinstance(each, CdrIssued)]
    if not issued:
        raise CliError(f"there is no session {session!r} with a charge record")
    newest = max(issued, key=lambda each: each.version)
    record = run_on_bus(_recall(newest, reason, _name(context)))
    done(
        {"session_id": session, "station_id": record.station_id, "decision_id": record.event_id},
        json,
        f"session {session} is remembered again",
    )


def _name(context: typer.Context) -> str:
    """Whose key the API says that this is: what is written carries that name, and no other."""
    return str(api(context).get("/me")["name"])


async def _rederive(
    span: Span, station: str | None, told: tuple[str, str] | None, quiet: bool
) -> "tuple[Report, Sorted]":
    """`told`: why, and who asks for it; None: only look."""
    from libs.bus.bus import connect  # noqa: PLC0415
    from services.sessions.replay.corrections import differing, recalls_of, write  # noqa: PLC0415

    async with connect(read_settings(BusSettings)) as bus:
        report, found = await differing(
            bus, span.period(None), span.now, station=station, progress=progress(quiet)
        )
        if told is not None:
            await write(bus, recalls_of(found, reason=told[0], decided_by=told[1], now=now_us()))
    return report, found


async def _recall(cdr: "CdrIssued", reason: str, by: str) -> "SessionRecalled":
    from libs.bus.bus import connect  # noqa: PLC0415
    from libs.events.ids import new_id  # noqa: PLC0415
    from services.sessions.replay.corrections import forgotten, write  # noqa: PLC0415
    from services.sessions.replay.rederive import recall_of  # noqa: PLC0415

    async with connect(read_settings(BusSettings)) as bus:
        session, read_from = await forgotten(bus, cdr, now_us())
        if session is None:
            raise CliError(f"the log has no such session from {iso(read_from)} on")
        recall = recall_of(cdr, session, reason=reason, decided_by=by, now=now_us(), event_id=new_id())
        await write(bus, [recall])
    return recall[0]
