"""Tests of units and the contract use public names only: private ones may change without a test noticing."""

import ast
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
TESTS = sorted(path for folder in (HERE, HERE.parent / "contract") for path in folder.rglob("*.py"))
BY_NAME = ("setattr", "getattr", "hasattr", "delattr", "patch", "object", "attrgetter")


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_names(code: str) -> list[str]:
    """The private names that `code` imports, or reaches for by a string; the linter sees those behind a dot."""
    found: list[str] = []
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.ImportFrom(names=imported):
                found += [each.name for each in imported if is_private(each.name)]
            case ast.Call(func=ast.Name(id=function) | ast.Attribute(attr=function), args=arguments) if (
                function in BY_NAME
            ):
                constants = [each.value for each in arguments if isinstance(each, ast.Constant)]
                words = [each.split(".")[-1] for each in constants if isinstance(each, str)]
                found += [each for each in words if is_private(each)]
    return found


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(HERE.parent)))
def test_no_test_reaches_for_what_is_private(path: Path) -> None:
    assert private_names(path.read_text()) == []


@pytest.mark.parametrize(
    "code",
    [
        "from services.edge.server import _DEFLATE",
        "monkeypatch.setattr(module, '_RETRY_S', 0)",
        "monkeypatch.setattr('libs.bus.module._RETRY_S', 0)",
        "getattr(lane, '_answer')",
        "mock.patch.object(lane, '_answer')",
    ],
)
def test_what_is_private_is_found(code: str) -> None:
    assert private_names(code)
