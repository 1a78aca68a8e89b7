"""What the pages for developers name is there: folders, files, functions, and what links point to."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(str(each.relative_to(ROOT)) for each in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")))
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def packages(parent: str) -> set[str]:
    return {each.parent.name for each in (ROOT / parent).glob("*/__init__.py")}


def tree() -> dict[str, set[str]]:
    """The top folders of the tree in CONTRIBUTING.md, each with the folders below it that are named."""
    (text,) = re.findall(r"^```text\n(.*?)^```", (ROOT / "CONTRIBUTING.md").read_text(), re.M | re.S)
    folders: dict[str, set[str]] = {}
    parent = ""
    for line in text.splitlines():
        indent, name = re.match(r"( *)([\w.]+)/", line).groups()  # type: ignore[union-attr]
        if indent:
            folders[parent].add(name)
        else:
            parent = name
            folders[parent] = set()
    return folders


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", _FENCED.sub("", page.read_text()), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return found


def rows(page: str) -> Iterator[list[str]]:
    for line in (ROOT / page).read_text().splitlines():
        if line.startswith("| "):
            yield [cell.strip() for cell in line.strip("| ").split(" | ")]


def test_the_folders_of_the_tree_are_there() -> None:
    for parent, names in tree().items():
        assert (ROOT / parent).is_dir(), parent
        assert [name for name in names if not (ROOT / parent / name).is_dir()] == [], parent


@pytest.mark.parametrize("parent", ["services", "libs"])
def test_every_package_is_in_the_tree(parent: str) -> None:
    assert packages(parent) == tree()[parent]


def test_every_kind_of_test_is_in_the_tree() -> None:
    kinds = {each.name for each in (ROOT / "tests").iterdir() if each.is_dir() and any(each.glob("*.py"))}
    assert kinds | {"unit"} == tree()["tests"]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    lost = []
    for link in _LINK.findall(_FENCED.sub("", (ROOT / page).read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


def test_functions_named_for_newcomers_are_in_their_files() -> None:
    named = 0
    for cells in rows("docs/newcomers.md"):
        if len(cells) != 3 or not (links := _LINK.findall(cells[1])):
            continue
        code = (ROOT / "docs" / links[0]).read_text()
        for name in re.findall(r"`([\w.]+)(?:\(\))?`", cells[2]):
            named += 1
            for part in name.split("."):
                assert re.search(rf"\b(def|class) {part}\b", code), f"{part} is not in {links[0]}"
    assert named >= 26


def test_newcomers_find_twenty_answers() -> None:
    answers = [cells for cells in rows("docs/newcomers.md") if len(cells) == 2 and cells[0].endswith("?")]
    assert len(answers) == 20
    assert all(_LINK.search(cells[1]) for cells in answers)
