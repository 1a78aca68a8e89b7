"""`voltbus backtest`: recorded traffic through a changed tariff, rule or fold beside what is in force.

Reads Kafka itself. What takes long to load is imported when it is needed.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from libs.bus.settings import BusSettings
from libs.runtime.clock import micros
from libs.runtime.settings import read_settings
from libs.tariffs.amounts import kwh, money
from services.cli.bus import run_on_bus
from services.cli.client import CliError, Json, as_json
from services.cli.moments import iso, moment_given
from services.cli.output import AsJson, console, moment, printable, table

if TYPE_CHECKING:
    from services.sessions.replay.change import Change
    from services.sessions.replay.compare import Period, Report, Row
    from services.sessions.replay.run import Progress

_SAY_EVERY: Final = timedelta(seconds=5)

From = Annotated[
    str, typer.Option("--from", help="Sessions that ended from this moment on, such as 2026-05-01T00:00:00Z.")
]
To = Annotated[
    str | None, typer.Option("--to", help="Sessions that ended before this moment; now without it.")
]
Station = Annotated[str | None, typer.Option(help="Only sessions of this station.")]
Site = Annotated[str | None, typer.Option(help="Only sessions at this site.")]
Lead = Annotated[
    int,
    typer.Option(
        "--lead-days", min=0, max=36_500, help="Read the log from so long before: sessions last no longer."
    ),
]


class Span:
    """The period that was asked for, in microseconds."""

    def __init__(self, since: str, until: str | None, lead_days: int) -> None:
        now = datetime.now(UTC)
        self.since = micros(moment_given(since, "--from"))
        self.until = micros(now if until is None else moment_given(until, "--to"))
        if self.since >= self.until:
            raise typer.BadParameter("must be later than --from", param_hint="--to")
        self.read_from = max(0, self.since - timedelta(days=lead_days) // timedelta(microseconds=1))
        self.now = micros(now)

    def period(self, site: str | None) -> "Period":
        """The sessions to be compared: those of `site`, if it is one."""
        from services.sessions.replay.compare import Period  # noqa: PLC0415

        return Period(self.since, self.until, self.read_from, site)


def backtest(
    *,
    since: From,
    until: To = None,
    tariff: Annotated[
        Path | None,
        typer.Option(
            help="A changed tariff: terms as in docs/tariffs.md, or what `tariffs show --json` prints."
        ),
    ] = None,
    tariff_id: Annotated[
        str | None, typer.Option(help="Which tariff it replaces, if the file does not say so.")
    ] = None,
    currency: Annotated[
        str | None, typer.Option(help="Of the terms; without it that of the tariff's last version.")
    ] = None,
    rules: Annotated[
        Path | None, typer.Option(help="A rule file: its rules replace those of the same name.")
    ] = None,
    against_issued: Annotated[
        bool, typer.Option("--against-issued", help="Compare this version's fold with the records issued.")
    ] = False,
    station: Station = None,
    site: Site = None,
    lead_days: Lead = 7,
    fail_on_difference: Annotated[
        bool, typer.Option("--fail-on-difference", help="Status 1 if any session comes out otherwise.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Read recorded traffic with a change and without, and show what would be charged otherwise. Writes nothing."""
    from services.sessions.replay.change import Change, ChangeError  # noqa: PLC0415

    if (tariff is not None) + (rules is not None) + against_issued != 1:
        raise typer.BadParameter("one of --tariff, --rules and --against-issued", param_hint="--tariff")
    span = Span(since, until, lead_days)
    try:
        change = Change(tariff, tariff_id, currency, rules)
        report = run_on_bus(_compare(span, change, site, station, json))
    except ChangeError as error:
        raise CliError(str(error)) from error
    if json:
        typer.echo(as_json(as_builtins(report)))
    else:
        print_report(report, span)
    if fail_on_difference and report.changed:
        raise typer.Exit(1)


