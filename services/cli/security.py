"""`voltbus security`."""

from typing import Annotated

import typer

from services.cli.client import as_json
from services.cli.context import api
from services.cli.history import Since, Station, Until
from services.cli.moments import written_out
from services.cli.output import AsJson, Limit, Search, listing, moment, table

app = typer.Typer(help="How stations prove who they are, and what to look at.", no_args_is_help=True)


@app.command("profiles")
def profiles(context: typer.Context, json: AsJson = False) -> None:
    """Count stations and connections by security profile."""
    found = api(context).get("/security")
    if json:
        typer.echo(as_json(found))
        return
    columns = [
        ("profile", lambda p: p["security_profile"]),
        ("stations that need it", lambda p: p["stations"]),
        ("connections that proved it", lambda p: p["connections"]),
    ]
    table(found["profiles"], columns, "none")


@app.command("stations")
def stations(
    context: typer.Context,
    *,
    at_most: Annotated[int, typer.Option(min=0, max=3, help="The highest profile to list.")] = 1,
    search: Search = None,
    limit: Limit = 100,
    json: AsJson = False,
) -> None:
    """List stations that somebody else could be, and what to do about each."""
    columns = [
        ("station", lambda s: s["station_id"]),
        ("needs", lambda s: "not registered" if s["required"] is None else s["required"]),
        ("exempt", lambda s: "yes" if s["profile_exempt"] else ""),
        ("password", lambda s: "set" if s["password"] else ""),
        ("proved", lambda s: s["proved"]),
        ("from", lambda s: s["remote_address"]),
        ("advice", lambda s: s["advice"]),
    ]
    query = {"at_most": str(at_most), "q": search}
    listing(api(context), "/security/stations", query, limit, columns, json=json)


@app.command("alerts")
def alerts(
    context: typer.Context,
    *,
    station: Station = None,
    kind: Annotated[
        str | None,
        typer.Option(help="REPORTED_BY_STATION, ADDRESS_CHANGED, DISPLACED or MANY_COMMANDS."),
    ] = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    json: AsJson = False,
) -> None:
    """List what stations reported and what was noticed about them, the latest first."""
    query = {
        "station_id": station,
        "kind": kind and kind.upper(),
        "since": since and written_out(since),
        "until": until and written_out(until),
    }
    columns = [
        ("when", lambda a: moment(a["recorded_at"])),
        ("station", lambda a: a["station_id"]),
        ("kind", lambda a: a["kind"]),
        ("what", lambda a: a["detail"]),
        ("details", lambda a: a["tech_info"]),
        ("from", lambda a: a["remote_address"]),
        ("before from", lambda a: a["former_address"]),
    ]
    listing(api(context), "/security/alerts", query, limit, columns, json=json)
