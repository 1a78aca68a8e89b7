"""Writes the table of histories into docs/session-histories.md: `python -m tests.unit.sessions.document`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.unit.sessions.history import table

DOCUMENT: Final = Path(__file__).resolve().parents[3] / "docs" / "session-histories.md"
BEGIN: Final = "<!-- histories: generated from tests/unit/sessions/golden -->\n"
END: Final = "\n<!-- histories: end -->"


def document(text: str) -> str:
    """`text` with the table as it must be."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + table() + END + rest.split(END)[1]


def main() -> None:
    """Write the table."""
    DOCUMENT.write_text(document(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
