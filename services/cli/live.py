"""`voltbus state` and `voltbus watch`."""

import json as jsonlib
import time
from collections.abc import Callable
from typing import Annotated, Any, Final

import httpx
import typer
from rich.text import Text

from libs.tariffs.amounts import kwh, money
from services.cli.client import Client, Json, as_json, segment
from services.cli.context import api
from services.cli.output import (
    AsJson,
    Limit,
    ampere,
    console,
    listing,
    moment,
    printable,
    sheet,
    styled,
    table,
)

RETRY_S: Final = 1.0


def state(
    context: typer.Context,
    *,
    station: Annotated[str | None, typer.Argument(help="One station; all of them without it.")] = None,
    connected: Annotated[
        bool | None, typer.Option("--connected/--disconnected", help="Only those.", show_default=False)
    ] = None,
    site: Annotated[str | None, typer.Option(help="Only those at this site.")] = None,
    limit: Limit = 1000,
    json: AsJson = False,
) -> None:
    """Show what stations do now."""
    if station is None:
        query = {"connected": None if connected is None else str(connected).lower(), "site_id": site}
        columns = [
            ("station", lambda s: s["station_id"]),
            ("", _online),
            ("site", lambda s: s["site_id"]),
            ("version", lambda s: s["version"]),
            ("model", lambda s: " ".join(filter(None, (s["vendor"], s["model"])))),
            ("firmware", lambda s: s["firmware_version"]),
            ("connectors", _connectors),
        ]
        listing(api(context), "/state", query, limit, columns, kind="stations", json=json)
        return
    found = api(context).get(f"/stations/{segment(station)}/state")
    if json:
        typer.echo(as_json(found))
        return
    since = f" since {moment(found['connection_changed_at'])}" if found["connection_changed_at"] else ""
    sheet(
        [
            ("station", found["station_id"] + ("" if found["registered"] else " (not registered)")),
            ("name", found["name"]),
            ("site", found["site_id"]),
            ("connection", _online(found) + since),
            ("edge", found["edge_id"]),
            ("version", found["version"]),
            ("vendor, model", " ".join(filter(None, (found["vendor"], found["model"])))),
            ("serial", found["serial"]),
            ("firmware", found["firmware_version"]),
            ("last boot", moment(found["last_boot_at"])),
        ]
    )
    columns = [
        ("EVSE", lambda c: c["evse_id"]),
        ("connector", lambda c: c["connector_id"]),
        ("status", lambda c: c["status"]),
        ("error", lambda c: "" if c["error_code"] == "NoError" else c["error_code"]),
        ("since", lambda c: moment(c["since"])),
    ]
    table(found["connectors"], columns, "no connector has reported yet")


def _online(state: Json) -> str:
    return "online" if state["connected"] else "offline"


def _connectors(state: Json) -> str:
    return ", ".join(f"{c['connector_id']}: {c['status']}" for c in state["connectors"] if c["connector_id"])


def watch(
    context: typer.Context,
    kinds: Annotated[
        list[str] | None, typer.Option("--type", help="Topic or record, such as SessionStarted; repeatable.")
    ] = None,
    stations: Annotated[
        list[str] | None, typer.Option("--station", help="Only this station; repeatable.")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many events.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON object a line.")] = False,
) -> None:
    """Show events as they happen, until Ctrl-C. Comes back after an interruption where it was."""
    query = {"type": kinds or None, "station_id": stations or None}
    try:
        _watch(api(context), query, count, json)
    except KeyboardInterrupt:
        return


def _watch(client: Client, query: dict[str, list[str] | None], count: int | None, json: bool) -> None:
    last_id: str | None = None
    left = count
    # The first failure is told; later ones are waited out.
    client.get("/state", {"limit": 1})
    while True:
        try:
            with client.stream(query, last_id) as events:
                for kind, data, event_id in events:
                    last_id = event_id or last_id
                    _print(kind, jsonlib.loads(data), json)
                    left = left - 1 if left is not None and event_id is not None else left
                    if left == 0:
                        return
        except httpx.TransportError as error:
            console(error=True).print(f"interrupted ({printable(error)}), connecting again", style="dim")
        time.sleep(RETRY_S)


def _print(kind: str, data: Json, json: bool) -> None:
    if json:
        typer.echo(jsonlib.dumps({"type": kind, **data}))
        return
    if "data" not in data:
        console(error=True).print(Text(f"{kind}: {printable(data.get('detail'))}", style="yellow"))
        return
    fields = data["data"]
    where = fields.get("station_id") or fields.get("site_id") or fields.get("name") or ""
    line = Text.assemble(
        (moment(fields["recorded_at"])[11:], "dim"),
        "  ",
        (f"{kind:<20}", "cyan"),
        "  ",
        (printable(where), "bold"),
    )
    summary = _SUMMARIES.get(kind)
    if summary is not None:
        line.append("  ")
        line.append_text(styled(summary(fields)))
    console().print(line)


def _fate(fields: Json) -> str:
    reason = f" ({fields['reason']})" if fields["reason"] else ""
    return f"{fields['action']}: {fields['fate']}{reason}"


def _plan(fields: Json) -> str:
    limit = "no limit" if fields["limit_ma"] is None else f"{ampere(fields['limit_ma'])} A"
    shares = sum(share["current_ma"] for share in fields["allocations"])
    disobey = sum(1 for share in fields["allocations"] if share.get("drawn_ma"))
    told = f"{limit}, {ampere(shares)} A given to {len(fields['allocations'])}, {fields['waiting']} waiting"
    return f"{told}, {disobey} drawing more" if disobey else told


def _health(fields: Json) -> str:
    names = ("calls", "boots", "disconnects", "faults", "quirks")
    return ", ".join(f"{fields[name]} {name}" for name in names if fields[name])


_SUMMARIES: Final[dict[str, Callable[[Json], Any]]] = {
    "SessionStarted": lambda f: f"EVSE {f['evse_id']}, token {f['id_token']}",
    "SessionUpdated": lambda f: f"EVSE {f['evse_id']}, {kwh(f['energy_wh'])} kWh {f['charging_state'] or ''}",
    "SessionReopened": lambda f: f"EVSE {f['evse_id']}, {kwh(f['energy_wh'])} kWh, goes on after its end",
    "SessionEnded": lambda f: f"EVSE {f['evse_id']}, {kwh(f['energy_wh'])} kWh, {f['reason']}",
    "SessionCorrected": lambda f: (
        f"EVSE {f['evse_id']}, {kwh(f['energy_wh'])} kWh, correction {f['version'] - 1}"
    ),
    "CdrIssued": lambda f: (
        f"{kwh(f['energy_wh'])} kWh, {money(f['amount_minor'], f['currency']) or 'no tariff'}"
    ),
    "CommandConcluded": _fate,
    "StationStateChanged": lambda f: f"{_online(f)} {_connectors(f)}",
    "HealthWindowClosed": _health,
    "LoadPlanMade": _plan,
    "DefineCampaign": lambda f: f"to {f['target_version']}, {len(f['stations'])} stations",
    "CampaignProgressed": lambda f: f"{f['installed']} installed, {f['failed']} failed of {f['total']}",
}
