"""`voltbus bulk`: one command to many chargers."""

from typing import Annotated, Any

import typer

from services.cli.client import Json, as_json, segment
from services.cli.context import api, given
from services.cli.control import Key, compact, payload_of
from services.cli.output import AsJson, Limit, console, listing, moment, sheet, table

app = typer.Typer(help="One command to many chargers.", no_args_is_help=True)

Command = Annotated[
    str | None, typer.Option("--command", help="Version-free command, such as SetVariables; see --payload.")
]
Payload = Annotated[str, typer.Option(help="JSON object, @FILE with one, or - for standard input.")]
Action = Annotated[
    list[str] | None,
    typer.Option(
        "--action", help='VERSION:ACTION:PAYLOAD, such as \'1.6:Reset:{"type":"Soft"}\'. Repeatable.'
    ),
]
Stations = Annotated[list[str] | None, typer.Option("--station", help="Repeatable.")]
Everything = Annotated[
    bool, typer.Option("--all", help="Every station that the filters choose; all without any.")
]
Site = Annotated[str | None, typer.Option(help="Filter: stations of this site now.")]
Vendor = Annotated[str | None, typer.Option(help="Filter: as the charger tells it.")]
Model = Annotated[str | None, typer.Option(help="Filter: as the charger tells it.")]
Firmware = Annotated[str | None, typer.Option(help="Filter: version as the charger tells it.")]
Version = Annotated[str | None, typer.Option("--ocpp", help="Filter: OCPP version, such as 1.6.")]
Text = Annotated[
    str | None, typer.Option("--text", help="Filter: part of id, name, vendor, model or serial number.")
]
Wait = Annotated[
    bool, typer.Option("--wait-for-offline", help="Do not skip chargers that are not connected.")
]
Ttl = Annotated[float, typer.Option(help="Seconds that each command waits for its charger.")]
Reason = Annotated[str, typer.Option(help="Why you do it.")]
Bulk = Annotated[str, typer.Argument(help="Its id.")]


@app.command("preview")
def preview(
    context: typer.Context,
    *,
    command: Command = None,
    payload: Payload = "{}",
    action: Action = None,
    station: Stations = None,
    everything: Everything = False,
    site: Site = None,
    vendor: Vendor = None,
    model: Model = None,
    firmware: Firmware = None,
    version: Version = None,
    text: Text = None,
    wait: Wait = False,
    ttl: Ttl = 60,
    json: AsJson = False,
) -> None:
    """Show which chargers would be asked, and which skipped and why. Nothing is sent."""
    filters = given(
        site_id=site, vendor=vendor, model=model, firmware_version=firmware, version=version, q=text
    )
    body = _wish(command, payload, action, station, filters if everything or filters else None)
    body |= {"offline": "wait" if wait else "skip", "ttl_s": ttl}
    found = api(context).request("POST", "/bulk-commands/preview", body)
    if json:
        typer.echo(as_json(found))
        return
    table(
        found["stations"],
        [
            ("station", lambda s: s["station_id"]),
            ("name", lambda s: s["name"]),
            ("OCPP", lambda s: s["version"]),
            ("connected", lambda s: "yes" if s["connected"] else "no"),
            ("skipped", lambda s: s["skipped"]),
        ],
        "no stations",
    )
    counts = f"{found['asked']} of {found['total']} would be asked, {found['skipped']} skipped"
    console().print(f"{counts}, {found['offline']} are not connected")


@app.command("start")
def start(
    context: typer.Context,
    *,
    reason: Reason,
    command: Command = None,
    payload: Payload = "{}",
    action: Action = None,
    station: Stations = None,
    everything: Everything = False,
    site: Site = None,
    vendor: Vendor = None,
    model: Model = None,
    firmware: Firmware = None,
    version: Version = None,
    text: Text = None,
    wait: Wait = False,
    ttl: Ttl = 60,
    concurrency: Annotated[int, typer.Option(help="Chargers that have it without an answer at once.")] = 20,
    stop_at: Annotated[
        int, typer.Option("--stop-at", help="Stop at this share of failures, in percent; 0: never.")
    ] = 20,
    stop_after: Annotated[int, typer.Option(help="Chargers that are through before that is looked at.")] = 10,
    expected: Annotated[
        int | None,
        typer.Option(help="How many it should ask; nothing is sent if it would be others in number."),
    ] = None,
    idempotency_key: Key = None,
    json: AsJson = False,
) -> None:
    """Start a bulk command."""
    filters = given(
        site_id=site, vendor=vendor, model=model, firmware_version=firmware, version=version, q=text
    )
    body = {
        **_wish(command, payload, action, station, filters if everything or filters else None),
        "offline": "wait" if wait else "skip",
        "ttl_s": ttl,
        "reason": reason,
        "concurrency": concurrency,
        "stop_at_percent": stop_at or None,
        "stop_after": stop_after,
        **given(expected=expected),
    }
    started = api(context).request("POST", "/bulk-commands", body, headers=_headers(idempotency_key))
    _show(started, json)


