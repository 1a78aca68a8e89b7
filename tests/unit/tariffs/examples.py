"""Examples that a billing clerk can read: a tariff, a session and the bill, in YAML."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from libs.tariffs.bill import Bill, Line
from libs.tariffs.currency import minor_digits
from libs.tariffs.usage import Interval, Usage, VehicleState, checked

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = Path(__file__).parent / "golden"


def golden() -> Iterator[dict[str, Any]]:
    """Every example of the golden files."""
    for path in sorted(GOLDEN.glob("*.yaml")):
        yield from read(path.read_text())


def documented() -> Iterator[dict[str, Any]]:
    """Every example in docs/tariffs.md: its YAML blocks that have a bill."""
    text = (ROOT / "docs" / "tariffs.md").read_text()
    for block in text.split("```yaml\n")[1:]:
        yield from (example for example in read(block.split("```")[0]) if "bill" in example)


def read(text: str) -> Iterator[dict[str, Any]]:
    # Values stay text as it is written: 0.10 is not a float here.
    yield from yaml.load_all(text, Loader=yaml.BaseLoader)


def usage_of(session: dict[str, Any]) -> Usage:
    at, found = micros(session["from"]), []
    for part in session["then"]:
        end = micros(part["until"])
        wh = int(Decimal(part.get("kwh", "0")) * 1000)
        found.append(Interval(at, end, wh, VehicleState(part.get("doing", "charging"))))
        at = end
    return checked(found)


def micros(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000


def shown(bill: Bill, currency: str) -> dict[str, Any]:
    digits = minor_digits(currency)

    def money(minor: int) -> str:
        return f"{Decimal(minor).scaleb(-digits):.{digits}f}"

    def line(each: Line) -> str:
        price = f"{Decimal(each.price_milli).scaleb(-digits - 3).normalize():f}"
        how = "" if each.element is None else f", element {each.element}"
        used = "" if each.unit == "session" else f"{each.quantity} {each.unit} at {price} = "
        return f"{each.kind}{how}: {used}{money(each.net_minor)} + {money(each.tax_minor)}"

    total = f"{money(bill.net_minor)} + {money(bill.tax_minor)} = {money(bill.gross_minor)}"
    return {"lines": [line(each) for each in bill.lines], "total": total}
