"""`make mutants`: change the code of domains bit by bit, and show the changes that their unit tests do not notice.

    python -m deploy.mutants [PART...]

PART is a service, a library, or a file of one, as `services/plans`, `libs/tariffs` or
`services/load/domain/sites/site.py`. Without any these are the domains of all services and the tariffs, which takes
hours. The tests are those in `tests/unit/<name>`.
Changes are tried by mutmut on a copy; nothing of the working tree is touched. Module constants, decorated functions and
class bodies are not changed.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from shutil import rmtree
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
WORK: Final = ".voltbus/mutants"
NOTICED: Final = frozenset(("killed", "timeout", "caught by type check", "skipped"))


class Part(NamedTuple):
    """What is mutated together: `files` (patterns of paths) of `source`, tried by `tests`."""

    source: str
    files: str
    tests: str


def parts(root: Path = ROOT) -> Iterator[Part]:
    """The domain of each service that has unit tests, and the tariffs."""
    for domain in sorted(root.glob("services/*/domain")):
        part = part_of(domain.parent.relative_to(root).as_posix())
        if (root / part.tests).is_dir():
            yield part
    yield part_of("libs/tariffs")


def part_of(path: str) -> Part:
    """The part that `path` (from the root) names. Raises ValueError for one that is in no service or library."""
    top, *names = Path(path).parts or ("",)
    if top not in ("services", "libs") or not names or not (ROOT / path).exists():
        raise ValueError(f"{path} is no service, no library, and no file of one")
    source = f"{top}/{names[0]}"
    files = path if path != source else f"{source}/domain/*" if top == "services" else f"{source}/*"
    if not files.endswith(("*", ".py")):
        files += "/*"
    tests = f"tests/unit/{names[0]}"
    if ".." in names or not any(ROOT.glob(files)) or not (ROOT / tests).is_dir():
        raise ValueError(f"{path} has no code of its own to mutate, or no unit tests")
    return Part(source, files, tests)


def prepare(part: Part, folder: Path, root: Path = ROOT) -> None:
    """Make `folder` a place to run mutmut in: a link to everything, and its own settings."""
    rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    copied = [each for each in sorted(root.iterdir()) if not each.name.startswith(".")]
    for each in copied:
        if each.name != "pyproject.toml":
            (folder / each.name).symlink_to(each)
    # What JSON has of lists and texts TOML has too.
    settings = [
        "[tool.mutmut]",
        f'source_paths = ["{part.source}"]',
        f'only_mutate = ["{part.files}"]',
        f'pytest_add_cli_args_test_selection = ["{part.tests}"]',
        f"also_copy = {[each.name for each in copied]}",
        "use_git_change_detection = false",
    ]
    text = (root / "pyproject.toml").read_text()
    (folder / "pyproject.toml").write_text("\n".join([text, *settings, ""]))


def unnoticed(results: str) -> list[tuple[str, str]]:
    """Names of the mutants that no test noticed, and what became of them, from `mutmut results`."""
    lines = (line.strip().partition(": ") for line in results.splitlines())
    return [(name, fate) for name, _, fate in lines if fate and fate not in NOTICED]


def run(part: Part, folder: Path) -> list[str]:
    """Try the mutants of `part`, showing progress; returns each that no test noticed as text.

    Raises subprocess.CalledProcessError if they cannot be tried, as when tests fail without any change.
    """
    prepare(part, folder)
    children = str(os.cpu_count() or 1)
    subprocess.run(_mutmut("run", "--max-children", children), cwd=folder, check=True)  # noqa: S603 - by absolute path
    lived = unnoticed(_said(folder, "results"))
    return [f"{fate}: {_said(folder, 'show', name)}" for name, fate in lived]


def _mutmut(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "mutmut", *arguments]


def _said(folder: Path, *arguments: str) -> str:
    command = _mutmut(*arguments)
    ran = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)  # noqa: S603 - likewise
    return ran.stdout


def main(arguments: Sequence[str]) -> int:
    """Try the parts one after the other, and print what was not noticed."""
    try:
        chosen = [part_of(path.rstrip("/")) for path in arguments] or list(parts())
    except ValueError as error:
        print(f"mutants: {error}", file=sys.stderr)
        return 2
    for part in chosen:
        print(f"mutants: {part.files}, tried by {part.tests}", flush=True)
        lived = run(part, ROOT / WORK / part.source)
        print("\n".join(["", *lived, f"mutants: {part.files}: {len(lived)} not noticed"]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
