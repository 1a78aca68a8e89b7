"""`voltbus sites`."""

from typing import Annotated

import typer

from services.cli.client import as_json, segment
from services.cli.context import api, given
from services.cli.entries import Organisation, remove, save
from services.cli.output import (
    AsJson,
    Limit,
    Search,
    ampere,
    listing,
    milliampere,
    moment,
    sheet,
    table,
)

app = typer.Typer(help="Sites: their limits, tariffs and load plans.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="Site id; case counts.")]
Name = Annotated[str | None, typer.Option(help="For people.")]
Zone = Annotated[str | None, typer.Option(help="IANA time zone.")]
MaxCurrent = Annotated[
    str | None,
    typer.Option("--limit-current", help="Ampere per phase for all its EVSEs together; `none`: no limit."),
]
TariffOption = Annotated[str | None, typer.Option("--tariff", help="Charge by this tariff.")]
TariffFrom = Annotated[
    str | None,
    typer.Option(help="From this moment on, such as 2026-05-01T00:00:00Z. Default: in a few seconds."),
]
Latitude = Annotated[float | None, typer.Option(help="Degrees north.")]
Longitude = Annotated[float | None, typer.Option(help="Degrees east.")]


@app.command("list")
def list_sites(
    context: typer.Context,
    tariff: Annotated[str | None, typer.Option(help="Only those where this tariff is in force.")] = None,
    search: Search = None,
    limit: Limit = 100,
    json: AsJson = False,
) -> None:
    """List sites."""
    columns = [
        ("site", lambda s: s["site_id"]),
        ("name", lambda s: s["name"]),
        ("A limit", lambda s: ampere(s["limit_ma"])),
        ("tariff", lambda s: s["tariff_id"]),
        ("time zone", lambda s: s["timezone"]),
    ]
    listing(api(context), "/sites", {"tariff_id": tariff, "q": search}, limit, columns, json=json)


@app.command("show")
def show_site(context: typer.Context, site: Id, json: AsJson = False) -> None:
    """Show one site."""
    found = api(context).get(f"/sites/{segment(site)}")
    if json:
        typer.echo(as_json(found))
        return
    place = "" if found["latitude"] is None else f"{found['latitude']}, {found['longitude']}"
    sheet(
        [
            ("site", found["site_id"]),
            ("name", found["name"]),
            (
                "limit",
                f"{ampere(found['limit_ma'])} A per phase" if found["limit_ma"] is not None else "none",
            ),
            ("tariff", found["tariff_id"]),
            *(("  from", f"{moment(each['valid_from'])}  {each['id']}") for each in found["tariffs"]),
            ("time zone", found["timezone"]),
            ("place", place),
            ("changed", moment(found["updated_at"])),
        ]
    )


@app.command("load")
def show_load(context: typer.Context, site: Id, json: AsJson = False) -> None:
    """Show how the site's limit is shared now."""
    plan = api(context).get(f"/sites/{segment(site)}/load")
    if json:
        typer.echo(as_json(plan))
        return
    limit = "no limit" if plan["limit_ma"] is None else f"limit {ampere(plan['limit_ma'])} A"
    sheet([("plan", f"{plan['plan_no']} of {moment(plan['made_at'])}, {limit}, {plan['waiting']} waiting")])
    columns = [
        ("station", lambda a: a["station_id"]),
        ("EVSE", lambda a: a["evse_id"]),
        ("transaction", lambda a: a["transaction_id"]),
        ("A per phase", lambda a: ampere(a["current_ma"])),
        ("A drawn", lambda a: ampere(a["drawn_ma"]) if a["drawn_ma"] else ""),
    ]
    table(plan["allocations"], columns, "nobody charges")


@app.command("set", help="Change what is given, nothing else.")
@app.command("add", help="Create a site.")
def save_site(
    context: typer.Context,
    *,
    site: Id,
    name: Name = None,
    timezone: Zone = None,
    limit_current: MaxCurrent = None,
    tariff: TariffOption = None,
    tariff_from: TariffFrom = None,
    latitude: Latitude = None,
    longitude: Longitude = None,
    organisation: Organisation = None,
    json: AsJson = False,
) -> None:
    """Write what is given of a site."""
    settings = given(
        organisation_id=organisation,
        name=name,
        timezone=timezone,
        tariff_id=tariff,
        tariff_valid_from=tariff_from,
        latitude=latitude,
        longitude=longitude,
    )
    if limit_current is not None:
        unlimited = limit_current.lower() == "none"
        settings["limit_ma"] = None if unlimited else milliampere(limit_current, "--limit-current")
    save(context, "site", "site_id", site, settings, json=json)


@app.command("remove")
def remove_site(context: typer.Context, site: Id, json: AsJson = False) -> None:
    """Forget a site that no station is assigned to."""
    remove(context, "site", site, site, json=json)
