"""What `voltbus stations` asks of chargers themselves: variables, device model, local list, logs."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from services.cli.client import Json, as_json, segment
from services.cli.context import api, given
from services.cli.output import AsJson, console, moment, table

Station = Annotated[str, typer.Argument(help="Station id; case does not count.")]
Timeout = Annotated[float, typer.Option(help="Seconds that all of it may take, at most 300.")]
Evse = Annotated[int | None, typer.Option(help="Of this EVSE (2.x).")]

_SENT = frozenset({"ACCEPTED", "REJECTED"})


class Log(StrEnum):
    """Kinds of logs."""

    DIAGNOSTICS = "diagnostics"
    SECURITY = "security"


def get_variables(
    context: typer.Context,
    *,
    station: Station,
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Keys of 1.6, or Component.Variable[instance]. None: all of a 1.6 charger."),
    ] = None,
    evse: Evse = None,
    timeout: Timeout = 60,
    json: AsJson = False,
) -> None:
    """Ask a charger for variables. Status 1 unless it tells all of them."""
    wanted = [{"name": name, **given(evse_id=evse)} for name in names or ()]
    body = {"variables": wanted, "timeout_s": timeout}
    found = _ask(context, station, "variables/get", body, timeout)
    _show_variables(found, json)


def set_variables(
    context: typer.Context,
    *,
    station: Station,
    changes: Annotated[list[str], typer.Argument(help="NAME=VALUE, repeatable.")],
    evse: Evse = None,
    timeout: Timeout = 60,
    json: AsJson = False,
) -> None:
    """Change variables of a charger. Status 1 unless it accepts all of them."""
    wanted = []
    for change in changes:
        name, equals, value = change.partition("=")
        if not name or not equals:
            raise typer.BadParameter(f"{change!r} is not NAME=VALUE", param_hint="CHANGES")
        wanted.append({"name": name, "value": value, **given(evse_id=evse)})
    body = {"variables": wanted, "timeout_s": timeout}
    found = _ask(context, station, "variables/set", body, timeout)
    _show_variables(found, json)


def device_model(
    context: typer.Context,
    *,
    station: Station,
    component: Annotated[str | None, typer.Option(help="Only of this component.")] = None,
    variable: Annotated[str | None, typer.Option(help="Only this variable.")] = None,
    json: AsJson = False,
) -> None:
    """Show what a charger told of its variables."""
    query = {"component": component, "variable": variable}
    found = api(context).get(f"/stations/{segment(station)}/device-model", query)
    if json:
        typer.echo(as_json(found))
        return
    columns = [
        ("component", lambda i: _with_instance(i["component"], i["component_instance"])),
        ("EVSE", lambda i: i["evse_id"] or ""),
        ("variable", lambda i: _with_instance(i["variable"], i["variable_instance"])),
        ("attribute", lambda i: i["attribute"]),
        ("value", lambda i: i["value"]),
        ("", lambda i: "read only" if i["mutability"] == "ReadOnly" else ""),
        ("told", lambda i: moment(i["at"])),
    ]
    table(found["items"], columns, "it has told nothing; send it GetBaseReport, or ask for variables")
    for report in found["reports"]:
        if not report["complete"]:
            console().print(f"report {report['request_id']}: {report['parts']} parts so far, not all")


def sync_list(
    context: typer.Context,
    *,
    station: Station,
    full: Annotated[bool, typer.Option("--full", help="Replace the list, whatever the charger has.")] = False,
    timeout: Timeout = 60,
    json: AsJson = False,
) -> None:
    """Bring a charger's local list in line with the registered tokens. Status 1 unless it is."""
    body = {"full": full, "timeout_s": timeout}
    found = _ask(context, station, "local-list/sync", body, timeout)
    if json:
        typer.echo(as_json(found))
    else:
        outcome = found["outcome"].replace("_", " ")
        console().print(f"{outcome}: {found['why']}", markup=False)
        if found["sent"]:
            console().print(f"{found['sent']} entries; its list has version {found['version']}")
        if found["left_out"]:
            console().print(f"{found['left_out']} tokens are too long for its OCPP version")
    if found["outcome"] not in ("up_to_date", "differential", "full"):
        raise typer.Exit(1)


def ask_log(
    context: typer.Context,
    *,
    station: Station,
    location: Annotated[str, typer.Argument(help="URL to which the charger uploads it.")],
    log: Annotated[Log, typer.Option(help="Which log.")] = Log.DIAGNOSTICS,
    oldest: Annotated[
        str | None, typer.Option(help="From this moment on, such as 2026-05-01T00:00:00Z.")
    ] = None,
    latest: Annotated[str | None, typer.Option(help="Up to this moment.")] = None,
    timeout: Timeout = 60,
    json: AsJson = False,
) -> None:
    """Have a charger upload a log. Status 1 unless it agrees."""
    body = {
        "location": location,
        "log": log.value,
        "timeout_s": timeout,
        **given(oldest=oldest, latest=latest),
    }
    found = _ask(context, station, "logs", body, timeout)
    if json:
        typer.echo(as_json(found))
    else:
        said = found["command"]
        console().print(f"{said['status']} ({said['action']}): {said['reason']}", markup=False)
        if found["filename"]:
            console().print(f"file: {found['filename']!r}", markup=False)
    if found["command"]["status"] != "ACCEPTED":
        raise typer.Exit(1)


def list_logs(context: typer.Context, *, station: Station, json: AsJson = False) -> None:
    """List the requests for logs of a charger, and how their uploads went."""
    found = api(context).get(f"/stations/{segment(station)}/logs")
    if json:
        typer.echo(as_json(found))
        return
    columns = [
        ("requested", lambda i: moment(i["requested_at"])),
        ("log", lambda i: i["log"]),
        ("status", lambda i: i["status"]),
        ("upload", lambda i: i["uploads"][-1]["status"] if i["uploads"] else ""),
        ("at", lambda i: moment(i["uploads"][-1]["at"]) if i["uploads"] else ""),
        ("file", lambda i: i["filename"]),
        ("location", lambda i: i["location"]),
    ]
    table(found["items"], columns, "no requests")


def _ask(context: typer.Context, station: str, what: str, body: Json, timeout: float) -> Any:
    path = f"/stations/{segment(station)}/{what}"
    return api(context).request("POST", path, body, patience_s=timeout)


def _show_variables(found: Json, json: bool) -> None:
    if json:
        typer.echo(as_json(found))
    else:
        columns = [
            ("variable", lambda i: i["name"]),
            ("EVSE", lambda i: i["evse_id"] or ""),
            ("status", lambda i: i["status"] or "no word"),
            ("value", lambda i: i["value"]),
            ("", lambda i: "read only" if i["read_only"] else ""),
        ]
        table(found["items"], columns, "no variables")
        for said in found["commands"]:
            if said["status"] not in _SENT:
                console(error=True).print(
                    f"{said['action']}: {said['status']}, {said['reason']}", markup=False
                )
    agreed = ("Accepted", "RebootRequired")
    if not found["items"] or any(item["status"] not in agreed for item in found["items"]):
        raise typer.Exit(1)


def _with_instance(name: str, instance: str) -> str:
    return f"{name}[{instance}]" if instance else name
