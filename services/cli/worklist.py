"""`voltbus worklist`."""

from typing import Annotated

import typer

from services.cli.client import as_json
from services.cli.context import api
from services.cli.history import Since, Until
from services.cli.moments import written_out
from services.cli.output import AsJson, console, table

app = typer.Typer(help="What needs a person.", no_args_is_help=True)


@app.command("list")
def list_worklist(
    context: typer.Context,
    *,
    kind: Annotated[str | None, typer.Option(help="Such as offline, faulted or command.")] = None,
    since: Since = None,
    until: Until = None,
    json: AsJson = False,
) -> None:
    """List what needs a person, by cause; without a period, of the last day."""
    query = {
        "kind": kind,
        "since": None if since is None else written_out(since),
        "until": None if until is None else written_out(until),
    }
    found = api(context).get("/worklist", query)
    if json:
        typer.echo(as_json(found))
        return
    if not found["complete"]:
        console(error=True).print("ClickHouse does not answer: only what is of now is shown", style="yellow")
    columns = [
        ("entry", lambda e: e["entry_id"]),
        ("kind", lambda e: e["kind"]),
        ("count", lambda e: e["count"]),
        ("what", lambda e: e["title"]),
    ]
    table(found["items"], columns, "nothing needs a person")
