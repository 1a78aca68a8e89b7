"""The lock file: exact names, sizes and SHA-256 sums of everything that is downloaded."""

import hashlib
import subprocess
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uv
from jgo.maven import Artifact, MavenContext

from libs.devstack.errors import StackError

LOCK_PATH: Final = Path(__file__).with_name("lock.toml")


@dataclass(frozen=True)
class Artefact:
    """One file of a package registry."""

    part: str
    """What it belongs to: `kafka`, `registry` or `clickhouse`."""
    source: str
    """`maven` or `pypi`."""
    name: str
    """Maven: group:artefact:version:classifier:packaging (classifier may be empty). PyPI: the wheel's file name."""
    size: int
    """Bytes as downloaded."""
    sha256: str
    platform: str = ""
    """The platform that it is for, as `packages.platform_tag` names it; empty for all."""


def read_lock() -> list[Artefact]:
    """Return the locked artefacts of all platforms."""
    return [Artefact(**entry) for entry in tomllib.loads(LOCK_PATH.read_text())["artefact"]]


# What to raise for a newer stack; then run `python -m libs.devstack lock`.
_KAFKA: Final = "4.4.0"
_REGISTRY: Final = "3.3.3"
_LOG4J: Final = "2.25.5"
_CHDB: Final = "chdb-core==26.7.3"
# Newer than what the parts ask for, since those have published holes.
_RAISED: Final = {"at.yawk.lz4:lz4-java": "1.11.4"}
# Our name of a platform, and the beginning and end of the last tag of the wheel for it.
_WHEEL_TAGS: Final = {
    "linux-x86_64": ("manylinux", "x86_64.whl"),
    "linux-aarch64": ("manylinux", "aarch64.whl"),
    "darwin-x86_64": ("macosx", "x86_64.whl"),
    "darwin-arm64": ("macosx", "arm64.whl"),
}


def write_lock(report: Callable[[str], None]) -> None:
    """Resolve the wanted versions, download the jars once and write the lock file."""
    lines = ["# Written by `python -m libs.devstack lock`."]
    with tempfile.TemporaryDirectory() as folder:
        context = MavenContext(repo_cache=Path(folder), timeout=60)
        for part, artifact in _maven_artifacts(context):
            report(str(artifact))
            coordinates = (artifact.groupId, artifact.artifactId, artifact.version)
            name = ":".join((*coordinates, artifact.classifier, artifact.packaging))
            lines += _entry(part, "maven", name, *_measure(artifact.resolve()))
        wheels = _wheels(Path(folder) / "wheels")
        for platform, (begin, end) in _WHEEL_TAGS.items():
            (name,) = (
                name for name in wheels if name.split("-")[-1].startswith(begin) and name.endswith(end)
            )
            report(name)
            lines += _entry("clickhouse", "pypi", name, *wheels[name])
            lines.append(f'platform = "{platform}"')
    LOCK_PATH.write_text("\n".join(lines) + "\n")


def _wheels(folder: Path) -> dict[str, tuple[int, str]]:
    """Let uv resolve ClickHouse's package; returns size and SHA-256 of each of its wheels by file name."""
    folder.mkdir()
    project = (
        f'[project]\nname = "lock"\nversion = "0"\nrequires-python = ">=3.11"\ndependencies = ["{_CHDB}"]\n'
    )
    (folder / "pyproject.toml").write_text(project)
    result = subprocess.run(  # noqa: S603 - uv by absolute path
        [uv.find_uv_bin(), "lock", f"--project={folder}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise StackError(f"uv could not resolve {_CHDB}: {result.stderr.strip()}")
    packages = tomllib.loads((folder / "uv.lock").read_text())["package"]
    (package,) = (package for package in packages if package["name"] == _CHDB.partition("==")[0])
    return {
        wheel["url"].rpartition("/")[2]: (wheel["size"], wheel["hash"].removeprefix("sha256:"))
        for wheel in package["wheels"]
    }


def _maven_artifacts(context: MavenContext) -> Iterator[tuple[str, Artifact]]:
    server = context.create_dependency(f"org.apache.kafka:kafka_2.13:{_KAFKA}")
    yield "kafka", server.artifact
    for node in context.resolver.get_dependency_list([server])[1]:
        artifact = node.dep.artifact
        raised = _RAISED.get(f"{artifact.groupId}:{artifact.artifactId}")
        if raised is not None:
            artifact = context.project(artifact.groupId, artifact.artifactId).at_version(raised).artifact()
        yield "kafka", artifact
    # Without a binding of the logging interface the broker would log nothing.
    logging = context.project("org.apache.logging.log4j", "log4j-slf4j-impl")
    yield "kafka", logging.at_version(_LOG4J).artifact()
    registry = context.project("io.apicurio", "apicurio-registry-app")
    yield "registry", registry.at_version(_REGISTRY).artifact("all", "tar.gz")


def _measure(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()


def _entry(part: str, source: str, name: str, size: int, sha256: str) -> list[str]:
    return [
        "",
        "[[artefact]]",
        f'part = "{part}"',
        f'source = "{source}"',
        f'name = "{name}"',
        f"size = {size}",
        f'sha256 = "{sha256}"',
    ]
