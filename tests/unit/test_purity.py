"""The checks that keep clocks, chance and the environment out of domain code, tried with code that has them."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOMAINS = sorted(ROOT.glob("services/*/domain"))
PURE = [
    *(f"{path.relative_to(ROOT)}/new.py" for path in DOMAINS),
    "services/sessions/domain/deep/new.py",
    "libs/events/new.py",
    "libs/ocpp/semantics/new.py",
    "libs/tariffs/new.py",
    "libs/bus/processor.py",
    "libs/bus/message.py",
]
IMPURE = {
    "the platform's clock": "from libs.runtime.clock import now_us\nprint(now_us())\n",
    "the platform's clock by its module": "from libs.runtime import clock\nprint(clock.now_us())\n",
    "the date's clock": "from datetime import UTC, datetime\nprint(datetime.now(UTC))\n",
    "the date's clock by its module": "import datetime\nprint(datetime.datetime.now(datetime.UTC))\n",
    "today": "from datetime import date\nprint(date.today())\n",
    "time": "from time import time_ns\nprint(time_ns())\n",
    "an id of nothing": "from libs.events.ids import new_id\nprint(new_id())\n",
    "a trace of nothing": "from libs.events.ids import new_trace\nprint(new_trace())\n",
    "a random id": "from uuid import uuid4\nprint(uuid4())\n",
    "chance": "import random\nprint(random.random())\n",
    "secrets": "import secrets\nprint(secrets.token_hex())\n",
    "the environment": "from os import environ\nprint(environ)\n",
}


def refusals(path: str, code: str) -> list[str]:
    """What the linter refuses as impure of `code`, if it were at `path`."""
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--no-cache",
        "--select",
        "TID251",
        "--output-format",
        "concise",
    ]
    ran = subprocess.run(
        [*command, "--stdin-filename", path, "-"],
        input=code,
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    return [line for line in ran.stdout.splitlines() if "TID251" in line]


@pytest.mark.parametrize("code", IMPURE.values(), ids=IMPURE)
def test_domain_code_is_refused_what_is_not_pure(code: str) -> None:
    assert refusals(PURE[0], code)


@pytest.mark.parametrize("path", PURE)
def test_all_pure_code_is_checked(path: str) -> None:
    assert len(refusals(path, "".join(IMPURE.values()))) >= len(IMPURE)


def test_pure_code_may_count_time_and_derive_ids() -> None:
    code = "from libs.events.ids import derive_id\nfrom libs.runtime.clock import SECOND\nprint(derive_id, SECOND)\n"
    assert not refusals(PURE[0], code)


def test_who_is_not_pure_may_look_at_the_clock() -> None:
    assert not refusals("services/load/app.py", "".join(IMPURE.values()))


def test_every_domain_is_under_the_import_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [domain] = [each for each in contracts if each["name"].startswith("Domain code")]
    found = {".".join(path.relative_to(ROOT).parts) for path in DOMAINS}
    assert found <= set(domain["source_modules"])
