"""`voltbus reconcile`."""

import csv
import io
from enum import StrEnum
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from libs.tariffs.amounts import kwh, money
from services.cli.client import Json, as_json
from services.cli.context import api
from services.cli.moments import written_out
from services.cli.output import AsJson, Column, console, moment, printable, table, working

_PATIENCE_S: Final = 600


class Part(StrEnum):
    """A part of the report."""

    REVIEW = "review"
    GAPS = "gaps"
    CLOCKS = "clocks"
    REGISTERS = "registers"
    UNBILLED = "unbilled"


def _energy(title: str, name: str) -> Column:
    return (f"kWh {title}".rstrip(), lambda item: kwh(item.get(name)))


def _plain(title: str, name: str | None = None) -> Column:
    return (title, lambda item: item.get(name or title))


def _listed(title: str, name: str) -> Column:
    return (title, lambda item: ", ".join(item.get(name, ())))


_TITLES: Final = {
    Part.REVIEW: "Sessions to be decided about",
    Part.GAPS: "Sessions of which something is missing, and very long ones",
    Part.CLOCKS: "Stations whose clocks are off",
    Part.REGISTERS: "Registers that rose by something else than the sessions delivered",
    Part.UNBILLED: "Energy that nobody pays for",
}
_COLUMNS: Final[dict[Part, list[Column]]] = {
    Part.REVIEW: [
        ("session", lambda i: i.get("session_id") or f"total of {i['sessions']}"),
        _plain("version"),
        _plain("station", "station_id"),
        ("ended", lambda i: moment(i.get("ended_at"))),
        _listed("doubts", "doubts"),
        _energy("delivered", "energy_wh"),
        _energy("in review", "review_wh"),
        ("amount", lambda i: money(i.get("amount_minor", 0), i.get("currency"))),
        ("amount at stake", lambda i: _stake(i.get("at_stake_minor"), i.get("currency"))),
    ],
    Part.GAPS: [
        ("session", lambda i: i.get("session_id") or f"total of {i['sessions']}"),
        _plain("station", "station_id"),
        _plain("EVSE", "evse_id"),
        ("started", lambda i: moment(i.get("started_at"))),
        ("ended", lambda i: moment(i.get("ended_at")) or ("" if "sessions" in i else "still runs")),
        _listed("missing", "gaps"),
        _plain("messages", "missing_messages"),
        _energy("", "energy_wh"),
        ("decided", lambda i: "yes" if i.get("decided") else ""),
    ],
    Part.CLOCKS: [
        ("station", lambda i: i.get("station_id") or f"total of {i['stations']}"),
        _plain("site", "site_id"),
        _plain("messages"),
        ("ahead", lambda i: _long(i.get("ahead_s"))),
        ("behind", lambda i: _long(i.get("behind_s"))),
        _plain("bent", "bent_messages"),
        _listed("quirks", "quirks"),
    ],
    Part.REGISTERS: [
        ("station", lambda i: i.get("station_id") or f"total of {i['evses']}"),
        _plain("EVSE", "evse_id"),
        _plain("sessions"),
        _energy("register", "register_wh"),
        _energy("between sessions", "between_wh"),
        _energy("billed", "billed_wh"),
        _energy("in review", "review_wh"),
        _energy("written off", "written_off_wh"),
        _energy("departure", "departure_wh"),
        _plain("falls"),
    ],
    Part.UNBILLED: [
        ("station", lambda i: i.get("station_id") or f"total of {i['stations']}"),
        _plain("site", "site_id"),
        _energy("without tariff", "no_tariff_wh"),
        _energy("in review", "review_wh"),
        _energy("between sessions", "between_wh"),
        _energy("unbilled", "unbilled_wh"),
        _energy("written off", "written_off_wh"),
    ],
}


def reconcile(
    context: typer.Context,
    *,
    since: Annotated[str, typer.Option("--from", help="First day or moment, such as 2026-05-01 (UTC).")],
    until: Annotated[str, typer.Option("--to", help="The day or moment after the last one.")],
    site: Annotated[str | None, typer.Option(help="Only of this site.")] = None,
    hours: Annotated[int, typer.Option(min=1, help="Sessions that took longer are shown.")] = 48,
    minutes: Annotated[int, typer.Option(min=1, help="Clocks that are off by more are shown.")] = 5,
    tolerance: Annotated[int, typer.Option(min=100, help="Wh that a register may depart by.")] = 1000,
    limit: Annotated[
        int, typer.Option(min=1, max=10_000, help="Most lines of a part; totals are over all.")
    ] = 1000,
    as_csv: Annotated[Part | None, typer.Option("--csv", help="Print one part as CSV.")] = None,
    json: AsJson = False,
) -> None:
    """What of a period to look at: doubts, gaps, clocks, registers, unbilled energy."""
    query = {
        "from": written_out(since),
        "to": written_out(until),
        "site_id": site,
        "hours": hours,
        "minutes": minutes,
        "tolerance_wh": tolerance,
        "limit": limit,
    }
    client = api(context)
    with working("reading the sessions and meters of the period ..."):
        found = client.request("GET", "/reconciliation", query=query, patience_s=_PATIENCE_S)
    if json:
        typer.echo(as_json(found))
    elif as_csv is not None:
        typer.echo(_csv(found[as_csv.value]["items"]), nl=False)
    else:
        for part in Part:
            _show(part, found[part.value])


def _show(part: Part, found: Json) -> None:
    out = console()
    out.print(Text(_TITLES[part], style="bold"))
    items: list[Json] = found["items"]
    table([*items, *_totals(part, found)] if items else [], _COLUMNS[part], "none")
    count = next(iter(found["total"].values()))
    if count > len(items):
        out.print(Text(f"{count - len(items)} more are not shown, but are in the total: see --limit"))
    out.print()


def _totals(part: Part, found: Json) -> list[Json]:
    """The total line; of money one more for each currency."""
    lines = [found["total"]]
    if part is Part.REVIEW:
        lines += [
            {"session_id": f"of these {stake['sessions']} in {stake['currency']}"} | stake
            for stake in found["amounts"]
        ]
    return lines


def _stake(minor: int | None, currency: str | None) -> str:
    return "" if not minor else f"about {money(minor, currency)}"


def _long(seconds: int | None) -> str:
    if not seconds:
        return ""
    hours, rest = divmod(seconds, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"


def _csv(items: list[Json]) -> str:
    out = io.StringIO()
    if items:
        writer = csv.DictWriter(out, list(items[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in item.items()} for item in items)
    return out.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        value = " ".join(map(str, value))
    if isinstance(value, str):
        value = printable(value)
        # Ids come from chargers; a spreadsheet must not take one for a formula.
        return f"'{value}" if value[:1] in {"=", "+", "-", "@"} else value
    return value
