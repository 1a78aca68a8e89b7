"""`voltbus certificates`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from services.cli.client import as_json, segment
from services.cli.context import api
from services.cli.output import AsJson, Limit, console, moment, printable, table

app = typer.Typer(help="Certificates that chargers ask for.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="Request id.")]


class Status(StrEnum):
    """Where a request stands."""

    OPEN = "OPEN"
    DECLINED = "DECLINED"
    PENDING = "PENDING"
    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"
    UNKNOWN = "UNKNOWN"


@app.command("list")
def list_requests(
    context: typer.Context,
    *,
    station: Annotated[str | None, typer.Option(help="Only of this station.")] = None,
    status: Annotated[Status | None, typer.Option(help="Only those that stand so.")] = None,
    limit: Limit = 100,
    json: AsJson = False,
) -> None:
    """List CSRs, open ones first."""
    query = {"station_id": station, "status": status and status.value, "limit": min(limit, 1000)}
    found = api(context).get("/certificate-requests", query)
    if json:
        typer.echo(as_json(found["items"]))
        return
    columns = [
        ("request", lambda r: r["request_id"]),
        ("station", lambda r: r["station_id"]),
        ("for", lambda r: r["subject"] or "not readable"),
        ("must be", lambda r: r["certificate_name"]),
        ("type", lambda r: r["certificate_type"]),
        ("status", lambda r: r["status"]),
        ("requested", lambda r: moment(r["requested_at"])),
        ("flaw", lambda r: r["flaw"] or ""),
    ]
    table(found["items"], columns, "no certificate requests")


@app.command("csr")
def show_csr(context: typer.Context, request: Id) -> None:
    """Print the CSR (PEM) of a request, for whoever signs it."""
    found = api(context).get(f"/certificate-requests/{segment(request)}")
    # What a charger calls PEM may hold anything; a terminal is not to obey it.
    typer.echo("\n".join(printable(line) for line in found["csr"].splitlines()))


@app.command("send")
def send_certificate(
    context: typer.Context,
    *,
    request: Id,
    chain: Annotated[
        Path, typer.Argument(help="PEM file: the charger's certificate, then its issuers.", dir_okay=False)
    ],
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the charger, at most 300.")] = 60,
    json: AsJson = False,
) -> None:
    """Send the certificate that answers a request. Status 1 unless the charger takes it."""
    try:
        text = chain.read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error), param_hint="CHAIN") from None
    body = {"certificate_chain": text, "timeout_s": timeout}
    path = f"/certificate-requests/{segment(request)}"
    found = api(context).request("POST", path, body, patience_s=timeout)
    said = found["command"]
    if json:
        typer.echo(as_json(found))
    else:
        console().print(f"{said['status']}: {said['reason']}", markup=False)
    if said["status"] != "ACCEPTED":
        raise typer.Exit(1)
