"""The lock file: exact names, sizes and SHA-256 sums of everything that is downloaded."""

import hashlib
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jgo.maven import Artifact, MavenContext

LOCK_PATH: Final = Path(__file__).with_name("lock.toml")


@dataclass(frozen=True)
class Artefact:
    """One file of a package registry."""

    part: str
    """What it belongs to: `kafka`, `registry` or `clickhouse`."""
    source: str
    """`maven` or `npm`."""
    name: str
    """Maven: group:artefact:version:classifier:packaging (classifier may be empty). npm: name@version."""
    size: int
    """Bytes as downloaded."""
    sha256: str
    platform: str = ""
    """The platform that it is for, as `packages.platform_tag` names it; empty for all."""


def read_lock() -> list[Artefact]:
    """Return the locked artefacts of all platforms."""
    return [Artefact(**entry) for entry in tomllib.loads(LOCK_PATH.read_text())["artefact"]]


# What to raise for a newer stack; then run `python -m libs.testing.localstack lock`.
_KAFKA: Final = "4.3.0"
_REGISTRY: Final = "3.3.3"
_LOG4J: Final = "2.25.4"
_LIBCHDB: Final = {"linux-x86_64": "@chdb/lib-linux-x64-gnu@26.7.3-stable.1"}


def write_lock(report: Callable[[str], None]) -> None:
    """Resolve the wanted versions, download everything once and write the lock file."""
    from libs.testing.localstack.packages import npm_pack  # noqa: PLC0415 - that module reads this one's lock

    lines = ["# Written by `python -m libs.testing.localstack lock`."]
    with tempfile.TemporaryDirectory() as folder:
        context = MavenContext(repo_cache=Path(folder), timeout=60)
        for part, artifact in _maven_artifacts(context):
            report(str(artifact))
            coordinates = (artifact.groupId, artifact.artifactId, artifact.version)
            name = ":".join((*coordinates, artifact.classifier, artifact.packaging))
            lines += _entry(part, "maven", name, artifact.resolve())
        for platform, name in _LIBCHDB.items():
            report(name)
            lines += _entry("clickhouse", "npm", name, npm_pack(name, Path(folder) / platform))
            lines.append(f'platform = "{platform}"')
    LOCK_PATH.write_text("\n".join(lines) + "\n")


def _maven_artifacts(context: MavenContext) -> Iterator[tuple[str, Artifact]]:
    server = context.create_dependency(f"org.apache.kafka:kafka_2.13:{_KAFKA}")
    yield "kafka", server.artifact
    for node in context.resolver.get_dependency_list([server])[1]:
        yield "kafka", node.dep.artifact
    # Without a binding of the logging interface the broker would log nothing.
    logging = context.project("org.apache.logging.log4j", "log4j-slf4j-impl")
    yield "kafka", logging.at_version(_LOG4J).artifact()
    registry = context.project("io.apicurio", "apicurio-registry-app")
    yield "registry", registry.at_version(_REGISTRY).artifact("all", "tar.gz")


def _entry(part: str, source: str, name: str, path: Path) -> list[str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return [
        "",
        "[[artefact]]",
        f'part = "{part}"',
        f'source = "{source}"',
        f'name = "{name}"',
        f"size = {path.stat().st_size}",
        f'sha256 = "{digest}"',
    ]
