"""`voltbus organisations`."""

from typing import Annotated

import typer

from services.cli.client import as_json, segment
from services.cli.context import api, given
from services.cli.entries import remove, save
from services.cli.output import AsJson, Limit, Search, listing, moment, sheet

app = typer.Typer(
    help="Organisations, to which stations, sites, tokens and tariffs belong.", no_args_is_help=True
)

Id = Annotated[str, typer.Argument(help="Its id, as roles name it: small letters, digits, _ and -.")]


@app.command("list")
def list_organisations(
    context: typer.Context, *, search: Search = None, limit: Limit = 100, json: AsJson = False
) -> None:
    """List organisations."""
    columns = [
        ("organisation", lambda o: o["organisation_id"]),
        ("name", lambda o: o["name"]),
        ("changed", lambda o: moment(o["updated_at"])),
        ("by", lambda o: o["changed_by"]),
    ]
    listing(api(context), "/organisations", {"q": search}, limit, columns, json=json)


@app.command("show")
def show_organisation(context: typer.Context, organisation: Id, json: AsJson = False) -> None:
    """Show one organisation."""
    found = api(context).get(f"/organisations/{segment(organisation)}")
    if json:
        typer.echo(as_json(found))
        return
    sheet(
        [
            ("organisation", found["organisation_id"]),
            ("name", found["name"]),
            ("changed", moment(found["updated_at"])),
            ("by", found["changed_by"]),
        ]
    )


@app.command("set", help="Change what is given, nothing else.")
@app.command("add", help="Create an organisation.")
def save_organisation(
    context: typer.Context,
    *,
    organisation: Id,
    name: Annotated[str | None, typer.Option(help="Name for people.")] = None,
    json: AsJson = False,
) -> None:
    """Write what is given of an organisation."""
    save(context, "organisation", "organisation_id", organisation, given(name=name), json=json)


@app.command("remove")
def remove_organisation(context: typer.Context, organisation: Id, json: AsJson = False) -> None:
    """Forget an organisation to which nothing belongs."""
    remove(context, "organisation", organisation, organisation, json=json)
