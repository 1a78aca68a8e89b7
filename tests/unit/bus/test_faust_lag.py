"""How far behind a member of the Faust runtime says it is."""

from faust.types import TP

from libs.bus.faust_app import Place
from libs.bus.faust_progress import Progress

HOME = TP("ocpp.lifecycle", 0)
FETCHED = Place(position=95, end=100, answered_at=1)


def taken_up(at: int) -> Progress:
    progress = Progress()
    progress.take_up({HOME: at})
    return progress


def test_before_its_first_record_a_partition_lags_by_what_came_since_it_was_taken_up() -> None:
    assert taken_up(90).lag(HOME, FETCHED, idle=True) == 10


def test_from_its_first_record_on_it_lags_by_what_is_not_handled() -> None:
    progress = taken_up(90)
    progress.handled(HOME, 92)
    assert progress.lag(HOME, FETCHED, idle=False) == 7
    progress.handled(HOME, 91)
    assert progress.lag(HOME, FETCHED, idle=False) == 7


def test_what_the_position_has_passed_is_handled_once_nothing_waits_and_it_stands_still() -> None:
    progress = taken_up(90)
    assert progress.lag(HOME, FETCHED, idle=True) == 10
    assert progress.lag(HOME, FETCHED, idle=False) == 10
    assert progress.lag(HOME, FETCHED, idle=True) == 5


def test_before_the_first_answer_the_lag_is_not_known_and_no_moment_is_reached() -> None:
    progress = taken_up(90)
    assert progress.lag(HOME, None, idle=True) is None
    assert progress.watermarks[HOME].reached == 0


def test_what_another_process_has_now_counts_no_more() -> None:
    progress = taken_up(90)
    progress.handled(HOME, 94)
    progress.clear()
    progress.take_up({HOME: 97})
    assert progress.lag(HOME, FETCHED, idle=True) == 3
    assert progress.expected(HOME) == 97
