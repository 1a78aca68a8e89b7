"""No two modules of `libs` and `services` import each other, be it by way of others, nor do two sibling packages.

Imports that only type checkers see count: whoever reads either module needs the other.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
Graph = Mapping[str, frozenset[str]]

KNOWN_PACKAGES: dict[frozenset[str], str] = {
    frozenset(
        {"libs.ocpp.quirks", "libs.ocpp.semantics"}
    ): "rules correct what is read, and trials of rules read",
}


def test_no_modules_import_each_other() -> None:
    assert not list(cycles(import_graph(ROOT, "libs", "services")))


def test_no_sibling_packages_import_each_other() -> None:
    assert set(cycles(of_packages(import_graph(ROOT, "libs", "services")))) == set(KNOWN_PACKAGES)


@pytest.mark.parametrize(
    "importing",
    [
        "from libs.b import y",
        "import libs.b",
        "from libs import b",
        "from . import b",
        "from .b import y",
        "if TYPE_CHECKING:\n    from libs.b import y",
        "def f():\n    from libs.b import y",
    ],
)
def test_the_check_would_see_it(tmp_path: Path, importing: str) -> None:
    modules = {"libs/__init__.py": "", "libs/a.py": importing, "libs/b.py": "from libs.c import z"}
    straight, circular = tmp_path / "straight", tmp_path / "circular"
    written(straight, {**modules, "libs/c.py": ""})
    written(circular, {**modules, "libs/c.py": "from libs.a import x"})
    assert not list(cycles(import_graph(straight, "libs")))
    assert list(cycles(import_graph(circular, "libs"))) == [frozenset({"libs.a", "libs.b", "libs.c"})]


def test_the_check_would_see_packages_that_import_each_other(tmp_path: Path) -> None:
    written(
        tmp_path,
        {
            "libs/a/__init__.py": "",
            "libs/a/one.py": "from libs.b.one import x",
            "libs/a/other.py": "",
            "libs/b/one.py": "",
            "libs/b/other.py": "from libs.a.other import x",
        },
    )
    graph = import_graph(tmp_path, "libs")
    assert not list(cycles(graph))
    assert list(cycles(of_packages(graph))) == [frozenset({"libs.a", "libs.b"})]


def written(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@cache
def import_graph(root: Path, *packages: str) -> Graph:
    """Which modules of the packages each of them imports, wherever in it."""
    paths = {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for package in packages
        for path in (root / package).rglob("*.py")
    }
    return {
        module: frozenset(_imported(module, path, paths.keys())) - {module} for module, path in paths.items()
    }


def _imported(module: str, path: Path, modules: Iterable[str]) -> Iterator[str]:
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                name = f"{base}.{alias.name}"
                if name in modules or base in modules:
                    yield name if name in modules else base


def of_packages(graph: Graph) -> Graph:
    """Which packages import which beside them: of two modules, the packages in which their paths part."""
    found: dict[str, set[str]] = {}
    for module, imports in graph.items():
        for other in imports:
            one, two = module.split("."), other.split(".")
            same = next((i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), None)
            if same is not None:
                found.setdefault(".".join(one[: same + 1]), set()).add(".".join(two[: same + 1]))
    parents = {name.rpartition(".")[0] for name in graph}
    return {name: frozenset(found.get(name, set()) & parents) for name in parents}


def cycles(graph: Graph) -> Iterator[frozenset[str]]:
    """Modules that lead to each other (strongly connected components of more than one)."""
    reached = {module: _reached(graph, module) for module in graph}
    seen: set[str] = set()
    for module in sorted(graph):
        if module in reached[module] and module not in seen:
            cycle = frozenset(other for other in reached[module] if module in reached[other])
            seen |= cycle
            yield cycle


def _reached(graph: Graph, module: str) -> set[str]:
    found: set[str] = set()
    waiting = list(graph[module])
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += graph.get(one, ())
    return found
