"""Ctrl-C ends what runs in the foreground, also where a script has started it in the background."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.integration.children import as_background_job, ended

LISTENS = "from libs.runtime.stopping import interrupt_on_signals; interrupt_on_signals()"
IGNORES = "signal.signal(signal.SIGINT, signal.SIG_IGN)"


def started(body: str) -> subprocess.Popen[str]:
    script = f"import signal; {body}; print('up', flush=True); signal.pause()"
    process = subprocess.Popen(
        as_background_job([sys.executable, "-c", script]),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


@pytest.mark.parametrize("module", ["deploy.local.__main__", "libs.devstack.__main__"])
def test_what_starts_servers_listens(module: str) -> None:
    assert "interrupt_on_signals" in vars(__import__(module, fromlist=["app"]))


def test_a_background_job_is_interrupted() -> None:
    assert ended(started(LISTENS), 30) == -signal.SIGINT


def test_one_that_does_not_listen_is_killed() -> None:
    process = started(IGNORES)
    with pytest.raises(subprocess.TimeoutExpired):
        ended(process, 0.1)
    assert process.returncode == -signal.SIGKILL
