"""Guessing is slow, memory is bounded, and a neighbour's guessing harms nobody who is known."""

from __future__ import annotations

from libs.runtime.addresses import network_of
from libs.runtime.allowance import Allowance
from services.edge.domain.throttle import Throttle

S = 1_000_000


def test_an_allowance_is_spent_and_refilled_evenly() -> None:
    allowance: Allowance[str] = Allowance(10, 60 * S, 100)
    for _ in range(10):
        assert allowance.wait("a", 0) == 0
        allowance.spend("a", 0)
    assert allowance.wait("a", 0) == 6 * S
    assert allowance.wait("b", 0) == 0
    assert allowance.wait("a", 6 * S - 1) == 1
    assert allowance.wait("a", 6 * S) == 0
    allowance.spend("a", 6 * S)
    assert allowance.wait("a", 6 * S) == 6 * S
    assert allowance.wait("a", 66 * S) == 0


def test_spending_beyond_the_limit_never_locks_out_for_longer_than_the_window() -> None:
    allowance: Allowance[str] = Allowance(10, 60 * S, 100)
    for _ in range(1000):
        allowance.spend("a", 0)
    assert allowance.wait("a", 0) <= 60 * S


def test_a_limit_of_zero_limits_nothing() -> None:
    allowance: Allowance[str] = Allowance(0, 60 * S, 100)
    for _ in range(1000):
        allowance.spend("a", 0)
    assert allowance.wait("a", 0) == 0
    assert len(allowance) == 0


def test_memory_is_bounded_and_the_latest_are_remembered() -> None:
    allowance: Allowance[int] = Allowance(1, 60 * S, 100)
    for key in range(10_000):
        allowance.spend(key, key)
    assert len(allowance) == 100
    assert allowance.wait(9_999, 10_000) > 0


def test_failures_count_by_address_and_identity_and_by_address() -> None:
    throttle = Throttle(3, 10, 100, 60 * S, 1000)
    for _ in range(3):
        throttle.failed("192.0.2.1", "cp1", 0)
    assert throttle.after_failures("192.0.2.1", "cp1", 0) > 0
    # The station itself, elsewhere, is not locked out by it.
    assert throttle.after_failures("192.0.2.2", "cp1", 0) == 0
    assert throttle.after_failures("192.0.2.1", "cp2", 0) == 0
    for number in range(7):
        throttle.failed("192.0.2.1", f"guess{number}", 0)
    assert throttle.after_failures("192.0.2.1", "cp2", 0) > 0
    assert throttle.after_failures("192.0.2.1", "cp2", 60 * S) == 0


def test_failures_are_not_held_against_who_is_right() -> None:
    throttle = Throttle(3, 10, 100, 60 * S, 1000)
    for number in range(50):
        throttle.failed("192.0.2.1", f"guess{number}", 0)
        throttle.failed("192.0.2.1", "cp1", 0)
    assert throttle.after_visits("192.0.2.1", "cp1", 0) == 0


def test_flapping_is_slowed_down() -> None:
    throttle = Throttle(3, 10, 5, 60 * S, 1000)
    for _ in range(5):
        assert throttle.after_visits("192.0.2.1", "cp1", 0) == 0
        throttle.admitted("192.0.2.1", "cp1", 0)
    assert throttle.after_visits("192.0.2.1", "cp1", 0) == 12 * S
    assert throttle.after_visits("192.0.2.2", "cp1", 0) == 0


def test_an_ipv6_network_is_one_outsider() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1:2:3") == "2001:db8::/64"
    assert network_of("2001:db8:0:1::1") == "2001:db8:0:1::/64"
    assert network_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert network_of("fe80::1%eth0") == "fe80::/64"
    assert network_of("192.0.2.1") == "192.0.2.1"
    assert network_of("") == ""
    assert network_of("a:b") == "a:b"
