"""Processes that do not outlive the one that started them."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from functools import cache

import httpx
from pydantic import SecretStr

from libs.devstack import launch
from libs.devstack.process import PARENT_DEATH_SIGNAL
from tests.patience import WAIT_S


def python(*arguments: str) -> list[str]:
    """The command of a Python process that is killed, on Linux, when the calling thread ends, however that comes."""
    command = [sys.executable, *arguments]
    if not PARENT_DEATH_SIGNAL:
        return command
    return [sys.executable, "-I", launch.__file__, f"signal:{os.getpid()}", "exec", *command]


def as_background_job(command: list[str]) -> list[str]:
    """The command as a script's shell starts it with `&`: SIGINT is ignored."""
    return ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command]


def ended(process: "subprocess.Popen[str]", within_s: float) -> int:
    """Interrupt a process; its exit status. One that goes on is killed, and what it started with it.

    Raises TimeoutExpired then.
    """
    process.send_signal(signal.SIGINT)
    try:
        return process.wait(within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


def environment(settings: Mapping[str, object]) -> dict[str, str]:
    """This process's environment, and these settings as their variables; those that are None are left out."""
    return os.environ | {
        f"VOLTBUS_{name.upper()}": value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in settings.items()
        if value is not None
    }


def text_at(url: str) -> str:
    """What an `http` URL answers. Raises httpx.TransportError if nobody does."""
    return _http().get(url).text


@cache
def _http() -> httpx.Client:
    # One for all, because each takes long to read the certificates that it trusts.
    return httpx.Client(timeout=WAIT_S, limits=httpx.Limits(max_keepalive_connections=0))
