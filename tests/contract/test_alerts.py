"""The alerting rules name metrics and labels that exist, and the runbook says what to do about each of them."""

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

import pytest
import yaml

from tests.contract.test_runbook import DOCS, KINDS, ROOT, ROWS, anchors, calls

SERIES: Final = {
    "Counter": ("_total",),
    "Gauge": ("",),
    "Histogram": ("_bucket", "_count", "_sum"),
    "Summary": (),
}
PROCESS: Final = {
    name: set[str]() for name in ("up", "process_start_time_seconds", "process_open_fds", "process_max_fds")
}
"""What Prometheus and its client tell of every process."""
OF_THE_SCRAPE: Final = {"job", "instance"}


def rules() -> Iterator[Mapping[str, Any]]:
    for group in yaml.safe_load((ROOT / "deploy" / "monitoring" / "alerts.yaml").read_text())["groups"]:
        yield from group["rules"]


RULES: Final = list(rules())


@cache
def labels_of_series() -> dict[str, set[str]]:
    """Names of the labels of every time series that the code declares."""
    found: dict[str, set[str]] = dict(PROCESS)
    for call in calls():
        if not (isinstance(call.func, ast.Name) and call.func.id in KINDS):
            continue
        lists = [*call.args[2:3], *(word.value for word in call.keywords if word.arg == "labelnames")]
        labels = set(ast.literal_eval(lists[0])) if lists else set()
        for ending in SERIES[call.func.id]:
            of_a_bucket = {"le"} if ending == "_bucket" else set()
            found[f"{ast.literal_eval(call.args[0])}{ending}"] = labels | of_a_bucket
    return found


def named_series(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:voltbus_\w+|process_\w+|up\b(?=\{))", expression))


def row_names(cell: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", cell))


def test_each_alert_has_a_name_of_its_own() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(names) > 40
    assert len(names) == len(set(names))


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_a_rule_is_complete_and_names_what_exists(rule: Mapping[str, Any]) -> None:
    expression, summary = rule["expr"], rule["annotations"]["summary"]
    series = named_series(expression)
    assert series
    labels = labels_of_series()
    assert series <= labels.keys()
    known = set.union(*(labels[name] for name in series)) | OF_THE_SCRAPE
    grouped = {name for names in re.findall(r"\bby \(([^)]*)\)", expression) for name in names.split(", ")}
    filtered = set(re.findall(r"[{,]\s*(\w+)\s*[=!]", expression))
    assert grouped | filtered <= known
    aggregates = re.match(r"\(?(sum|max|min|count)\b|.* by \(", expression)
    assert set(re.findall(r"\$labels\.(\w+)", summary)) <= (grouped if aggregates else known)
    if re.search(r"increase\(.*\) > 0$", expression) and any(labels[name] for name in series):
        # Without labels a series is there from the start. Else a counter's first event is a new one, and only then is
        # nothing there that hides it.
        assert re.search(r"\((voltbus_\w+)(\{[^}]*\})? unless \1.* offset \w+\) or increase\(\1", expression)
    assert rule["labels"]["severity"] in {"page", "ticket"}
    path, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert anchor in anchors(ROOT / path)


def test_every_alert_of_the_runbook_has_a_rule_and_every_rule_a_row() -> None:
    rows = [
        line.split("|")[1:3] for line in ROWS.splitlines() if re.match(r"\| `(voltbus_|process_|up`)", line)
    ]
    alerting = [row_names(names) for names, alert in rows if row_names(alert) or alert.strip()[0].isascii()]
    assert len(alerting) > 30
    of_rules = [
        {re.sub(r"_(bucket|count)$", "", name) for name in named_series(rule["expr"])} for rule in RULES
    ]
    assert [names for names in alerting if not any(names & of_rule for of_rule in of_rules)] == []
    assert [of_rule for of_rule in of_rules if not any(names & of_rule for names in alerting)] == []


def test_the_guides_name_the_file() -> None:
    for page in ("runbook.md", "operations.md"):
        assert "deploy/monitoring/alerts.yaml" in (DOCS / page).read_text()
