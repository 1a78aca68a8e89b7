"""`voltbus tariffs`."""

from typing import Annotated

import typer

from services.cli.client import Json, as_json, segment
from services.cli.context import api, given
from services.cli.entries import remove, save
from services.cli.output import AsJson, Limit, Search, done, listing, moment, price, price_milli, sheet, table

app = typer.Typer(help="Tariffs: prices by version; a version never changes.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="Tariff id; case counts.")]
Name = Annotated[str | None, typer.Option(help="For people.")]
ValidFrom = Annotated[
    str | None,
    typer.Option(
        help="Sessions that start from this moment on, such as 2026-05-01T00:00:00Z. Default: in a few seconds."
    ),
]


@app.command("list")
def list_tariffs(
    context: typer.Context, search: Search = None, limit: Limit = 100, json: AsJson = False
) -> None:
    """List tariffs with the price in force."""
    columns = [
        ("tariff", lambda t: t["tariff_id"]),
        ("name", lambda t: t["name"]),
        ("version", lambda t: t["version"]),
        ("price per kWh", _price_now),
    ]
    listing(api(context), "/tariffs", {"q": search}, limit, columns, json=json)


def _price_now(tariff: Json) -> str:
    now = [v for v in tariff["versions"] if v["version"] == tariff["version"]]
    return price(now[0]["price_per_kwh_milli"], now[0]["currency"]) if now else ""


@app.command("show")
def show_tariff(context: typer.Context, tariff: Id, json: AsJson = False) -> None:
    """Show one tariff with all its versions."""
    found = api(context).get(f"/tariffs/{segment(tariff)}")
    if json:
        typer.echo(as_json(found))
        return
    sheet(
        [
            ("tariff", found["tariff_id"]),
            ("name", found["name"]),
            ("in force", found["version"] or "none yet"),
        ]
    )
    columns = [
        ("version", lambda v: v["version"]),
        ("from", lambda v: moment(v["valid_from"])),
        ("price per kWh", lambda v: price(v["price_per_kwh_milli"], v["currency"])),
    ]
    table(found["versions"], columns, "no versions")


@app.command("add")
def add_tariff(
    context: typer.Context,
    *,
    tariff: Id,
    amount: Annotated[str, typer.Option("--price", help="Per kWh in the major unit, such as 0.4567.")],
    currency: Annotated[str, typer.Option(help="ISO 4217.")] = "EUR",
    name: Name = None,
    valid_from: ValidFrom = None,
    json: AsJson = False,
) -> None:
    """Create a tariff."""
    settings = {
        "currency": currency,
        "price_per_kwh_milli": price_milli(amount, currency),
        **given(name=name, valid_from=valid_from),
    }
    save(context, "tariff", "tariff_id", tariff, settings, json=json)


@app.command("set")
def set_tariff(
    context: typer.Context,
    *,
    tariff: Id,
    amount: Annotated[
        str | None, typer.Option("--price", help="Per kWh in the major unit; a new version.")
    ] = None,
    currency: Annotated[str | None, typer.Option(help="ISO 4217; a new version.")] = None,
    name: Name = None,
    valid_from: ValidFrom = None,
    json: AsJson = False,
) -> None:
    """Change the name, or the price: that makes a new version."""
    client = api(context)
    path = f"/tariffs/{segment(tariff)}"
    if currency is not None and amount is None:
        raise typer.BadParameter("another currency needs a price in it", param_hint="--currency")
    body = given(name=name, currency=currency, valid_from=valid_from)
    if amount is not None:
        unit = currency or client.get(path)["versions"][-1]["currency"]
        body["price_per_kwh_milli"] = price_milli(amount, unit)
    changed = client.request("PATCH", path, body)
    done(
        changed,
        json,
        f"tariff {changed['tariff_id']} changed, version {len(changed['versions'])} is the last",
    )


@app.command("remove")
def remove_tariff(context: typer.Context, tariff: Id, json: AsJson = False) -> None:
    """Forget a tariff that no site charges by."""
    remove(context, "tariff", tariff, tariff, json=json)
