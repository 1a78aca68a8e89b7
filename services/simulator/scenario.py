"""Scenarios are written in Python (`domain.scenario`) or read from YAML by this module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import yaml

from services.simulator.domain.scenario import Arrival, Demand, Group, Outage, Scenario

SCENARIOS = Path(__file__).parent / "scenarios"


def load(source: str | Path) -> Scenario:
    """Read a scenario from a YAML file, or by the name of one that comes with the simulator ("day", "smoke").

    Raises FileNotFoundError, or ValueError naming the key that is wrong.
    """
    path = Path(source)
    if not path.exists() and (shipped := SCENARIOS / f"{source}.yaml").exists():
        path = shipped
    return parse(yaml.safe_load(path.read_text(encoding="utf-8")))


def parse(document: Mapping[str, Any]) -> Scenario:
    """A scenario from the mapping that its YAML holds. Raises ValueError naming the key that is wrong."""
    values = dict(document)
    values["fleet"] = tuple(_group(entry) for entry in values.get("fleet", ()))
    if values.get("demand") is not None:
        values["demand"] = _build(Demand, values["demand"])
    values["arrivals"] = tuple(_build(Arrival, entry) for entry in values.get("arrivals", ()))
    values["outages"] = tuple(_build(Outage, entry) for entry in values.get("outages", ()))
    scenario: Scenario = _build(Scenario, values)
    return scenario


def _group(entry: Mapping[str, Any]) -> Group:
    group: Group = _build(Group, entry)
    return group if group.demand is None else replace(group, demand=_build(Demand, entry["demand"]))


def _build(kind: type[Any], values: Mapping[str, Any]) -> Any:
    known = {field.name for field in fields(kind)}
    if unknown := set(values) - known:
        raise ValueError(f"{kind.__name__} has no {', '.join(sorted(unknown))}")
    frozen = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    try:
        return kind(**frozen)
    except TypeError as error:
        raise ValueError(str(error)) from None
