"""`voltbus cdr explain` and `voltbus cdr verify`: whether charge records follow from what they say they are made from.

What takes long to load is imported when it is needed.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.client import Client, CliError, Json, NotFoundError, as_json, segment
from services.cli.context import api
from services.cli.output import AsJson, console, printable

if TYPE_CHECKING:
    from libs.events.sessions import CdrIssued
    from services.sessions.audit.checks import Document, Priced

_MANY = 1_000_000


def explain(
    context: typer.Context,
    record: Annotated[str, typer.Argument(help="Id of the charge record, or of its session.")],
    version: Annotated[int | None, typer.Option(min=1, help="Which version; the last without it.")] = None,
    json: AsJson = False,
) -> None:
    """Show how each amount of a charge record came about, and check it. Status 1 if something is wrong."""
    from services.sessions.audit.checks import checks, chosen  # noqa: PLC0415
    from services.sessions.audit.report import reported  # noqa: PLC0415
    from services.sessions.audit.text import explained  # noqa: PLC0415

    client = api(context)
    documents = documents_of(client, cdr_id=record) or documents_of(client, session_id=record)
    cdr = chosen(documents, version)
    if cdr is None:
        which = "" if version is None else f" in version {version}"
        raise CliError(f"there is no charge record, nor a session with one, {record!r}{which}")
    priced = _priced(client, cdr)
    found = checks(cdr, documents, _predecessor(client, cdr), priced)
    if json:
        typer.echo(as_json(reported(cdr, documents, found, priced)))
    else:
        out = console()
        for line in explained(cdr, documents, found, priced):
            out.print(printable(line), markup=False)
    if any(each.holds is False for each in found):
        raise typer.Exit(1)


def verify(
    context: typer.Context,
    station: Annotated[str, typer.Argument(help="The station.")],
    json: AsJson = False,
) -> None:
    """Walk the chain of a station's charge records and credit notes. Status 1 if it is broken."""
    from libs.events.cdr_hash import UnknownHashVersionError  # noqa: PLC0415
    from services.sessions.audit.checks import chain_faults  # noqa: PLC0415

    documents = documents_of(api(context), station_id=station)
    if not documents:
        raise CliError(f"there are no charge records of a station {station!r}")
    try:
        faults = list(chain_faults(documents))
    except UnknownHashVersionError as error:
        raise CliError(f"{error}: use a newer one to verify these documents") from error
    station = documents[0].station_id
    if json:
        last = documents[-1].hash
        typer.echo(
            as_json({"station_id": station, "documents": len(documents), "last": last, "faults": faults})
        )
    else:
        for fault in faults:
            console().print(printable(fault), style="red", markup=False)
        whole = "the chain is broken" if faults else "the chain is whole"
        console().print(printable(f"{station}: {len(documents)} documents, {whole}"), markup=False)
    if faults:
        raise typer.Exit(1)


def documents_of(client: Client, **which: str) -> "list[Document]":
    """The documents about charges that the API has, in the order of their issue; `which`: as its query."""
    return [_document(each) for each in client.items("/cdr-documents", which, _MANY)]


def _document(item: Json) -> "Document":
    import msgspec  # noqa: PLC0415

    from libs.events.sessions import CdrCredited, CdrIssued  # noqa: PLC0415

    if item["type"] == CdrIssued.__name__:
        return msgspec.convert(item["document"], CdrIssued)
    return msgspec.convert(item["document"], CdrCredited)


def _predecessor(client: Client, cdr: "Document") -> bool | None:
    """Whether the document that `cdr` follows on is there; None if it is the station's first."""
    if not cdr.previous_hash:
        return None
    return bool(documents_of(client, station_id=cdr.station_id, hash=cdr.previous_hash))


def _priced(client: Client, cdr: "CdrIssued") -> "Priced | None":
    """The version of the tariff that bills it, and the clock; None if the tariff is gone, or what says the clock."""
    from libs.tariffs.documents import parse_version  # noqa: PLC0415
    from services.sessions.audit.checks import priced_by  # noqa: PLC0415

    if cdr.tariff_id is None or cdr.site_id is None:
        return None
    try:
        tariff = client.get(f"/tariffs/{segment(cdr.tariff_id)}")
        zone = cdr.timezone or client.get(f"/sites/{segment(cdr.site_id)}")["timezone"]
    except NotFoundError:
        return None
    return priced_by(cdr, map(parse_version, tariff["versions"]), zone)
