"""Whatever the channel does, charge records say what the meters measured, to the Wh and the smallest unit.

Random vehicles at virtual meters, told by virtual chargers of every version; prices by the slow calculation of
the tariffs' tests. `VOLTBUS_TRUTH_EXAMPLES` (`make truth`) says how many.
"""

from __future__ import annotations

import os
from dataclasses import replace
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.bus.message import Emit
from libs.bus.runtime_memory import MemoryRuntime
from libs.events.ocpp_log import OcppCallReceived
from libs.events.record import Record
from libs.events.registry import (
    Assignment,
    PowerRating,
    SiteRegistered,
    StationRegistered,
    TariffRegistered,
    TariffVersion,
    TokenRegistered,
)
from libs.events.topics import BILLING_PREPAID, BILLING_PREPAID_ASKED
from libs.tariffs.usage import VehicleState
from services.plans.domain.processor import PlansProcessor
from services.sessions.domain.processor import SessionsProcessor
from tests.unit.sessions.books import Books, price, valid_at
from tests.unit.sessions.channel import delivered, topic_of
from tests.unit.sessions.charger import told_by, transaction_id
from tests.unit.sessions.exchanges import NOON, STATION
from tests.unit.sessions.meter import MOST_W, US, Visit, visits
from tests.unit.tariffs.strategies import places, terms

EXAMPLES = int(os.environ.get("VOLTBUS_TRUTH_EXAMPLES") or 150)
VERSIONS = ["ocpp1.6", "ocpp2.0.1", "ocpp2.1"]
KINDS = (VehicleState.CHARGING, VehicleState.SUSPENDED, VehicleState.IDLE)
Tables = dict[str, dict[str, Record]]
RELAXED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def tables_of(versions: tuple[TariffVersion, ...], zone: str, fleet: tuple[str, ...] = ()) -> Tables:
    """`fleet`: tags of its drivers."""
    base: dict[str, Any] = {"event_id": "e", "occurred_at": NOON, "recorded_at": NOON, "cause_id": "e"}
    here, flat = (Assignment(id="site-1", valid_from=0),), (Assignment(id="flat", valid_from=0),)
    station = StationRegistered(
        **base, station_id=STATION, sites=here, power_ratings=(PowerRating(power_w=MOST_W, valid_from=0),)
    )
    return {
        "registry.stations": {STATION: station},
        "registry.sites": {"site-1": SiteRegistered(**base, site_id="site-1", timezone=zone, tariffs=flat)},
        "registry.tariffs": {"flat": TariffRegistered(**base, tariff_id="flat", versions=versions)},
        "registry.tokens": {
            tag.casefold(): TokenRegistered(**base, id_token=tag, group_id="fleet") for tag in fleet
        },
    }


def folded(log: list[OcppCallReceived], tables: Tables) -> list[Record]:
    """What sessions say. What they ask of bundles is answered at once."""
    runtime, plans = MemoryRuntime(SessionsProcessor(), tables), MemoryRuntime(PlansProcessor(), tables)

    def answer(emitted: list[Emit]) -> None:
        for asked in emitted:
            if asked.topic == BILLING_PREPAID_ASKED and asked.record is not None:
                for granted in plans.feed(BILLING_PREPAID_ASKED, asked.key, asked.record):
                    assert granted.record is not None
                    answer(runtime.feed(BILLING_PREPAID, granted.key, granted.record))

    for each in log:
        answer(runtime.feed(topic_of(each), STATION, each))
    answer(runtime.tick(log[-1].recorded_at + 40 * 24 * 3600 * US))
    assert not runtime.dead, runtime.dead
    assert not plans.dead, plans.dead
    return [emit.record for emit in runtime.emitted if emit.record is not None]


