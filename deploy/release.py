"""Keep the contract of a release: `python -m deploy.release` copies it to `proto_schemas/released/<version>/`.

The version is the project's. What is kept is never changed: every later contract is compared with it
(`tests/contract/test_releases.py`).
"""

import shutil
import sys
import tomllib
from pathlib import Path
from typing import Final

from libs.events.contract import (
    DIGEST,
    PARTS,
    RELEASED,
    ROOT,
    contract_digest,
    load_contract,
    load_exceptions,
    load_releases,
)
from libs.events.evolution import breaches, faults

_PROJECT: Final = Path(__file__).resolve().parents[1] / "pyproject.toml"


def keep(root: Path, version: str) -> Path:
    """Copy the contract below `root` to its folder of releases; returns the copy. Repeating it changes nothing.

    Raises ValueError if another contract has been released as `version`, or if this one may not follow the releases.
    """
    target = root / RELEASED / version
    if target.exists():
        if contract_digest(target) != contract_digest(root):
            raise ValueError(f"{version} is released already with another contract: raise the version")
        return target
    today = load_contract(root)
    found = faults(today)
    for released in load_releases(root).values():
        found += breaches(released, today)
    if found := [fault for fault in found if fault not in load_exceptions(root)]:
        raise ValueError("the contract breaks what was released:\n" + "\n".join(found))
    for part in PARTS:
        shutil.copytree(root / part, target / part)
    (target / DIGEST).write_text(contract_digest(target) + "\n")
    return target


def project_version() -> str:
    """The version in `pyproject.toml`."""
    version: str = tomllib.loads(_PROJECT.read_text())["project"]["version"]
    return version


if __name__ == "__main__":
    try:
        print(f"kept {keep(ROOT, project_version())}")
    except ValueError as error:
        sys.exit(f"release: {error}")
