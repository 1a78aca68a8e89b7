"""`voltbus sessions` and `voltbus cdrs`."""

from enum import StrEnum
from typing import Annotated

import typer

from libs.tariffs.amounts import kwh, money, price
from services.cli.client import Json, as_json, segment
from services.cli.context import api
from services.cli.moments import written_out
from services.cli.output import AsJson, Limit, listing, moment, sheet, table

sessions = typer.Typer(help="Charging sessions, up to about a second ago.", no_args_is_help=True)
cdrs = typer.Typer(help="Charge records, each in its newest version.", no_args_is_help=True)


class Status(StrEnum):
    """Whether a session still runs."""

    RUNNING = "running"
    ENDED = "ended"


Station = Annotated[str | None, typer.Option(help="Only of this station.")]
Site = Annotated[str | None, typer.Option(help="Only of this site.")]
Token = Annotated[str | None, typer.Option(help="Only of this id token.")]
Since = Annotated[
    str | None, typer.Option(help="From this day (UTC) or moment on, such as 2026-05-01T00:00:00Z.")
]
Until = Annotated[str | None, typer.Option(help="Before this day or moment.")]


@sessions.command("list")
def list_sessions(
    context: typer.Context,
    *,
    station: Station = None,
    site: Site = None,
    token: Token = None,
    status: Annotated[Status | None, typer.Option(help="Only those.")] = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    json: AsJson = False,
) -> None:
    """List sessions, the latest start first."""
    query = {
        "station_id": station,
        "site_id": site,
        "id_token": token,
        "status": status and status.value,
        "since": since and written_out(since),
        "until": until and written_out(until),
    }
    columns = [
        ("started", lambda s: moment(s["started_at"])),
        ("ended", lambda s: moment(s["ended_at"])),
        ("status", lambda s: s["status"]),
        ("station", lambda s: s["station_id"]),
        ("EVSE", lambda s: s["evse_id"]),
        ("site", lambda s: s["site_id"]),
        ("token", lambda s: s["id_token"]),
        ("kWh", lambda s: kwh(s["energy_wh"])),
        ("session", lambda s: s["session_id"]),
    ]
    listing(api(context), "/sessions", query, limit, columns, json=json)


@sessions.command("show")
def show_session(
    context: typer.Context, session: Annotated[str, typer.Argument(help="Session id.")], json: AsJson = False
) -> None:
    """Show one session."""
    found = api(context).get(f"/sessions/{segment(session)}")
    if json:
        typer.echo(as_json(found))
        return
    sheet(
        [
            ("session", found["session_id"]),
            ("status", found["status"]),
            ("station", f"{found['station_id']}, EVSE {found['evse_id']} ({found['ocpp_version']})"),
            ("site", found["site_id"]),
            ("token", found["id_token"]),
            ("transaction", found["transaction_id"]),
            ("started", moment(found["started_at"])),
            ("ended", moment(found["ended_at"])),
            ("energy", f"{kwh(found['energy_wh'])} kWh"),
            ("meter", _meter(found["meter_start_wh"], found["meter_stop_wh"] or found["meter_wh"])),
            ("charging state", found["charging_state"]),
            ("reason", found["reason"]),
            _doubts(found),
            ("corrections", found["correction"] - 1 if found["correction"] else ""),
            ("last news", moment(found["updated_at"])),
        ]
    )


@cdrs.command("list")
def list_cdrs(
    context: typer.Context,
    *,
    station: Station = None,
    site: Site = None,
    token: Token = None,
    session: Annotated[str | None, typer.Option(help="Only of this session.")] = None,
    tariff: Annotated[str | None, typer.Option(help="Only by this tariff.")] = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    json: AsJson = False,
) -> None:
    """List charge records, the latest end first."""
    query = {
        "station_id": station,
        "site_id": site,
        "id_token": token,
        "session_id": session,
        "tariff_id": tariff,
        "since": since and written_out(since),
        "until": until and written_out(until),
    }
    columns = [
        ("ended", lambda c: moment(c["ended_at"])),
        ("station", lambda c: c["station_id"]),
        ("site", lambda c: c["site_id"]),
        ("token", lambda c: c["id_token"]),
        ("kWh", lambda c: kwh(c["energy_wh"])),
        ("amount", lambda c: money(c["amount_minor"], c["currency"])),
        ("tariff", lambda c: f"{c['tariff_id']} v{c['tariff_version']}" if c["tariff_id"] else "none"),
        ("record", lambda c: c["cdr_id"]),
    ]
    listing(api(context), "/cdrs", query, limit, columns, kind="charge records", json=json)


@cdrs.command("show")
def show_cdr(
    context: typer.Context,
    record: Annotated[str, typer.Argument(help="Id of the record.")],
    json: AsJson = False,
) -> None:
    """Show one charge record."""
    found = api(context).get(f"/cdrs/{segment(record)}")
    if json:
        typer.echo(as_json(found))
        return
    currency = found["currency"]
    sheet(
        [
            ("record", f"{found['cdr_id']}, version {found['version']}"),
            ("session", found["session_id"]),
            ("station", f"{found['station_id']}, EVSE {found['evse_id']}"),
            ("site", found["site_id"]),
            ("token", found["id_token"]),
            ("group", found["group_id"]),
            ("answered", found.get("token_refusal")),
            ("started", moment(found["started_at"])),
            ("ended", moment(found["ended_at"])),
            ("energy", f"{kwh(found['energy_wh'])} kWh"),
            ("in review", f"{kwh(found['review_wh'])} kWh" if found["review_wh"] else ""),
            ("written off", f"{kwh(found['written_off_wh'])} kWh" if found["written_off_wh"] else ""),
            ("from bundle", f"{kwh(found['prepaid_wh'])} kWh" if found["prepaid_wh"] else ""),
            ("decided by", found["decided_by"]),
            ("meter", _meter(found["meter_start_wh"], found["meter_stop_wh"])),
            (
                "tariff",
                f"{found['tariff_id']}, version {found['tariff_version']}" if found["tariff_id"] else "none",
            ),
            ("amount", money(found["amount_minor"], currency)),
            ("  net", money(found["net_minor"], currency)),
            ("  tax", money(found["tax_minor"], currency) if found["tax_minor"] else ""),
            _doubts(found),
            ("issued", moment(found["issued_at"])),
        ]
    )
    if currency is not None:
        columns = [
            ("line", lambda line: line["kind"]),
            ("quantity", lambda line: f"{line['quantity']} {line['unit']}"),
            ("price", lambda line: price(line["price_milli"], currency)),
            ("amount", lambda line: money(line["amount_minor"], currency)),
        ]
        table(found["lines"], columns, "no lines")


def _doubts(found: Json) -> tuple[str, str]:
    """The doubts, and whether they wait for a decision."""
    decided = found.get("decision_id") is not None and "after_decision" not in found["review"]
    return "was in doubt" if decided else "to be reviewed", ", ".join(found["review"])


def _meter(start: int | None, stop: int | None) -> str:
    if start is None and stop is None:
        return ""
    return f"{kwh(start) or '?'} to {kwh(stop) or '?'} kWh"
