"""Whoever knows one service finds the processors of all: in modules called `processor`, below `domain`."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

from tests.contract.processors import every_processor

ROOT = Path(__file__).parents[2]


def by_service() -> dict[str, list[str]]:
    """The modules of each service's processors, as seen from the service; one that defines two is there twice."""
    found = defaultdict(list)
    for kind in every_processor():
        _, service, *module = kind.__module__.split(".")
        found[service].append(".".join(module))
    return dict(found)


def misplaced(modules: list[str]) -> list[str]:
    """Which of a service's processors are not where they belong."""
    if len(modules) == 1:
        return [module for module in modules if module != "domain.processor"]
    parts = [module.split(".") for module in modules]
    return [
        module
        for module, part in zip(modules, parts, strict=True)
        if len(part) != 3 or (part[0], part[2]) != ("domain", "processor") or modules.count(module) > 1
    ]


SERVICES = by_service()


@pytest.mark.parametrize("service", SERVICES)
def test_a_processor_is_in_domain_and_each_of_several_in_a_folder_there(service: str) -> None:
    assert misplaced(SERVICES[service]) == []


@pytest.mark.parametrize(
    "modules",
    [
        ["domain"],
        ["app"],
        ["domain.station"],
        ["domain.stations.processor"],
        ["domain.processor", "domain.stations.processor"],
        ["domain.stations", "domain.sites.processor"],
        ["domain.stations.processor", "domain.stations.processor"],
        ["domain.stations.observer", "domain.sites.processor"],
    ],
    ids=" ".join,
)
def test_the_check_would_see_it(modules: list[str]) -> None:
    assert misplaced(modules)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_with_processors_has_its_other_modules(service: str) -> None:
    there = {path.name for path in (ROOT / "services" / service).iterdir()}
    assert there >= {"__main__.py", "app.py", "settings.py", "domain"}


def test_domains_are_packages() -> None:
    """What is pure is known by its folder: the linters go by it."""
    assert list((ROOT / "services").rglob("domain.py")) == []


def test_packages_hand_nothing_on() -> None:
    """A name is imported from the module that defines it."""
    for path in (ROOT / "services").rglob("__init__.py"):
        code = ast.parse(path.read_text()).body
        assert [type(each) for each in code] == [ast.Expr], path
