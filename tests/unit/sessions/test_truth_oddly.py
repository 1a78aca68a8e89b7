"""Chargers that tell the truth oddly are billed as all others; clocks charge no time that ours excludes."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.events.registry import TariffVersion
from libs.tariffs.documents import parse
from services.sessions.audit.checks import checks
from services.sessions.domain.session import CLOCK_DOUBT, MOST_SLIP, MOST_UNHEARD
from tests.unit.sessions.books import Books
from tests.unit.sessions.channel import SECOND, delivered, recorded
from tests.unit.sessions.charger import told_by, transaction_id
from tests.unit.sessions.exchanges import HOUR, NOON
from tests.unit.sessions.meter import MOST_W, visits
from tests.unit.sessions.oddly import oddly, wildly
from tests.unit.sessions.test_truth import EXAMPLES, KINDS, VERSIONS, folded, tables_of

CHECKED = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TIMED = TariffVersion(
    version=1,
    valid_from=0,
    currency="EUR",
    price_per_kwh_milli=0,
    terms=parse(
        {
            "elements": [
                {
                    "price_components": [
                        {"type": "ENERGY", "price": "0.40"},
                        {"type": "TIME", "price": "6.00"},
                        {"type": "PARKING_TIME", "price": "9.00"},
                    ]
                }
            ]
        },
        "EUR",
    ),
)


@CHECKED
@given(version=st.sampled_from(VERSIONS), seed=st.integers(0, 2**32))
def test_odd_samples_are_billed_as_the_truth(version: str, seed: int) -> None:
    random = Random(seed)
    true = visits(random, NOON, random.choice([1, 60]), told=version != "ocpp1.6" or random.random() < 0.5)
    scripts = [oddly(random, visit, told_by(random, visit, version)) for visit in true]
    log = delivered(random, scripts, orderly=random.random() < 0.5, slow=random.random() < 0.3)
    books = Books(folded(log, tables_of((TIMED,), "UTC")))
    for visit in true:
        end = books.end_of(transaction_id(visit, version))
        assert (end.energy_wh, end.billed_wh, end.review) == (visit.energy_wh, visit.energy_wh, ())
        assert (end.started_at, end.ended_at) == (visit.begin, visit.end)
        assert (end.charging_s, end.suspended_s, end.idle_s) == tuple(map(visit.seconds, KINDS))


@CHECKED
@given(version=st.sampled_from(VERSIONS), seed=st.integers(0, 2**32))
def test_no_time_is_charged_that_our_own_clock_excludes(version: str, seed: int) -> None:
    """Nor is more energy in review than the connector can deliver in the time."""
    random = Random(seed)
    true = visits(random, NOON, random.choice([1, 60]), told=random.random() < 0.5)
    # One visit of each EVSE: of several a wild clock may change the order.
    true = list({visit.evse: replace(visit, unread=frozenset()) for visit in reversed(true)}.values())
    scripts = [wildly(random, told_by(random, visit, version)) for visit in true]
    # Nothing comes twice: by a clock that cannot be read a message that comes again tells another moment.
    log = recorded(random, [each for script in scripts for each in script], random.random() < 0.3)
    if random.random() < 0.7:
        log = sorted([each for script in scripts for each in script], key=lambda each: each.recorded_at)
    books = Books(folded(log, tables_of((TIMED,), "UTC")))
    for visit, script in zip(true, scripts, strict=True):
        name = transaction_id(visit, version)
        end, cdr = books.end_of(name), books.cdr_of(name)
        own = {each.event_id for each in script if each.action != "StatusNotification"}
        texts = {each.payload for each in script if each.event_id in own}
        receipts = [each.recorded_at for each in log if each.payload in texts]
        heard = max(receipts) - min(receipts)
        charged = sum(line.quantity for line in cdr.lines if line.unit == "s")
        assert charged <= (heard + MOST_UNHEARD) // SECOND + 1
        assert charged <= (end.ended_at - end.started_at) // SECOND + 1
        ahead = min(end.started_at - min(receipts), end.ended_at - max(receipts))
        assert ahead <= MOST_SLIP or charged <= heard // SECOND + 1
        assert end.energy_wh <= 3 * MOST_W * (end.ended_at - end.started_at) // (2 * HOUR) + 5_000
        assert end.billed_wh <= visit.energy_wh
        assert all(
            check.holds is not False for check in checks(cdr, [cdr], None, None) if check.about == "meters"
        )
        if end.ended_at - end.started_at > visit.end - visit.begin + MOST_UNHEARD:
            assert CLOCK_DOUBT in end.review
