"""Of what `make test` leaves out as slow: what comes nearest in it, and what nothing in it shows."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import pytest

TESTS: Final = Path(__file__).resolve().parents[1]
SLOW: Final = "pytest.mark.slow"


class Nearest(NamedTuple):
    """The tests of `make test` that come nearest to a slow one, and what only the slow one shows."""

    tests: tuple[str, ...]
    only_slow: str


KILLED_AT_ONCE: Final = "chaos/test_kills.py::test_everything_but_the_broker_is_killed_in_one_round"
BROKER: Final = "integration/runtimes/test_crashes.py::test_the_broker_restarts_in_mid_flow"
REGISTRY: Final = (
    "integration/test_secured_kafka.py::test_the_schema_registry_keeps_its_schemas_there_with_just_its_rights"
)
CLICKHOUSE: Final = (
    "integration/test_sink.py::test_a_clickhouse_that_dies_again_and_again_loses_and_doubles_nothing"
)
NEAREST: Final = {
    "chaos/test_kills.py::test_a_part_is_killed_twice": Nearest(
        (KILLED_AT_ONCE,), "A part dies alone, and again soon after, while the others go on."
    ),
    "chaos/test_kills.py::test_one_of_three_brokers_is_killed_under_load": Nearest(
        (BROKER,),
        "The whole platform goes on with two of three brokers; there one processor waits for the only one.",
    ),
    "e2e/test_disk_full.py::test_a_full_disk_stops_it_in_order_and_loses_nothing_that_was_answered": Nearest(
        ("unit/deploy/test_local.py::test_a_full_disk_is_named_and_everything_is_stopped_once",),
        "The disk is full indeed, and what chargers were answered is in Kafka afterwards.",
    ),
    "e2e/test_replay.py::test_a_replay_gives_the_same_records": Nearest(
        ("integration/test_sessions_tariffs.py::test_killed_while_tariffs_change_and_operators_decide",),
        "All processors, rewound in place without their states and outputs; there Sessions reads a copy of the log.",
    ),
    "e2e/test_up.py::test_up_goes_on_after_a_crash_and_has_its_data_the_next_day": Nearest(
        (
            KILLED_AT_ONCE,
            "integration/test_devstack.py::test_a_later_stack_on_other_ports_finds_the_folder_s_data",
        ),
        "`make up` itself starts a service that died, and sessions are there when the whole platform starts again.",
    ),
    "integration/test_devstack.py::test_every_part_keeps_its_data_over_kill_9": Nearest(
        (BROKER, REGISTRY, CLICKHOUSE),
        "The parts of one stack die in turn, and nothing runs that could write again.",
    ),
    "integration/test_devstack.py::test_three_brokers_lose_nothing_acknowledged_when_one_is_killed": Nearest(
        (BROKER,), "Another broker becomes leader and has all that was acknowledged."
    ),
}
"""Of each test that is slow as a whole. One of which only some cases are slow has the others in `make test`."""


@cache
def modules() -> dict[str, ast.Module]:
    """What every file below `tests` says, by its path there."""
    return {
        path.relative_to(TESTS).as_posix(): ast.parse(path.read_text())
        for path in sorted(TESTS.rglob("*.py"))
    }


def functions_of(module: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node


@cache
def functions() -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every test function by its path below `tests` and its name."""
    return {
        f"{path}::{node.name}": node for path, module in modules().items() for node in functions_of(module)
    }


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


def marks(*nodes: ast.AST) -> set[ast.AST]:
    """Each place that says `slow`, however it calls pytest."""
    found = (each for node in nodes for each in ast.walk(node))
    return {each for each in found if isinstance(each, ast.Attribute) and each.attr == "slow"}


def unseen(module: ast.Module) -> set[ast.AST]:
    """Marks that `slow` and `cases` do not look at."""
    read = [
        mark for node in functions_of(module) for mark in node.decorator_list if SLOW in ast.unparse(mark)
    ]
    return marks(module) - marks(*read)


def test_of_each_slow_test_it_is_said_what_comes_nearest_in_make_test() -> None:
    assert set(NEAREST) == set(slow())
    named = {test for nearest in NEAREST.values() for test in nearest.tests}
    assert named <= functions().keys() - set(slow())


def test_of_the_cases_of_a_test_not_all_are_slow() -> None:
    lists = {name: [[*cases(mark)] for mark in node.decorator_list] for name, node in functions().items()}
    assert any(any(slow) for found in lists.values() for slow in found)
    assert [name for name, found in lists.items() if any(slow and all(slow) for slow in found)] == []


def test_nothing_but_functions_and_their_cases_is_marked_as_slow() -> None:
    assert [path for path, module in modules().items() if unseen(module)] == []


@pytest.mark.parametrize(
    "text",
    [
        "pytestmark = pytest.mark.slow",
        "pytestmark = [pytest.mark.chaos, pytest.mark.slow]",
        "@pytest.mark.slow\nclass TestIt:\n    def test_it(self): ...",
        "class TestIt:\n    @pytest.mark.slow\n    def test_it(self): ...",
        "from pytest import mark\n@mark.slow\ndef test_it(): ...",
        "CASES = [pytest.param(6, marks=pytest.mark.slow)]\n@pytest.mark.parametrize('n', CASES)\ndef test_it(n): ...",
    ],
)
def test_a_mark_elsewhere_is_noticed(text: str) -> None:
    assert unseen(ast.parse(text))
