"""A site's plans and commands."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.bus.message import Emit, Message
from libs.bus.runtime_memory import MemoryRuntime
from libs.events.commands import RequestCommand
from libs.events.load import EvseObserved, LoadPlanMade
from libs.events.registry import SiteRegistered
from services.load.domain.sites.processor import LoadProcessor
from services.load.domain.sites.site import Site
from tests.unit.load.records import SECOND, T0, at

SITE = "depot"


def observed(
    station: str,
    seconds: float,
    current_ma: int | None = None,
    *,
    transaction: str = "",
    charging: bool = True,
    max_ma: int = 32000,
    evse_id: int = 1,
    reopened: bool = False,
) -> EvseObserved:
    event_id = f"{station}-{evse_id}-{seconds}-{current_ma}-{charging}"
    return EvseObserved(
        event_id=event_id,
        occurred_at=at(seconds),
        recorded_at=at(seconds),
        cause_id=event_id,
        site_id=SITE,
        station_id=station,
        evse_id=evse_id,
        transaction_id=transaction or f"t-{station}",
        charging=charging,
        current_ma=current_ma,
        max_current_ma=max_ma,
        phases=3,
        reopened=reopened,
    )


class LoadedSite:
    def __init__(self, limit_ma: int | None, *given: EvseObserved) -> None:
        self.runtime: MemoryRuntime[Site] = MemoryRuntime(LoadProcessor())
        self.limit(limit_ma, 0)
        for record in given:
            self.feed(record)

    def limit(self, limit_ma: int | None, seconds: float) -> list[Emit]:
        event_id = f"limit-{limit_ma}-{seconds}"
        site = SiteRegistered(
            event_id=event_id,
            occurred_at=at(seconds),
            recorded_at=at(seconds),
            cause_id=event_id,
            site_id=SITE,
            limit_ma=limit_ma,
        )
        return self.runtime.feed("registry.sites", SITE, site)

    def feed(self, record: EvseObserved) -> list[Emit]:
        out = self.runtime.feed("load.observations", SITE, record)
        assert self.runtime.dead == []
        return out

    def tick(self, seconds: float) -> list[Emit]:
        return self.runtime.tick(at(seconds))

    @property
    def plans(self) -> list[LoadPlanMade]:
        return plans(self.runtime.emitted)


def plans(out: list[Emit]) -> list[LoadPlanMade]:
    return [emit.record for emit in out if isinstance(emit.record, LoadPlanMade)]


def shares(plan: LoadPlanMade) -> dict[str, int]:
    return {allocation.station_id: allocation.current_ma for allocation in plan.allocations}


def limits(out: list[Emit]) -> list[tuple[str, int]]:
    return [
        (emit.record.station_id, json.loads(emit.record.payload)["limit_milliamp"])
        for emit in out
        if isinstance(emit.record, RequestCommand) and emit.record.action == "SetLimit"
    ]


def commands(out: list[Emit]) -> list[RequestCommand]:
    return [emit.record for emit in out if isinstance(emit.record, RequestCommand)]


def test_a_start_makes_a_plan_and_commands() -> None:
    out = LoadedSite(48000).feed(observed("a", 0))
    (plan,) = plans(out)
    (command,) = commands(out)
    assert [(e.topic, e.key) for e in out] == [("load.plans", SITE), ("commands.requested", "a")]
    assert (plan.plan_no, plan.limit_ma, plan.waiting, shares(plan)) == (1, 48000, 0, {"a": 32000})
    assert (command.action, command.requested_by, command.cause_id) == ("SetLimit", "load", plan.event_id)
    assert command.expires_at == at(120)
    assert json.loads(command.payload) == {
        "evse_id": 1,
        "transaction_id": "t-a",
        "limit_milliamp": 32000,
        "profile_id": 1001,
        "stack_level": 0,
        "valid_seconds": None,
        "phases": 3,
        "starts_at": None,
    }


def test_decreases_are_commanded_before_increases() -> None:
    site = LoadedSite(40000, observed("a", 0), observed("b", 1), observed("a", 2, 7000))
    assert limits(site.tick(91)) == [("a", 9000), ("b", 31000)]
    assert limits(site.feed(observed("a", 92, 8900))) == []
    assert limits(site.tick(110)) == [("b", 20000), ("a", 20000)]


def test_only_changed_shares_are_commanded() -> None:
    site = LoadedSite(64000, observed("a", 0))
    assert limits(site.feed(observed("b", 1))) == [("b", 32000)]


def test_later_arrivals_wait_and_move_up() -> None:
    site = LoadedSite(13000, observed("a", 0), observed("b", 1))
    out = site.feed(observed("c", 2))
    (plan,) = plans(out)
    assert (shares(plan), plan.waiting) == ({"a": 6500, "b": 6500, "c": 0}, 1)
    assert limits(out) == [("c", 0)]
    out = site.feed(observed("a", 3, charging=False))
    assert limits(out) == [("c", 6500)]


def test_a_site_without_a_limit_is_left_alone() -> None:
    site = LoadedSite(None, observed("a", 0), observed("b", 1), observed("a", 2, 16000))
    site.tick(1000)
    assert site.runtime.emitted == []


def test_an_unknown_site_is_left_alone() -> None:
    runtime: MemoryRuntime[Site] = MemoryRuntime(LoadProcessor())
    assert runtime.feed("load.observations", SITE, observed("a", 0)) == []


def test_a_changed_limit_counts_at_once() -> None:
    site = LoadedSite(48000, observed("a", 0), observed("b", 1))
    out = site.limit(20000, 3)
    assert limits(out) == [("a", 10000), ("b", 10000)]
    assert (plans(out)[0].recorded_at, plans(out)[0].cause_id) == (at(3), "limit-20000-3")
    assert site.limit(20000, 4) == []


def test_a_limit_where_nothing_charges_makes_no_plan() -> None:
    site = LoadedSite(48000)
    site.limit(20000, 10)
    assert site.runtime.emitted == []


@pytest.mark.parametrize("how", ["limit removed", "site removed"])
def test_a_removed_limit_frees_the_evses_once(how: str) -> None:
    site = LoadedSite(12000, observed("a", 0), observed("b", 1))
    if how == "limit removed":
        out = site.limit(None, 20)
    else:
        out = site.runtime.handle(Message("registry.sites", 0, 1, SITE, None, at(20)))
    assert [(c.station_id, c.action) for c in commands(out)] == [("a", "ClearLimit"), ("b", "ClearLimit")]
    assert json.loads(commands(out)[0].payload)["profile_id"] == 1001
    (plan,) = plans(out)
    assert (plan.limit_ma, plan.allocations, plan.recorded_at) == (None, (), at(20))
    assert site.tick(100) == []
    assert limits(site.limit(12000, 150)) == [("a", 6000), ("b", 6000)]


def test_ends_when_nothing_charges() -> None:
    site = LoadedSite(48000, observed("a", 0))
    (plan,) = plans(site.feed(observed("a", 10, charging=False)))
    assert (plan.plan_no, plan.allocations) == (2, ())
    assert site.tick(100_000) == []


def test_what_goes_on_after_a_rule_closed_it_has_a_share_again() -> None:
    site = LoadedSite(40000, observed("a", 0), observed("b", 1))
    assert limits(site.feed(observed("a", 10, charging=False))) == [("b", 32000)]
    # Old news of it is none, but that it goes on is.
    assert site.feed(observed("a", 11, 9000)) == []
    goes_on = observed("a", 20, reopened=True)
    assert limits(site.feed(goes_on)) == [("b", 20000), ("a", 20000)]
    assert site.feed(goes_on) == []
    assert site.feed(observed("a", 21, 19900)) == []
    assert limits(site.feed(observed("a", 30, charging=False))) == [("b", 32000)]
    assert site.feed(observed("a", 31, 9000)) == []


def test_what_goes_on_does_not_take_the_share_of_what_came_later() -> None:
    site = LoadedSite(40000, observed("a", 0), observed("a", 10, charging=False))
    site.feed(observed("a", 20, transaction="next"))
    assert site.feed(observed("a", 15, reopened=True)) == []


def test_what_is_not_used_is_given_to_the_others_and_back() -> None:
    site = LoadedSite(40000, observed("a", 0), observed("b", 1))
    site.feed(observed("a", 5, 19500))
    site.feed(observed("b", 6, 8000))
    assert site.tick(65) == []
    out = site.tick(100)  # noticed at the look a minute after
    assert limits(out) == [("b", 10000), ("a", 30000)]

    # b wants more: it is near what it was left, so it gets its part again after a moment of calm.
    site.feed(observed("a", 101, 29800))
    out = site.feed(observed("b", 102, 9500))
    assert limits(out) == [("a", 20000), ("b", 20000)]


def test_an_idle_evse_keeps_its_minimum() -> None:
    site = LoadedSite(32000, observed("a", 0), observed("b", 1))
    site.feed(observed("a", 2, 15000))
    site.feed(observed("b", 3, 0))
    assert limits(site.tick(100)) == [("b", 6000), ("a", 26000)]
    assert limits(site.tick(190)) == [("a", 17000)]  # a, too, uses less than it was given
    assert site.tick(1000) == []


def test_measurements_wait_for_calm_but_starts_do_not() -> None:
    site = LoadedSite(40000, observed("a", 0), observed("b", 1), observed("b", 2, 8000))
    site.tick(91)
    assert shares(site.plans[-1]) == {"a": 30000, "b": 10000}
    planned = site.plans[-1].recorded_at
    seconds = (planned - T0) / SECOND
    assert site.feed(observed("b", seconds + 2, 9600)) == []
    assert len(plans(site.feed(observed("c", seconds + 3)))) == 1
    site.feed(observed("c", seconds + 4, charging=False))
    assert shares(site.plans[-1]) == {"a": 20000, "b": 20000}


def test_a_put_off_plan_is_made_when_calm_returns() -> None:
    site = LoadedSite(40000, observed("a", 0), observed("b", 1), observed("b", 2, 8000))
    site.tick(91)
    seconds = (site.plans[-1].recorded_at - T0) / SECOND
    site.feed(observed("b", seconds + 2, 9600))
    out = site.tick(seconds + 10)
    assert limits(out) == [("a", 20000), ("b", 20000)]


def test_a_command_without_effect_is_given_again_after_its_expiry() -> None:
    site = LoadedSite(20000, observed("a", 0), observed("b", 1))
    assert shares(site.plans[-1]) == {"a": 10000, "b": 10000}
    site.feed(observed("a", 5, 32000))
    assert limits(site.tick(119)) == [("b", 0)]
    assert limits(site.tick(160)) == [("a", 10000)]
    assert limits(site.feed(observed("a", 161, 9800))) == [("b", 10000)]
    assert site.tick(1000) == []


@pytest.mark.parametrize(("over", "told"), [(1_000, []), (1_001, [("a", 10_000)])])
def test_an_ampere_above_the_share_is_within_it(over: int, told: list[tuple[str, int]]) -> None:
    site = LoadedSite(20_000, observed("a", 0), observed("b", 1))
    site.feed(observed("b", 5, 9_900))
    site.feed(observed("a", 5, 10_000 + over))
    site.tick(60)
    site.feed(observed("a", 110, 10_000 + over))
    assert [each for each in limits(site.tick(200)) if each[0] == "a"] == told


def drawn(plan: LoadPlanMade) -> dict[str, int]:
    return {a.station_id: a.drawn_ma for a in plan.allocations if a.drawn_ma}


def test_an_evse_that_accepts_every_limit_and_draws_what_it_likes_leaves_the_others_what_is_left() -> None:
    site = LoadedSite(20000, observed("a", 0), observed("b", 1))
    site.feed(observed("a", 5, 32000))
    site.feed(observed("b", 6, 9900))
    assert site.tick(30) == [], "it has the time to obey"
    assert limits(site.tick(35)) == [("b", 0)]
    (plan,) = site.plans[-1:]
    assert (shares(plan), drawn(plan), plan.waiting) == ({"a": 10000, "b": 0}, {"a": 32000}, 1)
    site.feed(observed("b", 40, 0))
    assert limits(site.tick(160)) == [("a", 10000)], "it is told again"
    assert limits(site.feed(observed("a", 200, 9900))) == [("b", 10000)]
    assert drawn(site.plans[-1]) == {}


def test_what_it_draws_counts_also_while_others_come_and_go() -> None:
    site = LoadedSite(40000, observed("a", 0), observed("b", 1), observed("a", 5, 32000))
    site.tick(35)
    assert shares(site.plans[-1]) == {"a": 20000, "b": 8000}
    site.feed(observed("c", 40))
    assert shares(site.plans[-1]) == {"a": 13400, "b": 8000, "c": 0}
    assert drawn(site.plans[-1]) == {"a": 32000}
    site.feed(observed("b", 50, charging=False))
    assert shares(site.plans[-1]) == {"a": 20000, "c": 8000}


def test_one_that_draws_although_it_waits_is_counted() -> None:
    """It rejects 0 and nothing else."""
    site = LoadedSite(20000, observed("a", 0), observed("b", 1), observed("c", 2), observed("d", 3))
    assert shares(site.plans[-1])["d"] == 0
    site.feed(observed("d", 10, 6000))
    site.tick(40)
    assert (shares(site.plans[-1]), drawn(site.plans[-1])) == (
        {"a": 7000, "b": 7000, "c": 0, "d": 0},
        {"d": 6000},
    )


def test_a_measurement_from_before_the_command_proves_nothing() -> None:
    site = LoadedSite(20000, observed("a", 0), observed("a", 5, 20000), observed("b", 60))
    assert shares(site.plans[-1]) == {"a": 10000, "b": 10000}
    assert site.tick(95) == []
    assert limits(site.feed(observed("a", 110, 20000))) == [("b", 0)], "it has not changed since"


def test_nobody_counts_with_more_than_it_can_give_nor_one_that_its_station_should_not_have() -> None:
    site = LoadedSite(60000, observed("a", 0), observed("b", 1), observed("c", 2, evse_id=9))
    site.feed(observed("a", 5, 400_000_000))
    site.feed(observed("c", 6, 32000, evse_id=9))
    site.tick(40)
    assert drawn(site.plans[-1]) == {"a": 32000}
    assert shares(site.plans[-1])["b"] == 28000


def test_limits_that_go_end_the_count() -> None:
    site = LoadedSite(20000, observed("a", 0), observed("b", 1), observed("a", 5, 32000))
    site.tick(35)
    site.limit(None, 40)
    site.limit(20000, 41)
    assert (shares(site.plans[-1]), drawn(site.plans[-1])) == ({"a": 10000, "b": 10000}, {})


def test_repetitions_and_late_news_change_nothing() -> None:
    site = LoadedSite(20000, observed("a", 0))
    assert site.feed(observed("a", 0)) == []
    site.feed(observed("a", 10, charging=False))
    assert site.feed(observed("a", 0)) == []
    assert site.feed(observed("a", 10, charging=False)) == []
    assert site.feed(observed("a", 5, 9000)) == []
    site.feed(observed("a", 20, transaction="t2"))
    assert site.feed(observed("a", 10, charging=False)) == []
    assert site.feed(observed("a", 3, transaction="t0")) == []
    assert shares(site.plans[-1]) == {"a": 20000}


def test_other_records_are_passed_over() -> None:
    site = LoadedSite(20000)
    strange: Any = SiteRegistered(event_id="s", occurred_at=T0, recorded_at=T0, cause_id="s", site_id=SITE)
    assert site.feed(strange) == []


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "d", "e"]),
        st.sampled_from(["start", "end", "measure", "wait"]),
        st.integers(0, 40_000),
        st.integers(0, 45),
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 120_000), st.integers(0, 120_000), MOVES)
def test_plans_never_exceed_the_limit_in_force(
    limit: int, later_limit: int, moves: list[tuple[str, str, int, int]]
) -> None:
    site = LoadedSite(limit)
    again = LoadedSite(limit)
    seconds = 0
    running: dict[str, str] = {}
    for number, (station, move, value, pause) in enumerate(moves):
        seconds += pause
        if number == len(moves) // 2:
            assert site.limit(later_limit, seconds) == again.limit(later_limit, seconds)
        if move == "wait":
            assert site.tick(seconds) == again.tick(seconds)
            continue
        if move == "start":
            running[station] = f"{station}{number}"
        transaction = running.get(station, "none")
        record = observed(
            station,
            seconds,
            value if move == "measure" else None,
            transaction=transaction,
            charging=move != "end",
            max_ma=20_000 + len(station) * 1000,
        )
        out = site.feed(record)
        assert out == again.feed(record)
        assert site.feed(record) == []
    for number, plan in enumerate(site.plans, start=1):
        assert plan.plan_no == number
        assert plan.limit_ma in (limit, later_limit)
        assert sum(shares(plan).values()) <= (plan.limit_ma or 0)
        obedient = [share for station, share in shares(plan).items() if station not in drawn(plan)]
        assert sum(obedient) <= max(0, (plan.limit_ma or 0) - sum(drawn(plan).values()))
        assert plan.waiting == sum(share == 0 for share in shares(plan).values())
    # What the chargers were told last is what the plan in force says.
    told: dict[str, int] = {}
    for emit in site.runtime.emitted:
        told.update(limits([emit]))
    if site.plans:
        for station, share in shares(site.plans[-1]).items():
            assert told[station] == share


@settings(max_examples=100, deadline=None)
@given(st.permutations(["a", "b", "c", "d"]), st.integers(0, 100_000))
def test_arrival_not_reading_order_decides(order: list[str], limit: int) -> None:
    arrivals = {name: observed(name, number) for number, name in enumerate("abcd")}
    straight = LoadedSite(limit, *arrivals.values())
    mixed = LoadedSite(limit, *(arrivals[name] for name in order))
    assert straight.plans[-1].allocations == mixed.plans[-1].allocations
