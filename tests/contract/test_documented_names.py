"""Commands and variables that the documentation names exist."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from services.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
CLI = typer.main.get_command(app)
DECLARED = set(re.findall(r"VOLTBUS_[A-Z0-9_]+", (DOCS / "settings.md").read_text()))
# Of tests, of the stack's downloads, and of Compose, which gives them to containers under other names.
OTHERS = re.compile(
    r"VOLTBUS_(TEST_|INTEROP|CHAOS|FUZZ|TRUTH|NEW_CASES|HOSTILE|CACHE|TLS_FOLDER|(API_)?PUBLISH_HOST)"
)
COMPOSE = set(re.findall(r"\$\{(VOLTBUS_\w+)", (ROOT / "docker-compose.yml").read_text()))


def lack(words: list[str]) -> str | None:
    """The first of `words` that is no subcommand where only a subcommand can be."""
    command: Any = CLI
    for word in words:
        subcommands: dict[str, Any] | None = getattr(command, "commands", None)
        if subcommands is None:
            return None
        if word not in subcommands:
            return word
        command = subcommands[word]
    return None


def test_a_command_that_is_not_there_is_found() -> None:
    assert lack(["quirks", "mine"]) == "mine"
    assert lack(["dlq", "list", "ocpp.transactions"]) is None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page: Path) -> None:
    spans = re.findall(
        r"`(?:\.venv/bin/)?voltbus ([a-z][^`\n]*)|^(?:\.venv/bin/)?voltbus ([a-z].*)", page.read_text(), re.M
    )
    for written in (first or second for first, second in spans):
        words = re.match(r"[a-z-]+(?: [a-z-]+)*", written)
        assert words
        assert lack([word for word in words[0].split() if not word.startswith("-")]) is None, written


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_variables_exist(page: Path) -> None:
    named = set(re.findall(r"VOLTBUS_[A-Z0-9_]*[A-Z0-9]", page.read_text()))
    unknown = {
        name
        for name in named - DECLARED - COMPOSE
        if not OTHERS.match(name) and not any(known.startswith(f"{name}_") for known in DECLARED)
    }
    assert sorted(unknown) == []
