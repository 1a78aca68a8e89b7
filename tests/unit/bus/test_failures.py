"""How many failures are put aside before a partition stands still."""

import pytest

from libs.bus.errors import TooManyFailuresError
from libs.bus.failures import FailureLimit

BUG = ValueError("bug")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_as_many_as_the_limit_pass_within_the_window() -> None:
    limit = FailureLimit(2, 60, Clock())
    limit.count(("a", 1), BUG)
    limit.count(("a", 2), BUG)
    with pytest.raises(TooManyFailuresError, match=r"more than 2 failures in 60 s; \('a', 3\).*bug"):
        limit.count(("a", 3), BUG)


def test_what_is_older_than_the_window_does_not_count() -> None:
    clock = Clock()
    limit = FailureLimit(2, 60, clock)
    for offset in range(20):
        limit.count(("a", offset), BUG)
        clock.now += 30


def test_the_same_failure_counts_once_however_often_it_comes_again() -> None:
    limit = FailureLimit(1, 60, Clock())
    for _ in range(10):
        limit.count(("a", 1), BUG)
    with pytest.raises(TooManyFailuresError):
        limit.count(("b", 1), BUG)


def test_time_alone_does_not_let_a_stopped_partition_go_on() -> None:
    clock = Clock()
    limit = FailureLimit(1, 60, clock)
    limit.count(("a", 1), BUG)
    for offset in (2, 2, 3):
        with pytest.raises(TooManyFailuresError):
            limit.count(("a", offset), BUG)
        clock.now += 3600


def test_without_dead_letters_the_first_failure_is_too_many() -> None:
    with pytest.raises(TooManyFailuresError):
        FailureLimit(0, 60, Clock()).count(("a", 1), BUG)
