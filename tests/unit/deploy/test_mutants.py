"""What `make mutants` mutates, where it does so, and what it shows."""

import tomllib
from pathlib import Path

import pytest

from deploy.mutants import ROOT, Part, main, part_of, parts, prepare, unnoticed


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("services/plans", Part("services/plans", "services/plans/domain/*", "tests/unit/plans")),
        ("libs/tariffs", Part("libs/tariffs", "libs/tariffs/*", "tests/unit/tariffs")),
        ("libs/bus/timers.py", Part("libs/bus", "libs/bus/timers.py", "tests/unit/bus")),
        ("services/load/domain", Part("services/load", "services/load/domain/*", "tests/unit/load")),
    ],
)
def test_a_path_names_what_is_changed_and_the_tests_that_have_to_notice(path: str, part: Part) -> None:
    assert part_of(path) == part


@pytest.mark.parametrize(
    "path", ["tests/unit", "services", "services/nothing", "libs/bus/nothing.py", "/etc", ""]
)
def test_nothing_else_is_changed(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="no service"):
        part_of(path)
    assert main([path]) == 2
    assert "no service" in capsys.readouterr().err


def test_without_a_path_it_is_every_domain_that_has_tests_and_the_tariffs() -> None:
    found = list(parts())
    assert {"services/plans", "services/load", "services/sessions", "libs/tariffs"} <= {
        p.source for p in found
    }
    assert all((ROOT / part.tests).is_dir() for part in found)
    assert len(found) == len(set(found))


def test_it_runs_in_a_place_of_its_own_with_settings_of_its_own(tmp_path: Path) -> None:
    for _ in range(2):
        prepare(part_of("services/plans"), tmp_path / "work")
    assert (tmp_path / "work" / "services").resolve() == ROOT / "services"
    assert not (tmp_path / "work" / ".git").exists()
    settings = tomllib.loads((tmp_path / "work" / "pyproject.toml").read_text())
    assert settings["project"]["name"] == "voltbus"
    assert settings["tool"]["mutmut"]["source_paths"] == ["services/plans"]
    assert {"libs", "tests", "proto_schemas"} <= set(settings["tool"]["mutmut"]["also_copy"])


def test_what_lives_and_what_no_test_runs_is_shown() -> None:
    results = """
    services.plans.domain.processor.x__late__mutmut_1: killed
    services.plans.domain.processor.x__late__mutmut_2: survived
    services.plans.domain.processor.x__turn__mutmut_3: timeout
    services.plans.domain.processor.x__turn__mutmut_4: no tests
    """
    assert unnoticed(results) == [
        ("services.plans.domain.processor.x__late__mutmut_2", "survived"),
        ("services.plans.domain.processor.x__turn__mutmut_4", "no tests"),
    ]
