"""`voltbus tokens`."""

from typing import Annotated

import typer

from libs.events.registry import TokenStatus
from services.cli.client import as_json, segment
from services.cli.context import api, given
from services.cli.entries import Organisation, remove, save
from services.cli.output import AsJson, Limit, Search, listing, moment, sheet

app = typer.Typer(help="Id tokens: who may charge.", no_args_is_help=True)


Id = Annotated[str, typer.Argument(help="The token; case does not count.")]
Driver = Annotated[str | None, typer.Option(help="Driver or contract.")]
StatusOption = Annotated[TokenStatus | None, typer.Option("--status", help="What a charger is told of it.")]
ValidUntil = Annotated[str | None, typer.Option(help="Until this moment, such as 2027-01-01T00:00:00Z.")]
Group = Annotated[str | None, typer.Option(help="Group (parent) token.")]


@app.command("list")
def list_tokens(
    context: typer.Context,
    *,
    status: StatusOption = None,
    group: Group = None,
    search: Search = None,
    limit: Limit = 100,
    json: AsJson = False,
) -> None:
    """List tokens."""
    columns = [
        ("token", lambda t: t["id_token"]),
        ("status", lambda t: t["status"]),
        ("type", lambda t: t["type"]),
        ("driver", lambda t: t["driver"]),
        ("group", lambda t: t["group_id"]),
        ("valid until", lambda t: moment(t["valid_until"])),
    ]
    query = {"status": status and status.value, "group_id": group, "q": search}
    listing(api(context), "/tokens", query, limit, columns, json=json)


@app.command("show")
def show_token(context: typer.Context, token: Id, json: AsJson = False) -> None:
    """Show one token."""
    found = api(context).get(f"/tokens/{segment(token)}")
    if json:
        typer.echo(as_json(found))
        return
    sheet(
        [
            ("token", found["id_token"]),
            ("status", found["status"]),
            ("type", found["type"]),
            ("driver", found["driver"]),
            ("group", found["group_id"]),
            ("valid until", moment(found["valid_until"])),
            ("changed", moment(found["updated_at"])),
        ]
    )


@app.command("set", help="Change what is given, nothing else.")
@app.command("add", help="Register a token.")
def save_token(
    context: typer.Context,
    *,
    token: Id,
    driver: Driver = None,
    status: StatusOption = None,
    token_type: Annotated[str | None, typer.Option("--type", help="OCPP token type.")] = None,
    valid_until: ValidUntil = None,
    group: Group = None,
    organisation: Organisation = None,
    json: AsJson = False,
) -> None:
    """Write what is given of a token."""
    settings = given(
        organisation_id=organisation,
        driver=driver,
        status=status and status.value,
        type=token_type,
        valid_until=valid_until,
        group_id=group,
    )
    save(context, "token", "id_token", token, settings, json=json)


@app.command("remove")
def remove_token(context: typer.Context, token: Id, json: AsJson = False) -> None:
    """Forget a token."""
    remove(context, "token", token, token.casefold(), json=json)
