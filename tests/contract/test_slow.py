"""What a slow test proves at length, `make test` proves in short."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).resolve().parents[1]
SLOW: Final = "pytest.mark.slow"
SHORT: Final = {
    "chaos/test_kills.py::test_a_part_is_killed_twice": (
        "chaos/test_kills.py::test_everything_but_the_broker_is_killed_in_one_round"
    ),
    "chaos/test_kills.py::test_one_of_three_brokers_is_killed_under_load": (
        "integration/runtimes/test_crashes.py::test_the_broker_restarts_in_mid_flow"
    ),
    "e2e/test_disk_full.py::test_a_full_disk_stops_it_in_order_and_loses_nothing_that_was_answered": (
        "unit/deploy/test_local.py::test_a_full_disk_is_named_and_everything_is_stopped_once"
    ),
    "e2e/test_replay.py::test_a_replay_gives_the_same_records": (
        "integration/test_projections.py::test_thrown_away_it_tells_the_same_from_the_log"
    ),
    "e2e/test_up.py::test_up_goes_on_after_a_crash_and_has_its_data_the_next_day": (
        "e2e/test_up.py::test_up_serves_chargers_consumers_and_operators"
    ),
    "integration/test_devstack.py::test_every_part_keeps_its_data_over_kill_9": (
        "chaos/test_kills.py::test_everything_but_the_broker_is_killed_in_one_round"
    ),
    "integration/test_devstack.py::test_three_brokers_lose_nothing_acknowledged_when_one_is_killed": (
        "integration/runtimes/test_crashes.py::test_the_broker_restarts_in_mid_flow"
    ),
}
"""Of each test that is slow as a whole, the nearest one that is not. A test with slow cases has others itself."""


@cache
def functions() -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every test function by its path below `tests` and its name."""
    found: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                found[f"{path.relative_to(TESTS).as_posix()}::{node.name}"] = node
    return found


def slow() -> Iterator[str]:
    """Tests that are slow in all cases."""
    for name, node in functions().items():
        if SLOW in map(ast.unparse, node.decorator_list):
            yield name


def cases(mark: ast.expr) -> Iterator[bool]:
    """Whether each case of a `parametrize` is slow."""
    if ast.unparse(mark).startswith("pytest.mark.parametrize(") and isinstance(mark, ast.Call):
        values = mark.args[1]
        for each in values.elts if isinstance(values, ast.List | ast.Tuple) else ():
            yield SLOW in ast.unparse(each)


def test_each_slow_test_has_a_short_one() -> None:
    assert set(SHORT) == set(slow())
    assert set(SHORT.values()) <= functions().keys() - set(slow())


def test_of_the_cases_of_a_test_not_all_are_slow() -> None:
    lists = {name: [[*cases(mark)] for mark in node.decorator_list] for name, node in functions().items()}
    assert any(any(slow) for found in lists.values() for slow in found)
    assert [name for name, found in lists.items() if any(slow and all(slow) for slow in found)] == []