async def _compare(
    span: Span, change: "Change", site: str | None, station: str | None, quiet: bool
) -> "Report":
    from libs.bus.bus import connect  # noqa: PLC0415
    from services.sessions.replay import run  # noqa: PLC0415

    async with connect(read_settings(BusSettings)) as bus:
        return await run.backtest(
            bus, change, span.period(site), span.now, station=station, progress=progress(quiet)
        )


def progress(quiet: bool) -> "Progress":
    """Says how far it is, on standard error, every few seconds."""
    said = [datetime.now(UTC)]

    def say(number: int, count: int, part: float) -> None:
        now = datetime.now(UTC)
        if not quiet and now - said[0] >= _SAY_EVERY:
            said[0] = now
            typer.echo(f"partition {number + 1} of {count}: {part:.0%}", err=True)

    return say


def as_builtins(report: "Report") -> Json:
    """The report for JSON."""
    import msgspec  # noqa: PLC0415

    found: Json = msgspec.to_builtins(report)
    return found


def print_report(report: "Report", span: Span) -> None:
    """The report for people."""
    out = console()
    since, until = (moment(iso(at)) for at in (span.since, span.until))
    out.print(
        f"{report.sessions} sessions that ended from {since} to {until}, {report.messages} messages read"
    )
    out.print(f"{report.equal} equal, {report.changed} changed", style="bold")
    for count, words in (
        (report.only_before, "of these have no record after"),
        (report.only_after, "of these have no record before"),
        (report.left_out, "left out: they began before what was read (--lead-days)"),
        (report.failed, "messages could not be folded"),
        (report.unreadable, "records could not be read"),
    ):
        if count:
            out.print(f"{count} {words}")
    if report.fields:
        differing = ", ".join(f"{name} ({count})" for name, count in report.fields.items())
        out.print(printable(f"what differs: {differing}"), markup=False)
    table((_row(row) for row in report.rows), _COLUMNS, "no charge records")
    if report.largest:
        out.print("the largest differences", style="bold")
        table((_difference(each) for each in as_builtins(report)["largest"]), _LARGEST, "")


_COLUMNS: Final = [
    (name, lambda row, name=name: row[name])
    for name in (
        "tariff",
        "site",
        "sessions",
        "kWh billed before",
        "kWh after",
        "kWh difference",
        "amount before",
        "amount after",
        "amount difference",
    )
]
_LARGEST: Final = [
    (name, lambda row, name=name: row[name])
    for name in (
        "started",
        "station",
        "session",
        "kWh before",
        "kWh after",
        "amount before",
        "amount after",
        "amount difference",
        "differs in",
    )
]


def _row(row: "Row") -> Json:
    before, after, currency = row.before, row.after, row.currency
    count = (
        str(after.sessions) if before.sessions == after.sessions else f"{before.sessions} -> {after.sessions}"
    )
    return {
        "tariff": row.tariff_id or "none",
        "site": row.site_id or "none",
        "sessions": count,
        "kWh billed before": kwh(before.billed_wh),
        "kWh after": kwh(after.billed_wh),
        "kWh difference": kwh(after.billed_wh - before.billed_wh),
        "amount before": money(before.amount_minor, currency),
        "amount after": money(after.amount_minor, currency),
        "amount difference": money(after.amount_minor - before.amount_minor, currency),
    }


def _difference(each: Json) -> Json:
    currency = each["currency"]
    return {
        "started": moment(iso(each["started_at"])),
        "station": each["station_id"],
        "session": each["session_id"],
        "kWh before": kwh(each["before_wh"]),
        "kWh after": kwh(each["after_wh"]),
        "amount before": money(each["before_minor"], currency),
        "amount after": money(each["after_minor"], currency),
        "amount difference": money(each["after_minor"] - each["before_minor"], currency),
        "differs in": ", ".join(each["fields"]),
    }


def ids(entries: Iterable[Any]) -> list[str]:
    """The sessions of entries."""
    return [entry.any.session_id for entry in entries]
