"""What people read: tables, and values in the units that people use."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Final

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from libs.tariffs.currency import minor_digits
from services.cli.client import Client, Json, as_json

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, as the API gives it.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="How many at most.")]
Search = Annotated[str | None, typer.Option("--search", "-q", help="Part of the id or name.")]

_WIDE: Final = 1000
_GOOD: Final = frozenset({"Accepted", "ACCEPTED", "Available", "INSTALLED", "online", "ended"})
_BUSY: Final = frozenset({"PENDING", "Pending", "Charging", "Occupied", "running", "Preparing", "Finishing"})
_BAD: Final = frozenset(
    {
        "REJECTED",
        "FAILED",
        "EXPIRED",
        "UNKNOWN",
        "Rejected",
        "Blocked",
        "Invalid",
        "Expired",
        "Faulted",
        "offline",
    }
)
Column = tuple[str, Callable[[Json], Any]]


def console(error: bool = False) -> Console:
    """Standard output, or standard error; as wide as a table needs where no screen limits it."""
    out = Console(stderr=error, highlight=False, soft_wrap=True)
    if not out.is_terminal:
        out.width = _WIDE
    return out


@contextmanager
def working(text: str) -> Iterator[None]:
    """Say on a terminal's standard error what is waited for, until it is there; nothing elsewhere."""
    out = console(error=True)
    if not out.is_terminal:
        yield
        return
    with out.status(text):
        yield


def printable(value: Any) -> str:
    """Text without anything that a terminal would obey: ids and names come from chargers and other people."""
    text = "" if value is None else str(value)
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def styled(value: Any) -> Text:
    """A cell: never markup; words of state in their colour."""
    text = value if isinstance(value, Text) else Text(printable(value))
    word = text.plain
    if word in _GOOD:
        text.stylize("green")
    elif word in _BUSY:
        text.stylize("yellow")
    elif word in _BAD:
        text.stylize("red")
    return text


def table(rows: Iterable[Json], columns: Sequence[Column], empty: str) -> None:
    """Print rows as a table, or say that there are none."""
    shown = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for name, _ in columns:
        numeric = name.startswith(("kWh", "amount", "price", "A "))
        shown.add_column(name, justify="right" if numeric else "left", overflow="fold")
    count = 0
    for row in rows:
        shown.add_row(*(styled(value(row)) for _, value in columns))
        count += 1
    if count:
        console().print(shown, soft_wrap=False)
    else:
        console().print(empty, style="dim")


def sheet(pairs: Iterable[tuple[str, Any]]) -> None:
    """Print one thing, a line for each field that has a value."""
    shown = Table(box=None, show_header=False, pad_edge=False)
    shown.add_column(style="bold")
    shown.add_column(overflow="fold")
    for name, value in pairs:
        if value not in (None, "", []):
            shown.add_row(name, styled(value))
    console().print(shown, soft_wrap=False)


def listing(
    client: Client,
    path: str,
    query: Mapping[str, str | None],
    limit: int,
    columns: Sequence[Column],
    *,
    kind: str | None = None,
    json: bool,
) -> None:
    """Print the items of a list of the API; `kind`: what people call them, if not as the path does."""
    items = client.items(path, query, limit)
    if json:
        typer.echo(as_json(items))
    else:
        asked = any(value is not None for value in query.values())
        table(
            items, columns, f"no {kind or path.strip('/')}{' that fit what was asked for' if asked else ''}"
        )


def done(value: Json, json: bool, text: str) -> None:
    """Print the thing that was changed, or say so."""
    if json:
        typer.echo(as_json(value))
    else:
        console().print(Text(printable(text)))


def moment(text: str | None) -> str:
    """An RFC 3339 moment in local time, to the second."""
    if text is None:
        return ""
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def ampere(milli: int | None) -> str:
    """Current."""
    return "" if milli is None else f"{(Decimal(milli) / 1000).normalize():f}"


def price_milli(text: str, currency: str) -> int:
    """Thousandths of the minor unit from a price in the major one. Raises BadParameter if that is no whole number."""
    return whole(text, 3 + minor_digits(currency), "--price")


def milliampere(text: str, option: str) -> int:
    """Milliampere from ampere. Raises BadParameter if that is no whole number."""
    return whole(text, 3, option)


def whole(text: str, digits: int, option: str) -> int:
    """A decimal number with up to `digits` decimals, as a whole number of its smallest unit."""
    try:
        scaled = Decimal(text).scaleb(digits)
    except InvalidOperation:
        raise typer.BadParameter(f"{text!r} is not a number", param_hint=option) from None
    if not scaled.is_finite() or scaled != scaled.to_integral_value():
        raise typer.BadParameter(f"at most {digits} decimals", param_hint=option)
    return int(scaled)
