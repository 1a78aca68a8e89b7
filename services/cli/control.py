"""`voltbus command` and `voltbus campaigns`."""

import json as jsonlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from services.cli.client import CliError, Json, as_json, segment
from services.cli.context import api, given
from services.cli.output import AsJson, Limit, console, done, listing, moment, sheet, table

command = typer.Typer(help="Commands to chargers, and their fates.", no_args_is_help=True)
campaigns = typer.Typer(help="Firmware campaigns.", no_args_is_help=True)

Key = Annotated[
    str | None, typer.Option("--idempotency-key", help="The same key again is the same request, not another.")
]


@command.command("send")
def send(
    context: typer.Context,
    *,
    station: Annotated[str, typer.Argument(help="Station id.")],
    action: Annotated[str, typer.Argument(help="As the charger's OCPP version names it, such as Reset.")],
    payload: Annotated[
        str, typer.Option(help="JSON object, @FILE with one, or - for standard input.")
    ] = "{}",
    ttl: Annotated[float, typer.Option(help="Seconds that an offline charger is waited for.")] = 60,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the outcome, at most 60.")] = 0,
    version_free: Annotated[
        bool,
        typer.Option(
            "--version-free",
            help="ACTION is SetLimit, ClearLimit, RemoteStart, RemoteStop, UpdateFirmware or Reset in the platform's"
            " own words, for a charger of any version.",
        ),
    ] = False,
    version: Annotated[
        str | None, typer.Option(help="OCPP version of a charger that never connected.")
    ] = None,
    idempotency_key: Key = None,
    json: AsJson = False,
) -> None:
    """Send a command. Status 1 unless it is accepted, or taken if there is no --wait."""
    body = {
        "command" if version_free else "action": action,
        "payload": payload_of(payload),
        "ttl_s": ttl,
        "wait_s": wait,
        **given(version=version),
    }
    sent = api(context).request(
        "POST",
        f"/stations/{segment(station)}/commands",
        body,
        headers={} if idempotency_key is None else {"Idempotency-Key": idempotency_key},
        patience_s=max(wait, 0),
    )
    _show(sent, json)
    if sent["status"] == "PENDING" and wait > 0:
        console(error=True).print(
            f"no outcome within {wait:g} s; ask later: voltbus command show {sent['command_id']}"
        )
    if sent["status"] != "ACCEPTED" and (wait > 0 or sent["status"] != "PENDING"):
        raise typer.Exit(1)


@command.command("show")
def show(
    context: typer.Context,
    command_id: Annotated[str, typer.Argument(help="Command id.")],
    json: AsJson = False,
) -> None:
    """Show a command and its fate."""
    _show(api(context).get(f"/commands/{segment(command_id)}"), json)


def _show(found: Json, json: bool) -> None:
    if json:
        typer.echo(as_json(found))
        return
    error = found["error"]
    sheet(
        [
            ("command", found["command_id"]),
            ("station", found["station_id"]),
            ("action", found["action"]),
            ("payload", compact(found["payload"])),
            ("status", found["status"]),
            ("reason", found["reason"]),
            ("answer", compact(found["result"])),
            ("error", f"{error['code']} {error['description']}" if error else ""),
            ("attempts", found["attempts"] or ""),
            ("requested", f"{moment(found['requested_at'])} by {found['requested_by']}"),
            ("expires", moment(found["expires_at"]) if found["status"] == "PENDING" else ""),
            ("concluded", moment(found["concluded_at"])),
        ]
    )


def compact(value: Any) -> str:
    """JSON in one line; "" for nothing."""
    return "" if value is None else jsonlib.dumps(value, ensure_ascii=False)


def payload_of(text: str) -> Json:
    """The object that was given as text, @FILE or - for standard input. Raises typer.BadParameter."""
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).read_text(encoding="utf-8")
        payload = jsonlib.loads(text)
    except OSError as error:
        raise typer.BadParameter(str(error), param_hint="--payload") from None
    except ValueError as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint="--payload") from None
    if not isinstance(payload, dict):
        raise typer.BadParameter("a payload is a JSON object", param_hint="--payload")
    return payload


@campaigns.command("start")
def start(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Argument(help="For people.")],
    target: Annotated[str, typer.Option("--to", help="Firmware version that the chargers shall report.")],
    location: Annotated[str, typer.Option(help="URL from which the chargers fetch it.")],
    stations: Annotated[list[str] | None, typer.Option("--station", help="Repeatable.")] = None,
    site: Annotated[str | None, typer.Option(help="All stations of this site.")] = None,
    deadline: Annotated[
        str | None, typer.Option(help="Such as 2026-05-01T00:00:00Z. Default: a day from now.")
    ] = None,
    idempotency_key: Key = None,
    json: AsJson = False,
) -> None:
    """Start a campaign over some stations."""
    client = api(context)
    chosen = list(stations or ())
    if site is not None:
        chosen += [found["station_id"] for found in client.items("/stations", {"site_id": site}, 10_000)]
    if not chosen:
        if site is not None:
            raise CliError(f"no station is at site {site!r} now")
        raise typer.BadParameter("give --station or --site")
    body = {
        "name": name,
        "target_version": target,
        "location": location,
        "stations": chosen,
        **given(deadline=deadline),
    }
    headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
    started = client.request("POST", "/campaigns", body, headers=headers)
    done(started, json, f"campaign {started['campaign_id']} started over {started['total']} stations")


@campaigns.command("list")
def list_campaigns(context: typer.Context, limit: Limit = 100, json: AsJson = False) -> None:
    """List campaigns."""
    columns = [
        ("campaign", lambda c: c["campaign_id"]),
        ("name", lambda c: c["name"]),
        ("to", lambda c: c["target_version"]),
        ("stations", lambda c: c["total"]),
        ("installed", lambda c: c["installed"]),
        ("failed", lambda c: c["failed"]),
        ("pending", lambda c: c["pending"]),
        ("finished", lambda c: "yes" if c["finished"] else "no"),
        ("started", lambda c: moment(c["requested_at"])),
    ]
    listing(api(context), "/campaigns", {}, limit, columns, json=json)


@campaigns.command("show")
def show_campaign(
    context: typer.Context,
    campaign: Annotated[str, typer.Argument(help="Campaign id.")],
    json: AsJson = False,
) -> None:
    """Show a campaign and each station's part in it."""
    client = api(context)
    found = client.get(f"/campaigns/{segment(campaign)}")
    found["progress"] = client.get(f"/campaigns/{segment(campaign)}/stations")["items"]
    if json:
        typer.echo(as_json(found))
        return
    counts = f"{found['installed']} installed, {found['failed']} failed, {found['pending']} pending of {found['total']}"
    sheet(
        [
            ("campaign", found["campaign_id"]),
            ("name", found["name"]),
            ("firmware", f"{found['target_version']} from {found['location']}"),
            ("started", f"{moment(found['requested_at'])} by {found['requested_by']}"),
            ("deadline", moment(found["deadline"])),
            ("progress", counts + (", finished" if found["finished"] else "")),
        ]
    )
    columns = [
        ("station", lambda s: s["station_id"]),
        ("status", lambda s: s["status"]),
        ("firmware", lambda s: s["firmware_version"]),
        ("detail", lambda s: s["detail"]),
        ("since", lambda s: moment(s["updated_at"])),
    ]
    table(found["progress"], columns, "no stations")
