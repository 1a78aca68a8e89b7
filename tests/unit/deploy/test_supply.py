"""What is installed is named by hashes, and what it is can be told and asked about."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.supply import INSTALLER, OSV, audit, installer, purl, with_servers
from libs.devstack.locking import Artefact, read_lock

ROOT = Path(__file__).resolve().parents[3]
LOCK: dict[str, Any] = tomllib.loads((ROOT / "uv.lock").read_text())
JAR = Artefact("kafka", "maven", "at.yawk.lz4:lz4-java:1.11.4::jar", 1, "ab" * 32)
WHEEL = Artefact(
    "clickhouse", "pypi", "chdb_core-26.9.0-cp39-abi3-macosx_11_0_arm64.whl", 1, "cd" * 32, "darwin-arm64"
)


def test_the_installer_is_the_locked_one_by_its_hashes() -> None:
    assert INSTALLER.read_text() == installer(LOCK)
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", INSTALLER.read_text())) > 5
    place = INSTALLER.relative_to(ROOT)
    assert f"--require-hashes -r {place}" in re.sub(r"\\\n\s*", "", (ROOT / "Makefile").read_text())
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    assert f"COPY {place} " in dockerfile
    assert "--require-hashes" in dockerfile
    assert "uv==" not in dockerfile


def test_every_locked_python_package_has_hashes() -> None:
    for package in LOCK["package"]:
        if "registry" in package["source"]:
            files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else [])]
            assert files, package["name"]
            assert all(file["hash"].startswith("sha256:") for file in files), package["name"]


def test_files_of_the_servers_have_package_urls() -> None:
    assert purl(JAR) == "pkg:maven/at.yawk.lz4/lz4-java@1.11.4"
    assert purl(WHEEL) == "pkg:pypi/chdb-core@26.9.0"
    assert all(re.fullmatch(r"pkg:(maven/[^/]+|pypi)/[^/@]+@[^@]+", purl(each)) for each in read_lock())


def test_the_bill_of_materials_names_the_servers_too() -> None:
    bom = with_servers({"bomFormat": "CycloneDX", "components": [{"name": "httpx"}]}, [JAR, WHEEL, WHEEL])
    assert [each["name"] for each in bom["components"]] == ["httpx", "lz4-java", "chdb-core"]
    assert bom["components"][1]["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    assert len(bom["components"][2]["hashes"]) == 2


def test_an_audit_says_what_is_known_of_each_file() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert str(request.url) == OSV
        asked = [query["package"]["purl"] for query in json.loads(request.content)["queries"]]
        assert asked == sorted({purl(JAR), purl(WHEEL)})
        return httpx.Response(200, json={"results": [{"vulns": [{"id": "GHSA-1"}, {"id": "CVE-2"}]}, {}]})

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        assert audit(client, [WHEEL, JAR, JAR]) == {purl(JAR): ["GHSA-1", "CVE-2"]}
    with (
        httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(500))) as client,
        pytest.raises(httpx.HTTPError),
    ):
        audit(client, [JAR])


def test_what_had_published_holes_is_not_locked_any_more() -> None:
    versions = {purl(each).rpartition("@")[0]: purl(each).rpartition("@")[2] for each in read_lock()}
    assert versions["pkg:maven/at.yawk.lz4/lz4-java"] == "1.11.4"
    assert versions["pkg:maven/org.apache.kafka/kafka_2.13"] == "4.4.0"
    found = {package["version"] for package in LOCK["package"] if package["name"] == "cryptography"}
    # The last with wheels for Intel Macs stays there: docs/security.md says what it lacks.
    assert found == {"48.0.1", "50.0.2"}
