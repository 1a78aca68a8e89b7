"""Meters that lie: what they make up is never billed, and what the connector can have delivered of it is in review."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.events.registry import TariffVersion
from tests.unit.sessions.books import Books
from tests.unit.sessions.channel import delivered
from tests.unit.sessions.charger import told_by, transaction_id
from tests.unit.sessions.exchanges import HOUR, NOON
from tests.unit.sessions.lies import Lie, lie
from tests.unit.sessions.meter import MOST_W, visits
from tests.unit.sessions.test_truth import EXAMPLES, VERSIONS, folded, tables_of

PRICE = (TariffVersion(version=1, valid_from=0, currency="EUR", price_per_kwh_milli=45_500),)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(version=st.sampled_from(VERSIONS), seed=st.integers(0, 2**32))
def test_what_a_meter_makes_up_is_not_billed(version: str, seed: int) -> None:
    random = Random(seed)
    true = visits(random, NOON, random.choice([1, 60]), told=version != "ocpp1.6")
    shown = [lie(random, visit) for visit in true]
    scripts = [told_by(random, visit, version) for visit in shown]
    log = delivered(random, scripts, orderly=random.random() < 0.5, slow=random.random() < 0.3)
    books = Books(folded(log, tables_of(PRICE, "UTC")))
    for visit, seen in zip(true, shown, strict=True):
        end = books.end_of(transaction_id(visit, version))
        what = seen.what if isinstance(seen, Lie) else "the truth"
        assert end.billed_wh <= visit.energy_wh, what
        assert bool(end.review) >= (end.billed_wh != end.energy_wh), what
        rises = sum(max(0, b - a) for (_, a), (_, b) in pairwise(seen.readings()))
        # A register that fell may have counted from zero since: then what it shows is energy, too.
        falls = [b for (_, a), (_, b) in pairwise(seen.readings()) if b < a]
        most = 3 * MOST_W * (visit.end - visit.begin) // (2 * HOUR) + 5_000
        assert end.energy_wh <= min(most, rises + sum(falls)), what
        # Within 100 Wh a register that falls is only rounded otherwise. Samples may be of another register.
        (_, start), (_, stop) = seen.readings()[0], seen.readings()[-1]
        shown_wh = min(rises, stop - start) if start <= stop else rises
        assert end.energy_wh >= min(most, shown_wh - 100 * len(seen.stretches)), what
    assert len(books.cdrs) == len(true)
    assert books.delivered_wh() == sum(end.energy_wh for end in books.ends.values())
