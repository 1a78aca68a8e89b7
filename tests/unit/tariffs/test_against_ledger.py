"""The engine agrees with a slow and independent calculation, line by line and to the smallest unit."""

import ast
import re
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.events.tariffs import TariffTerms
from libs.tariffs.bill import Bill, LineKind
from libs.tariffs.engine import pricer
from libs.tariffs.usage import Usage
from libs.tariffs.validation import problems
from tests.unit.tariffs.ledger import Ledger
from tests.unit.tariffs.strategies import places, terms, usages

NAMES = {
    LineKind.ENERGY: ("ENERGY", False, False),
    LineKind.PREPAID: ("ENERGY", True, False),
    LineKind.TIME: ("TIME", False, False),
    LineKind.PARKING_TIME: ("PARKING_TIME", False, False),
    LineKind.GRACE: ("PARKING_TIME", True, False),
    LineKind.FLAT: ("FLAT", False, False),
    LineKind.ENERGY_STEP: ("ENERGY", False, True),
    LineKind.TIME_STEP: ("TIME", False, True),
    LineKind.PARKING_TIME_STEP: ("PARKING_TIME", False, True),
}
NEVER = re.compile("never holds|no day before it")
RELAXED = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], max_examples=100
)


def compare(
    usage: Usage, tariff: TariffTerms, zone: str, group: str | None, tick: int, left: int | None = None
) -> None:
    """`left`: of the bundle; None: all of it."""
    # What never holds is tried, too; usages have a current here, so that prices by current alone do hold.
    assert [problem for problem in problems(tariff) if not NEVER.search(problem.detail)] == []
    plan = next((plan for plan in tariff.plans if plan.group_id == group), None)
    bundle = plan.prepaid_wh if plan else 0
    slow = Ledger(usage, tariff, zone, group, bundle if left is None or not bundle else left, tick)
    wanted = slow.result()
    bill = pricer(tariff, zone, group).bill(usage, left)
    exact = sorted(
        (
            run.dimension,
            -1 if run.element is None else run.element,
            run.free,
            run.step,
            run.quantity,
            run.amount,
        )
        for run in wanted.runs
    )
    lines = metered(bill, tariff.tax_included)
    assert [line[:5] for line in lines] == [run[:5] for run in exact]
    # Before discounts and limits each line is a neighbour of its exact amount.
    assert all(abs(line[5] - run[5]) < 1 for line, run in zip(lines, exact, strict=True))
    assert (bill.net_minor, bill.tax_minor, bill.gross_minor) == (wanted.net, wanted.tax, wanted.gross)
    adds_up(bill)


def metered(bill: Bill, with_tax: bool) -> list[tuple[str, int, bool, bool, int, int]]:
    found = []
    for line in bill.lines:
        if line.kind in NAMES:
            dimension, free, step = NAMES[line.kind]
            amount = line.gross_minor if with_tax else line.net_minor
            element = -1 if line.element is None else line.element
            found.append((dimension, element, free, step, line.quantity, amount))
    return sorted(found)


def adds_up(bill: Bill) -> None:
    assert sum(line.net_minor for line in bill.lines) == bill.net_minor
    assert sum(line.tax_minor for line in bill.lines) == bill.tax_minor
    assert sum(tax.tax_minor for tax in bill.taxes) == bill.tax_minor


def test_the_slow_calculation_shares_no_code_with_the_engine() -> None:
    """What is stored, and what was used: no more than that, and nothing that calculates."""
    source = (Path(__file__).parent / "ledger.py").read_text(encoding="utf-8")
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    shared = {
        alias.name for node in imports if (node.module or "").startswith("libs") for alias in node.names
    }
    stored = {"DriverPlan", "PriceComponent", "TariffRestrictions", "TariffTerms"}
    assert shared == stored | {"Interval", "Usage"}


@RELAXED
@given(st.data())
def test_second_by_second(data: st.DataObject) -> None:
    zone, near = data.draw(places())
    group = data.draw(st.sampled_from([None, "fleet"]))
    left = data.draw(st.sampled_from([None, 0, 1, 50, 250, 10_000]))
    compare(data.draw(usages(near)), data.draw(terms()), zone, group, 1, left)


@RELAXED
@given(st.data())
def test_minute_by_minute_over_days(data: st.DataObject) -> None:
    zone, near = data.draw(places())
    usage, tariff = data.draw(usages(near, 60)), data.draw(terms(60))
    compare(usage, tariff, zone, data.draw(st.sampled_from([None, "fleet"])), 60)
