"""The message catalogues, and numbers and moments in the visitor's language."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from babel.messages.extract import extract
from jinja2 import Environment, nodes

from services.console.web.words import FOLDER, LANGUAGES, NOTHING, Words, catalogue, words_for

CONSOLE = FOLDER.parent
AT = datetime(2026, 5, 1, 8, 0, tzinfo=UTC)


def messages() -> Iterator[str]:
    """What templates and pages give to `_`."""
    sources = [("jinja2.ext:babel_extract", path) for path in sorted((CONSOLE / "templates").rglob("*.html"))]
    sources += [("python", path) for path in sorted(CONSOLE.rglob("*.py"))]
    for method, path in sources:
        with path.open("rb") as file:
            for _line, message, _comments, _context in extract(method, file, keywords={"_": None}):
                yield message if isinstance(message, str) else message[0]


ALL = sorted(set(messages()))


def test_messages_are_found() -> None:
    assert len(ALL) > 100
    assert {"Stations", "Name and password do not fit."} <= set(ALL)


@pytest.mark.parametrize("language", [each for each in LANGUAGES if each != "en"])
def test_a_language_says_all_that_is_said_and_nothing_else(language: str) -> None:
    known = catalogue(language)
    assert sorted(known) == ALL
    for message, said in known.items():
        assert parameters(message) == parameters(said), message


def parameters(text: str) -> set[str]:
    class Asked(dict[str, Any]):
        def __missing__(self, name: str) -> str:
            self[name] = ""
            return ""

    asked = Asked()
    assert isinstance(text % asked, str)
    return set(asked)


@pytest.mark.parametrize(
    ("chosen", "accepted", "language"),
    [
        (None, "de-DE,de;q=0.9,en;q=0.8", "de"),
        (None, "fr-FR,fr;q=0.9", "en"),
        ("de", "en", "de"),
        ("xx", "de", "de"),
        ("../../etc/passwd", "", "en"),
        (None, ";;,,\x00" + "x" * 10_000, "en"),
    ],
)
def test_the_language_is_the_chosen_or_the_accepted_one(
    chosen: str | None, accepted: str, language: str
) -> None:
    assert words_for(chosen, accepted, None).language == language


@pytest.mark.parametrize("zone", [None, "", "Mars/Olympus", "../../etc/passwd", "Europe/Berlin\n"])
def test_a_zone_that_is_none_is_utc(zone: str | None) -> None:
    assert words_for("en", "", zone).zone == "UTC"


def test_values_read_as_the_language_writes_them() -> None:
    english, german = Words("en", "UTC"), Words("de", "Europe/Berlin")
    assert (english.kwh(1_234_567), german.kwh(1_234_567)) == ("1,234.567 kWh", "1.234,567 kWh")
    assert (english.money(760, "EUR"), german.money(760, "EUR")) == ("€7.60", "7,60\N{NO-BREAK SPACE}€")
    assert english.money(760, "JPY").endswith("760")
    assert (english.moment(AT), german.moment(AT)) == ("2026-05-01 08:00:00", "2026-05-01 10:00:00")
    assert english.ampere(16_500) == "16.5 A"
    assert english.kwh(None) == english.money(1, None) == english.moment(None) == NOTHING


def test_templates_say_nothing_outside_the_catalogue() -> None:
    """Text between tags comes from `_` or from data; only these words are the same in every language."""
    same = {"OCPP", "EVSE", "JSON", "Voltbus", "·", NOTHING, "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"}
    for path in sorted((CONSOLE / "templates").rglob("*.html")):
        for text in literal(path):
            assert not {word.strip("(),:/") for word in text.split()} - same - {""}, (path.name, text)


def literal(path: Path) -> Iterator[str]:
    tree = Environment(extensions=["jinja2.ext.do"]).parse(path.read_text())
    markup = "".join(
        part.data if isinstance(part, nodes.TemplateData) else "{}"
        for output in tree.find_all(nodes.Output)
        for part in output.nodes
    )
    inside = False
    text = ""
    for character in markup:
        if character == "<":
            inside = True
            yield text.replace("{}", " ")
            text = ""
        elif character == ">":
            inside = False
        elif not inside:
            text += character
    yield text.replace("{}", " ")
