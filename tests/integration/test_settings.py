"""Processes that are started with settings that do not fit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import WAIT_S

ROOT = Path(__file__).parents[2]
SERVICES = sorted(path.parent.name for path in ROOT.glob("services/*/settings.py"))


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_says_what_is_wrong_and_ends_with_status_2(service: str) -> None:
    wrong = {"VOLTBUS_HTTP_PORT": "x", "VOLTBUS_SIMULATOR_TIMEOUT_S": "x"}
    environment = {**os.environ, "VOLTBUS_API_KEY": "short", "VOLTBUS_TRANSACTION_KEY": "short", **wrong}
    ended = subprocess.run(
        [sys.executable, "-m", f"services.{service}"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=WAIT_S, check=False,
    )  # fmt: skip
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: VOLTBUS_")
    assert "short" not in line
    assert ended.returncode == 2
