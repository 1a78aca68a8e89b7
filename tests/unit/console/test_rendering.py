"""What a charger or driver wrote is text on a page, and nothing else."""

import ast
import re
from pathlib import Path

import pytest

from services.console.web.assets import Assets
from services.console.web.rendering import FOLDER, address, environment, isolated, path_of, shown, visible

TEMPLATES = sorted(FOLDER.rglob("*.html"))


def filled(template: str, **values: object) -> str:
    return environment().from_string(template).render(**values)


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "' onmouseover='alert(1)",
        "{{ 7 * 7 }}",
        "javascript:alert(1)",
    ],
)
def test_markup_in_a_vendor_s_name_is_text(text: str) -> None:
    out = filled('<p title="{{ name }}">{{ name | isolated }}</p>', name=text)
    assert out.count("<") == 4
    assert "49" not in out
    assert re.fullmatch(r'<p title="[^"<>]*"><bdi>[^<>]*</bdi></p>', out)


@pytest.mark.parametrize(
    "hidden", ["\u202e", "\u2066", "\u200f", "\u200b", "\x00", "\x1b", "\ufeff", "\u2028"]
)
def test_hidden_characters_are_written_out(hidden: str) -> None:
    assert visible(f"a{hidden}b") == f"a\\u{ord(hidden):04x}b"
    assert hidden not in filled("{{ name }}", name=f"a{hidden}b")
    assert hidden not in isolated(f"a{hidden}b")


def test_other_scripts_are_shown_as_they_are() -> None:
    for text in ("Grüße", "北京", "שלום", "🔌 Lader", "a\tb\nc"):
        assert visible(text) == text


def test_nothing_is_shown_for_none_and_numbers_stay() -> None:
    assert (shown(None), shown(0), shown(False)) == ("", 0, False)


def test_json_is_shown_as_people_write_it() -> None:
    out = filled("{{ value | as_json }}", value={"b": "Grüße <b>", "a": "\u202e\ud800"})
    assert out == '{\n  "a": "\\u202e\\ud800",\n  "b": "Grüße <b>"\n}'.translate(
        {ord('"'): "&#34;", ord("<"): "&lt;", ord(">"): "&gt;"}
    )


def test_an_address_quotes_what_it_carries() -> None:
    assert (
        address("/stations", {"q": "a&b=c", "cursor": "x", "site_id": ""}, cursor=None)
        == "/stations?q=a%26b%3Dc"
    )
    assert address("/stations", {}) == "/stations"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_has_nothing_that_the_security_policy_forbids(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|https?://|\|\s*safe\b|autoescape", text)
    assert all("nonce=" in tag and "src=" in tag for tag in re.findall(r"<script[^>]*>", text))
    assert not re.search(r"\shx-[a-z]+=", text), "htmx's attributes come from hx(), with the nonce"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_can_be_read(path: Path) -> None:
    environment().get_template(path.relative_to(FOLDER).as_posix())


def test_assets_have_their_content_in_their_address() -> None:
    assets = Assets()
    assert re.fullmatch(r"/assets/[0-9a-f]{16}/console\.css", assets.url("console.css"))
    with pytest.raises(KeyError):
        assets.url("nothing.js")


def test_a_path_leads_where_it_says_whatever_its_parts_are_called() -> None:
    assert (
        path_of("stations", "a b/../c?d#e", "events", "é") == "/stations/a%20b%2F..%2Fc%3Fd%23e/events/%C3%A9"
    )


def given(tree: ast.AST, function: str) -> set[str]:
    """The names that calls of `function` give values to."""
    calls = [each for each in ast.walk(tree) if isinstance(each, ast.Call)]
    return {
        keyword.arg
        for call in calls
        if ast.unparse(call.func).endswith(function)
        for keyword in call.keywords
        if keyword.arg
    }


def test_no_page_gives_what_every_page_has() -> None:
    console = FOLDER.parent
    every = given(ast.parse((console / "web" / "visit.py").read_text()), ".render")
    pages = [given(ast.parse(path.read_text()), "visit.page") for path in console.glob("pages/*.py")]
    assert every
    assert (every - {"live"}) & set().union(*pages) == set()
    set_anew = re.compile(rf"{{% set ({'|'.join(every)})\b")
    assert [path.name for path in TEMPLATES if set_anew.search(path.read_text())] == []


def test_no_template_has_an_id_that_every_page_has() -> None:
    ids = re.compile(r'\bid="([a-z-]+)"')
    base = FOLDER / "base.html"
    every = set(ids.findall(base.read_text()))
    assert {"main", "as-of"} <= every
    others = [path for path in TEMPLATES if path != base]
    assert {path.name: both for path in others if (both := every & set(ids.findall(path.read_text())))} == {}


def test_the_first_button_of_a_bulk_command_s_form_starts_nothing() -> None:
    buttons = re.findall(r"<button[^>]*>", (FOLDER / "pages/bulk_form.html").read_text(encoding="utf-8"))
    assert 'name="start"' in "".join(buttons[1:])
    assert "name=" not in buttons[0]
