"""The names of the topics stand in one module, as the contract has them."""

import ast
from pathlib import Path

from libs.events import topics
from libs.events.contract import load_contract

ROOT = Path(__file__).resolve().parents[2]
DECLARED = {name for name in load_contract().topics if not name.startswith("state.")}


def written(source: str) -> list[str]:
    """Topics that `source` spells out where it could import the name."""
    return [
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in DECLARED
    ]


def test_each_topic_of_the_contract_has_its_name_and_no_other_has_one() -> None:
    named = {name: value for name, value in vars(topics).items() if name.isupper()}
    assert named == {topic.upper().replace(".", "_").replace("-", "_"): topic for topic in DECLARED}


def test_a_name_that_is_spelt_out_is_found() -> None:
    assert written('TOPIC = "sessions.events"') == ["sessions.events"]


def test_no_other_module_spells_a_topic_out() -> None:
    found = {
        path.relative_to(ROOT).as_posix(): written(path.read_text())
        for folder in ("libs", "services", "deploy", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if path != Path(topics.__file__)
    }
    assert found
    assert {path: spelt for path, spelt in found.items() if spelt} == {}
