"""`voltbus stations`."""

from typing import Annotated

import typer

from libs.events.registry import BootStatus
from services.cli import passwords
from services.cli.client import Json, as_json, segment
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
)

app = typer.Typer(help="Stations: what is configured of each charger.", no_args_is_help=True)
app.add_typer(passwords.app, name="password")


Id = Annotated[str, typer.Argument(help="Station id; case does not count.")]
Name = Annotated[str | None, typer.Option(help="For people.")]
Site = Annotated[str | None, typer.Option(help="Assign it to this site.")]
SiteFrom = Annotated[
    str | None,
    typer.Option(help="From this moment on, such as 2026-05-01T00:00:00Z. Default: in a few seconds."),
]
Boot = Annotated[BootStatus | None, typer.Option("--boot-status", help="Answer to its BootNotification.")]
Heartbeat = Annotated[int | None, typer.Option(help="Seconds between heartbeats.")]
Evses = Annotated[int | None, typer.Option(help="Number of EVSEs.")]
MaxCurrent = Annotated[str | None, typer.Option(help="Ampere per phase and EVSE.")]
Phases = Annotated[int | None, typer.Option(help="1 or 3.")]
MaxPower = Annotated[
    int | None, typer.Option(min=1, help="Watts that a connector can deliver; far more goes to review.")
]
Zone = Annotated[str | None, typer.Option(help="IANA time zone of its timestamps without one.")]
NoSubprotocol = Annotated[
    bool | None,
    typer.Option("--allow-no-subprotocol/--require-subprotocol", help="Let it connect without one."),
]
Profile = Annotated[
    int | None,
    typer.Option(
        min=0, max=3, help="Least: 0 nothing, 1 password, 2 TLS and password, 3 client certificate."
    ),
]
Downgrade = Annotated[
    bool,
    typer.Option(
        "--allow-security-downgrade",
        help="Needed to lower the security profile, and below the platform's least.",
    ),
]
CertificateName = Annotated[
    str | None, typer.Option(help="Common name of its client certificate. Default: its id.")
]
Certification = Annotated[
    bool | None,
    typer.Option("--certification/--no-certification", help="Send it nothing that nobody asked for."),
]


@app.command("list")
def list_stations(
    context: typer.Context,
    *,
    site: Annotated[str | None, typer.Option(help="Only those at this site.")] = None,
    boot_status: Boot = None,
    search: Search = None,
    limit: Limit = 100,
    json: AsJson = False,
) -> None:
    """List stations."""
    query = {"site_id": site, "boot_status": boot_status and boot_status.value, "q": search}
    columns = [
        ("station", lambda s: s["station_id"]),
        ("name", lambda s: s["name"]),
        ("site", lambda s: s["site_id"]),
        ("boot", lambda s: s["boot_status"]),
        ("EVSEs", lambda s: s["evses"] or ""),
        ("A per phase", lambda s: ampere(s["max_current_ma"])),
        ("phases", lambda s: s["phases"]),
    ]
    listing(api(context), "/stations", query, limit, columns, json=json)


@app.command("show")
def show_station(context: typer.Context, station: Id, json: AsJson = False) -> None:
    """Show one station."""
    found = api(context).get(f"/stations/{segment(station)}")
    if json:
        typer.echo(as_json(found))
        return
    sheet(
        [
            ("station", found["station_id"]),
            ("name", found["name"]),
            ("site", found["site_id"]),
            *_assigned(found["sites"]),
            ("boot status", found["boot_status"]),
            ("heartbeat", f"{found['heartbeat_interval_s']} s"),
            ("EVSEs", found["evses"] or "not known"),
            ("current", f"{ampere(found['max_current_ma'])} A, {found['phases']} phases"),
            ("power", f"{found['max_power_w']} W per connector" if found["max_power_w"] else "not known"),
            ("time zone", found["timezone"]),
            ("without subprotocol", "allowed" if found["allow_no_subprotocol"] else ""),
            (
                "security profile",
                f"{found['security_profile']} at least" + (", exempt" if found["profile_exempt"] else ""),
            ),
            ("certificate name", found["certificate_name"]),
            ("certification", "sent nothing unasked" if found["certification"] else ""),
            ("changed", moment(found["updated_at"])),
            ("changed by", found["changed_by"]),
        ]
    )


def _assigned(entries: list[Json]) -> list[tuple[str, str]]:
    return [("  from", f"{moment(entry['valid_from'])}  {entry['id']}") for entry in entries]


@app.command("set", help="Change what is given, nothing else.")
@app.command("add", help="Register a station.")
def save_station(
    context: typer.Context,
    *,
    station: Id,
    name: Name = None,
    site: Site = None,
    site_from: SiteFrom = None,
    boot_status: Boot = None,
    heartbeat: Heartbeat = None,
    evses: Evses = None,
    max_current: MaxCurrent = None,
    phases: Phases = None,
    max_power: MaxPower = None,
    timezone: Zone = None,
    allow_no_subprotocol: NoSubprotocol = None,
    security_profile: Profile = None,
    allow_security_downgrade: Downgrade = False,
    certificate_name: CertificateName = None,
    certification: Certification = None,
    organisation: Organisation = None,
    json: AsJson = False,
) -> None:
    """Write what is given of a station."""
    settings = given(
        organisation_id=organisation,
        name=name,
        site_id=site,
        site_valid_from=site_from,
        boot_status=boot_status and boot_status.value,
        heartbeat_interval_s=heartbeat,
        evses=evses,
        max_current_ma=None if max_current is None else milliampere(max_current, "--max-current"),
        phases=phases,
        max_power_w=max_power,
        timezone=timezone,
        allow_no_subprotocol=allow_no_subprotocol,
        security_profile=security_profile,
        allow_security_downgrade=allow_security_downgrade or None,
        certificate_name=certificate_name,
        certification=certification,
    )
    save(context, "station", "station_id", station, settings, json=json)


@app.command("remove")
def remove_station(context: typer.Context, station: Id, json: AsJson = False) -> None:
    """Forget a station. Its past stays."""
    remove(context, "station", station, station.casefold(), json=json)
