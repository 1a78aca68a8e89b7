"""`make up` as its users run it: chargers, a consumer, an operator, a crash, Ctrl-C, and the data the next day."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from deploy.local.platform import ROOT
from deploy.local.settings import LocalSettings, on_free_ports
from tests.integration.children import as_background_job, ended, python
from tests.patience import WAIT_S


@contextmanager
def running(settings: LocalSettings) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """The platform in a process of its own, as a script starts it, and what it printed; Ctrl-C ends it."""
    environment = {
        f"VOLTBUS_{name.upper()}": str(value)
        for name, value in settings.model_dump(include=set(LocalSettings.model_fields)).items()
    }
    process = subprocess.Popen(
        as_background_job(python("-m", "deploy.local", "up")),
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        printed = ""
        for line in process.stdout:
            printed += line
            if "Ctrl-C" in line:
                break
        assert process.poll() is None, printed
        yield process, printed
    finally:
        status = ended(process, 240)
    assert status == 0


def command(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def sessions(api: httpx.Client) -> dict[str, int]:
    answer = api.get("sessions", params={"status": "ended"})
    assert answer.status_code == 200, answer.text
    return {session["session_id"]: session["energy_wh"] for session in answer.json()["items"]}


def wait_for_sessions(api: httpx.Client, count: int, energy_wh: int) -> dict[str, int]:
    """Sessions in ClickHouse once all of them are there, late corrections included."""
    deadline = time.monotonic() + WAIT_S
    while True:
        found = sessions(api)
        if (len(found), sum(found.values())) == (count, energy_wh):
            return found
        assert time.monotonic() < deadline, (len(found), count, sum(found.values()), energy_wh)
        time.sleep(0.5)


def play(url: str, seed: int) -> list[int]:
    """Energy of each session of a short scenario, by the chargers' meters, Wh."""
    arguments = ["--url", url, "--scenario", "smoke", "--seed", str(seed), "--json"]
    played = json.loads(command("-m", "services.simulator", *arguments))
    return [session["energy_wh"] for session in played["sessions"]]


def sign_in(settings: LocalSettings, printed: str) -> None:
    """Sign in to the console with the name and password that were printed, once its process knows of the account."""
    told = re.search(r"console +(\S+) +\(name (\S+), password (\S+)\)", printed)
    assert told is not None, printed
    for pause in map(float, range(1, 10)):  # Ten wrong passwords are too many.
        answer = httpx.post(
            f"{told[1]}/sign-in",
            data={"name": told[2], "password": told[3]},
            headers={"Sec-Fetch-Site": "same-origin"},
            timeout=WAIT_S,
        )
        if answer.status_code == 303:
            break
        time.sleep(pause)
    assert (answer.status_code, answer.headers.get("location")) == (303, "/"), answer.text


def operator(settings: LocalSettings, printed: str) -> httpx.Client:
    """A client of the API with the key that was printed."""
    key = re.search(r"API key +(\S+)", printed)
    assert key is not None
    return httpx.Client(
        base_url=f"http://127.0.0.1:{settings.api_port}/api/v1/",
        headers={"Authorization": f"Bearer {key[1]}"},
        timeout=WAIT_S,
    )


def charging_url(settings: LocalSettings) -> str:
    return f"ws://127.0.0.1:{settings.edge_port}/ocpp"


def test_up_serves_chargers_consumers_and_operators(tmp_path: Path) -> None:
    settings = on_free_ports(tmp_path / "data")
    with running(settings) as (_, printed):
        assert "Unknown stations and tokens are let in here" in printed
        sign_in(settings, printed)
        api = operator(settings, printed)
        truth = play(charging_url(settings), seed=1)
        found = wait_for_sessions(api, len(truth), sum(truth))

        registry = f"http://127.0.0.1:{settings.registry_port}/apis/ccompat/v7"
        kafka = f"127.0.0.1:{settings.kafka_port}"
        lines = command("docs/examples/consumer.py", kafka, registry, str(len(found)))
        assert len(re.findall(r"^\d{4}-\d\d-\d\d \d\d:\d\d \S+: -?\d+ Wh, ", lines, re.MULTILINE)) == len(
            found
        )


@pytest.mark.slow
def test_up_goes_on_after_a_crash_and_has_its_data_the_next_day(tmp_path: Path) -> None:
    settings = on_free_ports(tmp_path / "data")
    with running(settings) as (process, printed):
        api, url = operator(settings, printed), charging_url(settings)
        truth = play(url, seed=1)
        found = wait_for_sessions(api, len(truth), sum(truth))
        pgrep = ["pgrep", "-P", str(process.pid), "-f", "services.sessions"]
        victim = subprocess.run(pgrep, capture_output=True, text=True, check=True).stdout
        os.kill(int(victim), signal.SIGKILL)
        truth += play(url, seed=9)
        found = wait_for_sessions(api, len(truth), sum(truth))

    with running(settings) as (_, printed):
        assert "name admin; for another password: voltbus accounts password admin" in printed
        assert sessions(api) == found
