"""A Chromium for the tests of the console: the one of npm's lock on Linux, or the one that is installed."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any, Final

import brotli
import pytest

HERE: Final = Path(__file__).parent
CACHE: Final = HERE.parents[1] / ".voltbus" / "browser"
INSTALLED: Final = ("chromium", "chromium-browser", "google-chrome")
MAC: Final = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
_FONTS: Final = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{folder}/fonts</dir><cachedir>{folder}/cache</cachedir></fontconfig>
"""


def can_be_had() -> bool:
    """Whether there is one on this machine, or one that can be fetched; nothing is fetched yet."""
    return bool(os.environ.get("VOLTBUS_CHROMIUM")) or _is_in_npm() or _installed() is not None


@functools.cache
def launch_options() -> dict[str, Any]:
    """What Playwright needs to launch it, fetched if need be. `VOLTBUS_CHROMIUM` names one to use instead."""
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    named = os.environ.get("VOLTBUS_CHROMIUM")
    if not named and _is_in_npm():
        folder = _fetched()
        environment = {
            **os.environ,
            "LD_LIBRARY_PATH": f"{folder / 'lib'}:{folder}",
            "FONTCONFIG_FILE": str(folder / "fonts.conf"),
        }
        return {"executable_path": str(folder / "chromium"), "args": arguments, "env": environment}
    return {"executable_path": named or _installed(), "args": arguments}


def _is_in_npm() -> bool:
    return sys.platform == "linux" and platform.machine() == "x86_64" and shutil.which("npm") is not None


def _installed() -> str | None:
    return next(filter(None, map(shutil.which, INSTALLED)), str(MAC) if MAC.exists() else None)


def _fetched() -> Path:
    """The folder of npm's Chromium, downloaded and unpacked once for each state of the lock."""
    lock = (HERE / "package-lock.json").read_bytes()
    folder = CACHE / hashlib.sha256(lock).hexdigest()[:12]
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for name in ("package.json", "package-lock.json"):
                shutil.copy(HERE / name, folder)
            made = subprocess.run(
                ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=600,
                check=False,
            )
            assert made.returncode == 0, f"npm ci failed:\n{made.stdout}"
            _unpack(folder / "node_modules" / "@sparticuz" / "chromium" / "bin", folder)
            shutil.rmtree(folder / "node_modules")
            (folder / "complete").touch()
    return folder


def _unpack(packed: Path, folder: Path) -> None:
    program = folder / "chromium"
    program.write_bytes(brotli.decompress((packed / "chromium.br").read_bytes()))
    program.chmod(0o755)
    for name in ("al2023", "swiftshader", "fonts"):
        archive = io.BytesIO(brotli.decompress((packed / f"{name}.tar.br").read_bytes()))
        with tarfile.open(fileobj=archive) as files:
            files.extractall(folder, filter="data")
    (folder / "fonts.conf").write_text(_FONTS.format(folder=folder))


needs_chromium: Final = pytest.mark.skipif(
    not can_be_had(), reason="no Chromium on this machine, and no npm to fetch one"
)
"""A mark for tests in a browser."""
