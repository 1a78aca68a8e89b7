"""Programs on other people's libraries: how each is built, and what chargers among them say while they run.

A charger is called with ENDPOINT STATION SUBPROTOCOL and plays a plain charger: it connects, boots, sends its status,
authorises the token CARD and starts a transaction at 1,000 Wh, meters three times 500 Wh, and then does what the
central system asks. The environment may give it CHARGER_PASSWORD (basic auth), CHARGER_CA (TLS: whom to trust),
CHARGER_CERTIFICATE and CHARGER_KEY (its own, PEM). It prints one JSON object per line for each thing that happened;
`did` names it:

    connected (subprotocol), booted (status), authorised (status), started (transaction, wh), metered (wh),
    asked (action): a command came and is being answered, stopped (transaction, wh), triggered (action),
    restarted: connected and booted again after a Reset, invalid: the library refused a message,
    failed: the program gave up
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.patience import WAIT_S

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".voltbus" / "interop"
TOOLS: dict[str, tuple[str, ...]] = {
    "python": (),
    "node": ("node", "npm"),
    "go": ("go",),
    "java": ("java", "javac", "mvn"),
    "flink": ("java", "javac", "mvn"),
    "rust": ("cargo", "make", "cc"),
    "clickhouse": (),
}
QUICK = "python,node"
BUILD_TIMEOUT_S = 600

Fact = dict[str, Any]


def wanted() -> list[str]:
    """Languages that `VOLTBUS_INTEROP` names; by default those that are built in seconds on any machine."""
    given = os.environ.get("VOLTBUS_INTEROP", QUICK)
    return list(TOOLS) if given == "all" else given.split(",")


def skip_unless_possible(language: str) -> pytest.MarkDecorator:
    missing = [tool for tool in TOOLS[language] if shutil.which(tool) is None]
    if language not in wanted():
        reason = f"{language} is built by `make interop` only"
    else:
        reason = f"{language} needs {', '.join(missing)} on the PATH"
    return pytest.mark.skipif(language not in wanted() or bool(missing), reason=reason)


@functools.cache
def built(language: str, name: str = "charger") -> list[str]:
    """The command that runs a program, a `charger` or a `consumer`.

    It is built once per state of its sources, below `.voltbus/interop`.
    """
    source = HERE / language if name == "charger" else HERE / "consumers" / language
    files = sorted(path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    digest = hashlib.sha256()
    for path in files:
        digest.update(str(path.relative_to(source)).encode() + b"\0" + path.read_bytes() + b"\0")
    folder = CACHE / f"{name}-{language}-{digest.hexdigest()[:12]}"
    program, build = {
        "python": ([sys.executable, str(source / f"{name}.py")], None),
        "node": (
            ["node", str(folder / f"{name}.js")],
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        ),
        "go": ([str(folder / name)], ["go", "build", "-o", name, "."]),
        "java": (
            ["java", "-jar", str(folder / "target" / f"{name}-1.0.0.jar")],
            ["mvn", "-q", "-B", "package"],
        ),
        "flink": (
            ["java", "-jar", str(folder / "target" / f"{name}-1.0.0.jar")],
            ["mvn", "-q", "-B", "package"],
        ),
        "rust": ([str(folder / "target" / "debug" / name)], ["cargo", "build", "--quiet", "--locked"]),
    }[language]
    stamp = folder / "built"
    if build is not None and not stamp.exists():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder)
        run(build, folder)
        stamp.touch()
    return program


def run(build: list[str], folder: Path) -> None:
    begun = time.monotonic()
    # GOTOOLCHAIN: with the Go that is here, and no other one fetched.
    made = subprocess.run(
        build,
        cwd=folder,
        env=os.environ | {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BUILD_TIMEOUT_S,
        check=False,
    )
    assert made.returncode == 0, f"{' '.join(build)} failed:\n{made.stdout}"
    print(f"{' '.join(build)}: {time.monotonic() - begun:.1f} s")


class ForeignCharger:
    """A running program and what it has told."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.facts: list[Fact] = []
        self._news = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.facts.append(json.loads(line))
            self._news.set()
        self.facts.append({"did": "ended"})
        self._news.set()

    def all(self, did: str) -> list[Fact]:
        return [fact for fact in self.facts if fact["did"] == did]

    async def told(self, did: str, times: int = 1) -> Fact:
        """Wait for the fact that comes as the given one of its kind. Fails if the program gives up or complains."""
        async with asyncio.timeout(WAIT_S):
            while True:
                bad = [fact for fact in self.facts if fact["did"] in ("failed", "invalid", "ended")]
                assert not bad, (bad, self.facts)
                if len(found := self.all(did)) >= times:
                    return found[times - 1]
                self._news.clear()
                await self._news.wait()

    async def gave_up(self) -> None:
        """Wait for the program to say that it failed; it must not have connected."""
        async with asyncio.timeout(WAIT_S):
            await self._reader
        assert [fact["did"] for fact in self.facts] == ["failed", "ended"], self.facts

    async def stop(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reader


@asynccontextmanager
async def running(language: str, *arguments: str, **secrets: object) -> AsyncIterator[ForeignCharger]:
    """The program of a language, at work; `secrets`: password, ca, certificate and key."""
    command = await asyncio.to_thread(built, language)
    process = await asyncio.create_subprocess_exec(
        *command,
        *arguments,
        env=os.environ | {f"CHARGER_{name.upper()}": str(value) for name, value in secrets.items()},
        stdout=asyncio.subprocess.PIPE,
    )
    charger = ForeignCharger(process)
    try:
        yield charger
    finally:
        await charger.stop()
