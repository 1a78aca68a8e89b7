"""The manual's table of guarantees is the one that the conformance suite runs by."""

from pathlib import Path

import pytest

from libs.bus.guarantees import with_table

MANUAL = Path(__file__).resolve().parents[3] / "docs" / "processors.md"


def test_the_manual_prints_the_table() -> None:
    text = MANUAL.read_text()
    assert with_table(text) == text


def test_a_text_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="no place"):
        with_table("# Stream processors\n")