@st.composite
def tariffs(draw: st.DrawFn, near: int, tick: int) -> tuple[TariffVersion, ...]:
    """One to three versions, the later ones from moments during the visits on."""
    found = []
    for number in range(1, draw(st.integers(1, 3)) + 1):
        since = 0 if number == 1 else (near + draw(st.integers(-2 * 3600, 4 * 3600))) * US
        plain = draw(st.integers(0, 4)) == 0
        found.append(
            TariffVersion(
                version=number,
                valid_from=since,
                currency="EUR",
                price_per_kwh_milli=draw(st.integers(0, 100_000)),
                terms=None if plain else draw(terms(tick)),
            )
        )
    return tuple(found)


@RELAXED
@given(data=st.data(), version=st.sampled_from(VERSIONS), seed=st.integers(0, 2**32))
def test_charge_records_are_the_truth(data: st.DataObject, version: str, seed: int) -> None:
    random = Random(seed)
    tick = random.choice([1, 60, 60])
    zone, near = data.draw(places())
    versions = data.draw(tariffs(near, tick))
    told = version != "ocpp1.6" or random.random() < 0.5
    true = visits(random, (near - 3600 * random.randint(0, 3)) // 60 * 60 * US, tick, told)
    true = [replace(visit, refused=random.random() < 0.1) for visit in true]
    scripts = [told_by(random, visit, version) for visit in true]
    orderly = version == "ocpp1.6" and random.random() < 0.5
    log = delivered(random, scripts, orderly=orderly, slow=random.random() < 0.3)
    fleet = tuple(visit.tag for visit in true if random.random() < 0.3)
    tables = tables_of(versions, zone, fleet)
    records = folded(log, tables)
    books = Books(records)
    for visit in true:
        check(visit, version, books)
        counts = valid_at(versions, visit.begin)
        assert counts is not None
        cdr = books.cdr_of(transaction_id(visit, version))
        assert cdr.tariff_version == counts.version
        group = "fleet" if visit.tag in fleet else None
        wanted = price(visit, counts, zone, tick, group, cdr.prepaid_wh)
        if visit.refused:
            wanted = {**dict.fromkeys(wanted, 0), "prepaid_wh": 0}
        assert cdr.prepaid_wh <= bundle_of(counts, group)
        assert {name: getattr(cdr, name) for name in wanted} == wanted
    assert len(books.cdrs) == len(books.ends) == len(true)
    assert books.delivered_wh() == sum(visit.energy_wh for visit in true)
    assert folded(log, tables) == records
    # As it happened, nothing is corrected, and the times are true even where nobody pays for them.
    told_in_order = sorted((each for script in scripts for each in script), key=lambda each: each.occurred_at)
    plainly = Books(folded(told_in_order, tables))
    for visit in true:
        check(visit, version, plainly)
        name = transaction_id(visit, version)
        end, cdr = plainly.end_of(name), plainly.cdr_of(name)
        assert (end.charging_s, end.suspended_s, end.idle_s) == tuple(map(visit.seconds, KINDS))
        late = books.cdr_of(name)
        assert cdr.version == 1
        # Who is first to ask has more of a bundle.
        assert late.prepaid_wh != cdr.prepaid_wh or late.amount_minor == cdr.amount_minor


def bundle_of(version: TariffVersion, group: str | None) -> int:
    plans = () if version.terms is None else version.terms.plans
    return sum(plan.prepaid_wh for plan in plans if plan.group_id == group)


def check(visit: Visit, version: str, books: Books) -> None:
    """The session is the visit, and nothing of it is in doubt but whether a token that was refused pays for it."""
    end = books.end_of(transaction_id(visit, version))
    assert (end.started_at, end.ended_at, end.evse_id, end.id_token) == (
        visit.begin,
        visit.end,
        visit.evse,
        visit.tag,
    )
    billed_wh = 0 if visit.refused else visit.energy_wh
    review = ("not_authorized",) if billed_wh < visit.energy_wh else ()
    assert (end.energy_wh, end.billed_wh, end.review) == (visit.energy_wh, billed_wh, review)
    assert (end.meter_start_wh, end.meter_stop_wh) == (visit.register, visit.register + visit.energy_wh)
    cdr = books.cdr_of(transaction_id(visit, version))
    assert (cdr.energy_wh, cdr.billed_wh, cdr.review) == (visit.energy_wh, billed_wh, review)
