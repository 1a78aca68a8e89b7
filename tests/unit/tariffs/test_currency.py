"""What others are told of currencies is what the platform counts in."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from libs.tariffs.currency import NO_MINOR_UNIT, THOUSANDTHS, minor_digits

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.fixture(scope="module")
def consumer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("consumer", DOCS / "examples" / "consumer.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (1234, "EUR", "12.34 EUR"),
        (1234, "JPY", "1234 JPY"),
        (1234, "KWD", "1.234 KWD"),
        (-5, "EUR", "-0.05 EUR"),
        (0, None, "no tariff"),
    ],
)
def test_the_example_consumer_prints_amounts_in_their_currency(
    consumer: ModuleType, minor: int, currency: str | None, text: str
) -> None:
    assert consumer.amount(minor, currency) == text


def test_the_example_consumer_knows_every_currency_that_is_not_in_hundredths(consumer: ModuleType) -> None:
    assert {currency: minor_digits(currency) for currency in NO_MINOR_UNIT | THOUSANDTHS} == consumer.DIGITS


def test_so_does_the_analysts_guide() -> None:
    guide = (DOCS / "analysts.md").read_text()
    listed = re.findall(r"currency IN \(([^)]*)\), (\d)", guide)
    assert [(set(re.findall(r"'(\w+)'", names)), digits) for names, digits in listed] == [
        (set(NO_MINOR_UNIT), "0"),
        (set(THOUSANDTHS), "3"),
    ]


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_no_page_divides_money_by_a_hundred(path: Path) -> None:
    assert not re.search(r"minor\w*\)? */ *100\b", path.read_text())
