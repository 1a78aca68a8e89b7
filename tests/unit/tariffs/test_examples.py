"""The bills of the golden files and of the documentation, which the slow calculation gives as well."""

from typing import Any

import pytest

from libs.events.registry import TariffVersion
from libs.tariffs.documents import parse, render
from libs.tariffs.engine import DriverContract, bill
from tests.unit.tariffs.examples import documented, golden, shown, usage_of
from tests.unit.tariffs.ledger import Ledger

EXAMPLES = [*golden(), *documented()]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["what"])
def test_the_bill_is_as_written(example: dict[str, Any]) -> None:
    currency, zone = example["currency"], example["zone"]
    terms = parse(example["tariff"], currency, texts=True)
    usage, driver = usage_of(example["session"]), example.get("driver", {})
    group, left = driver.get("group"), int(driver.get("prepaid_left_wh", "0"))
    version = TariffVersion(version=1, valid_from=0, currency=currency, price_per_kwh_milli=0, terms=terms)
    found = bill(usage, version, zone, contract=DriverContract(group, left))
    assert shown(found, currency) == example["bill"]
    slow = Ledger(usage, terms, zone, group, left).result()
    assert (slow.net, slow.tax, slow.gross) == (found.net_minor, found.tax_minor, found.gross_minor)
    assert parse(render(terms, currency), currency) == terms


def test_the_documentation_has_worked_examples() -> None:
    assert len(list(documented())) >= 3
