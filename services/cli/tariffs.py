"""`voltbus tariffs`."""

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from libs.tariffs.amounts import price
from libs.tariffs.documents import parse, render
from libs.tariffs.validation import TariffError
from services.cli.client import CliError, Json, as_json, segment
from services.cli.context import api, given
from services.cli.entries import Organisation, remove, save
from services.cli.output import AsJson, Limit, Search, done, listing, moment, price_milli, sheet, table

app = typer.Typer(help="Tariffs: prices by version; a version never changes.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="Tariff id; case counts.")]
Name = Annotated[str | None, typer.Option(help="For people.")]
ValidFrom = Annotated[
    str | None,
    typer.Option(
        help="Sessions that start from this moment on, such as 2026-05-01T00:00:00Z. Default: in a few seconds."
    ),
]


TermsFile = Annotated[
    Path | None,
    typer.Option("--terms", help="YAML file with elements, limits, taxes, plans; see docs/tariffs.md."),
]


def _terms(file: Path, currency: str) -> Any:
    """The terms in a file, as the API takes them. Raises CliError that says everything wrong with them."""
    try:
        # This loader makes texts, lists and dicts only: 0.10 is no float.
        written = yaml.load(file.read_text(), Loader=yaml.BaseLoader)  # noqa: S506
        return render(parse(written, currency, texts=True), currency)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CliError(f"{file} cannot be read: {error}") from None
    except TariffError as error:
        raise CliError("\n  ".join([f"{file}:", *map(str, error.problems)])) from None


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
        ("billed by", lambda v: "price" if v["terms"] is None else "terms"),
    ]
    table(found["versions"], columns, "no versions")
    for version in found["versions"]:
        if version["terms"] is not None:
            typer.echo(f"terms of version {version['version']}:")
            typer.echo(yaml.safe_dump(version["terms"], sort_keys=False))


def _priced(amount: str | None, terms: Path | None, currency: str) -> dict[str, object]:
    priced: dict[str, object] = {}
    if amount is not None:
        priced["price_per_kwh_milli"] = price_milli(amount, currency)
    if terms is not None:
        priced["terms"] = _terms(terms, currency)
    return priced


@app.command("check")
def check_terms(
    file: Annotated[Path, typer.Argument(help="YAML file with terms.")],
    currency: Annotated[str, typer.Option(help="ISO 4217.")] = "EUR",
) -> None:
    """Check a file of terms, and print them as they are understood. Stores nothing."""
    typer.echo(yaml.safe_dump(_terms(file, currency), sort_keys=False), nl=False)


@app.command("add")
def add_tariff(
    context: typer.Context,
    *,
    tariff: Id,
    amount: Annotated[
        str | None, typer.Option("--price", help="Per kWh in the major unit, such as 0.4567.")
    ] = None,
    terms: TermsFile = None,
    currency: Annotated[str, typer.Option(help="ISO 4217.")] = "EUR",
    name: Name = None,
    valid_from: ValidFrom = None,
    organisation: Organisation = None,
    json: AsJson = False,
) -> None:
    """Create a tariff: of one price per kWh, or of terms."""
    settings = {"currency": currency, **given(name=name, valid_from=valid_from, organisation_id=organisation)}
    settings |= _priced(amount, terms, currency)
    if (amount is None) == (terms is None):
        raise typer.BadParameter("either --price or --terms", param_hint="--price")
    save(context, "tariff", "tariff_id", tariff, settings, json=json)


@app.command("set")
def set_tariff(
    context: typer.Context,
    *,
    tariff: Id,
    amount: Annotated[
        str | None, typer.Option("--price", help="Per kWh in the major unit; a new version.")
    ] = None,
    terms: TermsFile = None,
    currency: Annotated[str | None, typer.Option(help="ISO 4217; a new version.")] = None,
    name: Name = None,
    valid_from: ValidFrom = None,
    json: AsJson = False,
) -> None:
    """Change the name, or the price or terms: that makes a new version."""
    client = api(context)
    path = f"/tariffs/{segment(tariff)}"
    if amount is not None and terms is not None:
        raise typer.BadParameter("either --price or --terms", param_hint="--price")
    if currency is not None and amount is None and terms is None:
        raise typer.BadParameter("another currency needs a price or terms in it", param_hint="--currency")
    body = given(name=name, currency=currency, valid_from=valid_from)
    if amount is not None or terms is not None:
        body |= _priced(amount, terms, currency or client.get(path)["versions"][-1]["currency"])
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
