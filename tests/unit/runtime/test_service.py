"""A service process ends when it is asked to, whatever it does."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from textwrap import indent

import pytest

from libs.runtime.service import until_stopped

SCRIPT = """
import asyncio, threading, time
from libs.runtime.service import run_service
from libs.runtime.settings import ServiceSettings

async def main(health, stop):
    print("up", flush=True)
    {wait}
{body}

run_service("example", ServiceSettings(stop_timeout_s={timeout_s}), main)
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a service that does `body` once it is to stop; returns when it is up."""
    started = []

    def start(body: str, timeout_s: float, wait: str = "await stop.wait()") -> subprocess.Popen[str]:
        script = SCRIPT.format(body=indent(body, "    "), timeout_s=timeout_s, wait=wait)
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, list[dict[str, object]]]:
    """Its exit status, and what it logged."""
    _, errors = process.communicate(timeout=30)
    return process.returncode, [json.loads(line) for line in errors.splitlines()]


def test_an_orderly_stop_ends_with_status_0(start: Start) -> None:
    process = start("await asyncio.sleep(0)", 30)
    process.terminate()
    status, lines = ended(process)
    assert status == 0
    assert [line["event"] for line in lines] == ["service_started", "stopping", "service_stopped"]
    assert lines[1]["signal"] == "SIGTERM"


def test_a_service_that_ends_without_being_asked_to_has_failed(start: Start) -> None:
    status, lines = ended(start("await asyncio.sleep(0)", 30, wait="await asyncio.sleep(0)"))
    assert status == 1
    assert lines[-1]["event"] == "service_failed"


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ("await asyncio.create_task(asyncio.Event().wait(), name='pump')", "pump in Event.wait:"),
        ("asyncio.create_task(asyncio.Event().wait(), name='x'); time.sleep(100)", "main:"),
        ("threading.Thread(target=time.sleep, args=(100,), name='worker').start()", "thread worker"),
        ("raise SystemExit(3) if threading.Thread(target=time.sleep, args=(100,)).start() else 0", "thread"),
        (
            "while True:\n    try: await asyncio.sleep(100)\n    except asyncio.CancelledError: pass",
            "main:",
        ),
    ],
    ids=[
        "waits",
        "blocks the loop",
        "leaves a thread",
        "leaves a thread, failing",
        "passes over cancellation",
    ],
)
def test_a_service_that_ignores_the_stop_is_ended(start: Start, body: str, named: str) -> None:
    process = start(body, 2)
    process.terminate()
    status, lines = ended(process)
    assert status == 1
    last = lines[-1]
    assert last["event"] == "stop_timed_out"
    assert named in str(last["running"])


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_the_same_signal_again_ends_it_at_once(start: Start, signum: signal.Signals) -> None:
    process = start("print('stopping', flush=True)\nawait asyncio.Event().wait()", 300)
    process.send_signal(signum)
    assert process.stdout is not None
    assert process.stdout.readline() == "stopping\n"
    process.send_signal(signum)
    status, lines = ended(process)
    assert status == 128 + signum
    assert lines[-1]["event"] == "stopped_at_once"


def test_a_terminal_and_a_supervisor_may_both_ask(start: Start) -> None:
    process = start("print('stopping', flush=True)\nawait asyncio.to_thread(input)", 300)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    assert process.stdout.readline() == "stopping\n"
    assert process.stdin is not None
    process.stdin.write("that was all\n")
    process.stdin.flush()
    assert ended(process)[0] == 0


async def returns() -> None:
    """End at once."""


async def is_cancelled() -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize("part", [returns, is_cancelled])
async def test_a_part_that_ends_by_itself_has_failed(part: Callable[[], Coroutine[None, None, None]]) -> None:
    stop = asyncio.Event()
    with pytest.raises(RuntimeError, match="without being asked to"):
        await asyncio.create_task(until_stopped(part(), stop))
    stop.set()
    await asyncio.create_task(until_stopped(part(), stop))
