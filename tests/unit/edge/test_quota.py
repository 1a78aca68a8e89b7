"""What a station takes beyond its share makes it wait, and nobody else."""

from __future__ import annotations

from itertools import pairwise

import pytest

from services.edge.domain.quota import Account, Quota, Rates

RATES = Rates(messages=10, bytes=1_000, cpu=0.02, saved_s=5)


def _account(rates: Rates = RATES) -> Account:
    return Quota(rates, garbage_limit=3, window_us=60).account("cp1")


def _served(account: Account, size: int, cpu_s: float, until: float) -> list[float]:
    """When the messages of a station are looked at that sends one after the other without a pause."""
    now, found = 0.0, []
    while now < until:
        found.append(now)
        account.spend(now, size, cpu_s)
        now += max(0.0, account.wait(now))
    return found


@pytest.mark.parametrize(
    ("size", "cpu_s", "per_s"),
    [(0, 0.0, 10), (500, 0.0, 1 / 0.6), (0, 0.01, 1 / 0.6), (500, 0.01, 1 / 1.1)],
)
def test_of_each_kind_a_share_is_served_for_ever_and_five_seconds_worth_at_once(
    size: int, cpu_s: float, per_s: float
) -> None:
    times = _served(_account(), size, cpu_s, 1_000)
    assert sum(at == 0 for at in times) == pytest.approx(5 * per_s, abs=1)
    assert len(times) == pytest.approx(1_005 * per_s, rel=0.01)
    assert max(b - a for a, b in pairwise(times)) <= 1 / per_s + 1e-9


def test_whoever_pauses_has_its_savings_back() -> None:
    account = _account()
    _served(account, 0, 0.0, 100)
    assert account.wait(200) <= -5
    assert sum(at == 0 for at in _served(account, 0, 0.0, 0.1)) < 60


def test_what_has_no_bound_costs_nothing() -> None:
    account = _account(Rates(messages=0, bytes=0, cpu=0, saved_s=1))
    for _ in range(1_000):
        account.spend(0, 1 << 20, 1.0)
    assert account.wait(0) <= 0


def test_a_process_that_had_to_wait_itself_is_not_the_stations_doing() -> None:
    account = _account()
    account.spend(0, 0, 60.0)
    assert account.wait(0) <= 0.2


def test_an_account_outlives_the_connection_and_the_oldest_are_forgotten() -> None:
    quota = Quota(RATES, garbage_limit=3, window_us=60)
    first = quota.account("cp1")
    for number in range(19_999):
        quota.account(f"other{number}")
    assert quota.account("cp1") is first
    quota.account("one more")
    assert quota.account("cp1") is first
    assert quota.account("other1") is not None
    assert len(quota) == 20_000
