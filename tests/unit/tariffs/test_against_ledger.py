"""The engine agrees with a slow and independent calculation, line by line and to the smallest unit."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.tariffs.bill import Bill, LineKind
from libs.tariffs.engine import pricer
from libs.tariffs.model import TariffTerms
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
RELAXED = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], max_examples=100
)


def compare(usage: Usage, tariff: TariffTerms, zone: str, group: str | None, tick: int) -> None:
    assert problems(tariff) == ()
    plan = next((plan for plan in tariff.plans if plan.group_id == group), None)
    slow = Ledger(usage, tariff, zone, group, plan.prepaid_wh if plan else 0, tick)
    wanted = slow.result()
    bill = pricer(tariff, zone, group).bill(usage)
    assert sorted(metered(bill)) == sorted(
        (run.dimension, -1 if run.element is None else run.element, run.free, run.step, run.quantity)
        for run in wanted.runs
    )
    assert (bill.net_minor, bill.tax_minor, bill.gross_minor) == (wanted.net, wanted.tax, wanted.gross)
    adds_up(bill)


def metered(bill: Bill) -> list[tuple[str, int, bool, bool, int]]:
    return [
        (dimension, -1 if line.element is None else line.element, free, step, line.quantity)
        for line in bill.lines
        if line.kind in NAMES
        for dimension, free, step in [NAMES[line.kind]]
    ]


def adds_up(bill: Bill) -> None:
    assert sum(line.net_minor for line in bill.lines) == bill.net_minor
    assert sum(line.tax_minor for line in bill.lines) == bill.tax_minor
    assert sum(tax.tax_minor for tax in bill.taxes) == bill.tax_minor


@RELAXED
@given(st.data())
def test_second_by_second(data: st.DataObject) -> None:
    zone, near = data.draw(places())
    compare(data.draw(usages(near)), data.draw(terms()), zone, data.draw(st.sampled_from([None, "fleet"])), 1)


@RELAXED
@given(st.data())
def test_minute_by_minute_over_days(data: st.DataObject) -> None:
    zone, near = data.draw(places())
    usage, tariff = data.draw(usages(near, 60)), data.draw(terms(60))
    compare(usage, tariff, zone, data.draw(st.sampled_from([None, "fleet"])), 60)
