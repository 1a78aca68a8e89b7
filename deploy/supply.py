"""What the platform is made of: `python -m deploy.supply installer`, `sbom` or `audit`.

Everything is named by the locks: `uv.lock` for Python, `libs/devstack/lock.toml` for the Java archives and
ClickHouse of machines without Docker.
"""

import json
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import uv

from libs.devstack.locking import Artefact, read_lock

ROOT: Final = Path(__file__).resolve().parents[1]
INSTALLER: Final = ROOT / "deploy" / "containers" / "installer.txt"
SBOM: Final = ROOT / "dist" / "sbom.json"
OSV: Final = "https://api.osv.dev/v1/querybatch"
_HEAD: Final = (
    "# Written by `python -m deploy.supply installer`: what installs everything else, by its hashes.\n"
)

Json = dict[str, Any]


def installer(lock: Mapping[str, Any]) -> str:
    """The requirements of pip for the installer that `lock` (uv.lock) names, with the hash of each of its files."""
    (package,) = (each for each in lock["package"] if each["name"] == "uv")
    files = [package["sdist"], *package["wheels"]]
    lines = [f"uv=={package['version']}", *sorted(f"    --hash={file['hash']}" for file in files)]
    return _HEAD + " \\\n".join(lines) + "\n"


def purl(artefact: Artefact) -> str:
    """The package URL of a file of the embedded servers."""
    if artefact.source == "maven":
        group, name, version, *_ = artefact.name.split(":")
        return f"pkg:maven/{group}/{name}@{version}"
    name, version, *_ = artefact.name.split("-")
    return f"pkg:pypi/{name.replace('_', '-')}@{version}"


def with_servers(bom: Json, artefacts: Sequence[Artefact]) -> Json:
    """A CycloneDX document with the files of the embedded servers beside the components that it has."""
    found: dict[str, Json] = {}
    for artefact in artefacts:
        name = purl(artefact)
        path, _, version = name.partition("@")
        component = found.setdefault(
            name,
            {
                "type": "library",
                "bom-ref": name,
                "name": path.rpartition("/")[2],
                "version": version,
                "purl": name,
                "hashes": [],
            },
        )
        component["hashes"].append({"alg": "SHA-256", "content": artefact.sha256})
    return {**bom, "components": [*bom["components"], *found.values()]}


def write_sbom() -> Path:
    """Write what the image and the embedded servers are made of to `dist/sbom.json` (CycloneDX 1.5)."""
    made = subprocess.run(  # noqa: S603 - uv by absolute path
        [
            uv.find_uv_bin(),
            "export",
            "--quiet",
            "--preview-features=sbom-export",
            "--format=cyclonedx1.5",
            "--locked",
            "--no-default-groups",
            f"--project={ROOT}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    SBOM.parent.mkdir(exist_ok=True)
    SBOM.write_text(json.dumps(with_servers(json.loads(made.stdout), read_lock()), indent=2) + "\n")
    return SBOM


def audit(client: httpx.Client, artefacts: Sequence[Artefact]) -> dict[str, list[str]]:
    """The known vulnerabilities (ids of OSV) of the embedded servers' files, by package URL. Raises httpx.HTTPError."""
    names = sorted({purl(artefact) for artefact in artefacts})
    queries = [{"package": {"purl": name}} for name in names]
    response = client.post(OSV, json={"queries": queries})
    response.raise_for_status()
    results = response.json()["results"]
    found = {
        name: [str(each["id"]) for each in result.get("vulns") or ()]
        for name, result in zip(names, results, strict=True)
    }
    return {name: ids for name, ids in found.items() if ids}


def main(command: str) -> int:
    """Do what the command says; returns the exit status: 1 if an audit found something."""
    if command == "installer":
        INSTALLER.write_text(installer(tomllib.loads((ROOT / "uv.lock").read_text())))
        print(INSTALLER.relative_to(ROOT))
    elif command == "sbom":
        print(write_sbom().relative_to(ROOT))
    elif command == "audit":
        python = subprocess.run([uv.find_uv_bin(), "audit", "--locked", f"--project={ROOT}"], check=False)  # noqa: S603
        with httpx.Client(timeout=60) as client:
            found = audit(client, read_lock())
        for name, ids in found.items():
            print(f"{name}: {', '.join(ids)}")
        return 1 if found or python.returncode else 0
    else:
        print("installer, sbom or audit", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2] or [""]))
