"""The runbook has a row for every metric, security alert and error in the log, and links lead somewhere."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from libs.events.security import SecurityAlertKind

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
ROWS = "\n".join(line for line in (DOCS / "runbook.md").read_text().splitlines() if line.startswith("|"))
FIRST_CELLS = {name for line in ROWS.splitlines() for name in re.findall(r"`(\w+)`", line.split("|")[1])}
KINDS = {"Counter": "_total", "Gauge": "", "Histogram": "", "Summary": ""}
LEVELS = {"error", "exception", "critical"}


@cache
def calls() -> tuple[ast.Call, ...]:
    return tuple(_calls())


def _calls() -> Iterator[ast.Call]:
    for folder in ("libs", "services", "deploy"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                    yield node


def metrics() -> set[str]:
    return {
        f"{call.args[0].value!s}{KINDS[call.func.id]}"
        for call in calls()
        if isinstance(call.func, ast.Name)
        and call.func.id in KINDS
        and isinstance(call.args[0], ast.Constant)
    }


def errors() -> set[str]:
    return {
        str(call.args[0].value)
        for call in calls()
        if isinstance(call.func, ast.Attribute)
        and call.func.attr in LEVELS
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "log"
        and isinstance(call.args[0], ast.Constant)
        and re.fullmatch(r"\w+", str(call.args[0].value))
    }


def test_every_metric_has_a_row() -> None:
    declared = metrics()
    assert len(declared) > 70
    assert sorted(declared - FIRST_CELLS) == []


def test_no_row_names_a_metric_that_is_gone() -> None:
    named = {name for name in FIRST_CELLS if name.startswith("voltbus_")}
    assert sorted(named - metrics()) == []


def test_every_security_alert_has_a_row() -> None:
    assert {str(kind) for kind in SecurityAlertKind} <= FIRST_CELLS


def test_every_error_in_the_log_has_a_row() -> None:
    logged = errors()
    assert len(logged) > 30
    assert sorted(logged - FIRST_CELLS) == []


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "page", [*sorted(DOCS.glob("*.md")), *sorted(ROOT.glob("*.md"))], ids=lambda p: p.name
)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), target
