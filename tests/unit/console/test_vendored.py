"""Scripts and styles of others: which they are, under which licence, and how much of them a page loads."""

import gzip
from hashlib import sha256

import pytest

from services.console.web.assets import FOLDER

VENDORED = {
    # htmx.org 4.0.1, dist/ and dist/ext/, 0BSD
    "htmx.min.js": "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130",
    "hx-csp.min.js": "a7e1e6711ae6c3e50ad300fba7936cbe8d07599cdae313414a179ddd6b26e143",
    # uplot 1.6.32, dist/, MIT
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
}
MOST_ON_FIRST_PAGE = 60_000


@pytest.mark.parametrize("name", VENDORED)
def test_a_file_is_the_published_one(name: str) -> None:
    assert sha256((FOLDER / "vendor" / name).read_bytes()).hexdigest() == VENDORED[name]


def test_each_file_is_listed_and_its_licence_is_beside_it() -> None:
    found = {path.name for path in (FOLDER / "vendor").iterdir()}
    assert found == {*VENDORED, "htmx.LICENSE", "uPlot.LICENSE"}


def test_scripts_are_small() -> None:
    packed = sum(len(gzip.compress(path.read_bytes(), 9)) for path in FOLDER.rglob("*.js"))
    assert packed <= MOST_ON_FIRST_PAGE