@app.command("list")
def list_bulk(context: typer.Context, limit: Limit = 20, json: AsJson = False) -> None:
    """List bulk commands, the newest first."""
    columns = [
        ("bulk command", lambda b: b["bulk_id"]),
        ("command", _actions),
        ("status", lambda b: b["status"]),
        ("stations", lambda b: b["total"]),
        ("accepted", lambda b: b["accepted"]),
        ("failed", lambda b: b["rejected"] + b["failed"] + b["timed_out"]),
        ("open", lambda b: b["waiting"] + b["sent"]),
        ("by", lambda b: b["requested_by"]),
        ("started", lambda b: moment(b["requested_at"])),
    ]
    listing(api(context), "/bulk-commands", {}, limit, columns, json=json)


@app.command("show")
def show(context: typer.Context, bulk: Bulk, json: AsJson = False) -> None:
    """Show a bulk command and its counts."""
    _show(api(context).get(f"/bulk-commands/{segment(bulk)}"), json)


@app.command("stations")
def stations(
    context: typer.Context,
    *,
    bulk: Bulk,
    status: Annotated[str | None, typer.Option(help="Such as REJECTED or TIMED_OUT.")] = None,
    limit: Limit = 100,
    json: AsJson = False,
) -> None:
    """List each station's part in a bulk command."""
    columns = [
        ("station", lambda s: s["station_id"]),
        ("status", lambda s: s["status"]),
        ("reason", lambda s: s["reason"]),
        ("command", lambda s: s["command_id"] or ""),
        ("since", lambda s: moment(s["updated_at"])),
    ]
    path = f"/bulk-commands/{segment(bulk)}/stations"
    listing(api(context), path, {"status": status and status.upper()}, limit, columns, json=json)


@app.command("stop")
def stop(
    context: typer.Context,
    *,
    bulk: Bulk,
    reason: Reason,
    idempotency_key: Key = None,
    json: AsJson = False,
) -> None:
    """Ask no further chargers."""
    _show(_steer(context, bulk, "stop", {"reason": reason}, idempotency_key), json)


@app.command("resume")
def resume(
    context: typer.Context,
    *,
    bulk: Bulk,
    reason: Reason,
    idempotency_key: Key = None,
    json: AsJson = False,
) -> None:
    """Go on after a stop."""
    _show(_steer(context, bulk, "resume", {"reason": reason}, idempotency_key), json)


@app.command("retry")
def retry(
    context: typer.Context,
    *,
    bulk: Bulk,
    reason: Reason,
    wait: Wait = False,
    idempotency_key: Key = None,
    json: AsJson = False,
) -> None:
    """Ask again all that are through and did not accept."""
    body = {"reason": reason, "offline": "wait" if wait else "skip"}
    _show(_steer(context, bulk, "retry", body, idempotency_key), json)


def _steer(context: typer.Context, bulk: str, action: str, body: Json, key: str | None) -> Json:
    path = f"/bulk-commands/{segment(bulk)}/{action}"
    steered: Json = api(context).request("POST", path, body, headers=_headers(key))
    return steered


def _headers(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Idempotency-Key": key}


def _wish(
    command: str | None,
    payload: str,
    actions: list[str] | None,
    stations: list[str] | None,
    filters: Json | None,
) -> Json:
    if not stations and filters is None:
        raise typer.BadParameter("give --station, a filter or --all")
    body: Json = {"stations": stations} if stations else {"filter": filters}
    if stations and filters is not None:
        raise typer.BadParameter("give either --station or filters")
    if command is not None:
        body |= {"command": command, "payload": payload_of(payload)}
    if actions:
        body["actions"] = dict(_action(each) for each in actions)
    return body


def _action(text: str) -> tuple[str, Json]:
    version, _, rest = text.partition(":")
    action, _, payload = rest.partition(":")
    if not action:
        raise typer.BadParameter("VERSION:ACTION:PAYLOAD", param_hint="--action")
    return version, {"action": action, "payload": payload_of(payload or "{}")}


def _actions(found: Json) -> str:
    return ", ".join(dict.fromkeys(str(each["action"]) for each in found["messages"]))


def _show(found: Json, json: bool) -> None:
    if json:
        typer.echo(as_json(found))
        return
    counts = ("waiting", "sent", "accepted", "rejected", "failed", "timed_out", "skipped")
    status = found["status"] + (f": {found['stopped_because']}" if found["stopped_because"] else "")
    rows: list[tuple[str, Any]] = [
        ("bulk command", found["bulk_id"]),
        ("command", _actions(found)),
        ("payload", "; ".join(compact(each["payload"]) for each in found["messages"])),
        ("reason", found["reason"]),
        ("selection", found["selection"]),
        ("started", f"{moment(found['requested_at'])} by {found['requested_by']}"),
        ("status", status),
        ("round", found["round"]),
        ("stations", found["total"]),
        *((name.replace("_", " "), found[name]) for name in counts),
    ]
    sheet(rows)
